"""The boundary of a blended face, unrolled: strips to look at, and numbers that would give a seam away.

A strip has :data:`ACROSS` rows from inside the face (row 0) to outside and :data:`ALONG` columns around the face,
clockwise from its top; its middle is where alpha is a half. It reaches :data:`REACH` face sizes (square root of the
mask's area) to either side, so it holds no eyes, nose or mouth.
"""

from __future__ import annotations

import cv2
import numpy as np

import blending

ACROSS, ALONG, REACH = 32, 192, 0.12
BINS = 8  # of four rows each
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


def places(result: blending.ComposeResult) -> np.ndarray | None:
    """Where a strip is read: float32 (ACROSS, ALONG, 2), x and y in frame pixels; None where there is no face."""
    inside = (result.alpha >= 0.5).astype(np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return None
    outline = max(found, key=cv2.contourArea)[:, 0].astype(np.float64)
    size = float(np.sqrt(inside.sum()))
    if size < 16:
        return None
    dense = _resampled(outline, 4 * ALONG)
    if _area(dense) < 0:
        dense = dense[::-1]
    smooth = _periodic(dense, 4)  # about 2 % of the size: the outline runs from pixel to pixel
    tangent = np.roll(smooth, -2, axis=0) - np.roll(smooth, 2, axis=0)
    outward = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    outward = _unit(_periodic(_unit(outward), 8))
    top = int(np.argmin(smooth[:, 1]))
    smooth, outward = np.roll(smooth, -top, axis=0)[::4], np.roll(outward, -top, axis=0)[::4]
    away = (np.arange(ACROSS) + 0.5) / ACROSS * 2 - 1
    # the outline runs through the centers of the outermost pixels inside
    grid = smooth[None] + (0.5 + away * REACH * size)[:, None, None] * outward[None]
    return (grid + result.box[:2]).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1; where an outline turns back upon itself there is no direction, and 0 stays 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _area(points: np.ndarray) -> float:
    """Signed; positive for a clockwise walk in picture axes."""
    after = np.roll(points, -1, axis=0)
    return float((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum() / 2)


def _resampled(points: np.ndarray, count: int) -> np.ndarray:
    closed = np.vstack([points, points[:1]])
    length = np.append(0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1)))
    at = np.linspace(0, length[-1], count, endpoint=False)
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in range(2)], 1)


def _periodic(values: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(np.ceil(3 * sigma))
    padded = np.vstack([values[-reach:], values, values[:reach]])
    return cv2.GaussianBlur(padded, (1, 2 * reach + 1), sigmaX=1, sigmaY=sigma)[reach : reach + len(values)]


def strip(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Read a strip.

    Args:
        image: uint8 (H, W, 3) RGB.
        where: From :func:`places`.

    Returns:
        float32 (5, ACROSS, ALONG): Y, Cb, Cr in [0, 1], and the logarithms of the finest detail's energy in Y and in Cb
        and Cr, measured at the frame's own resolution.
    """
    low = np.maximum(np.floor(where.min((0, 1))).astype(int) - 8, 0)
    high = np.minimum(np.ceil(where.max((0, 1))).astype(int) + 9, image.shape[1::-1])
    part = image[low[1] : high[1], low[0] : high[0]]
    ycc = cv2.cvtColor(part, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 255
    fine = np.square(cv2.filter2D(ycc, -1, _IMMERKAER, borderType=cv2.BORDER_REFLECT_101))
    step = float(np.linalg.norm(where[1] - where[0], axis=1).mean())
    box = 2 * max(1, round(1.5 * step)) + 1
    fine = cv2.blur(fine, (box, box))
    if step > 1.3:
        ycc = cv2.GaussianBlur(ycc, (0, 0), 0.45 * np.sqrt(step**2 - 1))
    at = where - low.astype(np.float32)
    maps = [ycc[..., 0], ycc[..., 2], ycc[..., 1], fine[..., 0], fine[..., 1] + fine[..., 2]]
    border = cv2.BORDER_REPLICATE
    read = [cv2.remap(np.ascontiguousarray(m), at, None, cv2.INTER_LINEAR, borderMode=border) for m in maps]
    read[3:] = [np.log(energy + 1e-7) for energy in read[3:]]
    return np.stack(read)


def features(ring: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of a strip by group: what a seam could be seen by.

    Args:
        ring: (5, ACROSS, ALONG) from :func:`strip`.

    Returns:
        ``color``: differences between inside and outside over several widths, and how steep the profile is where;
        ``sharpness``: energy of detail at two scales by distance from the boundary, luma and chroma;
        ``noise``: level of the finest detail by distance; ``direction``: across over along;
        ``texture``: how alike neighbouring distances are along the boundary, once smooth shading is gone.
    """
    y, cb, cr, fine, fine_chroma = ring
    out: dict[str, list[np.ndarray]] = {name: [] for name in ("color", "sharpness", "noise", "direction", "texture")}
    middle = ACROSS // 2
    for channel in (y, cb, cr):
        for width in (1, 3, 7):
            gap = 1 if width == 1 else width // 2
            outer = channel[middle + gap : middle + gap + width].mean(0)
            step = outer - channel[middle - gap - width : middle - gap].mean(0)
            ends = np.percentile(step, [10, 90])
            out["color"].append(np.array([step.mean(), np.abs(step).mean(), step.std(), *ends]))
        steep = np.abs(np.diff(cv2.blur(channel, (9, 1)), axis=0))
        profile = np.log(_by_distance(np.vstack([steep, steep[-1:]])) + 1e-4)
        out["color"].append(profile - profile.mean())
    across = np.abs(np.vstack([np.diff(y, axis=0), np.zeros_like(y[:1])]))
    along = np.abs(np.roll(y, -1, axis=1) - y)
    across[-1] = across[-2]
    out["direction"].append(np.log(_by_distance(across) + 1e-4) - np.log(_by_distance(along) + 1e-4))
    for channel in (y, cb, cr):
        near = cv2.GaussianBlur(channel, (0, 0), 0.8)
        far = cv2.GaussianBlur(channel, (0, 0), 2.0)
        for band in (channel - near, near - far):
            profile = np.log(_by_distance(np.abs(band)) + 1e-4)
            out["sharpness"] += [profile - profile[-2:].mean(), profile[:1]]
    for level in (fine, fine_chroma):
        mean, calm = _by_distance(level), np.percentile(level.reshape(BINS, -1), 25, axis=1)
        out["noise"] += [mean - mean[-2:].mean(), calm - calm[-2:].mean(), calm[:1]]
    detail = y - cv2.blur(y, (15, 1))
    for lag in (1, 2, 4, 8):
        a, b = detail[:-lag], detail[lag:]
        alike = (a * b).mean(1) / np.sqrt((a * a).mean(1) * (b * b).mean(1) + 1e-12)
        out["texture"].append(np.array([part.mean() for part in np.array_split(alike, BINS)]))
    power = np.log((detail**2).reshape(BINS, -1).mean(1) + 1e-7)
    out["texture"].append(power - power[-2:].mean())
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in out.items()}


def _by_distance(values: np.ndarray) -> np.ndarray:
    """Means of BINS bands from inside to outside."""
    return values.reshape(BINS, -1).mean(1)


def picture(ring: np.ndarray) -> np.ndarray:
    """A strip's colours as uint8 (ACROSS, ALONG, 3) RGB, inside at the top."""
    ycc = np.clip(np.round(ring[[0, 2, 1]].transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
    return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)
