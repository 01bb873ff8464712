"""Parts of the face as indices into MediaPipe's 478 points, and what can be read from their shape.

"Left" and "right" are the person's own.
"""

from __future__ import annotations

import cv2
import numpy as np

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)

# The 68-point annotation (iBUG), for the face-alignment backend.
JAW_68 = tuple(range(17))
BROWS_68 = tuple(range(17, 27))
RIGHT_EYE_68 = tuple(range(36, 42))
LEFT_EYE_68 = tuple(range(42, 48))
LIPS_OUTER_68 = tuple(range(48, 60))


def _ratio(landmarks: np.ndarray, top: int, bottom: int, first: int, second: int) -> float:
    points = landmarks.astype(np.float64)
    width = float(np.linalg.norm(points[first] - points[second]))
    return float(np.linalg.norm(points[top] - points[bottom])) / max(width, 1e-6)


def mouth_opening(landmarks: np.ndarray) -> float:
    """Gap between the inner lips over the inner width of the mouth; 0 is closed, about 1 wide open.

    Args:
        landmarks: (478, 2 or 3) or (68, 2 or 3) points in any unit.
    """
    if len(landmarks) == 68:
        return _ratio(landmarks, 62, 66, 60, 64)
    return _ratio(landmarks, 13, 14, 78, 308)


def eye_opening(landmarks: np.ndarray) -> float:
    """Mean of both eyes' lid gap over eye width (the eye aspect ratio of Soukupová and Čech 2016, one gap an eye).

    Args:
        landmarks: (478, 2 or 3) or (68, 2 or 3) points in any unit.
    """
    if len(landmarks) == 68:
        pairs = ((37, 41, 36, 39), (43, 47, 42, 45))
    else:
        pairs = ((159, 145, 33, 133), (386, 374, 362, 263))
    return float(np.mean([_ratio(landmarks, *pair) for pair in pairs]))


def oval_polygon(landmarks: np.ndarray) -> np.ndarray:
    """Outline of the face, (N, 2) float32 in the landmarks' unit.

    For 478 points it is MediaPipe's face oval (hairline to chin). For 68 points, which end at the brows, the outline is
    the jaw closed by the brows lifted by 0.6 of the distance from brows to eyes' line to nose tip.
    """
    points = landmarks[:, :2].astype(np.float32)
    if len(points) != 68:
        return points[list(FACE_OVAL)]
    eyes = points[list(RIGHT_EYE_68 + LEFT_EYE_68)].mean(axis=0)
    up = 0.6 * (eyes - points[33])
    return np.concatenate([points[list(JAW_68)], points[list(BROWS_68)][::-1] + up]).astype(np.float32)


def brow_polygons(landmarks: np.ndarray) -> list[np.ndarray]:
    """Both brows, each (N, 2) float32 in the landmarks' unit."""
    points = landmarks[:, :2].astype(np.float32)
    brows = (BROWS_68[:5], BROWS_68[5:]) if len(points) == 68 else (RIGHT_BROW, LEFT_BROW)
    return [points[list(brow)] for brow in brows]


def region_polygons(landmarks: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Polygons of ``face``, ``eyes`` and ``mouth``; each a list of (N, 2) float32 arrays in the landmarks' unit."""
    points = landmarks[:, :2].astype(np.float32)
    if len(points) == 68:
        eyes, mouth = (RIGHT_EYE_68, LEFT_EYE_68), LIPS_OUTER_68
    else:
        eyes, mouth = (RIGHT_EYE, LEFT_EYE), LIPS_OUTER
    return {
        "face": [oval_polygon(landmarks)],
        "eyes": [points[list(eye)] for eye in eyes],
        "mouth": [points[list(mouth)]],
    }


def fill(polygons: list[np.ndarray], size: int, *, grow: float = 0.0) -> np.ndarray:
    """Rasterise polygons' convex hulls, anti-aliased.

    Args:
        polygons: (N, 2) arrays in pixels of the output.
        size: Side of the square output, pixels.
        grow: Pixels by which to widen each polygon away from its center.

    Returns:
        uint8 (size, size), 255 inside.
    """
    canvas = np.zeros((size, size), np.uint8)
    for polygon in polygons:
        hull = cv2.convexHull(polygon.astype(np.float32))[:, 0]
        if grow:
            away = hull - hull.mean(axis=0)
            length = np.linalg.norm(away, axis=1, keepdims=True)
            hull = hull + away / np.maximum(length, 1e-6) * grow
        cv2.fillConvexPoly(canvas, np.round(hull * 16).astype(np.int32), (255,), cv2.LINE_AA, 4)
    return canvas
