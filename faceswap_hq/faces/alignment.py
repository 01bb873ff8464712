"""The similarity transform between a frame and the canonical face crop, and head pose.

The canonical face is a generic, mirror-symmetric one in centimetres (x to the person's left, y up, z towards the
camera), the scale of MediaPipe's face model. A crop shows :data:`CROP_CM` × :data:`CROP_CM` of it, which is a face from
hairline to chin with room for warping; the model sees the central part (``coverage``).
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

CROP_CM = 25.0
"""Side of the aligned crop on the canonical face, cm."""

CENTER_CM = (0.0, -1.5)
"""Where the crop's center lies on the canonical face, cm: a little low, so that an open jaw stays inside."""

# Points that move little with expression: eye corners, nose bridge, base of the nose, and the mouth's corners.
_RIGID_478 = {
    33: (-4.45, 2.66, 3.17), 133: (-1.86, 2.59, 3.76), 362: (1.86, 2.59, 3.76), 263: (4.45, 2.66, 3.17),
    168: (0.0, 3.27, 5.24), 2: (0.0, -2.09, 6.06), 61: (-2.46, -4.34, 4.28), 291: (2.46, -4.34, 4.28),
}  # fmt: skip
_RIGID_68 = {
    36: (-4.45, 2.66, 3.17), 39: (-1.86, 2.59, 3.76), 42: (1.86, 2.59, 3.76), 45: (4.45, 2.66, 3.17),
    27: (0.0, 3.27, 5.24), 33: (0.0, -2.09, 6.06), 48: (-2.46, -4.34, 4.28), 54: (2.46, -4.34, 4.28),
}  # fmt: skip


@functools.cache
def _rigid(points: int) -> tuple[list[int], np.ndarray]:
    table = _RIGID_68 if points == 68 else _RIGID_478
    return list(table), np.array(list(table.values()), np.float64)


@functools.cache
def _rigid_in_crop(points: int, size: int) -> np.ndarray:
    return (_rigid(points)[1][:, :2] - CENTER_CM) * (1, -1) * (size / CROP_CM) + size / 2


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares rotation, uniform scale and shift from ``source`` to ``target`` (Umeyama 1991, without mirroring).

    Args:
        source: (N, 2) points.
        target: (N, 2) points.

    Returns:
        float32 (2, 3) matrix that maps source to target.

    Raises:
        ValueError: If the source points coincide.
    """
    # The plane as complex numbers: a rotation with scale is one factor.
    s, t = (np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0] for points in (source, target))
    s_mean, t_mean = s.mean(), t.mean()
    s = s - s_mean
    spread = np.vdot(s, s).real
    if spread < 1e-12:
        raise ValueError("The points coincide; no similarity transform is defined.")
    a = np.vdot(s, t) / spread
    b = t_mean - a * s_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)


def crop_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Similarity from frame pixels to pixels of the aligned crop.

    Args:
        landmarks: (478 or 68, 2 or 3) points in frame pixels.
        size: Side of the crop, pixels.

    Returns:
        float32 (2, 3).
    """
    indices, _ = _rigid(len(landmarks))
    return similarity(landmarks[indices, :2], _rigid_in_crop(len(landmarks), size))


