"""Sensor noise and film grain: its level, how far it reaches from pixel to pixel, and how much of it stays put.

Noise is described by what two filters that are blind to planes find of it, one looking at direct neighbours (fine)
and one at every second pixel (coarse). White noise shows the same standard deviation in both; noise that went
through demosaicing, scaling or compression shows less in the fine one. Both are what white noise passed through a
small Gaussian kernel would show, and that is what is added.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FINE, COARSE = 1, 2  # spacing of the filter's taps, pixels
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_HALF_TO_SIGMA = 2.6477  # a normal variable's deviation over the root mean square of its smaller half
_SAMPLES = 8192  # pixels are looked at on a grid that leaves about as many
_GREY_ROUNDING = (0.299**2 + 0.587**2 + 0.114**2) / 12  # variance of grey when its channels are rounded


def response(grey: Array, spacing: int = FINE) -> Array:
    """The picture through a filter that is blind to planes; standard deviation 6 for white noise of deviation 1.

    Args:
        grey: (H, W) float32.
        spacing: Of the filter's taps, in pixels.
    """
    kernel = np.zeros((2 * spacing + 1, 2 * spacing + 1), np.float32)
    kernel[::spacing, ::spacing] = _IMMERKAER
    return cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def noise_sigma(grey: Array, inside: Array, spacing: int = FINE) -> float:
    """Noise by the smaller half of what a filter finds that is blind to planes and edges of constant slope.

    Immerkaer, "Fast Noise Variance Estimation", 1996, with the smaller half in place of all so that edges don't vote.
    (The median would do the same, but comes in steps where a picture is rounded to bytes.)

    Args:
        grey: (H, W) float32.
        inside: (H, W) bool or uint8: where to look.
        spacing: Of the filter's taps, in pixels.

    Returns:
        Standard deviation in the picture's units.
    """
    step = sampling(inside)
    values = np.abs(response(grey, spacing)[::step, ::step][inside[::step, ::step] > 0])
    if values.size < 16:
        return 0.0
    half = np.partition(values, values.size // 2)[: values.size // 2]
    return float(np.sqrt(np.mean(np.square(half)))) * _HALF_TO_SIGMA / 6.0


def sampling(inside: Array) -> int:
    """Spacing of the pixels that are looked at, so that a few thousand are."""
    return max(1, int(np.sqrt(cv2.countNonZero(inside.view(np.uint8)) / _SAMPLES)))


def _kernel(size: float) -> Array:
    """(7,) Gaussian taps of this standard deviation, scaled so that white noise keeps its variance."""
    taps = np.zeros(7) if size < 0.2 else np.exp(-0.5 * (np.arange(-3, 4) / size) ** 2)
    taps[3] = 1
    return (taps / np.sqrt(np.square(taps).sum())).astype(np.float32)


def _seen(size: float) -> tuple[float, float]:
    """What the fine and the coarse filter see of noise of deviation 1 and this size (both 1 for white noise)."""
    taps = _kernel(size).astype(np.float64)
    lags = np.correlate(taps, taps, "full")[6:]  # autocorrelation at 0..6
    return tuple(float(lags @ np.bincount([0, n, 2 * n], (6, -8, 2), 7)) / 6 for n in (FINE, COARSE))  # type: ignore[return-value]


_SIZES = np.linspace(0.2, 1.5, 40)
_SEEN = np.array([_seen(size) for size in _SIZES])
_RATIOS = _SEEN[:, 0] / _SEEN[:, 1]


def level_and_size(fine: float, coarse: float) -> tuple[float, float]:
    """The noise that the two filters see so much of.

    Args:
        fine: From :func:`noise_sigma` with spacing ``FINE``.
        coarse: With spacing ``COARSE``.

    Returns:
        Its standard deviation, and the standard deviation in pixels of the Gaussian that white noise has to pass
        through, 0 to 1.5 (0: white). Where no such noise looks like that, the louder in neither band.
    """
    if fine <= 0 or coarse <= 0:
        return 0.0, 0.0
    ratio = fine / coarse
    size = float(np.interp(-ratio, -_RATIOS, _SIZES))
    seen = _seen(size)
    return min(fine / seen[0], coarse / seen[1]), 0.0 if ratio >= _RATIOS[0] else size


def missing(ours: tuple[float, float], theirs: tuple[float, float], *, rounding: float = 0.0) -> tuple[float, float]:
    """The noise to add, band by band: variances add.

    Args:
        ours: Fine and coarse deviation measured in the picture that is to get the noise.
        theirs: The same in what it is to look like.
        rounding: Step of a later rounding of three channels, in image units, which adds a uniform error of its own.

    Returns:
        Standard deviation and size, as from :func:`level_and_size`.
    """
    own = np.square(ours) + _GREY_ROUNDING * rounding**2
    fine, coarse = np.sqrt(np.maximum(np.square(theirs) - own, 0.0))
    return level_and_size(float(fine), float(coarse))


def residue(grey: Array) -> Array:
    """What a blur of one pixel takes away from a picture, (H, W) float32: noise, and the finest of the texture."""
    return cv2.subtract(grey, cv2.GaussianBlur(grey, (7, 7), 1.0, borderType=cv2.BORDER_REFLECT_101))


def persistence(before: Array, now: Array, inside: Array) -> float:
    """How much of the noise is the same in two frames: the correlation of what :func:`residue` gave, 0 to 1.

    (Finer filters don't forgive the half pixel by which a face is not where it is thought to be.)

    Args:
        before: (H, W) float32 residue of the earlier frame, already moved along with the face.
        now: (H, W) float32 residue of the later one.
        inside: (H, W) bool or uint8: where to look.
    """
    step = sampling(inside)
    where = inside[::step, ::step] > 0
    a, b = before[::step, ::step][where], now[::step, ::step][where]
    if a.size < 64:
        return 0.0
    limits = [3 * np.median(np.abs(values)) / 0.6745 for values in (a, b)]
    weak = (np.abs(a) <= limits[0]) & (np.abs(b) <= limits[1])  # edges and eyes stay what they are in any case
    a, b = a[weak], b[weak]
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / norm, 0, 1)) if norm > 0 else 0.0


class Grain:
    """Gaussian noise, drawn once and shown from another corner each time: drawing it anew is what costs.

    Args:
        generator: Where the randomness comes from.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._white: Array = np.zeros((0, 0), np.float32)
        self._sheet: Array = self._white
        self._size = -1.0

    def __call__(
        self, shape: tuple[int, int], *, size: float = 0.0, hold: float = 0.0, origin: tuple[int, int] = (0, 0)
    ) -> Array:
        """Noise for one frame.

        Args:
            shape: (H, W).
            size: Standard deviation in pixels of the Gaussian that white noise has passed; 0 is white.
            hold: Correlation with the noise of the calls before, 0 (all new) to 1.
            origin: x, y of the first pixel relative to what the noise clings to: the face.

        Returns:
            (H, W) float32 with standard deviation 1; possibly a view, not to be written to.
        """
        spare = 256
        if self._white.shape[0] < shape[0] + spare // 2 or self._white.shape[1] < shape[1] + spare // 2:
            self._white = self._generator.standard_normal((shape[0] + spare, shape[1] + spare), dtype=np.float32)
            self._size = -1.0
        if abs(size - self._size) > 0.03 or (size == 0) != (self._size == 0):
            taps = _kernel(size)
            self._size = size
            self._sheet = self._white if size == 0 else cv2.sepFilter2D(self._white, -1, taps, taps)
        room = (self._sheet.shape[0] - shape[0], self._sheet.shape[1] - shape[1])
        top, left = (int(self._generator.integers(n)) for n in room)
        flip = slice(None, None, -1 if self._generator.integers(2) else 1)
        new = self._sheet[top : top + shape[0], left : left + shape[1]][flip]
        if hold <= 0:
            return new
        y, x = (int(np.clip(n // 2 + at + m // 2, 0, n)) for n, at, m in zip(room, origin[::-1], shape, strict=True))
        held = self._sheet[y : y + shape[0], x : x + shape[1]]
        return cv2.addWeighted(held, hold**0.5, new, (1 - hold) ** 0.5, 0.0)
