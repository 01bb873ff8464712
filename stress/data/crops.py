"""Faces cut out of clips: evenly spaced frames, one person each, at the size and margin a detector's card asks for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from faceswap_hq.errors import UserError
from stress.data.crop_cache import Cut, cache_file, read_cache, write_cache
from stress.data.faces import CropSettings, crop_face, crop_face_and_points, large_faces, same_person
from stress.data.frames import evenly_spaced, sample_frames
from stress.data.layouts.clip import Clip
from stress.data.masks import open_masks

__all__ = [
    "DEFAULT_FRAMES",
    "CropSettings",
    "Crops",
    "Excluded",
    "Finders",
    "crop_clips",
    "crop_face",
    "evenly_spaced",
    "sample_frames",
    "stream_crops",
]

DEFAULT_FRAMES = 16
FACES = ("followed", "large")
_MAX_WORKERS = 8

Detect = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Crops:
    """The faces of one clip.

    Args:
        clip: Where they come from.
        frames: (n,) frame numbers, ascending, n >= 1; one occurs as often as faces of it are here.
        images: (n, S, S, 3) uint8 RGB.
        missed: Frames looked at in which no face was found; they are not among the n.
        several: Frames of the n that showed more than one face.
        landmarks: (n, points, 2) float32 in pixels of the crops, or None where they are not known.
        masks: (n, S, S) uint8, how much of every pixel is forged (255 = all of it); None where that is not known. A
            real has none: nothing of it is forged.
    """

    clip: Clip
    frames: np.ndarray
    images: np.ndarray
    missed: int = 0
    several: int = 0
    landmarks: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise ValueError(f"crops are uint8 (n, S, S, 3), not {self.images.dtype} {shape}")
        if len(self.frames) != shape[0] or shape[0] == 0:
            raise ValueError(f"{len(self.frames)} frame numbers for {shape[0]} crops")
        if self.landmarks is not None and (self.landmarks.ndim != 3 or len(self.landmarks) != shape[0]):
            raise ValueError(f"landmarks of {shape[0]} crops are (n, points, 2), not {self.landmarks.shape}")
        if self.masks is not None and (self.masks.dtype != np.uint8 or self.masks.shape != shape[:3]):
            raise ValueError(f"masks of these crops are uint8 {shape[:3]}, not {self.masks.dtype} {self.masks.shape}")


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A clip that could not be used, and why."""

    clip: Clip
    reason: str


def crop_clips(
    clips: Sequence[Clip],
    card: CropSettings,
    frames_per_clip: int = DEFAULT_FRAMES,
    progress: Callable[..., None] | None = None,
) -> tuple[list[Crops], list[Excluded]]:
    """Cut the faces out of clips; a second call with the same files and settings reads them from the cache.

    Args:
        clips: Clips to read.
        card: Detector's card, or anything with its ``input_size``, ``crop_margin`` and ``alignment``.
        frames_per_clip: Frames to take from each clip, spread over its whole length.
        progress: Called once after every clip.

    Returns:
        Crops of the usable clips in the order given, and the excluded clips: those in which no face is found, or which
        cannot be decoded.
    """
    used: list[Crops] = []
    excluded: list[Excluded] = []
    with contextlib.closing(stream_crops(clips, card, frames_per_clip)) as stream:
        for item in stream:
            if isinstance(item, Crops):
                used.append(item)
            else:
                excluded.append(item)
            if progress is not None:
                progress()
    return used, excluded


