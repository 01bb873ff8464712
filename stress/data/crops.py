"""Faces cut out of clips: evenly spaced frames, one face each, at the size and margin a detector's card asks for."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file, write_bytes
from faceswap_hq.places import cache_dir
from stress.data.layouts import PICTURE_SUFFIXES, Clip

DEFAULT_FRAMES = 16
_CACHE_VERSION = 1
_MAX_PIXELS = 100_000_000


class CropSettings(Protocol):
    """What of a detector's card decides how a face is cut out."""

    @property
    def input_size(self) -> int:
        """Side of the crop in pixels."""

    @property
    def crop_margin(self) -> float:
        """Side of the crop as a multiple of the longer side of the box around all landmarks."""

    @property
    def alignment(self) -> str:
        """``"box"``: upright square; ``"aligned"``: turned by a similarity so that the face stands upright."""


@dataclass(frozen=True, kw_only=True)
class Crops:
    """The faces of one clip.

    Args:
        clip: Where they come from.
        frames: (n,) frame numbers, ascending, n >= 1.
        images: (n, S, S, 3) uint8 RGB.
    """

    clip: Clip
    frames: np.ndarray
    images: np.ndarray

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise ValueError(f"crops are uint8 (n, S, S, 3), not {self.images.dtype} {shape}")
        if len(self.frames) != shape[0] or shape[0] == 0:
            raise ValueError(f"{len(self.frames)} frame numbers for {shape[0]} crops")


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A clip that could not be used, and why."""

    clip: Clip
    reason: str


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` frame numbers spread evenly over ``count`` frames: the middles of equal stretches.

    >>> evenly_spaced(10, 5)
    [1, 3, 5, 7, 9]
    >>> evenly_spaced(3, 16)
    [0, 1, 2]
    """
    if wanted < 1:
        raise ValueError(f"at least one frame a clip is needed, not {wanted}")
    wanted = min(wanted, count)
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]


def crop_clips(
    clips: Sequence[Clip],
    card: CropSettings,
    frames_per_clip: int = DEFAULT_FRAMES,
    progress: Callable[..., None] | None = None,
) -> tuple[list[Crops], list[Excluded]]:
    """Cut the faces out of clips; a second call with the same files and settings reads them from the cache.

    The cache lies in ``places.cache_dir()/crops`` under a hash of the file's content and of every setting that
    matters. A clip in which no face is found, or which cannot be decoded, is excluded with its reason.

    Args:
        clips: Clips to read.
        card: Detector's card, or anything with its ``input_size``, ``crop_margin`` and ``alignment``.
        frames_per_clip: Frames to take from each clip, spread over its whole length.
        progress: Called once after every clip.

    Returns:
        Crops of the usable clips in the order given, and the excluded clips.
    """
    from faceswap_hq.faces.landmarks import open_backend

    used: list[Crops] = []
    excluded: list[Excluded] = []
    with contextlib.ExitStack() as stack:
        detect: Callable[[np.ndarray], list[np.ndarray]] | None = None
        for clip in clips:
            try:
                cached = _cache_file(clip, card, frames_per_clip)
                found = _read_cache(cached, card.input_size)
                if found is None:
                    if detect is None:
                        backend = open_backend(static=True)
                        stack.callback(backend.close)
                        detect = backend.detect
                    found = _crop(clip, card, frames_per_clip, detect)
                    _write_cache(cached, *found)
                frames, images = found
                if len(frames):
                    used.append(Crops(clip=clip, frames=frames, images=images))
                else:
                    excluded.append(Excluded(clip=clip, reason="no face found in the frames looked at"))
            except UserError as error:
                excluded.append(Excluded(clip=clip, reason=error.message))
            except (FileNotFoundError, PermissionError) as error:
                excluded.append(Excluded(clip=clip, reason=f"{clip.path} cannot be read: {error.strerror}."))
            if progress is not None:
                progress()
    return used, excluded


