"""Glasses of the target under a new face that wears none: what the mask leaves standing of them is painted over.

Inside the mask they vanish with the old face. At its edge the rims fade out, and beyond it hinge and arm stand at the
temple and hold nothing. An arm is a ridge: darker or brighter than what lies above and below it, and it runs outwards
from the lens. The path along which it does so best is found by dynamic programming, and what stands out along it, and
hangs together with it inside the outline, is filled with what lies around (Telea 2004, An Image Inpainting Technique
Based on the Fast Marching Method). Everything happens in a strip at each temple, in the crop's own directions and at
its scale, so that it costs the same for every frame. Where the head is turned away so far that the lens on the far side
stands out beyond the cheek, nothing is painted there: what is seen through it cannot be told from what lies behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.state import BlendState

Array = NDArray[Any]

SIDE = 256
"""Pixels along a side of the crop, at the scale of the strips."""
REACH = 0.075
"""How far outside the outline an arm is followed, as a share of the crop's side."""
_IN, _OUT, _HEIGHT = 36, round(REACH * SIDE), 72  # a strip's pixels inside and outside of the outline, and its height
_ABOVE = 5  # a strip begins so far above the middle of the brows
_LEVEL = slice(10, 46)  # an arm lies at these heights
_BEFORE, _STARTS = 26, 4  # a path begins at most, and at least, so far inside the outline
_AT = 14  # ... and ends at most so: hair may hide the rest of an arm
_THICK = 17  # what is thicker is no arm
_RIM = 5  # ... and no rim
_FAINT, _PLAIN = 0.05, 0.25  # contrast that an arm must have, and that is as good as any more
_BEND = 0.04  # contrast that a step up or down costs: arms are straight
_LONG = 10  # columns in which a path must be seen: moles are no arms
_FOUND = 0.25  # contrast that it must add up to, above what is faint; half of it where one was found before
_KEPT = 0.03  # contrast that counts as seen where glasses were found before
_CORRIDOR, _HINGE = 5, 9  # what belongs to an arm lies so near to its path, and so near the rim that it holds
_EDGE, _SHARE = 0.05, 0.35  # contrast that counts as part of it: so much, and so much of the path's
_SHOWN = 4  # columns of a strip in which the new face hides all
_AWAY, _TOWARDS = 0.72, 0.84  # a side, from the brows' middle, of the other's width: left alone; painted in full
_PAST = 1  # rims are looked for to so far outside the outline
_GROWN = 5
_SHINE = 0.02  # contrast of lines that are rims
_RADIUS = 2  # of the surroundings that a pixel is filled from


@dataclass(frozen=True)
class Removed:
    """The frame with glasses painted over, and where."""

    target: Array
    """(h, w, 3) float32."""
    weight: Array
    """(h, w) float32 in [0, 1]: how much of each pixel was painted."""

    def under(self, source: Array, alpha: Array) -> tuple[Array, Array]:
        """A face and its weight together with what was painted over beside and beneath it.

        Args:
            source: (h, w, 3) float32.
            alpha: (h, w) float32.

        Returns:
            Likewise, so that compositing them onto the frame that was not painted over gives face over painted frame.
        """
        rest = cv2.multiply(1 - alpha, self.weight)
        total = alpha + rest
        mixed = cv2.blendLinear(source, self.target, alpha, rest)  # divides by the sum of both weights
        return np.where(rest[..., None] > 0, mixed, source), total


