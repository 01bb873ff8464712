"""Hair that hangs into the face's outline: found by its color, so that it stays in front of the new face.

An outline drawn from landmarks takes in the fringe over a forehead and the locks beside it, and a decoder that has seen
the target only so takes them for part of the face. They differ from what comes in front (:mod:`blending.occlusion`)
in that they are there all the time, and they reach in from outside: what lies above the brows or at the temples, is
darker than skin, nearer to the colors just outside the outline than to skin, and hangs together with those. Lighter
hair is not found, since a shine on the forehead looks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.mask import cover, hull_mask
from blending.state import BlendState

Array = NDArray[Any]

SIDE = 64
"""Pixels along a side of the picture that is looked at."""
_FLOOR = np.array([7.0, 3.5, 3.5], np.float32)  # spread of skin that is always granted, CIELAB
_WIDER = 0.03  # what is painted over is widened, shares of the crop's side
_HARDLY = 0.02  # hair that covers less is none
_UNLIKE, _PALE = 2.5, 4.0  # spreads from skin; where brighter: a shine is no background
# Lengths in face sizes
_CORE, _RING, _NEAR = 0.12, 0.08, 0.12
_BROW, _TAIL = 0.03, 0.09  # margin around brows; how far in from the outline there may be hair in their place
_TEMPLE, _CHEEK = (0.08, 0.12), (0.12, 0.5)  # how far in from the outline, how far below the brows
_LEAST, _WORTH = 0.0002, 0.002  # of the face's area, seen of it outside and inside
_KEPT = 0.7  # of a brow, from its inner end, is safe from what is taken for hair beside it
_EDGE = 0.06  # how far inside its own outline a generated face may end
_BEHIND = 0.01  # of the face's area: background that is less is none
_CHIN = 0.1  # what is dark that far above its lowest point, or lower, may be a neck or a collar
_FROM, _TO = 0.45, 0.60  # share of the way from skin to the color outside, in spreads


@dataclass(frozen=True)
class FaceShape:
    """Where a generated face lies in its crop: its own proportions are not the target's."""

    outline: Array
    """(K, 2) points, crop pixels, whose hull is the face."""
    brows: Sequence[Array] = ()
    """Each (K, 2) points."""
    eyes: Sequence[Array] = ()
    """Each (K, 2) points: lashes are dark too."""
    glasses: bool = False
    """Whether it wears any."""

    def scaled(self, factor: float) -> FaceShape:
        """In the pixels of a crop that is ``factor`` times as large."""
        move = (factor - 1) / 2  # pixel centres lie at whole numbers
        brows, eyes = ([part * factor + move for part in parts] for parts in (self.brows, self.eyes))
        return FaceShape(self.outline * factor + move, brows, eyes, self.glasses)


