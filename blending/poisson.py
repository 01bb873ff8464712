"""Gradient-domain blending on a region of interest, anchored to the frame.

Poisson editing (Perez, Gangnet and Blake, "Poisson Image Editing", 2003) asks for the picture ``u`` whose gradient
inside a domain is the source's and whose values on the domain's boundary are the frame's. Written for the correction
``m = u - source`` this is Laplace's equation: ``m`` is the harmonic membrane through the boundary's differences
``frame - source`` (Farbman et al., "Coordinates for Instant Image Cloning", 2009). A membrane is smooth, so it is found
from coarse to fine (full multigrid): a direct solve on a grid of a few cells, a V-cycle with Chebyshev-weighted Jacobi
sweeps on each finer one, and, where digits are wanted, V-cycles on the finest until the residual is small. Mixed
gradients only add a right-hand side.

Every array's position is the frame's own, so nothing moves when the mask's bounding box does. Array borders are free
(Neumann): pass a region whose border is either the frame's own or at least one pixel outside the domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Gradients = Literal["import", "mixed"]

_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
_COARSEST = 48  # unknowns that are solved for directly
_CYCLE_SWEEPS = 2


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How far the solver goes.

    Every coarser grid gets one V-cycle on the way up in any case.

    Attributes:
        sweeps: Jacobi sweeps on the finest grid.
        cycles: At most this many V-cycles on the finest grid; 0 stops at the sweeps.
        tolerance: V-cycles stop when the largest residual, in image units, is below this.
    """

    sweeps: int = 2
    cycles: int = 0
    tolerance: float = 1e-6


FAST = Accuracy()
EXACT = Accuracy(cycles=60)


def blend(
    frame: Array,
    source: Array,
    domain: Array,
    *,
    gradients: Gradients = "import",
    grid: int = 1,
    smoothing: float = 0.0,
    limit: float | None = None,
    center: Array | None = None,
    band: Array | None = None,
    screening: float = 0.0,
    accuracy: Accuracy = FAST,
) -> Array:
    """Poisson-blend ``source`` into ``frame`` inside ``domain``.

    Args:
        frame: (H, W, 3) float32 in [0, 1]; gives the boundary values.
        source: (H, W, 3) float32 in [0, 1], in the frame's position; also read a pixel outside the domain.
        domain: (H, W) bool, or numbers of which those above 0 belong to it.
        gradients: ``import`` takes the source's gradients; ``mixed`` at each pair of neighbours the stronger one of
            source and frame (keeps the frame's hair and wrinkles where the source is smooth).
        grid: See :func:`correction`.
        smoothing: See :func:`correction`.
        limit: See :func:`correction`.
        center: See :func:`correction`.
        band: See :func:`correction`.
        screening: See :func:`membrane`.
        accuracy: See :class:`Accuracy`.

    Returns:
        (H, W, 3) float32: the blend inside the domain, ``frame`` itself outside. Not clipped.
    """
    inside = as_domain(domain)
    change = correction(
        frame,
        source,
        inside,
        gradients=gradients,
        grid=grid,
        smoothing=smoothing,
        limit=limit,
        center=center,
        band=band,
        screening=screening,
        accuracy=accuracy,
    )
    return cv2.copyTo(cv2.add(source, change), inside, frame.copy())


