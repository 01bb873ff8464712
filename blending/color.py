"""Colour transfer between two regions: measure statistics, then apply the transform they define.

The two halves are separate so that statistics can be filtered over time (see :mod:`blending.temporal`) before they
are used. Every transfer is affine in its own colour space, so applying one costs a single 3x4 matrix product per
pixel; the last three then add what smooth curves say (see :mod:`blending.transport`).

Methods:
    * ``mean``: shift by the difference of the means, in RGB.
    * ``mean-std``: per-channel mean and standard deviation, in RGB.
    * ``reinhard``: the same in CIELAB (Reinhard et al., "Color Transfer between Images", 2001, with CIELAB for
      their l-alpha-beta space).
    * ``covariance``: full covariance through Cholesky factors, ``T = L_t L_s^-1``, in RGB.
    * ``mkl``: full covariance through the linear Monge-Kantorovich map, the one that moves colours least (Pitie and
      Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", 2007), in RGB.
    * ``histogram``: ``mean-std``, then the shape of each channel's histogram.
    * ``idt``, ``sliced``: ``mkl``, then the shape of the whole distribution, by iterative distribution transfer (Pitie
      et al., 2005) or by descent of the sliced Wasserstein distance (Rabin et al., 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from blending import transport

Array = NDArray[Any]
ColorSpace = Literal["rgb", "lab"]
ColorMethod = Literal["mean", "mean-std", "reinhard", "covariance", "mkl", "histogram", "idt", "sliced"]
METHODS: tuple[str, ...] = get_args(ColorMethod)
SHAPE_METHODS: tuple[str, ...] = tuple(transport.SOLVERS)
"""Those whose statistics need a sample."""

_UNIT = {"rgb": 1.0, "lab": 100.0}
"""Range of each space's brightness."""
_NOISE = {space: 0.5 / 255 * unit for space, unit in _UNIT.items()}
"""Half a grey level: the standard deviation below which a region counts as constant."""
_PIXELS_FOR_MEAN = 1.0
_PIXELS_FOR_SPREAD = 12.0
_PIXELS_FOR_SHAPE = 60.0


@dataclass(frozen=True, kw_only=True)
class ColorStatistics:
    """First and second moments of a region's colours.

    Attributes:
        space: Colour space of the numbers: ``rgb`` in [0, 1], or ``lab`` (L in [0, 100]).
        mean: (3,) float64.
        covariance: (3, 3) float64.
        weight: Sum of the mask, in pixels; 0 for an empty region.
        sample: (3, N) float64 colours, less their mean, that stand for the shape of the distribution; None unless
            asked for, and of regions below 60 pixels.
    """

    space: ColorSpace
    mean: Array
    covariance: Array
    weight: float
    sample: Array | None = None

    @property
    def std(self) -> Array:
        """Per-channel standard deviation, (3,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


def space_of(method: ColorMethod) -> ColorSpace:
    """The colour space in which ``method`` wants its statistics."""
    return "lab" if method == "reinhard" else "rgb"


def measure(
    image: Array, mask: Array, *, space: ColorSpace = "rgb", trim: float | None = None, sample: bool = False
) -> ColorStatistics:
    """Weighted mean and covariance of the colours under a mask.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        mask: (H, W) float32 weights in [0, 1].
        space: Space to measure in.
        trim: When given, the moments are those of the largest cluster of colours, in a face the skin's: weights fade
            to 0 at twice this Mahalanobis distance from its center, so that beard, hair, glasses, lips, teeth and
            highlights have no say. The spread then comes out a little small, on both sides of a transfer alike.
        sample: Draw the sample that ``histogram``, ``idt`` and ``sliced`` need, with the same votes.

    Returns:
        The statistics; of an empty region mean 0, covariance 0, weight 0.
    """
    values = cv2.cvtColor(image, cv2.COLOR_RGB2LAB) if space == "lab" else image
    inside = mask > 0
    weights = mask[inside].astype(np.float64)
    total = float(weights.sum())
    if total <= 0:
        return ColorStatistics(space=space, mean=np.zeros(3), covariance=np.zeros((3, 3)), weight=0.0)
    colors = np.ascontiguousarray(values[inside].T, np.float64)
    if trim is not None and total >= _PIXELS_FOR_SPREAD:
        mean, covariance, weights = _robust_moments(colors, weights, trim, _NOISE[space])
    else:
        mean, covariance = _moments(colors, weights)
    drawn = None
    if sample and total >= _PIXELS_FOR_SHAPE:
        drawn = transport.draw(colors, weights)
        drawn -= drawn.mean(axis=1, keepdims=True)
    return ColorStatistics(space=space, mean=mean, covariance=covariance, weight=total, sample=drawn)


def _moments(colors: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean (3,) and covariance (3, 3) of colours (3, N)."""
    share = weights / weights.sum()
    mean = colors @ share
    offset = colors - mean[:, None]
    return mean, (offset * share) @ offset.T


