"""First pass over a video: which faces are to be swapped, where, and doing what."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blending import BlendSettings
from faceswap_hq import media
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment, expression, regions
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.faces.smoothing import smooth_matrices, steadied
from faceswap_hq.faces.tracking import ClipFaces, Person, follow
from faceswap_hq.model import SwapAutoencoder

Advance = Callable[..., None]
"""Called with the number of frames that are done since."""


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """How a face is put onto a person."""

    source: int = 0
    """Decoder whose face is put in."""
    target: int | None = None
    """Number of the model's person whom the video shows; None for somebody else, whose habits the clip must tell."""
    person: int = 1
    """Which person of the clip, 1 being the one seen longest."""
    frames: tuple[int, int] | None = None
    """(start, stop) frame indices; None for the whole clip."""
    retarget: float | None = None
    """1: the face does what the source was seen doing that comes nearest; 0: what the target's own code says."""
    blend: BlendSettings = field(default_factory=BlendSettings)
    backend: str = "mediapipe"
    min_size: int = 32
    """Faces lower than this in the frame (pixels) are left as they are, and counted."""
    seed: int = 0
    """Seed of the added sensor noise."""
    own: bool = False
    """Put the frame's own face back instead of another's, under the mask that the other's would have had: a control."""

    def __post_init__(self) -> None:
        if self.retarget is not None and not 0 <= self.retarget <= 1:
            raise UserError("retarget lies between 0 and 1.")
        if self.person < 1:
            raise UserError("People are counted from 1.")
        if self.frames is not None and not 0 <= self.frames[0] < self.frames[1]:
            raise UserError(f"The frame range {self.frames[0]}:{self.frames[1]} is empty.", "Give --frames START:STOP.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which faces of a clip are to be swapped, found in a first pass."""

    info: media.VideoInfo
    faces: ClipFaces
    person: Person
    size: int
    """Side of the crop that faces are drawn in, pixels."""
    matrices: dict[int, np.ndarray]
    """Frame index ► float32 (2, 3), frame pixels to that crop."""
    polygons: dict[int, np.ndarray]
    """Frame index ► face points in frame pixels, whose hull limits the swap."""
    measured: np.ndarray
    """float32 (N, F): pose and expression, steadied, in each of ``person.frames``; degrees and centimetres."""
    measures: dict[int, np.ndarray]
    """Frame index ► float32 (F,) calibrated pose and expression."""
    bare: dict[int, np.ndarray]
    """Frame index ► float32 (F,) measures from which the target's own decoder draws the face without what is in front
    of it; empty where the model does not know the target."""
    brows: dict[int, list[np.ndarray]]
    """Frame index ► the target's brows, which must not show through."""
    new: frozenset[int]
    """Frames at which temporal filters start anew."""
    start: int
    stop: int
    whole: bool
    """True unless a range of frames was asked for."""
    too_small: int
    damage: media.Damage


def plan(
    video: Path, model: SwapAutoencoder, coverage: float, settings: RenderSettings, advance: Advance = lambda n=1: None
) -> Plan:
    """First pass for a model: :func:`watch`, then :func:`aimed`.

    Raises:
        UserError: See :func:`watch`.
    """
    return aimed(watch(video, settings, model.settings.resolution, coverage, advance), model, settings)


def aimed(found: Plan, model: SwapAutoencoder, settings: RenderSettings) -> Plan:
    """What was found in a clip, with what the model's decoder is to be asked for."""
    habits = (
        model.calibration(settings.target)
        if settings.target is not None
        else expression.Calibration.fit(found.measured)
    )
    own = habits(found.measured)
    known = own if settings.target is None else model.seen[settings.target].cpu().numpy()
    adapted = model.adapted(own, known, settings.source)
    rows = [(int(frame), i) for i, frame in enumerate(found.person.frames) if int(frame) in found.matrices]
    return replace(
        found,
        measures={frame: adapted[i] for frame, i in rows},
        bare={} if settings.target is None else {frame: own[i] for frame, i in rows},
    )


def watch(
    video: Path, settings: RenderSettings, size: int, coverage: float, advance: Advance = lambda n=1: None
) -> Plan:
    """Follow everybody, choose the person, steady the alignment.

    Args:
        video: The clip.
        settings: Which person and frames.
        size: Side of the crop that faces are to be drawn in, pixels.
        coverage: Share of the aligned crop's side that it shows.
        advance: Called for every frame.

    Raises:
        UserError: If the video can't be used, shows no face, or has no such person or frames.
    """
    info = media.probe(video)
    start, stop = settings.frames or (0, None)
    damage = media.Damage()
    with (
        contextlib.closing(media.read_frames(info, start=start, stop=stop, damage=damage)) as frames,
        contextlib.closing(open_backend(settings.backend)) as backend,
    ):
        faces = follow(_advancing(frames, advance), backend)
    count = len(faces.times)
    if count == 0:
        raise UserError(
            f"{video} has no frame in the range asked for.",
            f"It has {info.frames} frames, counted from 0." if info.frames else "Give a range inside the clip.",
        )
    if not faces.people:
        raise UserError(f"{video}: no face found in {count} frames.", "There is nothing to swap in this clip.")
    if settings.person > len(faces.people):
        raise UserError(
            f"{video}: there is no person {settings.person}, only {len(faces.people)}.",
            "`faceswap-hq extract` on it writes a contact sheet of the people, with their numbers.",
        )
    person = faces.people[settings.person - 1]
    times = faces.times[np.searchsorted(faces.frames, person.frames)]
    breaks = set(faces.cuts) | {int(person.frames[i]) for i in person.track_starts}
    side = 256
    steady = smooth_matrices(person.landmarks, person.frames, times, breaks, side)
    measured = np.stack([expression.measured(landmarks) for landmarks in person.landmarks])
    breaks_at = breaks | {int(b) for a, b in itertools.pairwise(person.frames) if b - a > 1}
    measured = steadied(measured, np.isin(person.frames, list(breaks_at)))
    matrices, polygons, brows, too_small = {}, {}, {}, 0
    for frame, landmarks, matrix in zip(person.frames, person.landmarks, steady, strict=True):
        if np.ptp(landmarks[:, 1]) < settings.min_size:
            too_small += 1
            continue
        matrices[int(frame)] = alignment.scaled(matrix, side, size, coverage)
        polygons[int(frame)] = regions.oval_polygon(landmarks)
        brows[int(frame)] = regions.brow_polygons(landmarks)
    if not matrices:
        raise UserError(
            f"{video}: the face is lower than {settings.min_size} pixels in all {too_small} frames that show it.",
            "There is nothing to swap in this clip.",
        )
    new = frozenset(breaks | {b for a, b in itertools.pairwise(matrices) if b - a > 1})
    return Plan(
        info=info, faces=faces, person=person, size=size, matrices=matrices, polygons=polygons, measured=measured,
        measures={}, bare={}, brows=brows, new=new,
        start=start, stop=int(faces.frames[-1]) + 1, whole=settings.frames is None, too_small=too_small, damage=damage,
    )  # fmt: skip


def _advancing(frames: Iterable[media.Frame], advance: Advance) -> Iterator[media.Frame]:
    for frame in frames:
        yield frame
        advance(1)
