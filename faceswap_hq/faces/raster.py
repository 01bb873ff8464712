"""A z-buffer rasteriser in NumPy: triangles in, the visible fragments out.

Every triangle is cut into rows of pixels, all triangles at once; the ends of a row follow from where its barycentric
coordinates change sign; then all pixels of all rows are listed and the nearest wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """What is visible at the covered pixels.

    Attributes:
        pixel: (N,) int64, index into the flattened picture, ascending.
        triangle: (N,) int64, row of the visible triangle.
        weights: (N, 3) float32, barycentric coordinates.
        depth: (N,) float32.
    """

    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    def keep(self, which: np.ndarray) -> Fragments:
        """Only the fragments marked in ``which`` (N,) bool."""
        return Fragments(
            pixel=self.pixel[which], triangle=self.triangle[which], weights=self.weights[which], depth=self.depth[which]
        )

    def interpolate(self, attributes: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Vertex attributes (V, A) at the fragments, (N, A) float32."""
        corners = triangles[self.triangle]
        weights = self.weights
        out = attributes[corners[:, 0]] * weights[:, :1]
        out += attributes[corners[:, 1]] * weights[:, 1:2]
        out += attributes[corners[:, 2]] * weights[:, 2:]
        return out


def rasterize(
    points: np.ndarray, depth: np.ndarray, triangles: np.ndarray, width: int, height: int, *, both_sides: bool = False
) -> Fragments:
    """Find the nearest triangle at every pixel center (pixel centers lie at integer coordinates).

    Args:
        points: (V, 2) float32, x and y in pixels.
        depth: (V,) float32, smaller is nearer.
        triangles: (T, 3) int; seen from their front they run counterclockwise on screen in a y-down picture
            (negative signed area).
        width: Picture width.
        height: Picture height.
        both_sides: Draw triangles seen from behind, too.
    """
    points = points.astype(np.float32, copy=False)
    depth = depth.astype(np.float32, copy=False)
    x, y = np.ascontiguousarray(points[:, 0])[triangles.T], np.ascontiguousarray(points[:, 1])[triangles.T]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    visible = np.abs(area) > 1e-6 if both_sides else area < -1e-6
    top = np.maximum(np.ceil(np.minimum(np.minimum(y[0], y[1]), y[2])), 0)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(y[0], y[1]), y[2])), height - 1)
    chosen = np.flatnonzero(visible & (bottom >= top))
    x, y, inverse = x[:, chosen], y[:, chosen], 1 / area[chosen]
    top = top[chosen].astype(np.int64)
    # rows: (triangle, line) pairs; along a row the weights are b + k * (x - corner)
    lines = bottom[chosen].astype(np.int64) - top + 1
    owner = np.repeat(np.arange(len(chosen)), lines)
    line = np.arange(len(owner)) + np.repeat(top - (np.cumsum(lines) - lines), lines)
    k1, k2 = ((y[2] - y[0]) * inverse)[owner], ((y[0] - y[1]) * inverse)[owner]
    down = line.astype(np.float32) - y[0][owner]
    b1, b2 = down * ((x[0] - x[2]) * inverse)[owner], down * ((x[1] - x[0]) * inverse)[owner]
    first = np.full(len(owner), -np.inf, np.float32)
    last = np.full(len(owner), np.inf, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for k, b in ((k1, b1), (k2, b2), (-k1 - k2, 1 - b1 - b2)):
            root = -b / k
            np.copyto(first, np.fmax(first, root), where=k > 0)
            np.copyto(last, np.fmin(last, root), where=k < 0)
    corner = x[0][owner]
    left = np.ceil(np.maximum(first + corner - np.float32(1e-4), 0)).astype(np.int64)
    right = np.floor(np.minimum(last + corner + np.float32(1e-4), width - 1)).astype(np.int64)
    counts = np.maximum(right - left + 1, 0)
    # pixels of all rows
    row = np.repeat(np.arange(len(owner)), counts)
    column = np.arange(len(row)) + np.repeat(left - (np.cumsum(counts) - counts), counts)
    across = column.astype(np.float32) - corner[row]
    w1, w2 = b1[row] + k1[row] * across, b2[row] + k2[row] * across
    w0 = 1 - w1 - w2
    pixel, triangle = line[row] * width + column, chosen[owner[row]]
    z = depth[triangles]
    at = w0 * z[triangle, 0] + w1 * z[triangle, 1] + w2 * z[triangle, 2]
    near, far = (float(depth.min()), float(depth.max())) if len(depth) else (0.0, 1.0)
    nearness = ((far - at) * np.float32((1 << 24) / max(far - near, 1e-9))).astype(np.int64).clip(0, 1 << 25)
    best = np.full(width * height, -1, np.int64)
    np.maximum.at(best, pixel, (nearness << 32) | np.arange(len(pixel)))
    covered = np.flatnonzero(best >= 0)
    winner = best[covered] & 0xFFFFFFFF
    return Fragments(
        pixel=covered,
        triangle=triangle[winner],
        weights=np.stack([w0[winner], w1[winner], w2[winner]], -1),
        depth=at[winner],
    )
