"""Block artefacts: find the grid of 8 x 8 blocks that a codec left in a picture, and leave the same in another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 8
VISIBLE = 0.2
"""Excess (see :func:`excess`) from which on a picture counts as blocky."""
_WINDOW = 192  # pixels across of what the strength is tried on
_LINES = 130  # rows, and columns, of about this number are looked at
_CUT = 4.0  # typical differences; larger ones are cut off
_WEAKEST, _STRONGEST = 0.06, 3.0

# Luminance quantisation table of ITU-T T.81 (JPEG), annex K.1
_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_POSITION = np.arange(BLOCK)
_DCT = (0.5 * np.cos(np.pi * (2 * _POSITION[None] + 1) * _POSITION[:, None] / (2 * BLOCK))).astype(np.float32)
_DCT[0] *= np.float32(np.sqrt(0.5))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a codec does to a picture.

    Attributes:
        x: Column of the frame at which a block begins, 0 to 7.
        y: Row of the frame at which a block begins, 0 to 7.
        strength: Steps of the quantisation relative to JPEG's table at quality 50 (2.5 is quality 20, 0.2 is 90).
    """

    x: int
    y: int
    strength: float


def profile(
    grey: Array, inside: Array, corner: tuple[int, int] = (0, 0), typical: Array | None = None
) -> Array:
    """How much two neighbours differ beyond what their surroundings explain, by their place in the block.

    The idea of Wang, Bovik and Evans, "Blind measurement of blocking artifacts in images", 2000, in the spatial
    domain: across the edge of a block the step is larger than those beside it. Large values are cut off so that the
    face's own edges have little say.

    Args:
        grey: (H, W) float32.
        inside: (H, W) bool or uint8: where to look.
        corner: x, y of the first pixel in the frame.
        typical: (2,) the typical sizes of a difference that decide what is cut off; by default the picture's own.

    Returns:
        (2, 9): along x and along y, the mean for each of the eight phases (that of the right or lower neighbour, in
        frame pixels), and the typical size of a difference, all in the picture's units.
    """
    found = np.zeros((2, BLOCK + 1))
    area: Array = (np.asarray(inside) > 0).view(np.uint8)
    for axis in (0, 1):
        if axis:
            grey, area = cv2.transpose(grey), cv2.transpose(area)
        if grey.shape[1] < 2 * BLOCK:
            continue
        some = slice(None, None, max(1, round(grey.shape[0] / _LINES)))
        step = cv2.absdiff(grey[some, 1:], grey[some, :-1])
        excess = cv2.addWeighted(step[:, :-2], -0.5, step[:, 2:], -0.5, 0.0)
        excess = cv2.add(excess, step[:, 1:-1])
        where = cv2.min(area[some, :-3], area[some, 3:])
        few = np.abs(excess[::2, ::3][where[::2, ::3] > 0])
        if few.size < 64:
            continue
        usual = 1.4826 * float(np.partition(few, few.size // 2)[few.size // 2])
        limit = _CUT * (usual if typical is None else float(typical[axis]))
        np.clip(excess, -limit, limit, out=excess)
        columns = cv2.reduce(cv2.multiply(excess, where, dtype=cv2.CV_32F), 0, cv2.REDUCE_SUM)[0]
        phase = (np.arange(columns.size) + 2 + corner[axis]) % BLOCK
        count = np.bincount(phase, cv2.reduce(where, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[0], BLOCK)
        found[axis, :BLOCK] = np.bincount(phase, columns, BLOCK) / np.maximum(count, 1)
        found[axis, BLOCK] = usual
    return found


def step_height(measured: Array) -> tuple[tuple[int, int], Array]:
    """Where blocks begin, x and y, and how much higher steps are there than elsewhere, (2,) in the picture's units."""
    phases = measured[:, :BLOCK]
    place = phases.argmax(axis=1)
    others = np.median(np.sort(phases, axis=1)[:, :-1], axis=1)
    return (int(place[0]), int(place[1])), phases.max(axis=1) - others


def excess(measured: Array) -> float:
    """How blocky a picture is: how far the highest of the eight phases stands out, over the typical difference.

    Geometric mean of both axes, since a codec's grid shows in both; against the next two phases, since patterns that
    repeat every two or four pixels are no grid of eight. Up to about 0.15 for clean pictures and for video with a
    deblocking filter, 0.2 for JPEG at quality 90, 0.6 at 75, 1 at 50, 1.6 at 25.

    Args:
        measured: From :func:`profile`.
    """
    phases = np.sort(measured[:, :BLOCK], axis=1)
    out = (phases[:, -1] - phases[:, -3:-1].mean(axis=1)) / np.maximum(measured[:, BLOCK], 1e-6)
    return float(np.sqrt(np.prod(out)))


def matching(grey: Array, inside: Array, measured: Array, corner: tuple[int, int] = (0, 0)) -> Grid | None:
    """The quantisation that gives a picture steps as high as another's; None where the other is not blocky.

    Its strength is 0 where the picture has such steps already. It is tried out, since how blocky a picture gets depends
    on the picture.

    Args:
        grey: (H, W) float32 in [0, 1]: the picture to be quantised.
        inside: (H, W) bool or uint8: where to look.
        measured: From :func:`profile`, of the other picture.
        corner: x, y of the first pixel in the frame.
    """
    if excess(measured) < VISIBLE:
        return None
    (x, y), height = step_height(measured)
    goal = float(height.sum())
    ys, xs = (np.flatnonzero(np.asarray(inside).any(axis=axis)) for axis in (1, 0))
    if ys.size == 0:
        return None
    top, left = (max(0, int(n[0] + n[-1]) // 2 - _WINDOW // 2) for n in (ys, xs))
    rows, columns = slice(top, top + _WINDOW), slice(left, left + _WINDOW)
    grey, area, corner = grey[rows, columns], inside[rows, columns], (corner[0] + left, corner[1] + top)

    def reached(picture: Array) -> float:
        phases = profile(picture, area, corner, measured[:, BLOCK])[:, :BLOCK]
        others = [np.median(np.delete(phases[axis], place)) for axis, place in enumerate((x, y))]
        return float(phases[0, x] + phases[1, y] - sum(others))

    if reached(grey) >= 0.9 * goal:
        return Grid(x=x, y=y, strength=0.0)
    low, high = np.log(_WEAKEST), np.log(_STRONGEST)
    for _ in range(5):
        middle = (low + high) / 2
        tried = Grid(x=x, y=y, strength=float(np.exp(middle)))
        low, high = (middle, high) if reached(quantize(grey, tried, corner)) < goal else (low, middle)
    return Grid(x=x, y=y, strength=float(np.exp((low + high) / 2)))


def quantize(grey: Array, grid: Grid, corner: tuple[int, int] = (0, 0)) -> Array:
    """Round the coefficients of each block's cosine transform as a codec would.

    Args:
        grey: (H, W) float32 in [0, 1].
        grid: Where blocks begin in the frame, and how coarse the steps are.
        corner: x, y of the first pixel in the frame.

    Returns:
        (H, W) float32, a new array. Blocks cut off by the picture's border are continued by its last pixels.
    """
    height, width = grey.shape
    left, top = (corner[0] - grid.x) % BLOCK, (corner[1] - grid.y) % BLOCK
    right, bottom = -(left + width) % BLOCK, -(top + height) % BLOCK
    padded = cv2.copyMakeBorder(grey, top, bottom, left, right, cv2.BORDER_REPLICATE)
    rows, columns = padded.shape
    steps = _TABLE * np.float32(grid.strength / 255)
    blocks = (_DCT @ padded.reshape(-1, BLOCK, columns)).reshape(-1, BLOCK) @ _DCT.T
    blocks = blocks.reshape(-1, BLOCK, columns // BLOCK, BLOCK)
    scaled = steps[None, :, None, :]
    blocks = np.rint(blocks / scaled) * scaled
    blocks = (blocks.reshape(-1, BLOCK) @ _DCT).reshape(-1, BLOCK, columns)
    restored = (_DCT.T @ blocks).reshape(rows, columns)
    return restored[top : top + height, left : left + width]