def correction(
    frame: Array,
    source: Array,
    domain: Array,
    *,
    gradients: Gradients = "import",
    grid: int = 1,
    smoothing: float = 0.0,
    limit: float | None = None,
    center: Array | None = None,
    band: Array | None = None,
    screening: float = 0.0,
    accuracy: Accuracy = FAST,
) -> Array:
    """What has to be added to ``source`` so that it meets ``frame`` around ``domain``.

    With ``grid``, ``smoothing`` and ``limit`` at their defaults this is Poisson editing to the letter. The three make
    it faster and sturdier where the blend is feathered anyway, so that the outermost pixels hardly show: the boundary's
    difference is averaged across a grid cell, smoothed along the boundary, and freed of outliers such as hair.

    Args:
        frame: (H, W, 3) float32 in [0, 1].
        source: (H, W, 3) float32 in [0, 1].
        domain: (H, W) uint8, 0 or 255.
        gradients: ``import`` or ``mixed``; ``mixed`` needs ``grid=1``.
        grid: Solve on cells of this many pixels and interpolate.
        smoothing: Sigma of the smoothing along the boundary, in pixels.
        limit: Largest deviation of the boundary's difference from ``center``, in image units, approached softly;
            what deviates more also loses its say in the smoothing. None for no limit.
        center: (3,) difference to expect; the median over the boundary by default, 0 after a colour transfer.
        band: (H, W) uint8, 0 or 255: where differences are taken from when they are smoothed; by default the pixels
            that touch the domain. A band along the boundary inside a face sees skin on both sides, and more of it.
        screening: See :func:`membrane`.
        accuracy: See :class:`Accuracy`.

    Returns:
        (H, W, 3) float32; continues smoothly outside the domain.
    """
    if gradients not in ("import", "mixed"):
        raise ValueError(f"unknown gradients {gradients!r}; known: import, mixed")
    if gradients == "mixed" and grid != 1:
        raise ValueError("mixed gradients need grid=1")
    height, width = domain.shape
    difference = cv2.subtract(frame, source)
    if grid > 1:
        small = (-(-width // grid), -(-height // grid))
        pad = (0, small[1] * grid - height, 0, small[0] * grid - width)
        if any(pad):
            difference = cv2.copyMakeBorder(difference, *pad, cv2.BORDER_REPLICATE)
            domain = cv2.copyMakeBorder(domain, *pad, cv2.BORDER_REPLICATE)
        difference = cv2.resize(difference, small, interpolation=cv2.INTER_AREA)
        domain = as_domain(cv2.resize(domain, small, interpolation=cv2.INTER_AREA) >= 128)
        if band is not None:
            band = cv2.copyMakeBorder(band, *pad, cv2.BORDER_REPLICATE)
            band = as_domain(cv2.resize(band, small, interpolation=cv2.INTER_AREA) >= 128)
    if smoothing > 0 or limit is not None:
        difference = _steady(difference, boundary(domain), band, smoothing / grid, limit, center)
    right = mixed_divergence(frame, source) if gradients == "mixed" else None
    solved = membrane(difference, domain, right=right, screening=screening * grid**2, accuracy=accuracy)
    if grid == 1:
        return solved
    large = cv2.resize(solved, (small[0] * grid, small[1] * grid), interpolation=cv2.INTER_LINEAR)
    return large[:height, :width]


def _steady(
    difference: Array, ring: Array, band: Array | None, smoothing: float, limit: float | None, center: Array | None
) -> Array:
    """Free the boundary's difference of outliers, then smooth it (a normalised convolution over the band)."""
    edge = ring > 0
    where = edge if band is None or smoothing <= 0 else (edge | (band > 0))
    if not edge.any():
        return difference
    values = difference[where]
    weight = where.astype(np.float32)
    result = cv2.multiply(difference, _spread(weight, difference.shape[2])).reshape(difference.shape)
    if limit is not None:
        middle = np.median(values, axis=0) if center is None else np.asarray(center, np.float32)
        offset = (values - middle) / np.float32(limit)
        weight[where] = 1.0 / (1.0 + (offset**2).sum(axis=1))
        result[where] = middle + np.float32(limit) * np.tanh(offset)
    if smoothing > 0:
        weighted = cv2.multiply(result, _spread(weight, difference.shape[2]))
        spread = cv2.GaussianBlur(weighted, (0, 0), smoothing, borderType=cv2.BORDER_REPLICATE).reshape(result.shape)
        total = cv2.GaussianBlur(weight, (0, 0), smoothing, borderType=cv2.BORDER_REPLICATE)
        result[edge] = spread[edge] / total[edge][:, None]
    return result


def as_domain(mask: Array) -> Array:
    """Turn a mask of any type into (H, W) uint8 with 255 where it is above 0."""
    return (mask > 0).view(np.uint8) * np.uint8(255)


def boundary(domain: Array) -> Array:
    """The pixels outside a domain (uint8, 0 or 255) that touch it along an edge, as uint8 0 or 255."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    return cv2.subtract(cv2.dilate(domain, cross), domain)


def mixed_divergence(frame: Array, source: Array) -> Array:
    """Divergence of (mixed guidance - source gradient): the right-hand side that mixed gradients add.

    At each pair of neighbouring pixels the guidance is the frame's or the source's difference, whichever is longer
    over the three channels together.

    Returns:
        (H, W, 3) float32.
    """
    result = np.zeros_like(source)
    for axis in (0, 1):
        of_frame, of_source = np.diff(frame, axis=axis), np.diff(source, axis=axis)
        longer = (of_frame**2).sum(axis=2) > (of_source**2).sum(axis=2)
        flow = (of_frame - of_source) * longer[..., None]
        low = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        high = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        result[low] += flow
        result[high] -= flow
    return result


def membrane(
    difference: Array,
    domain: Array,
    *,
    weight: Array | None = None,
    right: Array | None = None,
    screening: float = 0.0,
    accuracy: Accuracy = FAST,
) -> Array:
    """Solve ``laplace(m) - screening * m = right`` inside a domain with ``m = difference`` around it.

    Args:
        difference: (H, W, C) float32; only the pixels touching the domain are used.
        domain: (H, W) uint8, 0 or 255.
        weight: (H, W) float32 in (0, 1]: trust in each boundary pixel when coarse grids average them.
        right: (H, W, C) float32 right-hand side, or None for 0.
        screening: Non-negative, 1/pixel^2.
        accuracy: See :class:`Accuracy`.

    Returns:
        (H, W, C) float32: the membrane inside, ``difference`` on the boundary, a smooth continuation elsewhere. A
        domain without any boundary (a full array) gets 0.
    """
    ring = boundary(domain)
    known = (ring > 0).astype(np.float32)
    if weight is not None:
        known *= weight
    levels = _build(difference, ring, known, domain, right, screening)
    start = np.zeros_like(levels[-1].values)
    if (known > 0).any():
        start[:] = difference[ring > 0].mean(axis=0)
    solution = levels[-1].fill(start)
    _solve_coarsest(solution, levels[-1], levels[-1].right)
    for depth in range(len(levels) - 2, -1, -1):
        level = levels[depth]
        solution = level.fill(_enlarge(solution, *level.free.shape))
        if depth > 0:
            _cycle(solution, levels, depth, level.right)
    _smooth(solution, levels[0], levels[0].right, accuracy.sweeps)
    for _ in range(accuracy.cycles):
        residual = _residual(solution, levels[0], levels[0].right)
        if float(cv2.norm(residual, cv2.NORM_INF)) < accuracy.tolerance:
            break
        _cycle(solution, levels, 0, levels[0].right)
    return solution


@dataclass
class _Level:
    """One grid: what is known on it, and where the unknowns are."""

    values: Array  # (h, w, C) what is known, where ...
    known: Array  # (h, w) uint8 ... this is above 0
    free: Array  # (h, w) uint8, 1 where unknown
    weights: Array  # `free` as float32 for each channel
    right: Array | None
    diagonal: float  # 4 + screening in this grid's pixels
    inverse: Array | None = None  # of the matrix of the unknowns, on the coarsest grid

    def fill(self, start: Array) -> Array:
        """Known values where there are any, ``start`` elsewhere; in place."""
        return cv2.copyTo(self.values, self.known, start).reshape(self.values.shape)


def _build(
    difference: Array, ring: Array, trust: Array, domain: Array, right: Array | None, screening: float
) -> list[_Level]:
    channels = difference.shape[2]
    free = (domain > 0).view(np.uint8)
    weighted = cv2.multiply(difference, _spread(trust, channels)).reshape(difference.shape)
    values, known = difference, ring
    levels: list[_Level] = []
    while True:
        weights = _spread(free.astype(np.float32), channels)
        levels.append(_Level(values, known, free, weights, right, 4 + screening * 4 ** len(levels)))
        if cv2.countNonZero(free) <= _COARSEST or min(free.shape) <= 2:
            levels[-1].inverse = _inverse(free, levels[-1].diagonal)
            return levels
        weighted, trust = _halve(weighted), _halve(trust)
        values = weighted / np.maximum(trust, np.float32(1e-12))[..., None]
        known = (trust > 0).view(np.uint8)
        free = _halve_all(free)
        right = None if right is None else 4 * _halve(right * weights)


def _inverse(free: Array, diagonal: float) -> Array:
    """Inverse of the 5-point matrix of a small grid's unknowns, free at the grid's borders."""
    height, width = free.shape
    index = np.arange(height * width).reshape(height, width)
    matrix = np.zeros((height * width, height * width))
    for low, high in ((index[:-1], index[1:]), (index[:, :-1], index[:, 1:])):
        matrix[low.ravel(), high.ravel()] = matrix[high.ravel(), low.ravel()] = -1
    # A neighbour beyond the border repeats the pixel itself.
    np.fill_diagonal(matrix, diagonal - 4 - matrix.sum(axis=1))
    inside = free.ravel() > 0
    matrix = matrix[np.ix_(inside, inside)]
    # Without any known value and without screening the mean is undetermined; the small number holds it where it is.
    return np.linalg.inv(matrix + 1e-6 * np.eye(len(matrix))).astype(np.float32)


def _spread(plane: Array, channels: int) -> Array:
    return cv2.merge([plane] * channels).reshape(*plane.shape, channels)


def _even(array: Array, border: int) -> Array:
    height, width = array.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return array
    return cv2.copyMakeBorder(array, 0, height % 2, 0, width % 2, border)


def _halve(array: Array) -> Array:
    even = _even(array, cv2.BORDER_CONSTANT)
    small = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], *array.shape[2:])


def _halve_all(free: Array) -> Array:
    """A coarse cell is unknown where all four of its children are."""
    even = _even(free, cv2.BORDER_REPLICATE)
    return even[::2, ::2] & even[1::2, ::2] & even[::2, 1::2] & even[1::2, 1::2]


def _enlarge(array: Array, height: int, width: int) -> Array:
    large = cv2.resize(array, (2 * array.shape[1], 2 * array.shape[0]), interpolation=cv2.INTER_LINEAR)
    large = large.reshape(*large.shape[:2], array.shape[2])
    return np.ascontiguousarray(large[:height, :width])


@lru_cache(maxsize=256)
def _kernels(sweeps: int, diagonal: float) -> tuple[tuple[float, Array], ...]:
    """Jacobi steps whose weights are Chebyshev's for the upper part of the spectrum, which coarser grids cannot see."""
    top, low = 2.0, 0.25
    steps = []
    for k in range(sweeps):
        root = np.cos(np.pi * (2 * k + 1) / (2 * sweeps))
        step = float(1.0 / ((top + low) / 2 + (top - low) / 2 * root) / diagonal)
        kernel = _NEIGHBOURS * np.float32(step)
        kernel[1, 1] = -diagonal * step
        steps.append((step, kernel))
    return tuple(steps)


def _smooth(solution: Array, level: _Level, right: Array | None, sweeps: int) -> None:
    """Jacobi sweeps, in place, on the unknowns alone."""
    for step, kernel in _kernels(sweeps, level.diagonal):
        change = cv2.filter2D(solution, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        if right is not None:
            change = cv2.scaleAdd(right, -step, change, dst=change)
        cv2.accumulateProduct(change, level.weights, solution)


def _residual(solution: Array, level: _Level, right: Array | None) -> Array:
    kernel = _NEIGHBOURS.copy()
    kernel[1, 1] = -level.diagonal
    residual = cv2.filter2D(solution, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if right is not None:
        residual = cv2.subtract(residual, right.reshape(residual.shape))
    return cv2.multiply(residual.reshape(solution.shape), level.weights).reshape(solution.shape)


def _solve_coarsest(solution: Array, level: _Level, right: Array | None) -> None:
    residual = _residual(solution, level, right)
    inside = level.free > 0
    solution[inside] += level.inverse @ residual[inside]


def _cycle(solution: Array, levels: list[_Level], depth: int, right: Array | None) -> None:
    """One V-cycle from this grid down, in place."""
    level = levels[depth]
    if depth == len(levels) - 1:
        _solve_coarsest(solution, level, right)
        return
    _smooth(solution, level, right, _CYCLE_SWEEPS)
    coarse_right = _halve(_residual(solution, level, right)) * np.float32(-4)
    error = np.zeros_like(levels[depth + 1].values)
    _cycle(error, levels, depth + 1, coarse_right)
    cv2.accumulateProduct(_enlarge(error, *solution.shape[:2]), level.weights, solution)
    _smooth(solution, level, right, _CYCLE_SWEEPS)
