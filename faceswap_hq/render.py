"""Video + model ► swapped video, frame by frame, holding a bounded number of frames."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import blending
from blending import BlendState
from faceswap_hq import media
from faceswap_hq.drawing import Drawn, Painter, draw, shape_of
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.masks import MaskWriter, mask_of
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Advance, Plan, RenderSettings

BATCH = 8
"""Faces that go through the model at once; also what the pipeline holds between two stages."""
ENCODER_THREADS = 4
"""x264's, on every machine: left alone it takes as many as the cores allow, and its pictures depend on that."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What happened to the frames."""

    frames: int
    """Frames written."""
    with_face: int
    """Frames in which the chosen person was found."""
    swapped: int
    passed: int
    """Frames without the person's face (or with a tiny one), passed through unchanged."""
    people: int
    """People found in the clip."""
    damaged: int
    """Frames lost or shown with guessed parts because the clip is damaged."""
    seconds: dict[str, float]
    """Busy time of each stage, s (stages run side by side; they don't add up to the wall clock)."""


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """One finished frame."""

    frame: media.Frame
    """The frame as it was."""
    image: np.ndarray
    """uint8 (H, W, 3), RGB; the very array of ``frame`` where nothing was swapped."""
    face: np.ndarray | None
    """The model's raw face, float32 (S, S, 3), where one was swapped."""
    blended: blending.ComposeResult | None = None
    """Where and how much of it is in the frame, where one was swapped."""


def swapped_frames(
    plan: Plan,
    model: SwapAutoencoder,
    settings: RenderSettings,
    *,
    device: torch.device | None = None,
    seconds: dict[str, float] | None = None,
    indices: list[int] | None = None,
    parser: FaceParser | None = None,
) -> Generator[Swapped, None, None]:
    """Second pass: the clip's frames in order, with the face swapped where the plan has one.

    The model runs on batches in this thread, blending in two others, decoding in a fourth.

    Args:
        plan: From :func:`plan`.
        model: In evaluation mode.
        settings: The same as for the plan.
        device: Where the model runs; default where it is.
        seconds: Busy time of the stages is added here.
        indices: Only these frames instead of the plan's range.
        parser: Further limits the swap to what this network calls face.
    """
    paint = model_painter(plan, model, settings, device=device, parser=parser)
    return painted_frames(plan, paint, settings, seconds=seconds, indices=indices)


def model_painter(
    plan: Plan,
    model: SwapAutoencoder,
    settings: RenderSettings,
    *,
    device: torch.device | None = None,
    parser: FaceParser | None = None,
) -> Painter:
    """What paints with a model: see :func:`swapped_frames`."""
    device = device or next(model.parameters()).device
    shape, glasses = None, False
    wanted = settings.blend.mask
    if max(wanted.hair, wanted.glasses) > 0 and not settings.own:  # the target's own face lies where the target's does
        shape = shape_of(model, settings.source, settings.backend)
    if wanted.glasses > 0 and shape is not None and not shape.glasses and settings.target is not None:
        own = shape_of(model, settings.target, settings.backend)
        glasses = own is not None and own.glasses

    def paint(batch: list[media.Frame], seconds: dict[str, float]) -> dict[int, Drawn]:
        with _few_torch_threads():
            return draw(batch, plan, model, settings, device, seconds, parser, shape, glasses)

    return paint