def brought(seen: Array, shape: FaceShape) -> Array:
    """What hair and background a generated face brings along, where it is known how the face itself lies.

    Inside its own outline that is what :func:`hair` finds there. Outside and close to it, above the chin, all is hair
    that is dark and unlike its skin, unless it hangs together with the middle of the lower face, as a beard does; and
    below the brows all is background that is bright, far from its skin, and goes on outside. Its eyes and the inner
    part of its brows are not taken for either even where they run into it.

    Args:
        seen: (S, S, 3) float32 RGB in [0, 1]: the crop, S about :data:`SIDE`.
        shape: The generated face's own, in these pixels.

    Returns:
        (S, S) float32 in [0, 1], :func:`widened`.
    """
    side = seen.shape[0]
    found = hair(seen, shape.outline, shape.brows, cheeks=True)
    own = (hull_mask(shape.outline, (side, side)) > 0.5).astype(np.uint8)
    size = float(np.sqrt(np.count_nonzero(own)))
    if size < 16:
        return found
    scaled = _from_skin(cv2.GaussianBlur(seen, (3, 3), 0), own, size)
    if scaled is None:
        return found
    rows = np.arange(side)[:, None]
    dark = np.where(scaled[..., 0] < 0, np.clip(_length(scaled) - _UNLIKE + 0.5, 0, 1), 0)
    top = min((float(np.min(part[:, 1])) for part in shape.brows), default=float(np.mean(shape.outline[:, 1])))
    low = (dark > 0) & (rows >= top + _CHEEK[1] * size)
    _, labels = cv2.connectedComponents(low.astype(np.uint8))
    beard = np.isin(labels, labels[low & (cv2.erode(own, _ball(_CORE * size)) > 0)])
    beside = (cv2.erode(own, _ball(_EDGE * size)) == 0) & ~beard
    beside &= rows < np.max(shape.outline[:, 1]) - _CHIN * size
    pale = np.where(scaled[..., 0] > 0, np.clip(_length(scaled) - _PALE + 0.5, 0, 1), 0)
    around = beside & (rows >= top)
    _, labels = cv2.connectedComponents(((pale > 0) & around).astype(np.uint8))
    behind = np.bincount(labels[own == 0], minlength=labels.max() + 1) >= _BEHIND * size**2
    behind[0] = False
    wall = widened(np.where(behind[labels], pale, 0).astype(np.float32))
    found = widened(np.where(beside, np.maximum(found, dark), found).astype(np.float32))
    found = np.where(beard, found, np.maximum(found, wall))
    kept = list(shape.eyes)
    if len(shape.brows):  # their tails are given up
        middle = float(np.mean(shape.outline[:, 0]))
        inner = [part[np.argmin(np.abs(part[:, 0] - middle))] for part in shape.brows]
        kept += [end + _KEPT * (part - end) for part, end in zip(shape.brows, inner, strict=True)]
    if kept:
        found[cover(kept, (side, side), margin=1, offset=(0, 0)) > 0.5] = 0
    return found


