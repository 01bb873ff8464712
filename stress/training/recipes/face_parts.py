"""Boxes around parts of a face, from the landmarks of its crop."""

from __future__ import annotations

import numpy as np

from faceswap_hq.faces import regions
from stress.training.batches import Region

_NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 97, 326, 327)  # bridge, tip and nostrils
_OF_478 = {"mouth": regions.LIPS_OUTER, "nose": _NOSE, "eyes": regions.RIGHT_EYE + regions.LEFT_EYE}
_OF_68 = {"mouth": tuple(range(48, 68)), "nose": tuple(range(27, 35)),
          "eyes": regions.RIGHT_EYE_68 + regions.LEFT_EYE_68}  # fmt: skip
_MARGIN = 5 / 299

PARTS = tuple(_OF_478)


def part_region(part: str) -> Region:
    """A function that marks the box around a part of the face.

    The box reaches 5 px of a crop of 299 px beyond the landmarks, as in Locate and Verify, whose 68 points are dlib's.
    Where the landmarks are not known, or are of another kind, it is the middle half of the crop.

    Args:
        part: One of :data:`PARTS`.
    """

    def region(landmarks: np.ndarray | None, side: int) -> np.ndarray:
        found = np.zeros((side, side), np.float32)
        which = {478: _OF_478, 68: _OF_68}.get(0 if landmarks is None else len(landmarks))
        if which is None or landmarks is None:
            low, high = np.full(2, side // 4), np.full(2, side - side // 4)
        else:
            points, margin = landmarks[list(which[part]), :2], _MARGIN * side
            low = np.clip(np.floor(points.min(axis=0) - margin), 0, side).astype(int)
            high = np.clip(np.ceil(points.max(axis=0) + margin), 0, side).astype(int)
        found[low[1] : high[1], low[0] : high[0]] = 1
        return found

    return region
