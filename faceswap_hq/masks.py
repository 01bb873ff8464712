"""The exact mask of a fake: how much of every pixel is the new face, one lossless picture a frame in one archive.

``masks/ID.zip`` holds ``000123.png`` for frame 123 of ``fakes/ID.mp4``: 8-bit grey at the frame's size, 255 where the
pixel is the new face's alone, 0 where the frame was left as it was. Frames that were passed through have no picture.
One file a fake, so that it is there whole or not at all and has one checksum, as the video has.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from blending import ComposeResult

_COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 6]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same mask is the same file, whenever it was made


class MaskWriter:
    """Writes the masks of one fake; to be used in a ``with`` statement.

    Args:
        path: The archive, made anew.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> MaskWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def write(self, number: int, mask: np.ndarray) -> None:
        """Add a frame's mask.

        Args:
            number: Of the frame in the fake, counted from 0.
            mask: (H, W) uint8.
        """
        png = cv2.imencode(".png", mask, _COMPRESSION)[1].tobytes()
        self._archive.writestr(zipfile.ZipInfo(name_of(number), _EPOCH), png)


def name_of(number: int) -> str:
    """Name of a frame's mask in the archive."""
    return f"{number:06d}.png"


def mask_of(blended: ComposeResult) -> np.ndarray:
    """Weight of the new face in every pixel of a finished frame, (H, W) uint8, rounded to 1/255."""
    mask = np.zeros(blended.image.shape[:2], np.uint8)
    left, top, right, bottom = blended.box
    mask[top:bottom, left:right] = np.rint(blended.alpha * 255)
    return mask
