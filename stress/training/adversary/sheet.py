"""A contact sheet: rows of small pictures, each under its title."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SMALLEST = 96
_MOST = 8


def sheet(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Draw rows of pictures.

    Args:
        rows: Title, and (n, S, S, 3) uint8 RGB; the first 8 are shown, small ones enlarged by a whole factor.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    side = rows[0][1].shape[1]
    factor = max(1, -(-_SMALLEST // side))
    width = factor * side * min(_MOST, max(len(pictures) for _, pictures in rows))
    strips = []
    for title, pictures in rows:
        header = np.full((18, width, 3), 24, np.uint8)
        cv2.putText(header, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235,) * 3, 1, cv2.LINE_AA)
        strip = np.concatenate(pictures[:_MOST], axis=1).repeat(factor, axis=0).repeat(factor, axis=1)
        strips += [header, np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)))]
    return np.concatenate(strips)
