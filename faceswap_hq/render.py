"""Video + model ► swapped video, frame by frame, holding a bounded number of frames."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import blending
from blending import BlendSettings, BlendState
from faceswap_hq import media
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment, expression, regions
from faceswap_hq.faces.landmarks import open_backend
from faceswap_hq.faces.smoothing import smooth_matrices, steadied
from faceswap_hq.faces.tracking import ClipFaces, Person, follow
from faceswap_hq.model import SwapAutoencoder

BATCH = 8
"""Faces that go through the model at once; also what the pipeline holds between two stages."""

Advance = Callable[..., None]


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
    matrices: dict[int, np.ndarray]
    """Frame index ► float32 (2, 3), frame pixels to the model's crop."""
    polygons: dict[int, np.ndarray]
    """Frame index ► face points in frame pixels, whose hull limits the swap."""
    measures: dict[int, np.ndarray]
    """Frame index ► float32 (F,) calibrated pose and expression."""
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


def plan(
    video: Path, model: SwapAutoencoder, coverage: float, settings: RenderSettings, advance: Advance = lambda n=1: None
) -> Plan:
    """First pass: follow everybody, choose the person, steady the alignment.

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
    habits = model.calibration(settings.target) if settings.target is not None else expression.Calibration.fit(measured)
    calibrated = habits(measured)
    known = calibrated if settings.target is None else model.seen[settings.target].cpu().numpy()
    calibrated = model.adapted(calibrated, known, settings.source)
    matrices, polygons, brows, measures, too_small = {}, {}, {}, {}, 0
    for frame, landmarks, matrix, numbers in zip(person.frames, person.landmarks, steady, calibrated, strict=True):
        if np.ptp(landmarks[:, 1]) < settings.min_size:
            too_small += 1
            continue
        matrices[int(frame)] = alignment.scaled(matrix, side, model.settings.resolution, coverage)
        measures[int(frame)] = numbers
        polygons[int(frame)] = regions.oval_polygon(landmarks)
        brows[int(frame)] = regions.brow_polygons(landmarks)
    if not matrices:
        raise UserError(
            f"{video}: the face is lower than {settings.min_size} pixels in all {too_small} frames that show it.",
            "There is nothing to swap in this clip.",
        )
    new = frozenset(breaks | {b for a, b in itertools.pairwise(matrices) if b - a > 1})
    return Plan(
        info=info, faces=faces, person=person, matrices=matrices, measures=measures, polygons=polygons, brows=brows,
        new=new,
        start=start, stop=int(faces.frames[-1]) + 1, whole=settings.frames is None, too_small=too_small, damage=damage,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """One finished frame."""

    frame: media.Frame
    """The frame as it was."""
    image: np.ndarray
    """uint8 (H, W, 3), RGB; the very array of ``frame`` where nothing was swapped."""
    face: np.ndarray | None
    """The model's raw face, float32 (S, S, 3), where one was swapped."""


def swapped_frames(
    plan: Plan,
    model: SwapAutoencoder,
    settings: RenderSettings,
    *,
    device: torch.device | None = None,
    seconds: dict[str, float] | None = None,
    indices: list[int] | None = None,
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
    """
    device = device or next(model.parameters()).device
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
            with _few_torch_threads():
                drawn = _draw(batch, plan, model, settings, device, seconds)
            preparing = [future for future in preparing if not future.done()]
            for frame in batch:
                if frame.index not in drawn:
                    waiting.append(second.submit(Swapped, frame=frame, image=frame.image, face=None))
                    continue
                preparing.append(first.submit(_prepare, frame, drawn[frame.index], plan, settings, state, seconds))
                waiting.append(second.submit(_finish, frame, drawn[frame.index][0], preparing[-1], seconds))
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


def _advancing(frames: Iterable[media.Frame], advance: Advance) -> Iterator[media.Frame]:
    for frame in frames:
        yield frame
        advance(1)


@torch.inference_mode()
def _draw(
    batch: list[media.Frame],
    plan: Plan,
    model: SwapAutoencoder,
    settings: RenderSettings,
    device: torch.device,
    seconds: dict[str, float],
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Faces and masks of a batch by frame index: float32 (S, S, 3) and (S, S)."""
    started = time.perf_counter()
    size = model.settings.resolution
    chosen = [frame for frame in batch if frame.index in plan.matrices]
    if not chosen:
        return {}
    x = None
    retarget = model.retargets if settings.retarget is None else settings.retarget
    if retarget < 1:  # otherwise the measures are all that is drawn from
        crops = np.stack([alignment.warp(frame.image, plan.matrices[frame.index], size) for frame in chosen])
        x = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float().div_(255)
        x = x.contiguous(memory_format=torch.channels_last)
    between = time.perf_counter()
    measures = torch.from_numpy(np.stack([plan.measures[frame.index] for frame in chosen])).to(device)
    faces, masks = model.swap(x, measures, settings.source, retarget)
    faces_np = faces.permute(0, 2, 3, 1).float().cpu().contiguous().numpy()
    masks_np = masks[:, 0].float().cpu().contiguous().numpy()
    seconds["align"] += between - started
    seconds["model"] += time.perf_counter() - between
    return {frame.index: (faces_np[i], masks_np[i]) for i, frame in enumerate(chosen)}


def _prepare(
    frame: media.Frame,
    drawn: tuple[np.ndarray, np.ndarray],
    plan: Plan,
    settings: RenderSettings,
    state: BlendState,
    seconds: dict[str, float],
) -> blending.Prepared:
    started = time.perf_counter()
    if frame.index in plan.new:
        state.reset()
    face, mask = drawn
    prepared = blending.prepare(
        frame.image, face, mask, plan.matrices[frame.index],
        polygon=plan.polygons[frame.index], cover=plan.brows[frame.index], settings=settings.blend, state=state,
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
    return Swapped(frame=frame, image=result.image, face=face)


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
        compare: The fake file shows original and swap side by side.
        advance: Called for every frame.
        seconds: Busy time so far.
    """
    seconds = seconds if seconds is not None else defaultdict(float)
    info = plan.info
    part = None if plan.whole else (plan.start, plan.stop)
    like = replace(info, width=2 * info.width) if compare else info
    sound = info.path if info.has_audio else None
    written = swapped = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(media.VideoWriter(fake, like=like, audio_from=sound, frames=part))
        control = None
        if real is not None:
            control = stack.enter_context(media.VideoWriter(real, like=info, audio_from=sound, frames=part))
        for item in frames:
            started = time.perf_counter()
            image = np.concatenate([item.frame.image, item.image], axis=1) if compare else item.image
            writer.write(image, item.frame.pts)
            if control is not None:
                control.write(item.frame.image, item.frame.pts)
            seconds["hand to encoder"] += time.perf_counter() - started
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
