"""Masks: the area of the swap, in [0, 1], float32, at the frame's own position.

Lengths are in units of the face's size, the square root of the mask's area, so that a look is the same at every
resolution. The frame's border is not an edge of the face: a face cut off by it is neither eroded nor feathered there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Combination = Literal["product", "minimum", "union"]
COMBINATIONS: tuple[str, ...] = get_args(Combination)

_SHIFT = 4  # fixed-point bits of OpenCV's polygon coordinates


def extend_forehead(points: Array, amount: float, up: Array | None = None) -> Array:
    """Move the upper half of a face's outline up, to take in the forehead.

    Landmark sets that end at the brows (68 points) need about 0.25; mediapipe's oval already reaches the hairline.

    Args:
        points: (K, 2) in pixels; any face points whose hull is the face.
        amount: How far the top moves, as a share of the outline's height; points at half the height stay.
        up: (2,) direction of the forehead in the image; straight up when absent.

    Returns:
        (K, 2) float32.
    """
    points = np.asarray(points, np.float32)
    if len(points) == 0 or amount == 0:
        return points.copy()
    direction = np.array([0.0, -1.0], np.float32) if up is None else np.asarray(up, np.float32)
    direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
    level = points @ direction
    low, high = float(level.min()), float(level.max())
    height = high - low
    if height <= 0:
        return points.copy()
    share = np.clip((level - (low + high) / 2) / (height / 2), 0.0, 1.0)
    return points + (share * amount * height)[:, None] * direction


def widen(points: Array, amount: float) -> Array:
    """Move an outline's points away from its middle.

    Args:
        points: (K, 2) in pixels.
        amount: How far, in face sizes (square root of the hull's area).

    Returns:
        (K, 2) float32.
    """
    points = np.asarray(points, np.float32)
    if len(points) == 0 or amount == 0:
        return points.copy()
    hull = cv2.convexHull(points)[:, 0]
    away = points - hull.mean(axis=0)
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return points + away / length * np.float32(amount * np.sqrt(cv2.contourArea(hull)))


def hull_mask(points: Array, shape: tuple[int, int], *, offset: tuple[float, float] = (0.0, 0.0)) -> Array:
    """The convex hull of points as a mask with an anti-aliased edge.

    Args:
        points: (K, 2) x, y in pixels.
        shape: (H, W) of the result.
        offset: x, y of the result's first pixel in the points' coordinates.

    Returns:
        (H, W) float32 in [0, 1]; all zero for fewer than three points.
    """
    canvas = np.zeros(shape, np.uint8)
    hull = _fixed_hull(points, offset)
    if hull is not None:
        cv2.fillConvexPoly(canvas, hull, (255.0,), lineType=cv2.LINE_AA, shift=_SHIFT)
    return canvas.astype(np.float32) / np.float32(255)


def _fixed_hull(points: Array, offset: tuple[float, float]) -> Array | None:
    """The convex hull in OpenCV's fixed-point coordinates; None for fewer than three points."""
    points = np.asarray(points, np.float32).reshape(-1, 2) - np.asarray(offset, np.float32)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    hull = cv2.convexHull(points).reshape(-1, 2)
    return np.rint(np.clip(hull, -16000, 16000) * (1 << _SHIFT)).astype(np.int32)


def combine(masks: list[Array], how: Combination = "minimum") -> Array:
    """Combine masks of one shape.

    Args:
        masks: One or more (H, W) float32 in [0, 1].
        how: ``product``; ``minimum`` (what Beckmann et al. do with both faces' masks); ``union``, the maximum.

    Returns:
        (H, W) float32 in [0, 1].
    """
    if how not in COMBINATIONS:
        raise ValueError(f"unknown combination {how!r}; known: {', '.join(COMBINATIONS)}")
    if not masks:
        raise ValueError("nothing to combine")
    result = masks[0].copy()
    for mask in masks[1:]:
        if how == "product":
            cv2.multiply(result, mask, dst=result)
        elif how == "minimum":
            cv2.min(result, mask, dst=result)
        else:
            cv2.max(result, mask, dst=result)
    return result


def face_size(mask: Array) -> float:
    """The unit of length: square root of the mask's area, in pixels."""
    return float(np.sqrt(max(cv2.sumElems(mask)[0], 0.0)))


def soften(
    mask: Array, *, erosion: float, feather: float, size: float | None = None, within: Array | None = None
) -> Array:
    """Erode a mask, then let it rise smoothly from 0 to 1 inside what is left.

    The distance to the mask's edge decides, so the band has the same width everywhere, corners included, and the
    result never reaches outside the mask.

    Args:
        mask: (H, W) float32 in [0, 1]; above a half counts as inside.
        erosion: Width of the band set to 0, in face sizes.
        feather: Width of the band in which the mask rises to 1, in face sizes.
        size: Face size in pixels; measured on the mask when absent.
        within: The mask's :func:`depth`, where it is known already.

    Returns:
        (H, W) float32 in [0, 1]; 0 wherever ``mask`` is at most a half.
    """
    if erosion <= 0 and feather <= 0:
        return (mask > 0.5).astype(np.float32)
    if size is None:
        size = float(np.sqrt(np.count_nonzero(mask > 0.5)))
    return rise(depth(mask) if within is None else within, erosion * size, feather * size)


def depth(mask: Array) -> Array:
    """Distance of each pixel inside a mask to the mask's edge; the frame's border is not an edge.

    Args:
        mask: (H, W) float32 in [0, 1]; above a half counts as inside.

    Returns:
        (H, W) float32 in pixels: 0 outside, half a pixel in the outermost pixels inside.
    """
    inside = (mask > 0.5).view(np.uint8)
    if inside.all():
        return np.full(mask.shape, np.float32(mask.size))
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    # The transform counts to the next pixel outside; the edge runs half a pixel before it.
    return cv2.scaleAdd(inside.astype(np.float32), -0.5, distance)


def rise(distance: Array, start: float, width: float) -> Array:
    """Smooth rise of a mask with the distance from its edge.

    Args:
        distance: (H, W) float32 in pixels, 0 outside.
        start: Distance at which the mask begins to rise, in pixels.
        width: Pixels over which it rises to 1 (at least one).

    Returns:
        (H, W) float32 in [0, 1]; 0 wherever the distance is 0.
    """
    width = max(width, 1.0)
    ramp = cv2.addWeighted(distance, 1 / width, distance, 0.0, -start / width)
    np.clip(ramp, 0.0, 1.0, out=ramp)
    square = cv2.multiply(ramp, ramp)
    return cv2.multiply(square, cv2.addWeighted(ramp, -2.0, ramp, 0.0, 3.0), dst=square)


def cover(parts: Sequence[Array], shape: tuple[int, int], *, margin: float, offset: tuple[float, float]) -> Array:
    """A mask that is 1 on some parts of the face and a margin around them, then falls to 0 over twice as much.

    Args:
        parts: (K, 2) points each, x, y in pixels; the hull of each counts.
        shape: (H, W) of the result.
        margin: In pixels.
        offset: x, y of the result's first pixel in the points' coordinates.

    Returns:
        (H, W) float32 in [0, 1].
    """
    reach = max(1, round(margin))
    canvas = np.zeros(shape, np.uint8)
    for part in parts:
        hull = _fixed_hull(part, offset)
        if hull is not None:
            cv2.fillConvexPoly(canvas, hull, (255.0,), shift=_SHIFT)
            cv2.polylines(canvas, [hull], True, (255.0,), thickness=5 * reach, shift=_SHIFT)
    # The blur eats up to the half diagonal of its box, 1.4 margins.
    blurred = cv2.blur(canvas, (2 * reach + 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    return blurred.astype(np.float32) * np.float32(1 / 255)


def guided_filter(guide: Array, mask: Array, *, radius: int, epsilon: float, grid: int = 1) -> Array:
    """Edge-preserving smoothing of a mask that follows the edges of a grey picture.

    He, Sun and Tang, "Guided Image Filtering", 2010: in each window the result is an affine function of the guide.
    With a ``grid`` the functions are found every so many pixels (He and Sun, "Fast Guided Filter", 2015).

    Args:
        guide: (H, W) float32 in [0, 1].
        mask: (H, W) float32 in [0, 1].
        radius: Of the square windows, in pixels.
        epsilon: Contrast squared below which the guide counts as flat.
        grid: Pixels between two windows; 1 for every pixel, as published in 2010.

    Returns:
        (H, W) float32; may leave [0, 1] by a little.
    """
    whole = guide
    if grid > 1:
        height, width = (max(1, round(side / grid)) for side in guide.shape)
        guide, mask = (cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA) for array in (guide, mask))
        radius = max(1, round(radius / grid))
    mean_guide, mean_mask = _box(guide, radius), _box(mask, radius)
    covariance = _box(cv2.multiply(guide, mask), radius) - cv2.multiply(mean_guide, mean_mask)
    variance = _box(cv2.multiply(guide, guide), radius) - cv2.multiply(mean_guide, mean_guide)
    slope = covariance / (variance + np.float32(epsilon))
    level = mean_mask - cv2.multiply(slope, mean_guide)
    fits = [_box(slope, radius), _box(level, radius)]
    if grid > 1:
        fits = [cv2.resize(array, whole.shape[::-1], interpolation=cv2.INTER_LINEAR) for array in fits]
    return cv2.add(cv2.multiply(fits[0], whole), fits[1])


def _box(array: Array, radius: int) -> Array:
    return cv2.boxFilter(array, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)


def refine(mask: Array, image: Array, *, radius: float, epsilon: float = 0.01, size: float | None = None) -> Array:
    """Pull a feathered mask towards the picture's edges: hair, glasses and jaw keep their outline.

    The guided filter runs on a grid of about 4 pixels per radius (its coefficients are smooth; He and Sun, "Fast
    Guided Filter", 2015). The result never reaches outside ``mask``'s own support.

    Args:
        mask: (H, W) float32 in [0, 1].
        image: (H, W, 3) float32 RGB in [0, 1]: the frame.
        radius: Reach, in face sizes.
        epsilon: See :func:`guided_filter`.
        size: Face size in pixels; measured on the mask when absent.

    Returns:
        (H, W) float32 in [0, 1].
    """
    if size is None:
        size = face_size(mask)
    reach = radius * size
    if reach < 1:
        return mask.copy()
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    factor = max(1, int(reach // 4))
    if factor > 1:
        height, width = mask.shape
        small = (max(1, width // factor), max(1, height // factor))
        guide_small = cv2.resize(guide, small, interpolation=cv2.INTER_AREA)
        mask_small = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
        refined = guided_filter(guide_small, mask_small, radius=max(1, round(reach / factor)), epsilon=epsilon)
        refined = cv2.resize(refined, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        refined = guided_filter(guide, mask, radius=round(reach), epsilon=epsilon)
    np.clip(refined, 0.0, 1.0, out=refined)
    # A window reaches beyond the support; weighting with the mask's own ramp near 0 keeps the edge where it was.
    return cv2.multiply(refined, np.minimum(mask * np.float32(4), 1.0))
