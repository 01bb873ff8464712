"""Exact masks of fakes that ``faceswap-hq render`` made: one PNG a swapped frame in ``masks/ID.zip``."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from stress.data.frames import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

ReadMask = Callable[[int, tuple[int, ...]], np.ndarray]
"""From a frame's number and shape to its mask, (H, W) uint8, 255 where it is all fake."""


@contextlib.contextmanager
def open_masks(path: Path) -> Iterator[ReadMask]:
    """Give a function that reads the mask of one frame; a frame without one was left as it was, so it is all zero.

    Args:
        path: The archive.

    Raises:
        UserError: It is none, or damaged, or holds something other than masks of the frames' size.
    """
    try:
        archive = zipfile.ZipFile(path)
        names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is not an archive of masks: {error}.", _AGAIN) from None

    def read(number: int, shape: tuple[int, ...]) -> np.ndarray:
        name, size = f"{number:06d}.png", (int(shape[0]), int(shape[1]))
        if name not in names:
            return np.zeros(size, np.uint8)
        try:
            if archive.getinfo(name).file_size > 2 * size[0] * size[1] + 4096:
                raise ValueError("it is larger than its pixels")
            return _decoded(archive.read(name), size)
        except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, cv2.error) as error:
            raise UserError(f"{path}: the mask {name} cannot be used: {error}.", _AGAIN) from None

    with archive:
        yield read


_AGAIN = "Render the fake again, or take the mask out of its manifest."


def _decoded(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """A PNG whose header says that it is of this size, before anything is unpacked."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if not data.startswith(_SIGNATURE) or (height, width) != size or width * height > MAX_PIXELS:
        raise ValueError(f"it is no PNG of {size[1]} x {size[0]} pixels, as the frame is")
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.shape != size:
        raise ValueError("it cannot be decoded")
    return mask
