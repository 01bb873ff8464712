"""Motion blur: how much wider edges are along a direction than across it, and a line kernel that does the same."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.grain import sampling

Array = NDArray[Any]

_PROBE = 1.0  # sigma of the second blur, pixels
_WIDEST = 16.0  # squared pixels: edges that do not get weaker count as this wide
_BINS = 8
_WEAK = 0.93  # share of the gradients that are too weak to be edges
_ALONE = 4.0  # pixels of motion blur that are believed where the motion itself is not known,
_SHARE = 0.5  # and its variance as a share of the mean squared width
LONGEST = 24.0
"""Longest path of a motion, in pixels, that is drawn."""


def widths(grey: Array, inside: Array) -> Array:
    """How the squared width of edges depends on the way they face.

    Strong edges are sorted by the direction of their gradient; in each direction, the second blur of
    :func:`blending.detail.blur_sigma` tells how wide they are. A blur of variance ``m2`` along the angle ``a`` widens
    edges that face ``t`` by ``m2 cos^2(t - a) = m2 / 2 (1 + cos 2 (t - a))``, so that two numbers hold it.

    Args:
        grey: (H, W) float32.
        inside: (H, W) bool or uint8: where to look.

    Returns:
        (3,) float64: a, b and c of ``width^2(t) = a + b cos 2t + c sin 2t``, in squared pixels; zeros where there is
        too little to see. Brows and mouth are no circles, so only the difference of b and c between two pictures of
        the same face means something.
    """
    if min(grey.shape) < 3:
        return np.zeros(3)
    again = cv2.GaussianBlur(grey, (7, 7), _PROBE, borderType=cv2.BORDER_REFLECT_101)
    step = max(1, sampling(inside) // 2)
    where = inside[1:-1:step, 1:-1:step] > 0
    x, y = (part[where] for part in _gradient(again, step))
    if x.size < 256:
        return np.zeros(3)
    after = x * x + y * y
    place = int(after.size * _WEAK)
    strong = after >= np.partition(after, place)[place]
    angle = np.arctan2(y[strong], x[strong]) % np.pi
    before = np.sum([np.square(part[where][strong]) for part in _gradient(grey, step)], axis=0)
    turn = np.minimum((angle * (_BINS / np.pi)).astype(int), _BINS - 1)
    top, low = (np.bincount(turn, values, _BINS) for values in (before, after[strong]))
    count = np.bincount(turn, minlength=_BINS)
    seen = (count >= 8) & (low > 1e-12)
    if seen.sum() < 5:
        return np.zeros(3)
    squared = _PROBE**2 / np.maximum(top[seen] / low[seen] - 1, _PROBE**2 / _WIDEST)
    centers = (np.arange(_BINS)[seen] + 0.5) * (2 * np.pi / _BINS)
    basis = np.stack([np.ones_like(centers), np.cos(centers), np.sin(centers)], axis=1)
    weight = np.sqrt(count[seen])[:, None]
    return np.linalg.lstsq(basis * weight, squared * weight[:, 0], rcond=None)[0]


def _gradient(grey: Array, step: int) -> tuple[Array, Array]:
    """Central differences along x and y, at every ``step``-th pixel from the second on, borders left out."""
    return (
        grey[1:-1:step, 2::step] - grey[1:-1:step, :-2:step],
        grey[2::step, 1:-1:step] - grey[:-2:step, 1:-1:step],
    )


def path(ours: Array, theirs: Array, along: float | None = None) -> tuple[float, float]:
    """The motion that one picture shows more of than another.

    Args:
        ours: From :func:`widths`.
        theirs: The same, of the picture with more motion.
        along: Direction of the motion where it is known, in radians from x towards y. Without it only what can hardly
            be anything else counts: at least 4 pixels, and edges along the motion much wider than those across.

    Returns:
        Length in pixels (a line of length L has the variance ``L^2 / 12``), and direction in radians, 0 to pi.
    """
    a, b, c = theirs - ours
    known = along is not None
    angle = 0.5 * float(np.arctan2(c, b)) if along is None else along
    half = b * np.cos(2 * angle) + c * np.sin(2 * angle)
    variance = min(2 * half, a + half)  # wider along than across, and never wider along than the other picture
    length = float(min(np.sqrt(12 * max(variance, 0.0)), LONGEST))
    if not known and (length < _ALONE or variance < _SHARE * max(ours[0], theirs[0])):
        length = 0.0
    return length, angle % np.pi


def line_kernel(length: float, angle: float) -> Array:
    """(K, K) float32 that averages along a line, K odd; its weights sum to 1.

    Args:
        length: In pixels.
        angle: In radians from x towards y.
    """
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    count = 8 * reach
    along = ((np.arange(count) + 0.5) / count - 0.5) * length
    x, y = reach + along * np.cos(angle), reach + along * np.sin(angle)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            np.add.at(kernel, (top + dy, left + dx), np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top)))
    empty = ~kernel.any(axis=0) & ~kernel.any(axis=1)  # symmetric about the middle: trims all four sides alike
    trim = int(np.argmin(empty))
    return (kernel[trim : 2 * reach + 1 - trim, trim : 2 * reach + 1 - trim] / count).astype(np.float32)


def blur(image: Array, length: float, angle: float) -> Array:
    """The picture as if it had moved by ``length`` pixels while it was taken; itself for less than half a pixel."""
    if length < 0.5:
        return image
    kernel = line_kernel(min(length, LONGEST), angle)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