def stream_crops(
    clips: Iterable[Clip],
    card: CropSettings,
    frames_per_clip: int = DEFAULT_FRAMES,
    *,
    workers: int | None = None,
    faces: str = "followed",
) -> Generator[Crops | Excluded, None, None]:
    """Cut faces out of clips in the background, a few clips ahead of whoever takes them.

    Threads do for it: decoding, finding faces and resampling release Python's lock. No more than two clips a worker are
    in memory, however many there are. The cache lies in ``places.cache_dir()/crops``. Whatever goes wrong in the
    background other than a clip being unusable is raised where the clips are taken. Closing the generator (or Ctrl-C in
    the loop over it, or leaving the loop) stops the threads.

    Args:
        clips: Clips to read.
        card: As for :func:`crop_clips`.
        frames_per_clip: Frames to take from each clip, spread over its whole length.
        workers: Clips worked on at a time; None takes twice the number of cores, at most 8.
        faces: ``followed``: one person's, through the clip; ``large``: in each frame all whose box has at least half
            the area of the largest one's.

    Yields:
        For every clip, in the order given, its faces or why it has none.

    Raises:
        ValueError: ``faces`` is something else.
    """
    if faces not in FACES:
        raise ValueError(f"faces is {' or '.join(FACES)}, not {faces!r}")
    workers = workers or min(2 * _cores(), _MAX_WORKERS)  # a thread waits for its finder at times
    finders = Finders()
    stop = threading.Event()
    waiting: deque[Future[Crops | Excluded]] = deque()
    pool = ThreadPoolExecutor(workers, "stress crops")
    try:
        for clip in clips:
            waiting.append(pool.submit(_crops, clip, card, frames_per_clip, finders.detect, stop, faces))
            while len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        finders.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Finders:
    """A face finder for each thread, opened when it is first needed and closed together with the others."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._lock = threading.Lock()
        self._open: list[Callable[[], None]] = []

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """Landmarks (points, 3) of every face in a uint8 (H, W, 3) RGB picture, by this thread's finder."""
        if not hasattr(self._own, "detect"):
            from faceswap_hq.faces.landmarks import open_backend

            with self._lock:
                backend = open_backend(static=True)
                self._open.append(backend.close)
            self._own.detect = backend.detect
        found: list[np.ndarray] = self._own.detect(image)
        return found

    def close(self) -> None:
        """Give back the memory of all of them; no thread may ask again."""
        for close in self._open:
            close()


def _crops(
    clip: Clip, card: CropSettings, frames_per_clip: int, detect: Detect, stop: threading.Event, faces: str
) -> Crops | Excluded:
    try:
        cached = cache_file(clip, card, frames_per_clip, faces)
        cut = read_cache(cached, card.input_size)
        if cut is None:
            cut = _cut(clip, card, frames_per_clip, detect, stop, faces)
            if not stop.is_set():
                write_cache(cached, cut)
    except UserError as error:
        return Excluded(clip=clip, reason=error.message)
    except OSError as error:
        return Excluded(clip=clip, reason=f"{clip.path} cannot be read: {error.strerror}.")
    if not len(cut.frames):
        return Excluded(clip=clip, reason="no face found in the frames looked at")
    return Crops(
        clip=clip, frames=cut.frames, images=cut.images, missed=cut.missed, several=cut.several,
        landmarks=cut.landmarks, masks=cut.masks,
    )  # fmt: skip


def _cut(
    clip: Clip, card: CropSettings, frames_per_clip: int, detect: Detect, stop: threading.Event, whose: str
) -> Cut:
    frames, images, landmarks, masks = [], [], [], []
    missed = several = 0
    before: np.ndarray | None = None
    with contextlib.ExitStack() as stack:
        mask_of = None if clip.mask is None else stack.enter_context(open_masks(clip.mask))
        for number, image in sample_frames(clip, frames_per_clip, threads=1):  # other clips have the other cores
            if stop.is_set():
                break
            faces = detect(image)
            if not faces:
                missed += 1
                continue
            several += len(faces) > 1
            before = same_person(faces, before)
            mask = None if mask_of is None else mask_of(number, image.shape)
            for face in [before] if whose == "followed" else large_faces(faces):
                picture, points = crop_face_and_points(image, face, card)
                images.append(picture)
                landmarks.append(points)
                frames.append(number)
                if mask is not None:
                    masks.append(crop_face(mask, face, card))
    size = card.input_size
    stacked = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    return Cut(
        frames=np.asarray(frames, np.int64),
        images=stacked,
        landmarks=np.stack(landmarks) if landmarks else np.zeros((0, 0, 2), np.float32),
        missed=missed,
        several=several,
        masks=np.stack(masks) if masks else None,
    )
