"""Where in the frame the face goes: the box that is worked in, and the swap's mask in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending import mask
from blending.settings import BlendSettings

Array = NDArray[Any]
Box = tuple[int, int, int, int]

_MARGIN = 4  # pixels that are worked with around the mask, for the boundary and the filters
_TRACED = 0.02  # face sizes within which the outline of what covers the face is pulled to the frame's edges ...
_TRACED_CONTRAST = 0.1  # ... of about this contrast
_NEARLY = 0.05
_INSET = 2.0  # crop pixels at the crop's border that are never shown: warps and convolutions are unsure there


def scale_of(matrix: Array) -> float:
    """Crop pixels per frame pixel."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def reduction(matrix: Array, settings: BlendSettings) -> float:
    """How many frame pixels go into one that is worked with, along a side."""
    most = settings.detail.oversampling
    if most <= 0 or settings.poisson.gradients == "mixed":
        return 1
    return max(1.0, 1 / (scale_of(matrix) * most))


def reduced(image: Array, size: tuple[int, int]) -> Array:
    """A picture made smaller to (width, height): interpolated to a whole multiple of that, then averaged.

    Averaging over fractions of pixels, OpenCV's INTER_AREA, gives much the same at several times the cost.
    """
    block = max(1, int(min(image.shape[1] / size[0], image.shape[0] / size[1])))
    multiple = cv2.resize(image, (block * size[0], block * size[1]), interpolation=cv2.INTER_LINEAR)
    return multiple if block == 1 else cv2.resize(multiple, size, interpolation=cv2.INTER_AREA)


def hull_points(polygon: Array | None, matrix: Array, settings: BlendSettings) -> Array | None:
    """Points in frame pixels, (K, 2), whose hull limits the swap as the settings say; None where no hull does."""
    if polygon is None or settings.mask.shape in ("learned", "square"):
        return None
    points = outline_of(polygon, matrix, settings)
    if settings.mask.reach and settings.mask.shape != "hull":
        points = mask.widen(points, settings.mask.reach)
    return points


def outline_of(polygon: Array, matrix: Array, settings: BlendSettings) -> Array:
    """The face's points in frame pixels, (K, 2), with the forehead that the settings add."""
    up = -matrix[1, :2]  # the crop's up, in frame pixels: a similarity's inverse is its transpose, up to scale
    return mask.extend_forehead(np.asarray(polygon)[:, :2], settings.mask.forehead, up)


def box_of(
    shape: tuple[int, ...],
    size: int,
    matrix: Array,
    points: Array | None,
    settings: BlendSettings,
    *,
    beyond: float = 0.0,
) -> Box:
    """The part of the frame in which the mask can be above 0, with a margin, inside the frame.

    ``beyond`` is added on each side, as a share of the crop's.
    """
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]], np.float64)
    corners = corners @ inverse[:, :2].T + inverse[:, 2]
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = int(np.ceil(_MARGIN * reduction(matrix, settings) + beyond * size / scale_of(matrix)))
    if points is not None and settings.mask.shape != "union":
        low, high = np.maximum(low, points.min(axis=0)), np.minimum(high, points.max(axis=0))
    height, width = shape[:2]
    left, top = np.maximum(np.floor(low).astype(int) - margin, 0)
    right, bottom = np.minimum(np.ceil(high).astype(int) + 1 + margin, [width, height])
    return int(left), int(top), int(right), int(bottom)


