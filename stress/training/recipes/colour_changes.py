"""Elementary changes of a picture's colours and sharpness, as augmentation libraries define them.

Levels between two grey levels are cut off, not rounded, which is what the tables of albumentations 1.x do, the library
that the code published for Self-Blended Images uses (it names no version).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Change = Callable[[np.ndarray], np.ndarray]
"""From (H, W, 3) uint8 RGB to the same."""


def apply(changes: Sequence[Change], image: np.ndarray) -> np.ndarray:
    """One change after the other.

    Args:
        changes: What to do.
        image: (H, W, 3) uint8 RGB; not changed.
    """
    for change in changes:
        image = change(image)
    return image


def shift_rgb(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Add to each channel.

    Args:
        image: (H, W, 3) uint8 RGB.
        shifts: (3,) grey levels.
    """
    return cv2.LUT(image, _table(np.arange(256)[:, None] + np.asarray(shifts, np.float64)))


def shift_hsv(image: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    """Add to hue, saturation and value.

    Args:
        image: (H, W, 3) uint8 RGB.
        hue: In steps of two degrees, of which the circle has 180.
        saturation: Of 255.
        value: Of 255.
    """
    levels = np.arange(256, dtype=np.float64)
    table = _table(np.stack([np.mod(levels + hue, 180), levels + saturation, levels + value], axis=1))
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)


def brightness_contrast(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """``(1 + contrast) x + brightness``, x in [0, 1].

    Args:
        image: (H, W, 3) uint8 RGB.
        brightness: Added, as a share of white.
        contrast: Change of the gain.
    """
    return cv2.LUT(image, _table(np.arange(256) * (1 + contrast) + 255 * brightness))


def coarsen(image: np.ndarray, factor: int) -> np.ndarray:
    """Keep every ``factor``-th pixel of every ``factor``-th row, and interpolate linearly between them.

    Args:
        image: (H, W, 3) uint8 RGB.
        factor: A whole number.
    """
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def sharpen(image: np.ndarray, alpha: float, lightness: float) -> np.ndarray:
    """Mix a picture with what a 3 x 3 kernel of -1 around 8 + ``lightness`` makes of it.

    A flat area keeps ``1 - alpha + alpha * lightness`` of its brightness.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: Share of what the kernel makes, in [0, 1].
        lightness: Sum of the kernel.
    """
    kernel = np.full((3, 3), -alpha, np.float32)
    kernel[1, 1] = 1 - alpha + alpha * (8 + lightness)
    return cv2.filter2D(image, -1, kernel)


def _table(values: np.ndarray) -> np.ndarray:
    """A look-up table for cv2.LUT of (256,) or, by channel, (256, 3) levels."""
    return np.clip(values, 0, 255).astype(np.uint8).reshape(256, 1, -1).squeeze()[:, None]