def scaled(matrix: np.ndarray, size: int, new_size: int, coverage: float = 1.0) -> np.ndarray:
    """The crop matrix for another crop size, showing only the central ``coverage`` of the crop.

    Args:
        matrix: (2, 3), frame pixels to a crop of ``size``.
        size: Side of that crop, pixels.
        new_size: Side of the wanted crop, pixels.
        coverage: Share of the crop's side that is kept, in (0, 1].
    """
    factor = new_size / (size * coverage)
    out = matrix.astype(np.float64) * factor
    out[:, 2] += new_size / 2 - factor * size / 2
    return out.astype(np.float32)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) matrix to (N, 2 or 3) points; returns float32 (N, 2)."""
    return (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The aligned crop of ``image``: (size, size, C), same dtype; outside the image its border is repeated.

    Shrinks by area when the frame's face is more than twice as large as the crop's, so that nothing aliases.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        return _warp_small(image, matrix, size, scale)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _warp_small(image: np.ndarray, matrix: np.ndarray, size: int, scale: float) -> np.ndarray:
    """First the part of the image that is needed, averaged over whole squares of pixels, then the rest of the way."""
    factor = int(1 / scale)
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64)).tolist()
    height, width = image.shape[:2]
    (left, right), (top, bottom) = (_reach(row, -2.0, size + 1.0) for row in inverse)
    left, top = min(max(left, 0), max(width - factor, 0)), min(max(top, 0), max(height - factor, 0))
    right, bottom = min(max(right, left + 1), width), min(max(bottom, top + 1), height)
    across, down = -(-(right - left) // factor), -(-(bottom - top) // factor)
    part = image[top:bottom, left:right]
    missing = (down * factor - part.shape[0], across * factor - part.shape[1])
    if any(missing):
        part = cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    part = cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA)
    rest = np.asarray(matrix, np.float64).copy()
    rest[:, 2] += rest[:, :2] @ (np.array([left, top]) + (factor - 1) / 2)
    rest[:, :2] *= factor
    return cv2.warpAffine(part, rest, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _reach(row: list[float], low: float, high: float) -> tuple[int, int]:
    """Whole numbers around what one row of an affine matrix makes of a square from (low, low) to (high, high)."""
    ends = [[factor * low, factor * high] for factor in row[:2]]
    least, most = sum(map(min, ends)) + row[2], sum(map(max, ends)) + row[2]
    return math.floor(least), math.ceil(most) + 1


def pose(landmarks: np.ndarray) -> tuple[float, float, float]:
    """Head pose (yaw, pitch, roll) in degrees; positive: to the person's left, up, and towards their right shoulder.

    For 478 points the rotation is the one that best turns the canonical face onto the landmarks (Kabsch 1976), with
    MediaPipe's z as depth. For 68 points, which have no depth, it is the one whose projection fits best.
    """
    rotation = _head(landmarks)
    (right, up, ahead), (_, _, level), (_, _, away) = rotation.tolist()
    yaw = math.asin(min(max(-ahead, -1.0), 1.0))
    return math.degrees(yaw), math.degrees(math.atan2(level, away)), math.degrees(math.atan2(up, right))


def frontal(landmarks: np.ndarray) -> np.ndarray:
    """The landmarks as a frontal, upright face in centimetres of the canonical one, x right and y down in the picture.

    For 478 points the head's rotation is undone with MediaPipe's z as depth; for 68 points, which have no depth, only
    the roll is.

    Args:
        landmarks: (478 or 68, 2 or 3) points in frame pixels.

    Returns:
        float64 (478 or 68, 2), the origin between the rigid points.
    """
    indices, canonical = _rigid(len(landmarks))
    points = landmarks[:, : 2 if len(landmarks) == 68 else 3].astype(np.float64)
    points = points - points[indices].mean(0)
    if points.shape[1] == 2:
        roll = np.radians(pose(landmarks)[2])
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    else:
        turn = _head(landmarks)
    points = points @ turn
    model = (canonical - canonical.mean(0))[:, : points.shape[1]]
    scale = np.sqrt((model**2).sum() / max(float((points[indices] ** 2).sum()), 1e-12))
    return np.ascontiguousarray(points[:, :2] * scale)


def _head(landmarks: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of the canonical face onto the landmarks."""
    indices, canonical = _rigid(len(landmarks))
    flip = np.array([1.0, -1.0, -1.0])  # image axes: y down, z away
    model = (canonical - canonical.mean(0)) * flip
    if len(landmarks) == 68:
        points = landmarks[indices, :2].astype(np.float64)
        return _rotation_without_depth(model, points)
    points = landmarks[indices].astype(np.float64)
    u, _, vt = np.linalg.svd((points - points.mean(0)).T @ model)
    if np.linalg.det(u @ vt) < 0:
        u[:, 2] = -u[:, 2]
    return u @ vt


def _rotation_without_depth(model: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that best projects ``model`` (N, 3) onto ``points`` (N, 2), seen through a long lens."""
    affine = np.linalg.lstsq(model, points - points.mean(0), rcond=None)[0].T
    u, _, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    return np.concatenate([rows, np.cross(rows[0], rows[1])[None]])


def box(landmarks: np.ndarray) -> np.ndarray:
    """Bounding box (left, top, right, bottom) of the landmarks, float32, in their unit."""
    points = landmarks[:, :2]
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
