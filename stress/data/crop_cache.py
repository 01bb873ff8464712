"""Crops on disk, found again by the content of a clip and by every setting that matters."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq.files import write_bytes
from faceswap_hq.places import cache_dir
from stress.data.faces import CropSettings
from stress.data.frames import file_hash, is_pictures, pictures_of
from stress.data.layouts.clip import Clip

VERSION = 4  # of what is cut out: 2 follows one person through a clip, 3 keeps the landmarks, 4 the exact masks


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What was cut out of a clip.

    Args:
        frames: (n,) int64 frame numbers, ascending; n may be 0.
        images: (n, S, S, 3) uint8 RGB.
        landmarks: (n, points, 2) float32, in pixels of the pictures.
        missed: Frames looked at in which there was no face.
        several: Frames of the n in which there was more than one.
        masks: (n, S, S) uint8, or None where they are not known.
    """

    frames: np.ndarray
    images: np.ndarray
    landmarks: np.ndarray
    missed: int
    several: int
    masks: np.ndarray | None = None


def cache_file(clip: Clip, card: CropSettings, frames_per_clip: int, faces: str = "followed") -> Path:
    """Where the crops of a clip are kept.

    Raises:
        UserError: The clip is missing or not made of regular files.
    """
    settings = {
        "version": [VERSION, *(version(name) for name in ("mediapipe", "av", "numpy")), cv2.__version__],
        "content": _content(clip, frames_per_clip),
        "frames": frames_per_clip,
        "size": card.input_size,
        "margin": card.crop_margin,
        "alignment": card.alignment,
        **({} if faces == "followed" else {"faces": faces}),
        "mask": None if clip.mask is None else file_hash(clip.mask),
    }
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "crops" / name[:2] / f"{name}.npz"


def _content(clip: Clip, wanted: int) -> str:
    """Of a folder of pictures: how many there are, and the content of those that are looked at."""
    if not is_pictures(clip.path):
        return file_hash(clip.path)
    count, pictures = pictures_of(clip, wanted)
    return hashlib.sha256(f"{count}".encode() + "".join(file_hash(path) for _, path in pictures).encode()).hexdigest()


def read_cache(path: Path, size: int) -> Cut | None:
    """What the cache holds, or None when it holds nothing or something damaged (which is then made anew)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            frames, picture, counts = stored["frames"], stored["picture"], stored["counts"]
            landmarks, mask = stored["landmarks"], stored["mask"]
        missed, several = (int(value) for value in counts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if len(frames) == 0:
        none = np.zeros((0, size, size, 3), np.uint8)
        return Cut(frames=frames, images=none, landmarks=landmarks, missed=missed, several=several)
    try:
        column = cv2.imdecode(picture, cv2.IMREAD_COLOR)
        masks = cv2.imdecode(mask, cv2.IMREAD_GRAYSCALE) if len(mask) else None
    except cv2.error:
        return None
    tall = (len(frames) * size, size)
    if column is None or column.shape != (*tall, 3) or len(landmarks) != len(frames):
        return None
    if len(mask) and (masks is None or masks.shape != tall):
        return None
    images = cv2.cvtColor(column, cv2.COLOR_BGR2RGB).reshape(-1, size, size, 3)
    masks = None if masks is None else masks.reshape(-1, size, size)
    return Cut(frames=frames, images=images, landmarks=landmarks, missed=missed, several=several, masks=masks)


def write_cache(path: Path, cut: Cut) -> None:
    """The crops of a clip as one tall picture beside their frame numbers, and so their masks.

    TIFF with OpenCV's default of LZW over differences is lossless and takes half the time of PNG, written or read.
    """
    size = cut.images.shape[1]
    picture = mask = np.zeros(0, np.uint8)
    if len(cut.frames):
        column = cv2.cvtColor(cut.images.reshape(-1, size, 3), cv2.COLOR_RGB2BGR)
        done, picture = cv2.imencode(".tiff", column)
        if not done:  # a picture may have a million rows: so many faces are cut out anew each time
            return
        if cut.masks is not None:
            mask = cv2.imencode(".png", cut.masks.reshape(-1, size), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    buffer = io.BytesIO()
    counts = np.array([cut.missed, cut.several])
    np.savez(buffer, frames=cut.frames, picture=picture, counts=counts, landmarks=cut.landmarks, mask=mask)
    write_bytes(path, buffer.getvalue())
