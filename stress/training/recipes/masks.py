"""Parts of a picture, or of its spectrum, hidden from a detector while it learns.

Doloriel and Cheung, "Frequency masking for universal deepfake detection", ICASSP 2024, arXiv 2401.06506. The mode
``faithful`` does what their published code does (``mask.py`` of chandlerbing65nm/FakeImageDetection), ``corrected``
what its names say. Spectra are those of :func:`numpy.fft.fft2`: index (0, 0) is the mean, nothing is shifted.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import fft

KINDS = ("frequency", "pixel", "patch")
BANDS = ("all", "low", "mid", "high")
MODES = ("corrected", "faithful")
PATCH = 16
"""Largest side of a patch in pixels."""


def band_places(size: int, band: str, mode: str) -> np.ndarray:
    """Coefficients that belong to a band.

    ``corrected``: rings of the radius √(u² + v²), in cycles a pixel: below a third of the Nyquist frequency of 1/2
    (``low``), from there to two thirds (``mid``), and all beyond, the corners included (``high``). The mean belongs to
    none, so that no mask changes how bright a picture is.

    ``faithful``: squares of indices i, j alike: [0, S/4) (``low``), [S/4, 3S/4) (``mid``), [3S/4, S) (``high``).
    Since the indices are unshifted, ``mid`` holds the highest frequencies, and ``low`` and ``high`` hold the low
    ones, of positive and of negative sign; those of unlike signs are in neither. The mean belongs to ``low``.

    Args:
        size: Side S of the picture.
        band: One of :data:`BANDS`; ``all`` is everything (in ``corrected`` but for the mean).
        mode: One of :data:`MODES`.

    Returns:
        (S, S) bool.
    """
    if mode == "faithful":
        first, last = {
            "all": (0, size), "low": (0, size // 4), "mid": (size // 4, 3 * size // 4), "high": (3 * size // 4, size)
        }[band]  # fmt: skip
        inside = np.zeros((size, size), bool)
        inside[first:last, first:last] = True
        return inside
    along = np.fft.fftfreq(size) / 0.5
    radius = np.hypot(along[:, None], along)
    low, high = {"all": (0, np.inf), "low": (0, 1 / 3), "mid": (1 / 3, 2 / 3), "high": (2 / 3, np.inf)}[band]
    inside = (radius >= low) & (radius < high)
    inside[0, 0] = False
    return inside


def hide_frequencies(size: int, band: str, ratio: float, mode: str, generator: np.random.Generator) -> np.ndarray:
    """Draw which coefficients of a spectrum are zeroed.

    Of the n coefficients of the band, ``faithful`` draws ⌈ratio · n⌉ one by one; ``corrected`` draws them with their
    conjugates at (-i, -j), so that the picture stays real, until there are as many: ⌈ratio · n⌉ or one more.

    Args:
        size: Side S of the picture.
        band: One of :data:`BANDS`.
        ratio: In [0, 1].
        mode: One of :data:`MODES`.
        generator: Source of chance.

    Returns:
        (S, S) bool, True where zeroed.
    """
    units = _units(size, band, mode)
    sizes = 1 + (units[:, 0] != units[:, 1])
    count = _share(ratio, int(sizes.sum()))
    hidden = np.zeros(size * size, bool)
    if count:
        order = generator.permutation(len(units))
        enough = np.searchsorted(np.cumsum(sizes[order]), count) + 1
        hidden[units[order[:enough]]] = True
    return hidden.reshape(size, size)


def without_frequencies(image: np.ndarray, hidden: np.ndarray, mode: str) -> np.ndarray:
    """A picture without some of its frequencies, the same ones in all channels.

    ``corrected`` rounds and clips to [0, 255]. ``faithful`` takes the real part (which halves a coefficient that was
    zeroed without its conjugate), cuts off decimals and keeps the last eight bits: -3 becomes 253, 260 becomes 4.

    Args:
        image: (S, S, 3) uint8 RGB; not changed.
        hidden: (S, S) bool from :func:`hide_frequencies`; in ``corrected`` equal at (i, j) and (-i, -j).
        mode: One of :data:`MODES`.

    Returns:
        (S, S, 3) uint8 RGB; the picture itself where nothing is hidden.
    """
    if not hidden.any():
        return image
    planes = image.transpose(2, 0, 1)
    if mode == "faithful":
        found = fft.ifft2(np.where(hidden, 0, fft.fft2(planes.astype(np.float64)))).real
        planes = np.trunc(found).astype(np.int64) & 255
    else:
        half = fft.rfft2(planes.astype(np.float32))
        half[:, hidden[:, : half.shape[-1]]] = 0
        planes = np.clip(np.rint(fft.irfft2(half, s=hidden.shape)), 0, 255)
    return np.ascontiguousarray(planes.transpose(1, 2, 0), dtype=np.uint8)


def hide_pixels(size: int, ratio: float, generator: np.random.Generator) -> np.ndarray:
    """Draw ⌈ratio · S²⌉ pixels: (S, S) bool, True where they are to be black."""
    hidden = np.zeros(size * size, bool)
    hidden[generator.permutation(len(hidden))[: _share(ratio, len(hidden))]] = True
    return hidden.reshape(size, size)


def hide_patches(size: int, ratio: float, mode: str, generator: np.random.Generator) -> np.ndarray:
    """Draw ⌈ratio · n⌉ of the n square patches that a picture divides into.

    Their side is the largest number up to 16 that divides S. ``faithful`` blackens one row and one column more, to the
    right and below, since the rectangles of the published code include their last corner.

    Args:
        size: Side S of the picture.
        ratio: In [0, 1].
        mode: One of :data:`MODES`.
        generator: Source of chance.

    Returns:
        (S, S) bool, True where the picture is to be black.
    """
    side = next(side for side in range(PATCH, 0, -1) if size % side == 0)
    across = size // side
    chosen = generator.permutation(across**2)[: _share(ratio, across**2)]
    hidden = np.zeros((size, size), bool)
    reach = side + (mode == "faithful")
    for row, column in zip(*np.divmod(chosen * side, size), strict=True):
        hidden[row * side : row * side + reach, column : column + reach] = True
    return hidden


def _share(ratio: float, count: int) -> int:
    """⌈ratio · count⌉, unless the product is above a whole number by rounding only."""
    return math.ceil(round(ratio * count, 6))


@lru_cache(maxsize=8)
def _units(size: int, band: str, mode: str) -> np.ndarray:
    """(n, 2) flat indices of the coefficients that are zeroed together; twice the same where one stands alone."""
    here = np.arange(size * size).reshape(size, size)
    there = here if mode == "faithful" else np.roll(here[::-1, ::-1], 1, (0, 1))  # index of (-i, -j)
    kept = band_places(size, band, mode) & (here <= there)
    return np.stack([here[kept], there[kept]], axis=1)
