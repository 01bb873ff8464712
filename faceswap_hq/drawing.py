"""What the model makes of a batch of frames: the new face, its mask, and what is in front of the old one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

import blending
from faceswap_hq import media
from faceswap_hq.faces import alignment, regions
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.autoencoder import UNKNOWN
from faceswap_hq.planning import Plan, RenderSettings

_SHOWN, _LEGIBLE = 8, 384  # expressions that a person's shape is taken from, and pixels that landmarks are found in
_LOOK = 8  # something in front of the face is looked for in every so many frames, and then in all around


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a method makes of one frame, in the crop."""

    face: np.ndarray
    """float32 (S, S, 3)."""
    mask: np.ndarray
    """float32 (S, S)."""
    visible: np.ndarray | None
    """float32 (S, S): 0 where something is in front of the target's face; None for nothing."""
    shape: blending.FaceShape | None = None
    """Where the new face's own outline and brows lie in the crop, and whether it wears glasses; None where that is not
    known."""
    glasses: bool = False
    """Whether the target wears glasses."""


Painter = Callable[[list[media.Frame], dict[str, float]], dict[int, Drawn]]
"""Makes the new faces of a batch of frames, by frame index, and adds its busy time (s) to the stages' seconds."""


@torch.inference_mode()
def shape_of(model: SwapAutoencoder, source: int, backend: str) -> blending.FaceShape | None:
    """Where a person's outline and brows lie in what their decoder draws, and whether it draws glasses.

    The mean over a few remembered expressions.

    Args:
        model: Of a design that draws from expressions alone; None for others.
        source: Whose decoder.
        backend: Landmark backend.

    Returns:
        In crop pixels; None where no face is found in what is drawn.
    """
    if model.retargets < 1:
        return None
    device = model.seen.device
    measures = model.seen[source][:: max(1, len(model.seen[source]) // _SHOWN)]
    faces = model.swap(None, measures.to(device), source, 1.0)[0]
    side = model.settings.resolution
    scale = max(1, round(_LEGIBLE / side))
    outlines, brows, eyes, seen = [], [], [], []
    with contextlib.closing(open_backend(backend, max_faces=1, static=True)) as finder:
        for face in (faces.permute(0, 2, 3, 1).float().cpu().numpy().clip(0, 1) * 255).astype(np.uint8):
            large = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            found = finder.detect(large)
            if found:
                landmarks = (found[0][:, :2] + 0.5) / scale - 0.5
                outlines.append(regions.oval_polygon(landmarks))
                brows.append(regions.brow_polygons(landmarks))
                eyes.append(regions.region_polygons(landmarks)["eyes"])
                seen.append(face.astype(np.float32) / 255)
    if not outlines:
        return None
    mean_brows, mean_eyes = ([np.mean([each[i] for each in part], axis=0) for i in (0, 1)] for part in (brows, eyes))
    worn = blending.wears_glasses(seen, eyes)
    return blending.FaceShape(np.mean(outlines, axis=0), mean_brows, mean_eyes, worn)


@torch.inference_mode()
def draw(
    batch: list[media.Frame],
    plan: Plan,
    model: SwapAutoencoder,
    settings: RenderSettings,
    device: torch.device,
    seconds: dict[str, float],
    parser: FaceParser | None = None,
    shape: blending.FaceShape | None = None,
    glasses: bool = False,
) -> dict[int, Drawn]:
    """Faces and masks of a batch by frame index; ``shape`` is that of the source, ``glasses`` the target's."""
    started = time.perf_counter()
    size = model.settings.resolution
    chosen = [frame for frame in batch if frame.index in plan.matrices]
    if not chosen:
        return {}
    x = None
    retarget = model.retargets if settings.retarget is None else settings.retarget
    if settings.own or retarget < 1:  # otherwise the measures are all that is drawn from
        crops = np.stack([alignment.warp(frame.image, plan.matrices[frame.index], size) for frame in chosen])
        x = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float().div_(255)
        x = x.contiguous(memory_format=torch.channels_last)
    between = time.perf_counter()
    measures = torch.from_numpy(np.stack([plan.measures[frame.index] for frame in chosen])).to(device)
    faces, masks = _arrays(*model.swap(x, measures, settings.source, retarget))
    if settings.own:
        faces = crops.astype(np.float32) / 255
    seconds["align"] += between - started
    seconds["model"] += time.perf_counter() - between
    started = time.perf_counter()
    visible = _uncovered(chosen, plan, model, settings, device)
    if parser is not None:
        for frame in chosen:
            parsed = parser.inside(frame.image, plan.matrices[frame.index], size)
            visible[frame.index] = np.minimum(visible.get(frame.index, parsed), parsed)
    seconds["occlusion"] += time.perf_counter() - started
    return {
        frame.index: Drawn(face=faces[i], mask=masks[i], visible=visible.get(frame.index), shape=shape, glasses=glasses)
        for i, frame in enumerate(chosen)
    }


def _arrays(faces: torch.Tensor, masks: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(B, 3, S, S) and (B, 1, S, S) ► float32 (B, S, S, 3) and (B, S, S)."""
    return (
        faces.permute(0, 2, 3, 1).float().cpu().contiguous().numpy(),
        masks[:, 0].float().cpu().contiguous().numpy(),
    )


def _uncovered(
    chosen: list[media.Frame], plan: Plan, model: SwapAutoencoder, settings: RenderSettings, device: torch.device
) -> dict[int, np.ndarray]:
    """What can be seen of each face, float32 (S, S), by frame index; nothing where nothing covers any.

    The target's own decoder draws the face from the frame's code, and draws it bare, having never drawn it otherwise.
    """
    target = settings.target
    if target is None or not plan.bare or settings.blend.occlusion.strength == 0:
        return {}
    usual = model.usual[target].cpu().numpy()
    if usual.min() >= UNKNOWN:  # trained by a version that did not look how wrong it usually is
        return {}

    def look(frames: list[media.Frame]) -> dict[int, np.ndarray]:
        side = model.settings.resolution
        crops = np.stack([alignment.warp(frame.image, plan.matrices[frame.index], side) for frame in frames])
        seen = crops.astype(np.float32) / 255
        images = torch.from_numpy(seen).to(device).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        measures = torch.from_numpy(np.stack([plan.bare[frame.index] for frame in frames])).to(device)
        faces, masks = _arrays(*model(images, measures, target))
        return {
            frame.index: blending.visibility(seen[i], faces[i], masks[i], settings.blend.occlusion, usual)
            for i, frame in enumerate(frames)
        }

    sample = chosen[_LOOK - 1 :: _LOOK] or chosen[-1:]
    found = look(sample)
    if all(visible.min() == 1 for visible in found.values()):
        return {}
    rest = [frame for frame in chosen if frame.index not in found]
    return found | look(rest) if rest else found
