"""What the methods that bend a picture share: the target's vertices, and painting without a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from faceswap_hq import media
from faceswap_hq.drawing import Drawn, Painter
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.faces.smoothing import steadied
from faceswap_hq.planning import Plan

COVERAGE = 0.9
"""Share of the aligned crop's side that is painted: the whole face with its surroundings."""

Bend = Callable[[media.Frame], np.ndarray]
"""Makes one frame's new face, float32 (S, S, 3) in [0, 1]."""


def landmarks_of(plan: Plan) -> tuple[list[int], np.ndarray]:
    """The person's faces that are to be painted, in the aligned crop whose side is 1, steadied in time.

    Args:
        plan: Made with :data:`COVERAGE`.

    Returns:
        Frame indices, and float32 (N, 478, 3): x, y, and depth in the frame's pixels.
    """
    frames, faces = [], []
    for frame, landmarks in zip(plan.person.frames, plan.person.landmarks, strict=True):
        if int(frame) in plan.matrices:
            frames.append(int(frame))
            points = alignment.transform(landmarks, plan.matrices[int(frame)])
            faces.append(np.column_stack([(points - plan.size / 2) * (COVERAGE / plan.size) + 0.5, landmarks[:, 2]]))
    stack = np.stack(faces)
    return frames, steadied(stack.reshape(len(stack), -1), starts_of(plan, frames)).reshape(stack.shape)


def starts_of(plan: Plan, frames: list[int]) -> np.ndarray:
    """At which of these frames something new begins, bool (N,)."""
    return np.isin(frames, list(plan.new))


def warp_painter(plan: Plan, bend: Bend, *, own: bool, parser: FaceParser | None) -> Painter:
    """A painter that bends pictures; the hull of the plan's polygons is the new face.

    Args:
        plan: Which faces, and where.
        bend: Makes the new faces.
        own: Paint the frame's own face instead: for a control.
        parser: Further limits the swap to what this network calls face.
    """

    def paint(batch: list[media.Frame], seconds: dict[str, float]) -> dict[int, Drawn]:
        started = time.perf_counter()
        drawn = {}
        for frame in batch:
            if frame.index not in plan.matrices:
                continue
            matrix = plan.matrices[frame.index]
            face = alignment.warp(frame.image, matrix, plan.size).astype(np.float32) / 255 if own else bend(frame)
            hull = regions.fill([alignment.transform(plan.polygons[frame.index], matrix)], plan.size)
            visible = None if parser is None else parser.inside(frame.image, matrix, plan.size)
            drawn[frame.index] = Drawn(face=face, mask=hull.astype(np.float32) / 255, visible=visible)
        seconds["warp"] += time.perf_counter() - started
        return drawn

    return paint