def _robust_moments(colors: Array, weights: Array, trim: float, noise: float) -> tuple[Array, Array, Array]:
    """Moments of the largest cluster, and the weights that single it out.

    It starts at the median, then lets outliers fade (Tukey's biweight), three rounds.
    """
    solid = colors[:, weights >= 0.5 * weights.max()]
    center = _median(solid)
    spread = 1.4826 * _median(np.abs(solid - center[:, None]))
    mean, covariance, votes = center, np.diag(np.maximum(spread, noise) ** 2), weights
    for _ in range(3):
        offset = colors - mean[:, None]
        inverse = cv2.invert(covariance + np.eye(3) * noise**2)[1].astype(colors.dtype)
        squared = ((inverse @ offset) * offset).sum(axis=0)
        trust = weights * np.maximum(0.0, 1 - squared / (2 * trim) ** 2) ** 2
        if trust.sum() < _PIXELS_FOR_SPREAD:
            break
        mean, covariance = _moments(colors, trust)
        votes = trust
    return mean, covariance, votes


def _median(rows: Array) -> Array:
    """Upper median of each row; np.median takes three times as long."""
    middle = rows.shape[1] // 2
    return np.partition(rows, middle, axis=1)[:, middle]


def affine(
    source: ColorStatistics,
    target: ColorStatistics,
    *,
    method: ColorMethod = "mkl",
    strength: float = 1.0,
    max_gain: float = 3.0,
    floor: float | None = None,
    anchor: float = 0.0,
) -> Array:
    """The transform that gives colours with the statistics ``source`` the statistics ``target``.

    Regions too small for a method fall back to the next simpler one: below 12 pixels only the means are matched,
    below one pixel nothing is. Of ``histogram``, ``idt`` and ``sliced`` this is the linear part.

    Args:
        source: Statistics of what is to be changed.
        target: Statistics of what it is to look like; same space.
        method: See the module's description.
        strength: 0 (identity) to 1 (full transfer).
        max_gain: Contrast is never stretched or squeezed by more than this factor along any axis of colour space, so
            that a nearly constant region does not have its noise blown up.
        floor: Standard deviation added to both sides in all directions, as a share of the space's range; directions
            in which neither side spreads further keep their contrast. By default half a grey level.
        anchor: Share of black pixels imagined on both sides when contrast is compared. Statistics of skin alone say
            nothing about brows, pupils and nostrils; the anchor keeps black black. The means are matched as before.

    Returns:
        (3, 4) float32: ``color -> M[:, :3] @ color + M[:, 3]`` in the statistics' space.

    Raises:
        ValueError: For an unknown method, or statistics in another space than the method's.
    """
    if method not in METHODS:
        raise ValueError(f"unknown colour transfer {method!r}; known: {', '.join(METHODS)}")
    space = space_of(method)
    if source.space != space or target.space != space:
        raise ValueError(f"{method} needs statistics in {space}, got {source.space} and {target.space}")
    gain = np.eye(3)
    smaller = min(source.weight, target.weight)
    if smaller < _PIXELS_FOR_MEAN or strength == 0:
        return np.hstack([gain, np.zeros((3, 1))]).astype(np.float32)
    if method != "mean" and smaller >= _PIXELS_FOR_SPREAD:
        base = np.eye(3) * (_NOISE[space] if floor is None else floor * _UNIT[space]) ** 2
        spreads = [side.covariance + anchor * np.outer(side.mean, side.mean) + base for side in (source, target)]
        gain = _gain(method, spreads[0], spreads[1], max_gain)
    offset = target.mean - gain @ source.mean
    matrix = np.hstack([gain, offset[:, None]]) * strength
    matrix[:, :3] += np.eye(3) * (1 - strength)
    return matrix.astype(np.float32)


