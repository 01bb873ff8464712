"""The skin texture's layout, and brushes to paint on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.geometry import generic_head
from faceswap_hq.faces.raster import rasterize

SIZE = 768


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The generic head seen from texture space."""

    position: np.ndarray  # (S, S, 3) float32 rest position
    pixels: np.ndarray  # (V, 2) float32, vertices in texels
    scale: float  # texels a unit of length on the face


def linear(srgb: np.ndarray) -> np.ndarray:
    """Turn sRGB in [0, 1] into linear light (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


@lru_cache(maxsize=1)
def layout() -> Layout:
    """Rest positions of the generic head for every texel."""
    mesh = generic_head()
    pixels = (mesh.uv * (SIZE - 1)).astype(np.float32)
    found = rasterize(pixels, np.zeros(len(pixels), np.float32), mesh.triangles, SIZE, SIZE, both_sides=True)
    values = found.interpolate(mesh.points.astype(np.float32), mesh.triangles)
    position = np.zeros((SIZE * SIZE, 3), np.float32)
    covered = np.zeros(SIZE * SIZE, bool)
    position[found.pixel] = values
    covered[found.pixel] = True
    position, covered = position.reshape(SIZE, SIZE, 3), covered.reshape(SIZE, SIZE)
    # fill the holes (eyes, mouth) and the corners with what lies next to them
    weight = covered.astype(np.float32)
    blurred = cv2.GaussianBlur(position * weight[..., None], (0, 0), 12) / (
        cv2.GaussianBlur(weight, (0, 0), 12)[..., None] + 1e-6
    )
    position = np.where(covered[..., None], position, blurred)
    scale = float(np.linalg.norm(pixels[234] - pixels[454]) / 1.9)
    return Layout(position=position, pixels=pixels, scale=scale)


def noise(rng: np.random.Generator, grain: float, size: int = SIZE) -> np.ndarray:
    """Smooth noise of zero mean and unit variance whose blobs are ``grain`` texels wide, (size, size) float32."""
    small = max(4, int(np.ceil(size / max(grain, 1.0))) + 3)
    field: np.ndarray = rng.standard_normal((small, small)).astype(np.float32)
    field = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / (field.std() + 1e-6)


def fixed(points: np.ndarray) -> np.ndarray:
    """Points in OpenCV's fixed-point format with 4 fractional bits."""
    return np.round(np.asarray(points) * 16).astype(np.int32)


def polygon(points: np.ndarray, soft: float) -> np.ndarray:
    """Mask (S, S) float32 of a filled polygon in texels with an edge blurred by ``soft``."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [fixed(points)], (255,), cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), soft)


def strokes(lines: list[np.ndarray], width: int, soft: float = 0.0) -> np.ndarray:
    """Mask (S, S) float32 of open lines in texels."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(mask, [fixed(line) for line in lines], False, (255,), width, cv2.LINE_AA, 4)
    out = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(out, (0, 0), soft) if soft > 0 else out


def spot(at: np.ndarray, rx: float, ry: float) -> np.ndarray:
    """A Gaussian spot, (S, S) float32; cut off at four radii."""
    out = np.zeros((SIZE, SIZE), np.float32)
    x0, x1 = max(0, int(at[0] - 4 * rx)), min(SIZE, int(at[0] + 4 * rx) + 2)
    y0, y1 = max(0, int(at[1] - 4 * ry)), min(SIZE, int(at[1] + 4 * ry) + 2)
    if x0 < x1 and y0 < y1:
        x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)[:, None]
        out[y0:y1, x0:x1] = np.exp(-0.5 * (((x - at[0]) / rx) ** 2 + ((y - at[1]) / ry) ** 2))
    return out


def smooth_curve(points: np.ndarray, count: int = 40) -> np.ndarray:
    """A curve of ``count`` points through a handful of points, its corners rounded."""
    at = np.linspace(0, 1, len(points))
    t = np.linspace(0, 1, count)
    curve = np.stack([np.interp(t, at, points[:, k]) for k in range(2)], -1)
    for _ in range(6):
        curve[1:-1] = 0.25 * curve[:-2] + 0.5 * curve[1:-1] + 0.25 * curve[2:]
    return curve


def closed(points: np.ndarray, repeat: bool = False) -> np.ndarray:
    """A loop of landmarks as a smoother loop (each edge cut in four, corners rounded)."""
    n = len(points)
    at = np.arange(n + 1)
    loop = np.concatenate([points, points[:1]])
    t = np.linspace(0, n, 4 * n, endpoint=False)
    curve = np.stack([np.interp(t, at, loop[:, k]) for k in range(2)], -1)
    for _ in range(3):
        curve = 0.25 * np.roll(curve, 1, 0) + 0.5 * curve + 0.25 * np.roll(curve, -1, 0)
    return np.concatenate([curve, curve[:1]]) if repeat else curve
