"""From the faces found in a frame to the crop that a detector sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np


class CropSettings(Protocol):
    """What of a detector's card decides how a face is cut out."""

    @property
    def input_size(self) -> int:
        """Side of the crop in pixels."""

    @property
    def crop_margin(self) -> float:
        """Side of the crop as a multiple of the longer side of the box around all landmarks."""

    @property
    def alignment(self) -> str:
        """``"box"``: upright square; ``"aligned"``: turned by a similarity so that the face stands upright."""


def side(landmarks: np.ndarray) -> float:
    """Longer side of the box around all landmarks, in pixels."""
    return float(np.ptp(landmarks[:, :2], axis=0).max())


def same_person(faces: Sequence[np.ndarray], before: np.ndarray | None) -> np.ndarray:
    """Which of several faces to go on with: the nearest to the one before, or the largest where there is none.

    "Near" is in place and in size: somebody who walks past in front is nearer in place for a moment, but larger.

    Args:
        faces: At least one, (points, 2 or 3) each, in pixels.
        before: The face taken in the frame before that had one.
    """
    if before is None:
        return max(faces, key=side)
    here = _place(before)
    return min(faces, key=lambda face: float(np.linalg.norm(_place(face) - here)))


def large_faces(faces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those faces of a frame whose box has at least half the area of the largest one's, in the order given.

    Whom Self-Blended Images' published inference asks its detector about (arXiv 2204.08376).

    Args:
        faces: (points, 2 or 3) each, in pixels.
    """
    areas = [float(np.prod(np.ptp(face[:, :2], axis=0))) for face in faces]
    return [face for face, area in zip(faces, areas, strict=True) if area >= max(areas) / 2]


def _place(landmarks: np.ndarray) -> np.ndarray:
    """Middle and side of a face: (3,)."""
    points = np.asarray(landmarks, np.float64)[:, :2]
    return np.array([*(points.min(axis=0) + points.max(axis=0)) / 2, side(points)])


def crop_face(image: np.ndarray, landmarks: np.ndarray, card: CropSettings) -> np.ndarray:
    """The picture of :func:`crop_face_and_points`."""
    return crop_face_and_points(image, landmarks, card)[0]


def crop_face_and_points(
    image: np.ndarray, landmarks: np.ndarray, card: CropSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one face out of a picture.

    An upright crop falls on whole pixels, so that shrinking by area is the only resampling; what lies outside the
    picture repeats its edge.

    Args:
        image: (H, W, 3) uint8 RGB, or a mask of the same frame, (H, W) uint8, which is then cut where the picture is.
        landmarks: (points, 2 or 3) in pixels of ``image``.
        card: Size, margin and alignment; the margin multiplies the longer side of the box around all landmarks, a box
            that is turned with the face when the alignment is ``"aligned"``.

    Returns:
        (S, S, 3) uint8 RGB, or (S, S) of a mask, and the landmarks in it, (points, 2) float32 in its pixels.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    if card.alignment == "aligned":
        image, points = _turn_upright(image, points, landmarks, card.crop_margin)
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(2, round(float((high - low).max()) * card.crop_margin))
    left, top = (round(float(value)) for value in (low + high) / 2 - side / 2)
    face = _window(image, left, top, side)
    size = card.input_size
    picture = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR)
    moved = (points - (left, top) + 0.5) * (size / side) - 0.5
    return picture, moved.astype(np.float32)


def _turn_upright(
    image: np.ndarray, points: np.ndarray, landmarks: np.ndarray, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """The surroundings of the face, turned so that it stands upright (same scale), and the points there."""
    from faceswap_hq.faces.alignment import crop_matrix

    matrix = crop_matrix(np.asarray(landmarks, np.float32), 256)[:, :2].astype(np.float64)
    turn = matrix / np.sqrt(abs(np.linalg.det(matrix)))
    turned = points @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = int(np.ceil((high - low).max() * margin)) + 4
    shift = side / 2 - (low + high) / 2
    affine = np.concatenate([turn, shift[:, None]], axis=1)
    picture = cv2.warpAffine(image, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture, turned + shift


def _window(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    if 0 <= top <= image.shape[0] - side and 0 <= left <= image.shape[1] - side:
        return image[top : top + side, left : left + side]
    rows = image.take(np.arange(top, top + side), axis=0, mode="clip")
    return rows.take(np.arange(left, left + side), axis=1, mode="clip")
