"""The rotation flag: what it says, and turning frames by it."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from av.video.frame import VideoFrame


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """How to turn a stored frame upright, from its display matrix.

    The matrix ``[a b u; c d v; x y w]`` maps (p, q) to (a p + c q + x, b p + d q + y), y pointing down (ISO/IEC
    14496-12, 8.3.2). With an optional left-right flip and then a clockwise turn by t, (c, d) = (-sin t, cos t).

    Returns:
        (degrees clockwise in {0, 90, 180, 270}, flipped left-right before the turn). Other angles are rounded.
    """
    side_data: Any = frame.side_data
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    if not (c or d):
        return 0, False
    turns = round(math.atan2(-c, d) / (math.pi / 2)) % 4
    return turns * 90, a * d - b * c < 0


def turned(image: np.ndarray, rotation: int, *, mirror_first: bool = False, mirror_last: bool = False) -> np.ndarray:
    """Turn an image clockwise by a multiple of 90 degrees, flipping it left-right before or after that.

    Args:
        image: (H, W, 3).
        rotation: 0, 90, 180 or 270.
        mirror_first: Flip before the turn.
        mirror_last: Flip after the turn.

    Returns:
        The image itself where nothing is to be done, a C-contiguous copy otherwise.
    """
    if not (rotation or mirror_first or mirror_last):
        return image
    import cv2

    if mirror_first:
        image = cv2.flip(image, 1)
    if rotation:
        codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        image = cv2.rotate(image, codes[rotation])
    return cv2.flip(image, 1) if mirror_last else image
