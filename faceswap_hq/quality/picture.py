"""How good is the picture: sharpness, seams, and the distance to an exact swap where there is one."""

from __future__ import annotations

import cv2
import numpy as np

from faceswap_hq.faces import regions

_SHRINK = 0.85  # of the face's outline: skin, eyes, nose and mouth without hairline and jaw
_RADII = np.linspace(0.75, 1.15, 41)  # of the outline, where a seam is looked for: steps of about 0.5 % of the face
_ARCS, _PER_ARC = 24, 8


def face_mask(landmarks: np.ndarray, shape: tuple[int, ...], shrink: float = _SHRINK) -> np.ndarray:
    """The inside of a face: float32 (H, W), 1 inside the outline scaled by ``shrink`` about its center, 0 elsewhere.

    Args:
        landmarks: (478 or 68, 2 or 3), pixels.
        shape: Shape of the picture; only H and W are read.
        shrink: Scale of the outline.
    """
    outline = regions.oval_polygon(landmarks)
    center = outline.mean(axis=0)
    hull = cv2.convexHull((center + (outline - center) * shrink).astype(np.float32))[:, 0]
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(hull * 16).astype(np.int32), (1,), cv2.LINE_8, 4)
    return mask.astype(np.float32)


def gray(image: np.ndarray) -> np.ndarray:
    """Luma of a uint8 RGB picture (Rec. 601), float32 (H, W) in [0, 255]."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _cut(mask: np.ndarray, margin: int = 8) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


def sharpness(image: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of the Laplacian inside a mask: the strength of fine detail.

    It grows with noise as it does with detail, so it is only worth something beside the same number of the real frame.

    Args:
        image: uint8 (H, W, 3) RGB.
        mask: float (H, W); what is above 0.5 counts.

    Returns:
        Gray levels; 0 for an empty mask.
    """
    inside = mask > 0.5
    if not inside.any():
        return 0.0
    window = _cut(inside)
    laplacian = cv2.Laplacian(gray(np.ascontiguousarray(image[window])), cv2.CV_32F, ksize=1)
    return float(laplacian[inside[window]].std())


def _edges(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Coherent edges along the face's outline, (len(_RADII) - 1,), gray levels per step."""
    outline = regions.oval_polygon(landmarks).astype(np.float64)
    center = outline.mean(axis=0)
    closed = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    wanted = np.linspace(0, along[-1], _ARCS * _PER_ARC, endpoint=False)
    ring = np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], axis=1)
    grid = (center + _RADII[:, None, None] * (ring - center)).astype(np.float32)
    step = float(np.linalg.norm(ring - center, axis=1).mean()) * float(_RADII[1] - _RADII[0])
    low, high = np.floor(grid.min(axis=(0, 1))) - 16, np.ceil(grid.max(axis=(0, 1))) + 16
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.minimum(high, (image.shape[1], image.shape[0])).astype(int)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return np.zeros(len(_RADII) - 1)
    part = gray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    part = cv2.GaussianBlur(part, (0, 0), max(0.5 * step, 0.4))
    local = grid - np.array([x0, y0], np.float32)
    polar = cv2.remap(part, local[..., 0], local[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    across = np.diff(polar, axis=0).reshape(len(_RADII) - 1, _ARCS, _PER_ARC)
    return np.abs(across.mean(axis=2)).mean(axis=1)


def seam(image: np.ndarray, real: np.ndarray, landmarks: np.ndarray) -> float:
    """Contrast of a seam round the face that the real frame does not have.

    The outline is scaled to 0.75 ... 1.15 of itself; on each ring the change of gray across it is averaged within 24
    arcs (which cancels skin and hair but not an edge that follows the ring), and the arcs' absolute values are
    averaged.

    Args:
        image: The fake frame, uint8 (H, W, 3) RGB.
        real: Its real frame, same shape.
        landmarks: (478 or 68, 2 or 3) of the real frame, pixels.

    Returns:
        The largest excess of any ring over the real frame's same ring, gray levels per 1 % of the face's radius; 0 and
        near 0: no seam.
    """
    excess = _edges(image, landmarks) - _edges(real, landmarks)
    return max(0.0, float(excess.max()))


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio inside a mask, dB (peak 255), at most 100.

    Args:
        image: uint8 (H, W, 3).
        truth: uint8 (H, W, 3), the exact picture.
        mask: float (H, W); what is above 0.5 counts.

    Raises:
        ValueError: The mask is empty.
    """
    inside = mask > 0.5
    if not inside.any():
        raise ValueError("The mask is empty.")
    error = float(((image[inside].astype(np.float64) - truth[inside]) ** 2).mean())
    return float(min(100.0, 10 * np.log10(255.0**2 / max(error, 1e-12))))


def ssim(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) inside a mask: Gaussian window of sigma 1.5, mean over the channels.

    Args:
        image: uint8 (H, W, 3).
        truth: uint8 (H, W, 3), the exact picture.
        mask: float (H, W); the map is averaged where it is above 0.5.

    Raises:
        ValueError: The mask is empty.
    """
    inside = mask > 0.5
    if not inside.any():
        raise ValueError("The mask is empty.")
    window = _cut(inside)
    x, y = (np.ascontiguousarray(part[window]).astype(np.float64) for part in (image, truth))

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((top / bottom)[inside[window]].mean())
