"""Sharpness: make the inside of the mask as sharp as its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.grain import COARSE, FINE, noise_sigma, sampling

Array = NDArray[Any]

_PROBE = 1.0  # sigma of the second blur, pixels
_MAX_BLUR = 4.0


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a camera did to a region.

    Attributes:
        blur: Standard deviation of the equivalent Gaussian blur of its edges, in pixels.
        noise: What a filter of direct neighbours sees of its noise, as a standard deviation in [0, 1] image units; of
            white noise, all of it.
        coarse: The same seen at every second pixel; see :mod:`blending.grain`.
    """

    blur: float
    noise: float
    coarse: float


def measure(image: Array, mask: Array) -> Detail:
    """Estimate blur and noise of the part of a picture under a mask.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        mask: (H, W) float32 in [0, 1]; above a half counts.

    Returns:
        The estimates; of an empty region zeros.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inside = cv2.erode((mask > 0.5).view(np.uint8), np.ones((3, 3), np.uint8))
    fine, coarse = (noise_sigma(grey, inside, spacing) for spacing in (FINE, COARSE))
    return Detail(blur=blur_sigma(grey, inside), noise=fine, coarse=coarse)


def blur_sigma(grey: Array, inside: Array) -> float:
    """Blur of the strongest edges, by blurring once more and looking at how much they lose.

    An edge of width s has a gradient in proportion to 1 / s; after another blur of width p, to 1 / sqrt(s^2 + p^2)
    (Zhuo and Sim, "Defocus map estimation from a single image", 2011).

    Args:
        grey: (H, W) float32.
        inside: (H, W) bool or uint8: where to look.

    Returns:
        Gaussian sigma in pixels, 0 to 4; 0 where there are no edges.
    """
    if min(grey.shape) < 3:
        return 0.0
    again = _blur(grey, _PROBE)
    step = sampling(inside)
    where = inside[1:-1:step, 1:-1:step] > 0
    after = _gradient(again, step)[where]
    if after.size < 64:
        return 0.0
    place = int(after.size * 0.95)
    strong = after >= np.partition(after, place)[place]
    before = _gradient(grey, step)[where]
    top, low = float(before[strong].sum()), float(after[strong].sum())
    if low <= 1e-12:
        return 0.0
    # Energies (squared gradients), so the ratio is already squared.
    ratio = top / low
    if ratio <= 1 + (_PROBE / _MAX_BLUR) ** 2:
        return _MAX_BLUR
    return float(_PROBE / np.sqrt(ratio - 1))


def _blur(image: Array, sigma: float) -> Array:
    """Gaussian blur with a kernel of three sigmas to each side."""
    side = 2 * int(np.ceil(3 * sigma)) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)


def _gradient(grey: Array, step: int) -> Array:
    """Squared gradient by central differences, at every ``step``-th pixel from the second on, borders left out."""
    across = grey[1:-1:step, 2::step] - grey[1:-1:step, :-2:step]
    down = grey[2::step, 1:-1:step] - grey[:-2:step, 1:-1:step]
    return np.square(across, out=across) + np.square(down, out=down)


def match_sharpness(image: Array, source: Detail, target: Detail, *, strength: float = 1.0) -> Array:
    """Blur or sharpen a picture until its edges are as wide as the target's.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        source: Measured on the picture.
        target: Measured on what it is to look like.
        strength: 0 (unchanged) to 1.

    Returns:
        (H, W, 3) float32 in [0, 1]; the picture itself where nothing is to be done.
    """
    if source.blur <= 0 or target.blur <= 0 or strength <= 0:
        return image
    if target.blur > source.blur:
        sigma = strength * float(np.sqrt(target.blur**2 - source.blur**2))
        if sigma < 0.2:
            return image
        return _blur(image, min(sigma, _MAX_BLUR))
    # Gradient of an edge blurred by s relative to the same blurred by p more; the sharpened edge must gain s / t.
    loss = 1 - source.blur / np.sqrt(source.blur**2 + _PROBE**2)
    amount = strength * float(np.clip((source.blur / target.blur - 1) / max(loss, 0.05), 0.0, 1.0))
    if amount < 0.05:
        return image
    return unsharp(image, amount)


def unsharp(image: Array, amount: float) -> Array:
    """Unsharp mask: what a Gaussian blur of one pixel takes away is added ``amount`` times; 0 changes nothing.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        amount: 0 or more.
    """
    if amount <= 0:
        return image
    sharp = cv2.addWeighted(image, 1 + amount, _blur(image, _PROBE), -amount, 0.0)
    return np.clip(sharp, 0.0, 1.0, out=sharp)