def hair(seen: Array, outline: Array, brows: Sequence[Array] = (), *, cheeks: bool = False) -> Array:
    """Where hair hangs into the face.

    Args:
        seen: (S, S, 3) float32 RGB in [0, 1]: the frame's crop, the forehead up; S about :data:`SIDE`.
        outline: (K, 2) points, crop pixels, whose hull is the face.
        brows: Each (K, 2) points; without any they are taken to lie a third down the outline.
        cheeks: Look for it beside the cheeks too, where a beard may begin as well.

    Returns:
        (S, S) float32: 1 where hair covers the face or what is close to its outline, 0 elsewhere.
    """
    side = seen.shape[0]
    nothing = np.zeros((side, side), np.float32)
    inside = hull_mask(outline, (side, side)) > 0.5
    size = float(np.sqrt(np.count_nonzero(inside)))
    if size < 16:
        return nothing
    filled = inside.astype(np.uint8)
    ring = (cv2.dilate(filled, _ball(_RING * size)) > 0) & ~inside
    rows = np.arange(side)[:, None]
    if len(brows):
        level = min(float(np.min(np.asarray(part)[:, 1])) for part in brows)
    else:
        top, bottom = np.flatnonzero(inside.any(axis=1))[[0, -1]]
        level = top + (bottom - top) / 3
    width, below = _CHEEK if cheeks else _TEMPLE
    temple = (cv2.erode(filled, _ball(width * size)) == 0) & (rows < level + below * size)
    area = (inside | ring) & ((rows < level) | temple)
    if len(brows):  # a brow is no hair; but the new face's own brows lie elsewhere than the target's
        brow = cover(brows, (side, side), margin=_BROW * size, offset=(0, 0)) > 0.5
        area &= ~brow | (cheeks & (cv2.erode(filled, _ball(_TAIL * size)) == 0))
    scaled = _from_skin(cv2.GaussianBlur(seen, (3, 3), 0), filled, size)
    if scaled is None:
        return nothing
    away = _length(scaled)
    unlike = area & (away > _UNLIKE) & (scaled[..., 0] < 0)
    beside = (unlike & ring).astype(np.float32)
    if beside.sum() < _LEAST * size**2:
        return nothing
    # The color just outside, wherever something there is unlike skin, spread inwards
    outside, weight = _carried(scaled, beside, _NEAR * size)
    known = weight > 0.001
    rest = _length(cv2.subtract(scaled, outside))
    share = away / np.maximum(away + rest, 1e-6)
    _, labels = cv2.connectedComponents((unlike & known & (share > (_FROM + _TO) / 2)).astype(np.uint8))
    count = labels.max() + 1
    from_outside = np.bincount(labels[ring], minlength=count) >= _LEAST * size**2
    from_outside &= np.bincount(labels[inside], minlength=count) >= _WORTH * size**2
    from_outside[0] = False
    kept = cv2.dilate(from_outside[labels].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    soft = np.clip((share - _FROM) / (_TO - _FROM), 0, 1) * np.clip(away - _UNLIKE + 0.5, 0, 1)
    return np.where(kept & area, soft, 0).astype(np.float32)


def parted(
    target: Array,
    face: Array,
    visible: Array | None,
    matrix: Array,
    size: int,
    outline: Array,
    brows: Sequence[Array],
    corner: tuple[int, int],
    strength: float,
    state: BlendState | None,
    shape: FaceShape | None = None,
) -> tuple[Array, Array | None]:
    """Leave the target's hair in front of the new face, and paint over the new face's own.

    Args:
        target: (h, w, 3) float32.
        face: (k size, k size, 3) float32: the generated crop.
        visible: (size, size) float32: what can be seen of it for other reasons; None for all.
        matrix: (2, 3) from the target's pixels to those of the crop.
        size: The crop's side.
        outline: (K, 2) face points in the target's pixels, but counted so that its first has ``corner``.
        brows: Likewise, each (K, 2 or more).
        corner: x, y.
        strength: 0 to 1.
        state: The track's filters.
        shape: How the generated face itself lies in the crop, in its pixels; None where that is not known.

    Returns:
        The face, and what can be seen of it.
    """
    scale = SIDE / size
    to_crop = matrix * scale
    to_crop[:, 2] += (scale - 1) / 2

    def moved(part: Array) -> Array:
        return (np.asarray(part, np.float64)[:, :2] - corner) @ to_crop[:, :2].T + to_crop[:, 2]

    outline, brows = moved(outline), [moved(part) for part in brows if len(part)]
    found = None if state is None else state.hairs
    if found is None:
        crop = _cropped(target, to_crop)
        if shape is None:
            drawn = widened(hair(_small(face), outline, brows, cheeks=True))
        else:
            drawn = brought(_small(face), shape.scaled(scale))
        own = hair(crop, outline, brows)
        if drawn.max() >= _HARDLY:  # where the target has hair as well (a sideburn), it is the target's that is seen
            own = np.maximum(own, np.minimum(drawn, hair(crop, outline, brows, cheeks=True)))
        found = [own, drawn]
        found = found if state is None else state.hair(*found)
    own, drawn = found
    if own.max() >= _HARDLY:
        seen = 1 - np.float32(strength) * cv2.resize(own, (size, size), interpolation=cv2.INTER_LINEAR)
        visible = seen if visible is None else cv2.min(visible, seen)
    return bared(face, drawn, outline, strength), visible


def _cropped(target: Array, matrix: Array) -> Array:
    """The crop at (SIDE, SIDE); what is made smaller is averaged first, so that strands do not shimmer."""
    shrink = int(1 / float(np.linalg.norm(matrix[0, :2])))
    if shrink >= 2:
        height, width = target.shape[:2]
        target = cv2.resize(target, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA)
        zoom = np.array([width / target.shape[1], height / target.shape[0]])
        linear = matrix[:, :2] * zoom
        matrix = np.column_stack([linear, matrix[:, 2] + matrix[:, :2] @ ((zoom - 1) / 2)])
    return cv2.warpAffine(target, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def widened(found: Array) -> Array:
    """What :func:`hair` found in a generated face, with its soft edge, which is neither hair nor skin.

    Args:
        found: (S, S) float32 in [0, 1].
    """
    return cv2.dilate(np.clip(2 * found - np.float32(0.5), 0, 1), _ball(_WIDER * found.shape[0]))


def bared(face: Array, found: Array, outline: Array, strength: float = 1.0) -> Array:
    """A generated face whose hair is painted over with the skin nearby.

    Where the new face is narrower than the target's, hair comes along inside the target's outline. Drawing the mask in
    there would bring the target's own brows back.

    Args:
        face: (S, S, 3) float32.
        found: (SIDE, SIDE) float32 in [0, 1]: where it has hair, at that resolution, :func:`widened`.
        outline: (K, 2) points at that resolution, whose hull is the face; nothing outside counts as skin.
        strength: 0 to 1.
    """
    if found.max() < _HARDLY:
        return face
    small = _small(face)
    inside = hull_mask(outline, (SIDE, SIDE))
    found = cv2.multiply(found, inside)
    skin = inside * (1 - found) * _like_skin(small, inside > 0.5)
    paint, known = np.zeros((SIDE, SIDE, 3), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for sigma in (SIDE / 64, SIDE / 24, SIDE / 6):  # what lies near counts most
        color, weight = _carried(small, skin, sigma)
        share = (1 - known) * np.clip(4 * weight - 0.2, 0, 1)
        paint += share[..., None] * color
        known += share
    paint /= np.maximum(known, 1e-3)[..., None]
    size = face.shape[1::-1]
    large = np.float32(strength) * cv2.resize(cv2.GaussianBlur(found, (0, 0), 1), size, interpolation=cv2.INTER_LINEAR)
    return cv2.blendLinear(cv2.resize(paint, size, interpolation=cv2.INTER_LINEAR), face, large, 1 - large)


def _like_skin(picture: Array, inside: Array) -> Array:
    """(S, S) float32: 1 for colors of skin, 0 for brows, lashes and hair; 1 everywhere where skin is not known."""
    size = float(np.sqrt(np.count_nonzero(inside)))
    scaled = _from_skin(picture, inside.astype(np.uint8), size)
    if scaled is None:
        return np.ones(picture.shape[:2], np.float32)
    return np.clip(_UNLIKE + 0.5 - _length(scaled), 0, 1).astype(np.float32)


def _from_skin(picture: Array, filled: Array, size: float) -> Array | None:
    """(S, S, 3) CIELAB from the mean of skin, in its spreads; None where the ``filled`` face shows too little of it."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    skin = _spread(lab[cv2.erode(filled, _ball(_CORE * size)) > 0])
    return None if skin is None else ((lab - skin[0]) / skin[1]).astype(np.float32)


def _length(vectors: Array) -> Array:
    a, b, c = cv2.split(vectors)
    return cv2.sqrt(a * a + b * b + c * c)


def _carried(values: Array, weight: Array, sigma: float) -> tuple[Array, Array]:
    """Values (S, S, 3) where they have weight, carried on beyond: normalized convolution (Knutsson & Westin 1993)."""
    side = values.shape[0]
    coarse = max(8, min(side, round(2.5 * side / sigma)))  # wide kernels are cheap on few pixels
    sigma *= coarse / side
    both = cv2.merge([values * weight[..., None], weight])
    small = cv2.resize(both, (coarse, coarse), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma), (side, side), interpolation=cv2.INTER_LINEAR)
    return blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-3), blurred[..., 3]


def _small(face: Array) -> Array:
    return face if face.shape[0] == SIDE else cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _ball(reach: float) -> Array:
    r = max(1, round(reach))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))


def _spread(colors: Array) -> tuple[Array, Array] | None:
    """Mean and spread of most of the colors: of skin, if skin is most of what there is. None for too few."""
    colors = colors[:: max(1, len(colors) // 400)]
    if len(colors) < 50:
        return None
    middle = np.median(colors, axis=0)
    usual = 1.4826 * np.median(np.abs(colors - middle), axis=0)
    near = (np.abs(colors - middle) < _UNLIKE * np.maximum(usual, _FLOOR)).all(axis=1)
    if np.count_nonzero(near) < 25:
        return None
    return colors[near].mean(axis=0), np.maximum(colors[near].std(axis=0), _FLOOR)
