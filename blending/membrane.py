"""Laplace's equation on a region of any shape: the smooth membrane through what is known around it.

Full multigrid with the 5-point stencil: a direct solve on a grid of a few cells, a V-cycle with Chebyshev-weighted
Jacobi sweeps on each finer one, and, where digits are wanted, V-cycles on the finest until the residual is small. The
sweeps are OpenCV filters over whole arrays; what is known stays fixed because the change is multiplied by 0 there. A
coarse cell is unknown where all of its pixels are, and known, as their mean, where any of them is.

Array borders are free (Neumann).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

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


def as_domain(mask: Array) -> Array:
    """Turn a mask of any type into (H, W) uint8 with 255 where it is above 0."""
    return (mask > 0).view(np.uint8) * np.uint8(255)


def boundary(domain: Array) -> Array:
    """The pixels outside a domain (uint8, 0 or 255) that touch it along an edge, as uint8 0 or 255."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    return cv2.subtract(cv2.dilate(domain, cross), domain)


def membrane(
    difference: Array,
    domain: Array,
    *,
    right: Array | None = None,
    screening: float = 0.0,
    accuracy: Accuracy = FAST,
) -> Array:
    """Solve ``laplace(m) - screening * m = right`` inside a domain with ``m = difference`` around it.

    Args:
        difference: (H, W, C) float32; only the pixels touching the domain are used.
        domain: (H, W) uint8, 0 or 255.
        right: (H, W, C) float32 right-hand side, or None for 0.
        screening: Non-negative, 1/pixel^2.
        accuracy: See :class:`Accuracy`.

    Returns:
        (H, W, C) float32: the membrane inside, ``difference`` on the boundary, a smooth continuation elsewhere. A
        domain without any boundary (a full array) gets 0.
    """
    ring = boundary(domain)
    levels = _build(difference, ring, domain, right, screening)
    start = np.zeros_like(levels[-1].values)
    if ring.any():
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
    difference: Array, ring: Array, domain: Array, right: Array | None, screening: float
) -> list[_Level]:
    channels = difference.shape[2]
    free = (domain > 0).view(np.uint8)
    share = (ring > 0).astype(np.float32)
    weighted = cv2.multiply(difference, spread(share, channels)).reshape(difference.shape)
    values, known = difference, ring
    levels: list[_Level] = []
    while True:
        weights = spread(free.astype(np.float32), channels)
        levels.append(_Level(values, known, free, weights, right, 4 + screening * 4 ** len(levels)))
        if cv2.countNonZero(free) <= _COARSEST or min(free.shape) <= 2:
            levels[-1].inverse = _inverse(free, levels[-1].diagonal)
            return levels
        weighted, share = _halve(weighted), _halve(share)
        values = weighted / np.maximum(share, np.float32(1e-12))[..., None]
        known = (share > 0).view(np.uint8)
        free = _halve_all(free)
        right = None if right is None else 4 * _halve(right * weights)


def _inverse(free: Array, diagonal: float) -> Array:
    """Inverse of the 5-point matrix of a small grid's unknowns, free at the grid's borders."""
    inside = free > 0
    if not inside.any():
        return np.zeros((0, 0), np.float32)
    rows, columns = np.nonzero(inside)
    # A neighbour beyond the border repeats the pixel itself.
    height, width = free.shape
    beyond = sum((rows == 0, rows == height - 1, columns == 0, columns == width - 1), np.zeros(len(rows)))
    matrix = np.diag(diagonal - beyond)
    number = np.full(free.shape, -1)
    number[inside] = np.arange(len(rows))
    for low, high in ((number[:-1], number[1:]), (number[:, :-1], number[:, 1:])):
        both = (low >= 0) & (high >= 0)
        matrix[low[both], high[both]] = matrix[high[both], low[both]] = -1
    # Without any known value and without screening the mean is undetermined; the small number holds it where it is.
    # (By OpenCV: NumPy's inversion leaves BLAS threads spinning for a while, on a core that others need.)
    return np.asarray(cv2.invert(matrix + 1e-6 * np.eye(len(matrix)))[1], np.float32)


def spread(plane: Array, channels: int) -> Array:
    """(H, W) repeated in each of the channels, (H, W, C)."""
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