def without(
    target: Array,
    matrix: Array,
    size: int,
    outline: Array,
    brows: Sequence[Array],
    corner: tuple[int, int],
    strength: float = 1.0,
    state: BlendState | None = None,
) -> Removed | None:
    """Paint over what is seen of the target's glasses at the edge of the face and beyond.

    Args:
        target: (h, w, 3) float32 RGB in [0, 1].
        matrix: (2, 3) from the target's pixels, counted so that its first has ``corner``, to those of the crop.
        size: The crop's side.
        outline: (K, 2) face points in the target's pixels, counted likewise.
        brows: Likewise, each (K, 2 or more).
        corner: x, y.
        strength: 0 to 1.
        state: The track's filters.

    Returns:
        None where no arm is found.
    """
    places = _places(matrix, size, outline, brows, corner)
    if places is None:
        return None
    shares = np.array([share for _, share in places])
    if state is not None:
        shares = state.sides(shares)
    strips = [
        cv2.warpAffine(target, place, (_IN + _OUT, _HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for place, _ in places
    ]
    before = (None, None) if state is None or state.last_glasses is None else state.last_glasses
    found = np.stack([arm(strip, known) for strip, known in zip(strips, before, strict=True)])
    found = found if state is None else state.glasses(found)
    if found.max() < _EDGE:
        return None
    painted: Array = target.copy()
    weight: Array = np.zeros(target.shape[:2], np.float32)
    for strip, there, (place, _), share in zip(strips, found, places, shares, strict=True):
        if share * there.max() >= _EDGE:
            _paint(painted, weight, strip, there, place, strength * float(share))
    return Removed(painted, weight) if weight.any() else None


def arm(strip: Array, before: Array | None = None) -> Array:
    """Where an arm of glasses, and the rim that it holds, are seen at a temple.

    Args:
        strip: (72, 36 + 19, 3) float32 RGB in [0, 1]: x grows outwards, the outline lies at 36, the brows at 5.
        before: What was found a moment ago; it is kept to where the strip does not say otherwise, so that what is
            painted over does not change from frame to frame.

    Returns:
        (72, 55) float32 in [0, 1]: 0 everywhere where no arm is found.
    """
    nothing = np.zeros(strip.shape[:2], np.float32)
    dark, bright = _hats(strip, np.ones((_THICK, 1), np.uint8))
    contrast = cv2.max(_least(dark), _least(bright))
    level = cv2.blur(contrast, (5, 3))
    found = _path(level[:, _IN - _BEFORE :], None if before is None else before[:, _IN - _BEFORE :])
    if found is None:
        return nothing
    path, columns = found[0], found[1] + _IN - _BEFORE
    line: Any = np.zeros(strip.shape[:2], np.uint8)
    line[path, columns] = 1
    edge = max(_EDGE, _SHARE * float(np.median(level[path, columns])))
    near: Any = cv2.dilate(line, np.ones((2 * _CORRIDOR + 1, 5), np.uint8))
    holding: Any = cv2.dilate(line, _ball(2 * _HINGE + 1))
    seen = contrast if before is None else contrast + np.float32(_KEPT) * before
    standing: Array = (seen > edge).astype(np.uint8) & near
    rims = cv2.max(*(_least(hat) for hat in _hats(strip, _ball(_RIM))))
    inside = (rims > max(_EDGE, edge / 2)).astype(np.uint8) & holding
    inside[:, _IN + _PAST :] = 0
    _, labels = cv2.connectedComponents(standing | inside)
    kept = np.unique(labels[path, columns])
    whole = np.isin(labels, kept[kept > 0]).astype(np.float32)
    grown = cv2.dilate(whole, _ball(_GROWN))
    grown[:, :_SHOWN] = grown[:, -1:] = grown[[0, -1]] = 0
    return cv2.GaussianBlur(grown, (3, 3), 0)


def _paint(painted: Array, weight: Array, strip: Array, there: Array, place: Array, strength: float) -> None:
    """Fill a strip where something is, and bring it back into the frame and the weights, in place."""
    inverse = cv2.invertAffineTransform(place)
    corners = np.array([[0, 0], [_IN + _OUT, 0], [0, _HEIGHT], [_IN + _OUT, _HEIGHT]]) @ inverse[:, :2].T
    corners += inverse[:, 2]
    most = np.array(weight.shape[::-1])
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, most)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, most)
    if right <= left or bottom <= top:
        return
    holes = (there > _EDGE).astype(np.uint8)
    where = np.float32(strength) * there
    filled = cv2.inpaint(cv2.convertScaleAbs(strip, alpha=255.0), holes, _RADIUS, cv2.INPAINT_TELEA)
    both = cv2.merge([filled * (where[..., None] / 255), where])
    here = place.copy()
    here[:, 2] += place[:, :2] @ np.array([left, top], np.float64)
    back = cv2.warpAffine(both, here, (right - left, bottom - top), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    share = back[..., 3:]
    area: Array = painted[top:bottom, left:right]
    area += share * (back[..., :3] / np.maximum(share, np.float32(1e-6)) - area)
    seen = weight[top:bottom, left:right]
    np.maximum(seen, share[..., 0], out=seen)


def worn(pictures: Sequence[Array], eyes: Sequence[Sequence[Array]]) -> bool:
    """Whether somebody wears glasses: a bright line crosses the nose between the eyes, and another lies below each.

    Dark lines do not count: a frown and bags under the eyes draw them too. So dark rims that nothing is reflected in
    are not seen.

    Args:
        pictures: Of the bare or bespectacled face, each (H, W, 3) float32 RGB in [0, 1].
        eyes: For each picture both eyes, each (K, 2) points in its pixels.

    Returns:
        False too where there is no picture.
    """
    found = [_shine(picture, both) for picture, both in zip(pictures, eyes, strict=True)]
    return bool(found) and float(np.median(found)) > _SHINE


def _shine(picture: Array, eyes: Sequence[Array]) -> float:
    """Contrast of the bright lines across the nose and below the eyes, whichever is fainter, in [0, 1]."""
    first, second = sorted((np.mean(np.asarray(eye)[:, :2], axis=0) for eye in eyes), key=lambda point: point[0])
    way = (second - first) / 64  # 64 pixels between the eyes, the middle at 80, 32
    if not way.any():
        return 0.0
    zoom = np.array([[way[0], way[1]], [-way[1], way[0]]]) / float(way @ way)
    place = np.column_stack([zoom, np.array([80, 32]) - zoom @ ((first + second) / 2)])
    shrink = float(np.hypot(*way))
    if shrink > 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 * float(np.sqrt(shrink**2 - 1)))
    level = cv2.warpAffine(picture, place, (161, 80), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bright = _least(_hats(level, np.ones((11, 1), np.uint8))[1])
    below = [_along(bright[44:70, x - 12 : x + 13]) for x in (48, 112)]
    return min(_along(bright[14:50, 68:93]), float(np.mean(below)))


def _along(contrast: Array) -> float:
    """Mean along the best way from the left border to the right, a row up or down at each step."""
    total: Array = contrast[:, 0]
    for column in contrast.T[1:]:
        total = cv2.dilate(total, np.ones((3, 1), np.uint8))[:, 0] + column
    return float(total.max()) / contrast.shape[1]


def _places(
    matrix: Array, size: int, outline: Array, brows: Sequence[Array], corner: tuple[int, int]
) -> list[tuple[Array, float]] | None:
    """The (2, 3) that bring the target's pixels, counted from 0, to the strips on the left and on the right.

    With each, in [0, 1], how far that side of the head is turned to the camera.
    """
    if not len(brows):
        return None
    scale = SIDE / size
    to_crop = np.asarray(matrix, np.float64) * scale
    to_crop[:, 2] += (scale - 1) / 2
    points = np.asarray(outline)[:, :2] @ to_crop[:, :2].T + to_crop[:, 2]
    brow = np.concatenate([np.asarray(part)[:, :2] for part in brows]) @ to_crop[:, :2].T + to_crop[:, 2]
    top = float(brow[:, 1].mean()) - _ABOVE
    beside = points[np.abs(points[:, 1] - (top + _HEIGHT / 2)) < _HEIGHT / 2]
    if len(beside) < 2:
        return None
    middle, least, most = (float(x) for x in (brow[:, 0].mean(), beside[:, 0].min(), beside[:, 0].max()))
    left, right = middle - least, most - middle
    places = []
    for sign, x, own, other in ((-1.0, least, left, right), (1.0, most, right, left)):
        ratio = own / other if other > 0 else 1.0
        place = np.array([[sign], [1.0]]) * to_crop
        place[:, 2] += np.array([_IN - sign * x, -top]) + place[:, :2] @ np.array(corner, np.float64)
        places.append((place, float(np.clip((ratio - _AWAY) / (_TOWARDS - _AWAY), 0, 1))))
    return places


def _path(level: Array, known: Array | None) -> tuple[Array, Array] | None:
    """Rows and columns of the best way outwards, each (n,), which is to the right; None for none worth it."""
    gain = np.minimum(level[_LEVEL], np.float32(_PLAIN)) - np.float32(_FAINT)
    if known is not None:
        gain = gain + np.float32(_KEPT) * known[_LEVEL]
    total = np.empty_like(gain)
    total[:, 0] = gain[:, 0]
    steps = np.zeros(gain.shape, np.int64)  # up, none, down; 2: the way begins here
    ways = np.full((4, len(gain)), -np.inf, np.float32)
    everywhere = np.arange(len(gain))
    for column in range(1, gain.shape[1]):
        before = total[:, column - 1]
        ways[0, 1:] = before[:-1] - _BEND
        ways[1] = before
        ways[2, :-1] = before[1:] - _BEND
        ways[3] = 0 if column < _BEFORE - _STARTS else -np.inf
        best = ways.argmax(axis=0)
        steps[:, column] = best - 1
        total[:, column] = ways[best, everywhere] + gain[:, column]
    ends = total[:, _BEFORE - _AT :]
    row, column = (int(at) for at in np.unravel_index(ends.argmax(), ends.shape))
    column += _BEFORE - _AT
    amount = float(total[row, column])
    rows = [row]
    while column > len(rows) - 1 and steps[row, column - len(rows) + 1] != 2:
        row += int(steps[row, column - len(rows) + 1])
        rows.append(row)
    path, columns = np.array(rows[::-1]) + _LEVEL.start, np.arange(column - len(rows) + 1, column + 1)
    again = known is not None and known[path, columns].mean() > 0.5
    if (gain[path - _LEVEL.start, columns] > 0).sum() < _LONG or amount < (_FOUND / 2 if again else _FOUND):
        return None
    return path, columns


def _hats(strip: Array, kernel: Array) -> tuple[Array, Array]:
    """How much darker, and how much brighter, each pixel is than all that is larger than the kernel."""
    dark = cv2.subtract(cv2.morphologyEx(strip, cv2.MORPH_CLOSE, kernel), strip)
    return dark, cv2.subtract(strip, cv2.morphologyEx(strip, cv2.MORPH_OPEN, kernel))


def _least(image: Array) -> Array:
    a, b, c = cv2.split(image)
    return cv2.min(cv2.min(a, b), c)


def _ball(width: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