def shifted(matrix: Array, box: Box) -> Array:
    """The matrix that starts from the box's first pixel."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array(box[:2], np.float64)
    return shifted


def warped(face: Array, matrix: Array, box: Box) -> Array:
    """The face in the frame's position, in the box; averaged before it is made smaller."""
    scale = scale_of(matrix)
    shrink = int(scale)
    if shrink >= 2:
        small = max(1, face.shape[0] // shrink)
        factor = small / face.shape[0]
        face = cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA)
        matrix = matrix * factor
        matrix[:, 2] += (factor - 1) / 2
        scale *= factor
    if scale > 1.25:
        face = cv2.GaussianBlur(face, (0, 0), 0.4 * np.sqrt(scale**2 - 1), borderType=cv2.BORDER_REPLICATE)
    warped = cv2.warpAffine(
        face,
        shifted(matrix, box),
        (box[2] - box[0], box[3] - box[1]),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.clip(warped, 0.0, 1.0, out=warped)


def mask_region(
    face_mask: Array | None,
    size: int,
    matrix: Array,
    points: Array | None,
    box: Box,
    settings: BlendSettings,
) -> Array:
    """The area of the swap before erosion and feathering, in the box."""
    shape = (box[3] - box[1], box[2] - box[0])
    inverse = cv2.invertAffineTransform(matrix)
    edge = (_INSET, size - 1 - _INSET)
    corners = np.array([[x, y] for x in edge for y in edge]) @ inverse[:, :2].T + inverse[:, 2]
    square = mask.hull_mask(corners, shape, offset=box[:2])
    how = settings.mask.shape
    hull = None if points is None else mask.hull_mask(points, shape, offset=box[:2])
    learned = None
    if face_mask is not None and how not in ("square", "hull"):
        learned = _warp_mask(_drawn_in(face_mask, settings.mask.inset), shifted(matrix, box), shape)
    parts = [part for part in (hull, learned) if part is not None]
    if not parts:
        return square
    region = mask.combine(parts, how) if how in ("product", "minimum", "union") else parts[0]
    return _from_the_sides(cv2.min(region, square), matrix, settings)


def _from_the_sides(region: Array, matrix: Array, settings: BlendSettings) -> Array:
    """The region without bands along its top, right, bottom and left; the frame's border is no side."""
    out = region
    if not any(settings.mask.sides):
        return out
    size = mask.face_size(region)
    right = matrix[0, :2] / np.linalg.norm(matrix[0, :2])  # the crop's axes in frame pixels
    down = np.array([-right[1], right[0]])
    for amount, direction in zip(settings.mask.sides, (down, -right, -down, right), strict=True):
        if amount > 0:
            moved = np.column_stack([np.eye(2), amount * size * direction])
            out = cv2.min(out, cv2.warpAffine(region, moved, region.shape[::-1], borderMode=cv2.BORDER_REPLICATE))
    return out


def seen_region(visible: Array, matrix: Array, target: Array, size: float, box: Box) -> Array:
    """What can be seen of the face, from the crop into the box, its outline pulled to the frame's edges."""
    shape = (box[3] - box[1], box[2] - box[0])
    warped = _warp_mask(visible, shifted(matrix, box), shape, cv2.BORDER_REPLICATE)
    radius = max(1, round(_TRACED * size))
    guide = cv2.cvtColor(target, cv2.COLOR_RGB2GRAY)
    grid = max(1, radius // 2)
    traced = mask.guided_filter(guide, warped, radius=radius, epsilon=_TRACED_CONTRAST**2, grid=grid)
    # A linear fit in each window never quite reaches 0 and 1; what is covered is to stay as it is, to the bit
    return np.clip((traced - _NEARLY) / (1 - 2 * _NEARLY), 0.0, 1.0)


def alpha_of(
    region: Array,
    cover: Sequence[Array],
    target: Array,
    size: float,
    box: Box,
    settings: BlendSettings,
) -> Array:
    """The new face's weight, (h, w) float32 in [0, 1]."""
    chosen = settings.mask
    if size <= 0:
        return np.zeros_like(region)
    within = mask.depth(region)
    alpha = mask.soften(region, erosion=chosen.erosion, feather=chosen.feather, size=size, within=within)
    if chosen.refine > 0:
        alpha = mask.refine(alpha, target, radius=chosen.refine, size=size)
    if chosen.cover > 0 and len(cover) > 0:
        margin = chosen.cover * size
        parts = [np.asarray(part, np.float32)[:, :2] for part in cover]
        covered = mask.cover(parts, (box[3] - box[1], box[2] - box[0]), margin=margin, offset=box[:2])
        alpha = cv2.max(alpha, cv2.min(covered, mask.rise(within, 0.0, chosen.feather * size / 2)))
    return alpha


def _drawn_in(face_mask: Array, amount: float) -> Array:
    """The learned mask, eroded by ``amount`` face sizes, in fractions of a pixel too: face sizes change smoothly."""
    reach = amount * mask.face_size(face_mask)
    if reach <= 0:
        return face_mask
    less, more = (
        cv2.erode(face_mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)))
        for r in (int(reach), int(reach) + 1)
    )
    return cv2.addWeighted(less, 1 - reach % 1, more, reach % 1, 0)


def _warp_mask(
    face_mask: Array, matrix: Array, shape: tuple[int, int], border: int = cv2.BORDER_CONSTANT
) -> Array:
    """A mask of the crop in the box, by way of half its resolution: it is smooth, and warping is what costs."""
    half = (-(-shape[1] // 2), -(-shape[0] // 2))
    coarse = np.hstack([2 * matrix[:, :2], matrix[:, 2:] + 0.5 * matrix[:, :2].sum(axis=1, keepdims=True)])
    warped = cv2.warpAffine(
        face_mask, coarse, half, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
    )
    large = cv2.resize(warped, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]]
    return np.clip(large, 0.0, 1.0)