def _crop(
    clip: Clip, card: CropSettings, frames_per_clip: int, detect: Callable[[np.ndarray], list[np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    frames, images = [], []
    for number, image in sample_frames(clip.path, frames_per_clip):
        faces = detect(image)
        if faces:
            images.append(crop_face(image, max(faces, key=_side), card))
            frames.append(number)
    size = card.input_size
    stacked = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    return np.asarray(frames, np.int64), stacked


# ----------------------------------------------------------------------------------------------------------- frames


def sample_frames(path: Path, wanted: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield ``(frame number, uint8 RGB image)`` for up to ``wanted`` frames spread over a clip.

    Args:
        path: A video, a picture (one frame), or a folder of pictures (frames in the order of their names).
        wanted: How many frames.

    Raises:
        UserError: Nothing can be decoded.
    """
    if path.is_dir():
        pictures = sorted(item for item in path.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES)
        for number in evenly_spaced(len(pictures), wanted):
            yield number, _read_picture(pictures[number])
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        yield 0, _read_picture(path)
    else:
        yield from _sample_video(path, wanted)


def _sample_video(path: Path, wanted: int) -> Iterator[tuple[int, np.ndarray]]:
    from faceswap_hq.media import probe, read_frames

    info = probe(path)
    declared = info.frames or (round(info.duration * float(info.rate)) if info.duration else 0)
    got = 0
    if declared:
        for frame in read_frames(path, indices=evenly_spaced(declared, wanted)):
            got += 1
            yield frame.index, frame.image
    if got:
        return
    # The declared length is wrong or missing (a cut-off file): count what is really there.
    count = sum(1 for _ in read_frames(path))
    if count == 0:
        raise UserError(f"{path}: no frame can be decoded.")
    for frame in read_frames(path, indices=evenly_spaced(count, wanted)):
        yield frame.index, frame.image


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                raise UserError(f"{path} has {width} x {height} pixels; more than {_MAX_PIXELS:,} are not read.")
            return np.ascontiguousarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a picture that can be decoded: {str(error).rstrip('.')}.") from error


# ------------------------------------------------------------------------------------------------------------ faces


def _side(landmarks: np.ndarray) -> float:
    return float(np.ptp(landmarks[:, :2], axis=0).max())


def crop_face(image: np.ndarray, landmarks: np.ndarray, card: CropSettings) -> np.ndarray:
    """Cut one face out of a picture.

    An upright crop falls on whole pixels, so that shrinking by area is the only resampling; what lies outside the
    picture repeats its edge.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (points, 2 or 3) in pixels of ``image``.
        card: Size, margin and alignment; the margin multiplies the longer side of the box around all landmarks, a box
            that is turned with the face when the alignment is ``"aligned"``.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    if card.alignment == "aligned":
        image, points = _turn_upright(image, points, landmarks, card.crop_margin)
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(2, round(float((high - low).max()) * card.crop_margin))
    left, top = (round(float(value)) for value in (low + high) / 2 - side / 2)
    face = _window(image, left, top, side)
    shrinking = side >= card.input_size
    return cv2.resize(face, (card.input_size,) * 2, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def _turn_upright(
    image: np.ndarray, points: np.ndarray, landmarks: np.ndarray, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """The surroundings of the face, turned so that it stands upright (same scale), and the points there."""
    from faceswap_hq.faces.alignment import crop_matrix

    matrix = crop_matrix(np.asarray(landmarks, np.float32), 256)[:, :2].astype(np.float64)
    turn = matrix / np.sqrt(abs(np.linalg.det(matrix)))
    turned = points @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = int(np.ceil((high - low).max() * margin)) + 4
    shift = side / 2 - (low + high) / 2
    affine = np.concatenate([turn, shift[:, None]], axis=1)
    picture = cv2.warpAffine(image, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture, turned + shift


def _window(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return image[rows[:, None], columns]


# ------------------------------------------------------------------------------------------------------------ cache


def _cache_file(clip: Clip, card: CropSettings, frames_per_clip: int) -> Path:
    settings = {
        "version": _CACHE_VERSION,
        "content": _content(clip.path),
        "frames": frames_per_clip,
        "size": card.input_size,
        "margin": card.crop_margin,
        "alignment": card.alignment,
    }
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "crops" / name[:2] / f"{name}.npz"


def _content(path: Path) -> str:
    if not path.is_dir():
        return sha256_file(path)
    pictures = sorted(item for item in path.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES)
    return hashlib.sha256("".join(sha256_file(item) for item in pictures).encode()).hexdigest()


def _read_cache(path: Path, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """What the cache holds, or None when it holds nothing or something damaged (which is then made anew)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            frames, picture = stored["frames"], stored["picture"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if len(frames) == 0:
        return frames, np.zeros((0, size, size, 3), np.uint8)
    column = cv2.imdecode(picture, cv2.IMREAD_COLOR)
    if column is None or column.shape != (len(frames) * size, size, 3):
        return None
    return frames, cv2.cvtColor(column, cv2.COLOR_BGR2RGB).reshape(-1, size, size, 3)


def _write_cache(path: Path, frames: np.ndarray, images: np.ndarray) -> None:
    """The crops of a clip as one tall PNG (lossless) beside their frame numbers."""
    size = images.shape[1]
    picture = np.zeros(0, np.uint8)
    if len(frames):
        column = cv2.cvtColor(images.reshape(-1, size, 3), cv2.COLOR_RGB2BGR)
        picture = cv2.imencode(".png", column, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    buffer = io.BytesIO()
    np.savez(buffer, frames=frames, picture=picture)
    write_bytes(path, buffer.getvalue())
