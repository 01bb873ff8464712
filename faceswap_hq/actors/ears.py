"""Ears: two small curved shells with helix, antihelix, concha and lobe."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from faceswap_hq.actors.geometry import smoothstep

RINGS, SPOKES = 10, 26
COUNT = 2 * RINGS * SPOKES


@lru_cache(maxsize=1)
def ear_triangles() -> np.ndarray:
    """Triangles of both ears, (T, 3) int32, counting vertices from 0."""
    out = []
    for k in range(2):
        index = np.arange(RINGS * SPOKES).reshape(RINGS, SPOKES) + k * RINGS * SPOKES
        a, b = index[:-1], np.roll(index[:-1], -1, 1)
        c, d = index[1:], np.roll(index[1:], -1, 1)
        triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
        out.append(triangles[:, ::-1] if k == 0 else triangles)
    return np.concatenate(out).astype(np.int32)


def ear_points(head: np.ndarray, size: float, stand: float) -> np.ndarray:
    """Vertices of both ears (the person's right one first), (COUNT, 3) float64.

    Args:
        head: Coarse rest points of the head.
        size: 1 for an average ear.
        stand: Angle in degrees between ear and head, about 25.
    """
    angle = np.linspace(0, 2 * np.pi, SPOKES, endpoint=False)[None]
    r = np.linspace(0, 1, RINGS)[:, None] ** 0.8
    vertical = np.sin(angle)  # -1 top, 1 lobe
    width = 0.185 * (1 - 0.38 * smoothstep(-0.2, 1.0, vertical))
    x = r * width * np.cos(angle)  # backward
    y = r * 0.30 * vertical
    front = smoothstep(0.2, 0.9, -np.cos(angle))  # where the ear grows out of the head
    lobe = smoothstep(0.45, 0.9, vertical)
    helix = np.exp(-(((r - 0.86) / 0.09) ** 2)) * (1 - 0.75 * front) * (1 - 0.5 * lobe)
    antihelix = np.exp(-(((r - 0.55) / 0.11) ** 2)) * (1 - front) * (1 - lobe)
    concha = (1 - smoothstep(0.15, 0.45, r)) * (1 - 0.4 * lobe)
    tragus = np.exp(-(((r - 0.45) / 0.16) ** 2)) * front * (1 - smoothstep(0.1, 0.6, np.abs(vertical)))
    height = 0.05 * helix + 0.035 * antihelix - 0.055 * concha + 0.035 * tragus + 0.02 * lobe
    height = height - 0.075 * smoothstep(0.9, 1.0, r) * (1 - 0.3 * front) - 0.03 * front * r
    out = []
    lean = np.radians(9)
    for sign, anchor in ((-1.0, (234, 127, 93)), (1.0, (454, 356, 323))):
        base = head[list(anchor)].mean(0) + np.array([sign * 0.005, -0.09, 0.06])
        a = np.radians(stand)
        back = np.array([sign * np.sin(a), 0, np.cos(a)])
        out_ = np.array([sign * np.cos(a), 0, -np.sin(a)])
        ex = np.cos(lean) * back + np.sin(lean) * np.array([0, 1.0, 0])
        ey = np.cos(lean) * np.array([0, 1.0, 0]) - np.sin(lean) * back
        p = base + 0.13 * size * back + size * (x[..., None] * ex + y[..., None] * ey + height[..., None] * out_)
        out.append(p.reshape(-1, 3))
    return np.concatenate(out)


@lru_cache(maxsize=1)
def ear_uv() -> np.ndarray:
    """Texture coordinates of both ears: patches of plain skin in the corners of the layout, (COUNT, 2)."""
    angle = np.linspace(0, 2 * np.pi, SPOKES, endpoint=False)[None]
    r = np.linspace(0, 1, RINGS)[:, None] ** 0.8
    disk = np.stack([r * np.cos(angle), r * np.sin(angle)], -1).reshape(-1, 2) * 0.042
    return np.concatenate([disk + [0.05, 0.05], disk + [0.95, 0.05]])
