"""Sharpness and sensor noise: make the inside of the mask look taken by the same camera as its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_MAD_TO_SIGMA = 1.4826
_PROBE = 1.0  # sigma of the second blur, pixels
_MAX_BLUR = 4.0
_SAMPLES = 8192  # pixels are looked at on a grid that leaves about as many


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a camera did to a region.

    Attributes:
        blur: Standard deviation of the equivalent Gaussian blur of its edges, in pixels.
        noise: Standard deviation of its noise, in [0, 1] image units.
    """

    blur: float
    noise: float


def measure(image: Array, mask: Array) -> Detail:
    """Estimate blur and noise of the part of a picture under a mask.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        mask: (H, W) float32 in [0, 1]; above a half counts.

    Returns:
        The estimates; of an empty region blur 0 and noise 0.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inside = cv2.erode((mask > 0.5).view(np.uint8), np.ones((3, 3), np.uint8))
    return Detail(blur=blur_sigma(grey, inside), noise=noise_sigma(grey, inside))


def noise_sigma(grey: Array, inside: Array) -> float:
    """Noise by the median of a filter that is blind to planes and edges of constant slope.

    Immerkaer, "Fast Noise Variance Estimation", 1996, with the median in place of the mean so that edges don't vote.

    Args:
        grey: (H, W) float32.
        inside: (H, W) bool or uint8: where to look.

    Returns:
        Standard deviation in the picture's units.
    """
    response = cv2.filter2D(grey, -1, _IMMERKAER, borderType=cv2.BORDER_REFLECT_101)
    step = _step(inside)
    values = response[::step, ::step][inside[::step, ::step] > 0]
    if values.size < 16:
        return 0.0
    # The filter's coefficients have norm 6.
    middle = values.size // 2
    return float(np.partition(np.abs(values, out=values), middle)[middle]) * _MAD_TO_SIGMA / 6.0


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
    step = _step(inside)
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


def _step(inside: Array) -> int:
    """Spacing of the pixels that are looked at."""
    return max(1, int(np.sqrt(cv2.countNonZero(inside.view(np.uint8)) / _SAMPLES)))


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
    blurred = _blur(image, _PROBE)
    sharp = cv2.addWeighted(image, 1 + amount, blurred, -amount, 0.0)
    return np.clip(sharp, 0.0, 1.0, out=sharp)


def missing_noise(source: Detail, target: Detail, *, rounding: float = 0.0) -> float:
    """Standard deviation of the noise to add to the source: variances add.

    Args:
        source: Measured on the picture.
        target: Measured on what it is to look like.
        rounding: Step of a later rounding, in image units, which will add a uniform error of its own.
    """
    return float(np.sqrt(max(target.noise**2 - source.noise**2 - rounding**2 / 12, 0.0)))


class Grain:
    """White Gaussian noise, drawn once and shown from another corner each time: drawing it anew is what costs.

    Args:
        generator: Where the randomness comes from.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._sheet: Array = np.zeros((0, 0), np.float32)

    def __call__(self, shape: tuple[int, int]) -> Array:
        """(H, W) float32 with standard deviation 1; a view, not to be written to."""
        spare = 256
        if self._sheet.shape[0] < shape[0] + spare // 2 or self._sheet.shape[1] < shape[1] + spare // 2:
            self._sheet = self._generator.standard_normal((shape[0] + spare, shape[1] + spare), dtype=np.float32)
        room = (self._sheet.shape[0] - shape[0], self._sheet.shape[1] - shape[1])
        top, left = (int(self._generator.integers(n)) for n in room)
        flip = slice(None, None, -1 if self._generator.integers(2) else 1)
        return self._sheet[top : top + shape[0], left : left + shape[1]][flip]
