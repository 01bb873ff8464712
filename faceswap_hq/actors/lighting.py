"""Soft shadows and ambient light as precomputed radiance transfer (Sloan, Kautz and Snyder 2002), sampled directions.

For a few dozen directions the head is rasterised as seen from there, and every vertex learns whether it is in view.
Lighting a frame is then one small matrix product, whatever the light does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceswap_hq.faces.raster import rasterize

COUNT = 48
_KERNEL = 14.0
_MIDDLE, _RADIUS = np.array([0.0, 0.2, 0.6], np.float32), 1.75  # what casts shadows lies in this ball


def directions() -> np.ndarray:
    """Evenly spread unit vectors (Fibonacci lattice), (COUNT, 3) float32."""
    k = np.arange(COUNT) + 0.5
    polar, around = np.arccos(1 - 2 * k / COUNT), np.pi * (1 + 5**0.5) * k
    return np.stack([np.cos(around) * np.sin(polar), np.cos(polar), np.sin(around) * np.sin(polar)], -1).astype(
        np.float32
    )


def halfway(key: np.ndarray) -> np.ndarray:
    """Unit vector halfway between the directions to the key light (3,) and to the camera."""
    half = np.asarray(key, np.float32) + np.array([0, 0, -1], np.float32)
    return (half / np.linalg.norm(half)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How light reaches vertices.

    Attributes:
        seen: (V, COUNT) float32 in [0, 1], whether a vertex sees the sky in each direction.
        ambient: (V, COUNT) float32, irradiance from unit radiance in each direction over pi, shadows included.
    """

    seen: np.ndarray
    ambient: np.ndarray

    def key(self, direction: np.ndarray) -> np.ndarray:
        """Share of a broad light from ``direction`` (3,) that reaches each vertex, (V,) float32."""
        weight = np.exp(_KERNEL * (directions() @ direction - 1)).astype(np.float32)
        return self.seen @ (weight / weight.sum())


def bake(
    points: np.ndarray, normals: np.ndarray, blockers: list[tuple[np.ndarray, np.ndarray]], resolution: int = 120
) -> np.ndarray:
    """Measure which directions each vertex sees: (V, COUNT) float32 from 0 (blocked) to 1.

    Args:
        points: (V, 3) vertices to light.
        normals: (V, 3) their normals.
        blockers: Meshes (points, triangles) that cast shadows.
        resolution: Side of the depth pictures; coarser means softer.
    """
    ways = directions()
    middle, radius = _MIDDLE, _RADIUS
    seen = np.zeros((len(points), len(ways)), np.float32)
    lifted = points + normals * 0.012
    for k, way in enumerate(ways):
        helper = np.array([0, 1, 0], np.float32) if abs(way[1]) < 0.9 else np.array([1, 0, 0], np.float32)
        right = np.cross(helper, way)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(way, right), -way])
        half = (resolution - 1) / 2
        depth = np.full(resolution * resolution, np.inf, np.float32)
        for vertices, triangles in blockers:
            q = (vertices - middle) @ axes.T.astype(np.float32)
            found = rasterize(
                q[:, :2] * (half / radius) + half, q[:, 2], triangles, resolution, resolution, both_sides=True
            )
            depth[found.pixel] = np.minimum(depth[found.pixel], found.depth)
        depth = depth.reshape(resolution, resolution)
        q = (lifted - middle) @ axes.T.astype(np.float32)
        at = q[:, :2] * (half / radius) + half
        lit = np.zeros(len(points), np.float32)
        outside = (np.abs(at - half) > half - 1).any(1)
        for dx in (-0.7, 0.7):
            for dy in (-0.7, 0.7):
                i = np.clip(np.round(at[:, 1] + dy), 0, resolution - 1).astype(int)
                j = np.clip(np.round(at[:, 0] + dx), 0, resolution - 1).astype(int)
                slope = 0.03 + 0.05 * (1 - np.abs(normals @ way))
                lit += q[:, 2] <= depth[i, j] + slope
        seen[:, k] = np.where(outside, 1.0, lit / 4)
    return seen


def transfer(seen: np.ndarray, normals: np.ndarray) -> Transfer:
    """The light transport of vertices that see ``seen`` (V, COUNT) of the sky and have these normals (V, 3)."""
    cosine = np.maximum(normals @ directions().T, 0)
    return Transfer(seen=seen, ambient=(seen * cosine * np.float32(4.0 / COUNT)).astype(np.float32))


def smooth(values: np.ndarray, triangles: np.ndarray, rounds: int = 2) -> np.ndarray:
    """Average vertex values (V, ...) with those of their neighbors."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = np.bincount(edges.ravel(), minlength=len(values)).astype(np.float32)
    order = np.argsort(np.concatenate([edges[:, 0], edges[:, 1]]), kind="stable")
    target = np.concatenate([edges[:, 0], edges[:, 1]])[order]
    source = np.concatenate([edges[:, 1], edges[:, 0]])[order]
    starts = np.searchsorted(target, np.arange(len(values)))
    for _ in range(rounds):
        values = 0.5 * values + 0.5 * np.add.reduceat(values[source], starts, axis=0) / count[:, None]
    return values.astype(np.float32)
