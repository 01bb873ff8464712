"""Nonlinear colour transfer: optimal transport of a small sample of colours, as curves that are cheap to apply.

A linear transfer gives one picture the means and spreads of another. What is left is the shape of the distribution:
a harder highlight, shadows of another tint. Here a sample of colours that the linear transfer has already moved is
transported onto the target's sample. The way that each colour still had to go is then explained by smooth curves, each
of which moves colours along one direction by an amount that depends on their place along it: three curves, one a
channel, or one for each of fifteen directions. Curves can be filtered along a track, their slopes can be bounded, and
far from the sample they are 0 and the linear transfer rules, so that pupils, teeth and lips, which have no vote, do not
go astray.

The solvers take any clouds of points, (D, N), and are usable on their own:
    * :func:`iterative`: iterative distribution transfer (Pitie, Kokaram and Dahyot, "N-dimensional probability density
      function transfer and its application to colour transfer", 2005).
    * :func:`sliced`: descent of the sliced Wasserstein distance (Rabin, Peyre, Delon and Bernot, "Wasserstein
      barycenter and its application to texture mixing", 2011; Bonneel, Rabin, Peyre and Pfister, 2015).
    * :func:`marginal`: each axis on its own, which is histogram matching per channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SAMPLE = 512
"""Colours drawn of a region."""
_BASES = 5
_NODES = {"histogram": 57, "idt": 29, "sliced": 29}  # of a curve: an eighth, a quarter of a standard deviation apart
_REACH = 3.5  # curves end this many standard deviations from the mean
_BLUR = {"histogram": 0.08, "idt": 0.25, "sliced": 0.25}  # of a curve, in standard deviations
_DOUBT = 1.0  # as many samples, imagined at each place, say that nothing is left to do
_ROUNDS = 4  # of fitting the curves, each to what the others leave
_CUBE = 11  # nodes along the sides of the table that the curves are made into


def draw(colors: Array, weights: Array, count: int = SAMPLE) -> Array:
    """A sample in which each colour occurs in proportion to its weight.

    Systematic, in the order of brightness: nothing is left to chance, and the quantiles of brightness are exact.

    Args:
        colors: (3, N).
        weights: (N,) not negative, with a positive sum.
        count: Colours to draw; of few colours each is drawn several times.

    Returns:
        (3, count).
    """
    order = np.argsort(colors.sum(axis=0), kind="stable")
    reached = np.cumsum(weights[order])
    places = (np.arange(count) + 0.5) * (reached[-1] / count)
    return colors[:, order[np.minimum(np.searchsorted(reached, places), len(order) - 1)]]


@lru_cache(maxsize=8)
def bases(count: int, dimensions: int = 3) -> Array:
    """Fixed orthonormal bases, the first of them the axes themselves, the others turned at random.

    Returns:
        (count, D, D) float64; rows are directions.
    """
    random = np.random.default_rng(20071)
    turned = [np.linalg.qr(random.standard_normal((dimensions, dimensions)))[0] for _ in range(count - 1)]
    return np.stack([np.eye(dimensions), *turned])


def _quantiles(values: Array, count: int) -> Array:
    """``count`` quantiles of each row, ascending; of ``count`` values the values themselves."""
    ordered = np.sort(values, axis=1)
    size = ordered.shape[1]
    if size == count:
        return ordered
    places = (np.arange(count) + 0.5) / count
    known = (np.arange(size) + 0.5) / size
    return np.stack([np.interp(places, known, row) for row in ordered])


def _matched(values: Array, quantiles: Array) -> Array:
    """Optimal transport on the line, for each row: the smallest value takes the smallest quantile, and so on."""
    result = np.empty_like(values)
    np.put_along_axis(result, np.argsort(values, axis=1), quantiles, axis=1)
    return result


def marginal(source: Array, target: Array) -> Array:
    """Match the distribution along each axis on its own.

    Args:
        source: (D, N) points.
        target: (D, M) points.

    Returns:
        (D, N): where each source point goes.
    """
    return _matched(source, _quantiles(target, source.shape[1]))


def iterative(source: Array, target: Array, *, steps: int = 10) -> Array:
    """Iterative distribution transfer: match the marginals of one turned basis after the other.

    Args:
        source: (D, N) points.
        target: (D, M) points.
        steps: Bases; the first is that of the axes.

    Returns:
        (D, N): where each source point goes.
    """
    for basis in bases(steps, len(source)):
        source = basis.T @ marginal(basis @ source, basis @ target)
    return source


def sliced(source: Array, target: Array, *, steps: int = 6, turns: int = _BASES) -> Array:
    """Descend the sliced Wasserstein distance to the target along a fixed set of directions.

    Each step averages what the matching of each of the ``turns`` bases asks for, which is the minimum of a quadratic
    that lies above the distance and touches it, so that no step makes the distance larger.

    Args:
        source: (D, N) points.
        target: (D, M) points.
        steps: Of the descent.
        turns: Bases, of D directions each.

    Returns:
        (D, N): where each source point goes.
    """
    directions = bases(turns, len(source)).reshape(-1, len(source))
    goal = _quantiles(directions @ target, source.shape[1])
    for _ in range(steps):
        source = directions.T @ _matched(directions @ source, goal) / turns
    return source


SOLVERS: dict[str, Callable[[Array, Array], Array]] = {"idt": iterative, "sliced": sliced, "histogram": marginal}


@lru_cache(maxsize=2)
def _jitter(count: int) -> Array:
    """(3, count) fixed normal deviates, paired so that their mean is 0, with unit covariance."""
    half = np.random.default_rng(2005).standard_normal((3, (count + 1) // 2))
    half = np.linalg.solve(np.linalg.cholesky(half @ half.T / half.shape[1]), half)
    return np.stack([half, -half], axis=2).reshape(3, -1)[:, :count]


@lru_cache(maxsize=2)
def _directions(method: str) -> Array:
    """(D, 3) the directions of a method's curves: whole orthonormal bases."""
    return bases(1 if method == "histogram" else _BASES).reshape(-1, 3)