def _gain(method: ColorMethod, source: Array, target: Array, limit: float) -> Array:
    if method in ("mean-std", "reinhard", "histogram"):
        return np.diag(np.clip(np.sqrt(np.diag(target) / np.diag(source)), 1 / limit, limit))
    if method == "covariance":
        gain = np.linalg.cholesky(target) @ cv2.invert(np.linalg.cholesky(source))[1]
        left, values, right = np.linalg.svd(gain)
        return left @ np.diag(np.clip(values, 1 / limit, limit)) @ right
    root, inverse = _roots(source)
    middle, _ = _roots(root @ target @ root)
    values, vectors = np.linalg.eigh(inverse @ middle @ inverse)
    return (vectors * np.clip(values, 1 / limit, limit)) @ vectors.T


def _roots(matrix: Array) -> tuple[Array, Array]:
    """Square root of a symmetric positive definite matrix, and its inverse."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    values = np.sqrt(np.maximum(values, 1e-20))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def shape_curves(
    source: ColorStatistics,
    target: ColorStatistics,
    *,
    method: ColorMethod,
    strength: float = 1.0,
    max_gain: float = 3.0,
    floor: float | None = None,
    anchor: float = 0.0,
    remember: Callable[[Array], Array] | None = None,
) -> transport.Curves | None:
    """What ``histogram``, ``idt`` and ``sliced`` add to :func:`affine`, to which this has the same arguments.

    Args:
        source: Statistics with a sample.
        target: Statistics with a sample.
        method: See the module's description.
        strength: 0 to 1.
        max_gain: See :func:`affine`; here for both parts together.
        floor: See :func:`affine`.
        anchor: See :func:`affine`.
        remember: A filter along the track, through which the curves' values go.

    Returns:
        None for the affine methods, and where a side has no sample (its region is too small).
    """
    if method not in SHAPE_METHODS or strength == 0 or source.sample is None or target.sample is None:
        return None
    width = _NOISE["rgb"] if floor is None else floor
    gain = affine(source, target, method=method, max_gain=max_gain, floor=floor, anchor=anchor)[:, :3]
    covariance = source.covariance + np.eye(3) * width**2
    values = transport.fit(method, source.sample, target.sample, gain, covariance, width)
    if remember is not None:
        values = remember(values)
    curves = transport.Curves(method=method, values=values, covariance=covariance, center=source.mean)
    curves = transport.centered(transport.bounded(curves, gain, max_gain), source.sample)
    return replace(curves, values=curves.values * strength)


def apply(
    image: Array, matrix: Array, *, space: ColorSpace = "rgb", curves: transport.Curves | None = None
) -> Array:
    """Apply a (3, 4) affine colour transform, and what is to be added to it.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        matrix: (3, 4) from :func:`affine`.
        space: The space of the transform.
        curves: From :func:`shape_curves`, in RGB.

    Returns:
        (H, W, 3) float32 RGB in [0, 1], a new array.
    """
    if space == "lab":
        changed = cv2.transform(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), matrix)
        changed = cv2.cvtColor(changed, cv2.COLOR_LAB2RGB)
    else:
        changed = cv2.transform(image, matrix)
    if curves is not None:
        cv2.add(changed, transport.look_up(image, curves), dst=changed)
    return np.clip(changed, 0.0, 1.0, out=changed)


def transfer(
    image: Array,
    source: ColorStatistics,
    target: ColorStatistics,
    *,
    method: ColorMethod = "mkl",
    strength: float = 1.0,
    max_gain: float = 3.0,
    floor: float | None = None,
    anchor: float = 0.0,
    remember: Callable[[Array], Array] | None = None,
) -> Array:
    """Give ``image``, whose statistics are ``source``, the statistics ``target``.

    Args:
        image: (H, W, 3) float32 RGB in [0, 1].
        source: Usually ``measure(image, mask)``.
        target: Usually ``measure(frame, mask)``.
        method: See the module's description.
        strength: 0 to 1.
        max_gain: See :func:`affine`.
        floor: See :func:`affine`.
        anchor: See :func:`affine`.
        remember: See :func:`shape_curves`.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    """
    linear = affine(
        source, target, method=method, strength=strength, max_gain=max_gain, floor=floor, anchor=anchor
    )
    rest = shape_curves(
        source,
        target,
        method=method,
        strength=strength,
        max_gain=max_gain,
        floor=floor,
        anchor=anchor,
        remember=remember,
    )
    return apply(image, linear, space=space_of(method), curves=rest)
