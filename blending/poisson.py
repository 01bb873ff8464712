"""Gradient-domain blending on a region of interest, anchored to the frame.

Poisson editing (Perez, Gangnet and Blake, "Poisson Image Editing", 2003) asks for the picture ``u`` whose gradient
inside a domain is the source's and whose values on the domain's boundary are the frame's. Written for the correction
``m = u - source`` this is Laplace's equation: ``m`` is the harmonic membrane through the boundary's differences
``frame - source`` (Farbman et al., "Coordinates for Instant Image Cloning", 2009), which :mod:`blending.membrane` finds
from coarse to fine. Mixed gradients only add a right-hand side.

Every array's position is the frame's own, so nothing moves when the mask's bounding box does. Array borders are free
(Neumann): pass a region whose border is either the frame's own or at least one pixel outside the domain.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.membrane import EXACT, FAST, Accuracy, as_domain, boundary, membrane, spread

__all__ = ["EXACT", "FAST", "Accuracy", "as_domain", "blend", "boundary", "correction", "membrane", "mixed_divergence"]

Array = NDArray[Any]
_COVERED = 0.02  # say of the boundary where the face is covered
Gradients = Literal["import", "mixed"]


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
    trust: Array | None = None,
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
        trust: (H, W) float32 in [0, 1]: say of each difference when they are smoothed or limited; 0 where something
            covers the face. Where all along a stretch of the boundary have none, ``center`` holds.
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
        if trust is not None:
            trust = cv2.resize(
                cv2.copyMakeBorder(trust, *pad, cv2.BORDER_REPLICATE), small, interpolation=cv2.INTER_AREA
            )
    if smoothing > 0 or limit is not None:
        difference = _steady(difference, boundary(domain), band, trust, smoothing / grid, limit, center)
    right = mixed_divergence(frame, source) if gradients == "mixed" else None
    solved = membrane(difference, domain, right=right, screening=screening * grid**2, accuracy=accuracy)
    if grid == 1:
        return solved
    large = cv2.resize(solved, (small[0] * grid, small[1] * grid), interpolation=cv2.INTER_LINEAR)
    return large[:height, :width]


def _steady(
    difference: Array,
    ring: Array,
    band: Array | None,
    trust: Array | None,
    smoothing: float,
    limit: float | None,
    center: Array | None,
) -> Array:
    """Free the boundary's difference of outliers, then smooth it (a normalised convolution over the band)."""
    edge = ring > 0
    where = edge if band is None or smoothing <= 0 else (edge | (band > 0))
    if not edge.any():
        return difference
    values = difference[where]
    weight = where.astype(np.float32)
    result = cv2.multiply(difference, spread(weight, difference.shape[2])).reshape(difference.shape)
    if limit is not None:
        middle = np.median(values, axis=0) if center is None else np.asarray(center, np.float32)
        offset = (values - middle) / np.float32(limit)
        weight[where] = 1.0 / (1.0 + (offset**2).sum(axis=1))
        result[where] = middle + np.float32(limit) * np.tanh(offset)
    if trust is not None:
        # A little say for the expected difference, for stretches of the boundary that are covered altogether
        middle = np.median(values, axis=0) if center is None else np.asarray(center, np.float32)
        share = trust[where][:, None]
        result[where] = middle + (result[where] - middle) * share
        weight[where] *= np.maximum(trust[where], _COVERED)
    if smoothing > 0:
        weighted = cv2.multiply(result, spread(weight, difference.shape[2]))
        blurred = cv2.GaussianBlur(weighted, (0, 0), smoothing, borderType=cv2.BORDER_REPLICATE).reshape(result.shape)
        total = cv2.GaussianBlur(weight, (0, 0), smoothing, borderType=cv2.BORDER_REPLICATE)
        result[edge] = blurred[edge] / total[edge][:, None]
    return result


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