def painted_frames(
    plan: Plan,
    paint: Painter,
    settings: RenderSettings,
    *,
    seconds: dict[str, float] | None = None,
    indices: list[int] | None = None,
) -> Generator[Swapped, None, None]:
    """:func:`swapped_frames` for whatever paints the faces.

    Args:
        plan: Which faces of the clip, and where.
        paint: Makes the new faces of a batch.
        settings: The same as for the plan.
        seconds: Busy time of the stages is added here.
        indices: Only these frames instead of the plan's range.
    """
    seconds = seconds if seconds is not None else defaultdict(float)
    state = BlendState(settings.blend.temporal, seed=settings.seed)
    if indices is None:
        frames = media.read_frames(plan.info, start=plan.start, stop=plan.stop)
    else:
        frames = media.read_frames(plan.info, indices=indices)
    waiting: list[Future[Swapped]] = []
    preparing: list[Future[blending.Prepared]] = []
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="prepare"))
        second = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="finish"))
        stack.callback(lambda: [[future.cancel() for future in part] for part in (preparing, waiting)])
        stack.enter_context(contextlib.closing(frames))
        for batch in _batches(frames, BATCH):
            drawn = paint(batch, seconds)
            preparing = [future for future in preparing if not future.done()]
            for frame in batch:
                if frame.index not in drawn:
                    waiting.append(second.submit(Swapped, frame=frame, image=frame.image, face=None))
                    continue
                preparing.append(first.submit(_prepare, frame, drawn[frame.index], plan, settings, state, seconds))
                waiting.append(second.submit(_finish, frame, drawn[frame.index].face, preparing[-1], seconds))
            while len(waiting) > BATCH:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def _batches(frames: Iterable[media.Frame], size: int) -> Iterator[list[media.Frame]]:
    batch: list[media.Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _prepare(
    frame: media.Frame,
    drawn: Drawn,
    plan: Plan,
    settings: RenderSettings,
    state: BlendState,
    seconds: dict[str, float],
) -> blending.Prepared:
    started = time.perf_counter()
    if frame.index in plan.new:
        state.reset()
    prepared = blending.prepare(
        frame.image, drawn.face, drawn.mask, plan.matrices[frame.index],
        polygon=plan.polygons[frame.index], cover=plan.brows[frame.index], visible=drawn.visible,
        shape=drawn.shape, glasses=drawn.glasses, settings=settings.blend, state=state,
    )  # fmt: skip
    seconds["blend: prepare"] += time.perf_counter() - started
    return prepared


def _finish(
    frame: media.Frame, face: np.ndarray, prepared: Future[blending.Prepared], seconds: dict[str, float]
) -> Swapped:
    ready = prepared.result()
    started = time.perf_counter()
    result = blending.finish(frame.image, ready)
    seconds["blend: finish"] += time.perf_counter() - started
    return Swapped(frame=frame, image=result.image, face=face, blended=result)


@contextlib.contextmanager
def _few_torch_threads() -> Iterator[None]:
    """Leave cores to the three other stages: a torch thread without a core of its own makes the others spin."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - 3)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_video(
    plan: Plan,
    frames: Iterable[Swapped],
    fake: Path,
    *,
    real: Path | None = None,
    masks: Path | None = None,
    compare: bool = False,
    advance: Advance = lambda n=1: None,
    seconds: dict[str, float] | None = None,
) -> Counts:
    """Encode swapped frames, unsigned, to exactly the paths given (the caller signs and publishes them).

    Args:
        plan: What the frames were made from.
        frames: From :func:`swapped_frames`.
        fake: File of the swapped video.
        real: File of the matched real: the same frames through the same codec, face untouched.
        masks: Archive of the swapped frames' masks, see :mod:`faceswap_hq.masks`.
        compare: The fake file shows original and swap side by side.
        advance: Called for every frame.
        seconds: Busy time so far.
    """
    seconds = seconds if seconds is not None else defaultdict(float)
    info = plan.info
    part = None if plan.whole else (plan.start, plan.stop)
    like = replace(info, width=2 * info.width) if compare else info
    sound = info.path if info.has_audio else None
    how: dict[str, Any] = {"audio_from": sound, "frames": part, "threads": ENCODER_THREADS}
    written = swapped = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(media.VideoWriter(fake, like=like, **how))
        control = None
        if real is not None:
            control = stack.enter_context(media.VideoWriter(real, like=info, **how))
        exact = None if masks is None else stack.enter_context(MaskWriter(masks))
        for item in frames:
            started = time.perf_counter()
            image = np.concatenate([item.frame.image, item.image], axis=1) if compare else item.image
            writer.write(image, item.frame.pts)
            if control is not None:
                control.write(item.frame.image, item.frame.pts)
            seconds["hand to encoder"] += time.perf_counter() - started
            if exact is not None and item.blended is not None:
                started = time.perf_counter()
                exact.write(written, mask_of(item.blended))
                seconds["masks"] += time.perf_counter() - started
            written += 1
            swapped += item.face is not None
            advance(1)
    return Counts(
        frames=written,
        with_face=len(plan.person.frames),
        swapped=swapped,
        passed=written - swapped,
        people=len(plan.faces.people),
        damaged=plan.damage.frames_lost + plan.damage.frames_damaged,
        seconds={key: round(value, 3) for key, value in seconds.items()},
    )


def counts_dict(counts: Counts) -> dict[str, Any]:
    """Counts as JSON types, without the timings."""
    return {key: value for key, value in vars(counts).items() if key != "seconds"}