def _scale(method: str, covariance: Array) -> Array:
    """(D,) nodes per unit of colour along each direction."""
    directions = _directions(method)
    spread = np.sqrt(((directions @ covariance) * directions).sum(axis=1))
    return (_NODES[method] - 1) / (2 * _REACH) / spread


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is to be added to a linear transfer.

    Attributes:
        method: ``idt``, ``sliced`` or ``histogram``, which says the directions.
        values: (D, K) what each curve adds along its direction, at K places out to 3.5 standard deviations; further
            out, what it adds there.
        covariance: (3, 3) of the colours to change, which says the standard deviations.
        center: (3,) mean of the colours to change.
    """

    method: str
    values: Array
    covariance: Array
    center: Array


def fit(method: str, source: Array, target: Array, gain: Array, covariance: Array, floor: float) -> Array:
    """The curves that go on where a linear map has brought a sample.

    Args:
        method: ``idt``, ``sliced`` or ``histogram``.
        source: (3, N) sample of the colours to change, less their mean.
        target: (3, N) sample of the colours wanted, less their mean.
        gain: (3, 3) the linear map.
        covariance: (3, 3) of the colours to change, the noise below included.
        floor: Standard deviation of the noise added to both samples (the same to both), so that differences of shape
            which are finer count for nothing.

    Returns:
        (D, K) float64, ``Curves.values``.
    """
    points = source + floor * _jitter(source.shape[1])
    moved = gain @ points
    left = SOLVERS[method](moved, target + floor * _jitter(target.shape[1])) - moved
    directions, (kernel, window) = _directions(method), _kernel(method)
    shape = (len(directions), len(window))
    low, upper = _between(directions @ points * _scale(method, covariance)[:, None], shape[1])

    def smooth(values: Array) -> Array:
        sums = np.bincount(low.ravel(), (values * (1 - upper)).ravel(), shape[0] * shape[1])
        more = np.bincount(low.ravel() + 1, (values * upper).ravel(), shape[0] * shape[1])
        return (sums + more).reshape(shape) @ kernel

    share = 3 / len(directions)
    votes = smooth(np.ones_like(upper)) + _DOUBT
    values = np.zeros_like(votes)
    for _ in range(1 if share == 1 else _ROUNDS):
        explained = directions.T @ _interpolated(values, low, upper) * share
        # Up to a factor of 2 such rounds converge; where directions share the work, a larger one needs fewer
        values += (1.0 if share == 1 else 1.5) * smooth(directions @ (left - explained)) / votes * window
    return values


def _between(places: Array, nodes: int) -> tuple[Array, Array]:
    """Where places (D, N), in nodes from the middle of each curve, lie.

    Returns:
        Index of the node below in all curves' nodes, one curve after the other, and how far above it, in [0, 1).
    """
    places = np.clip(places + (nodes - 1) / 2, 0, nodes - 1 - 1e-9)
    low = places.astype(np.intp)
    upper = places - low
    low += nodes * np.arange(len(places))[:, None]
    return low, upper


def _interpolated(values: Array, low: Array, upper: Array) -> Array:
    """(D, N) what the curves (D, K) say at the places of :func:`_between`."""
    flat = values.ravel()
    return flat[low] * (1 - upper) + flat[low + 1] * upper


@lru_cache(maxsize=3)
def _kernel(method: str) -> tuple[Array, Array]:
    """(K, K) Gaussian smoothing, peaks at 1, and a (K,) window that brings a curve to 0 at its ends."""
    places = np.linspace(-_REACH, _REACH, _NODES[method])
    kernel = np.exp(-0.5 * ((places[:, None] - places) / _BLUR[method]) ** 2)
    return kernel, np.clip(_REACH - np.abs(places), 0, 1)


@lru_cache(maxsize=2)
def _frame(method: str) -> Array:
    """(D, 9): by how much each curve must be stretched for all of them to make a given matrix, the least amounts."""
    directions = _directions(method)
    outer = (directions[:, :, None] * directions[:, None, :]).reshape(len(directions), 9)
    return np.linalg.pinv(outer.T) * (len(directions) / 3)


def bounded(curves: Curves, gain: Array, max_gain: float) -> Curves:
    """The curves, their slopes held back where they would stretch or squeeze contrast too far.

    What the linear map leaves of the room between the bounds is shared out among the directions.

    Args:
        curves: From :func:`fit`.
        gain: (3, 3) linear map that they are added to.
        max_gain: Contrast changes by about this factor at most (exactly so for ``histogram``), and by no less than its
            inverse.

    Returns:
        The nearest curves of allowed slope.
    """
    symmetric, frame = (gain + gain.T) / 2, _frame(curves.method)
    most = np.maximum(frame @ (np.eye(3) * max_gain - symmetric).ravel(), 0)
    least = np.minimum(frame @ (np.eye(3) / max_gain - symmetric).ravel(), 0)
    index = np.arange(curves.values.shape[1])
    run = (index[:, None] - index) / _scale(curves.method, curves.covariance)[:, None, None]
    rise, fall = most[:, None, None] * run, least[:, None, None] * run
    # McShane's extensions: the largest and the smallest function of allowed slope that touch the given one
    above = (curves.values[:, None] + np.maximum(rise, fall)).min(axis=2)
    below = (curves.values[:, None] + np.minimum(rise, fall)).max(axis=2)
    return replace(curves, values=(above + below) / 2)


def centered(curves: Curves, sample: Array) -> Curves:
    """The curves, each shifted so that together they leave the sample's mean where it is.

    Args:
        curves: From :func:`bounded`, whose bounds may well act on one side alone.
        sample: (3, N) of the colours to change, less their mean.
    """
    places = _directions(curves.method) @ sample * _scale(curves.method, curves.covariance)[:, None]
    added = _interpolated(curves.values, *_between(places, curves.values.shape[1]))
    return replace(curves, values=curves.values - added.mean(axis=1, keepdims=True))


def look_up(image: Array, curves: Curves) -> Array:
    """What the curves add to each pixel.

    Three curves are looked up as they are; more become a table over three-dimensional colour space first, in which
    each pixel is looked up once.

    Args:
        image: (H, W, 3) float32.
        curves: From :func:`fit`.

    Returns:
        (H, W, 3) float32.
    """
    if len(curves.values) == 3:
        nodes = curves.values.shape[1]
        axes = np.diag(_scale(curves.method, curves.covariance))
        channels = _places(image, axes, curves.center, nodes)
        zero = np.zeros_like(channels[0])
        rows = curves.values.astype(np.float32)[:, None]
        return cv2.merge([_sample(row, channel, zero) for row, channel in zip(rows, channels, strict=True)])
    table, axes = _cube(curves)
    first, second, third = _places(image, axes, curves.center, _CUBE)
    # cv2.remap takes a table of two dimensions: the layers of the first lie side by side
    layers = np.ascontiguousarray(table.transpose(1, 0, 2, 3)).reshape(_CUBE, _CUBE * _CUBE, 3)
    layer = np.minimum(np.floor(first), np.float32(_CUBE - 2))
    share = first - layer
    third = third + layer * np.float32(_CUBE)
    below = _sample(layers, third, second)
    third = third + np.float32(_CUBE)
    return cv2.blendLinear(below, _sample(layers, third, second), 1 - share, share)


def _cube(curves: Curves) -> tuple[Array, Array]:
    """(K, K, K, 3) float32 table of what the curves add, and the (3, 3) nodes per unit of colour.

    The axes are not turned (the root of the covariance is symmetric), so that the table follows a slowly changing
    distribution without a jump.
    """
    values, vectors = np.linalg.eigh(curves.covariance)
    step = 2 * _REACH / (_CUBE - 1)
    from_nodes = (vectors * np.sqrt(values)) @ vectors.T * step
    directions = _directions(curves.method)
    along = (directions @ from_nodes) * _scale(curves.method, curves.covariance)[:, None]
    index = np.arange(_CUBE) - (_CUBE - 1) / 2
    first, second, third = (along[:, axis, None] * index for axis in range(3))
    places = first[:, :, None, None] + second[:, None, :, None] + third[:, None, None, :]
    low, upper = _between(places.reshape(len(directions), -1), curves.values.shape[1])
    added = _interpolated(curves.values, low, upper).T @ directions * (3 / len(directions))
    table = added.reshape(_CUBE, _CUBE, _CUBE, 3).astype(np.float32)
    return table, (vectors / np.sqrt(values)) @ vectors.T / step


def _places(image: Array, axes: Array, center: Array, nodes: int) -> list[Array]:
    """Pixels as places among the nodes, from 0 to ``nodes - 1``: three planes, cheaper than one picture to be split."""
    matrix = np.column_stack([axes, (nodes - 1) / 2 - axes @ center]).astype(np.float32)
    planes = [cv2.transform(image, row[None]) for row in matrix]
    for plane in planes:
        np.clip(plane, 0, nodes - 1, out=plane)
    return planes


def _sample(table: Array, x: Array, y: Array) -> Array:
    return cv2.remap(table, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
