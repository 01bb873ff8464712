"""What covers the face: found without labels, where the frame is not what the target's own model expects.

A decoder that has only ever drawn the target's bare face draws it bare behind a hand, a microphone or a strand of hair
too; where the frame then lies outside all that the drawing shows nearby, something else is in front. What covers the
face all through the footage that the decoder has learned from belongs to the face as far as it knows (glasses, mostly).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blending.settings import OcclusionSettings

Array = NDArray[Any]

_SMOOTH = 0.016  # sigma of the smoothing of the flow, shares of the crop's side
_NEAR = 0.08  # differences within this of their median belong to the light, not to something in front
_USUAL = 0.95  # quantile over frames of the disagreement that counts as usual
_BETWEEN = 0.02  # features lie as far aside from frame to frame, shares of the crop's side


def disagreement(seen: Array, expected: Array, reach: int) -> Array:
    """How far a picture lies outside the colors that another one shows nearby.

    Each channel's range in a square window of the expected picture (a morphological dilation and erosion) is what a
    pixel may be; so drawing an edge a little aside, or a little too soft, costs nothing.

    Args:
        seen: (H, W, 3) float32.
        expected: (H, W, 3) float32.
        reach: Of the window to each side, pixels.

    Returns:
        (H, W) float32: Euclidean distance over the channels, 0 inside the range.
    """
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outside = cv2.max(cv2.subtract(seen, cv2.dilate(expected, window)), cv2.subtract(cv2.erode(expected, window), seen))
    outside = cv2.max(outside, np.zeros_like(outside))
    return np.sqrt(np.square(outside).sum(axis=2))


def in_the_same_light(expected: Array, seen: Array, inside: Array) -> Array:
    """The expected picture with each channel shifted to the seen one's level; up to half of it may be covered."""
    shift = np.zeros(3, np.float32)
    difference = (seen - expected)[inside]
    if len(difference):
        middle = np.median(difference, axis=0)
        for i, channel in enumerate(difference.T):
            near = channel[np.abs(channel - middle[i]) < _NEAR]
            shift[i] = near.mean() if near.size else middle[i]
    return expected + shift


def aligned(expected: Array, seen: Array, most: float) -> Array:
    """The expected picture bent to meet the seen one.

    The field is dense inverse search (Kroeger et al. 2016, Fast Optical Flow using Dense Inverse Search), smoothed and
    bounded, so that features come to lie where they are and nothing is bent into what it is not.

    Args:
        expected: (H, W, 3) float32 in [0, 1].
        seen: (H, W, 3) float32 in [0, 1].
        most: Pixels that anything moves, along an axis.
    """
    greys = [cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=255.0) for image in (seen, expected)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = search.calc(greys[0], greys[1], np.zeros((*greys[0].shape, 2), np.float32))
    flow = cv2.GaussianBlur(flow, (0, 0), max(0.5, _SMOOTH * seen.shape[0]))
    np.clip(flow, -most, most, out=flow)
    ys, xs = np.mgrid[: seen.shape[0], : seen.shape[1]].astype(np.float32)
    return cv2.remap(
        expected, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def usual_disagreement(seen: Array, expected: Array, faces: Array, settings: OcclusionSettings) -> Array:
    """How far the model's drawing of bare faces is usually off, place by place, in aligned crops.

    A model trained for a minute misses eyes, teeth and brows even of faces that it knows; what :func:`visibility` takes
    for something in front must disagree by more than that.

    Args:
        seen: (N, S, S, 3) float32 RGB in [0, 1]: crops of the bare face, doing many things.
        expected: (N, S, S, 3) float32: the same as the model draws them.
        faces: (N, S, S) float32 in [0, 1]: where the face is.
        settings: Thresholds.

    Returns:
        (S, S) float32: 95 % of the crops disagree by less there, 0 where none shows the face.
    """
    away = np.stack([
        _away(picture, drawing, face > 0.5, settings)
        for picture, drawing, face in zip(seen, expected, faces, strict=True)
    ])  # fmt: skip
    away[faces <= 0.5] = 0
    usual = np.quantile(away, _USUAL, axis=0).astype(np.float32)
    reach = max(1, round(_BETWEEN * usual.shape[0]))
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.blur(cv2.dilate(usual, ball), (reach, reach)))


def _away(seen: Array, expected: Array, inside: Array, settings: OcclusionSettings) -> Array:
    """Disagreement once light and small displacements are taken out, (S, S) float32."""
    side = seen.shape[0]
    reach = max(1, round(settings.reach * side))
    expected = in_the_same_light(expected, seen, inside)
    away = disagreement(seen, expected, reach)
    if settings.bend > 0 and np.count_nonzero((away > settings.high) & inside) > settings.area * inside.sum():
        away = cv2.min(away, disagreement(seen, aligned(expected, seen, settings.bend * side), reach))
    return away


def visibility(
    seen: Array, expected: Array, face: Array, settings: OcclusionSettings, usual: Array | None = None
) -> Array:
    """Where the face can be seen.

    Pixels that disagree weakly count where they hang together with enough that disagree strongly; narrow gaps between
    them (fingers, strands) and what they enclose are filled.

    Args:
        seen: (S, S, 3) float32 RGB in [0, 1]: the frame's crop.
        expected: (S, S, 3) float32: the target's bare face as its model draws it, in the same crop.
        face: (S, S) float32 in [0, 1]: where its face is; nothing is looked for outside.
        settings: Thresholds.
        usual: (S, S) float32 from :func:`usual_disagreement`, which does not count.

    Returns:
        (S, S) float32: 1 where it can be seen, 0 where something covers it, and outside the face 1.
    """
    side = face.shape[0]
    inside = face > 0.5
    area = int(np.count_nonzero(inside))
    clear = np.ones(face.shape, np.float32)
    if area == 0 or settings.strength == 0:
        return clear
    away = _away(seen, expected, inside, settings)
    if usual is not None:
        away = cv2.subtract(away, usual)
    strong = (away > settings.high) & inside
    least = settings.area * area
    if np.count_nonzero(strong) < least:
        return clear
    weak = ((away > settings.low) & inside).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak)
    kept = np.bincount(labels[strong], minlength=count) >= least
    kept[0] = False
    covered = kept[labels].astype(np.uint8)
    if np.count_nonzero(covered) > settings.most * area:
        return clear
    gap = round(settings.gap * side)
    if gap > 0:
        ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
        padded = cv2.copyMakeBorder(covered, *(2 * gap,) * 4, cv2.BORDER_CONSTANT, value=(0.0,))
        covered = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, ball)[2 * gap : -2 * gap, 2 * gap : -2 * gap]
    contours, _ = cv2.findContours(np.ascontiguousarray(covered), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    holes = np.zeros_like(covered)
    for contour in contours:
        if cv2.contourArea(contour) < settings.enclosed * area:
            cv2.drawContours(holes, [contour], -1, (1.0,), cv2.FILLED)
    covered = cv2.max(covered, holes)
    grown = round(settings.grow * side)
    covered = cv2.dilate(covered, np.ones((2 * grown + 1, 2 * grown + 1), np.uint8)).astype(np.float32)
    soft = cv2.GaussianBlur(covered, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    return 1 - np.float32(settings.strength) * soft
