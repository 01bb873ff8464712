"""Frames of a clip, evenly spaced over the whole of it, whatever it is: a video, a picture, a folder of pictures."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file
from stress.data.layouts.checking import natural, regular, shown_path
from stress.data.layouts.clip import PICTURE_SUFFIXES, Clip

MAX_PIXELS = 2**26  # of a picture; the same as of a video's frame


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


def pictures_of(clip: Clip | Path, wanted: int) -> tuple[int, list[tuple[int, Path]]]:
    """How many frames a clip of pictures has, and number and file of up to ``wanted`` of them spread over it.

    Of a folder they are the pictures in the order of the numbers in their names, or those that the clip lists.
    """
    path, listed = (clip.path, clip.frames) if isinstance(clip, Clip) else (clip, ())
    if not path.is_dir():
        return 1, [(0, path)]
    names = listed or sorted(
        (item.name for item in path.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES and item.name[0] != "."),
        key=natural,
    )
    return len(names), [(number, path / names[number]) for number in evenly_spaced(len(names), wanted)]


def content_hash(clip: Clip) -> str:
    """SHA-256 of a clip's file, or over those of all its pictures in their order.

    Raises:
        UserError: A file is missing, or is none.
    """
    if not clip.path.is_dir():
        return file_hash(clip.path)
    pictures = pictures_of(clip, sys.maxsize)[1]
    return hashlib.sha256("".join(file_hash(path) for _, path in pictures).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a regular file, computed once as long as its size and its time of change stay what they are.

    Raises:
        UserError: It is missing, or none.
    """
    if not regular(path):
        raise UserError(f"{shown_path(path)} is missing.")
    found = path.stat()
    return hash_of_state(path.absolute(), found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


@lru_cache(maxsize=1 << 18)
def hash_of_state(path: Path, *state: int) -> str:
    """SHA-256 of a file in a state: inode, times of change in ns, size. A changed file has another."""
    return sha256_file(path)


def is_pictures(path: Path) -> bool:
    """Whether a clip is a picture or a folder of pictures rather than a video."""
    return path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES


def sample_frames(clip: Clip | Path, wanted: int, *, threads: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield ``(frame number, uint8 RGB image)`` for up to ``wanted`` frames spread over a clip.

    Args:
        clip: A clip, or its path: a video, a picture (one frame), or a folder of pictures.
        wanted: How many frames.
        threads: That decode a video; 0 for as many as there are cores, which costs more work but less time.

    Raises:
        UserError: Nothing can be decoded; a picture is none, or of more than ``MAX_PIXELS``.
    """
    path = clip.path if isinstance(clip, Clip) else clip
    if is_pictures(path):
        for number, picture in pictures_of(clip, wanted)[1]:
            yield number, _read_picture(picture)
    else:
        yield from _sample_video(path, wanted, threads)


def _sample_video(path: Path, wanted: int, threads: int) -> Iterator[tuple[int, np.ndarray]]:
    from faceswap_hq.media import probe, read_frames

    info = probe(path)
    declared = info.frames or (round(info.duration * float(info.rate)) if info.duration else 0)
    got = 0
    if declared:
        for frame in read_frames(info, indices=evenly_spaced(declared, wanted), threads=threads):
            got += 1
            yield frame.index, frame.image
    if got:
        return
    # The declared length is wrong or missing (a cut-off file): count what is really there.
    count = sum(1 for _ in read_frames(info, threads=threads))
    if count == 0:
        raise UserError(f"{path}: no frame can be decoded.")
    for frame in read_frames(info, indices=evenly_spaced(count, wanted), threads=threads):
        yield frame.index, frame.image


def _read_picture(path: Path) -> np.ndarray:
    from PIL import ImageOps
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    where = shown_path(path)
    if not regular(path):
        raise UserError(f"{where} is missing.")
    try:
        with path.open("rb") as stream:
            kind = PngImageFile if stream.read(8) == b"\x89PNG\r\n\x1a\n" else JpegImageFile
            stream.seek(0)
            with kind(stream) as picture:  # reads the header only
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise UserError(f"{where} has {width} x {height} pixels; more than {MAX_PIXELS:,} are not read.")
                return np.ascontiguousarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        reason = str(error).strip(" .") or type(error).__name__
        raise UserError(f"{where} is not a picture that can be decoded: {reason}.") from error
