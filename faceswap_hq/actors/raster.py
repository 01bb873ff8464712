"""A z-buffer rasteriser in NumPy: triangles in, the visible fragments out.

Small triangles are what it is fast at: all triangles whose bounding boxes fit the same square are tested at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


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
    x0 = np.maximum(np.ceil(np.minimum(np.minimum(x[0], x[1]), x[2])), 0)
    y0 = np.maximum(np.ceil(np.minimum(np.minimum(y[0], y[1]), y[2])), 0)
    x1 = np.minimum(np.floor(np.maximum(np.maximum(x[0], x[1]), x[2])), width - 1)
    y1 = np.minimum(np.floor(np.maximum(np.maximum(y[0], y[1]), y[2])), height - 1)
    visible &= (x1 >= x0) & (y1 >= y0)
    chosen = np.flatnonzero(visible)
    extent = np.maximum(x1[chosen] - x0[chosen], y1[chosen] - y0[chosen]) + 1
    setup = _Setup(x=x, y=y, inverse=1 / np.where(visible, area, 1), x0=x0, y0=y0, width=width, height=height)
    sizes = np.array(_SIZES + ((max(width, height),) if max(width, height) > _SIZES[-1] else ()))
    bucket = np.searchsorted(sizes, extent)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for k in np.unique(bucket):
        index = chosen[bucket == k]
        size = int(sizes[k])
        chunk = max(1, 400_000 // (size * size))
        for start in range(0, len(index), chunk):
            found.append(_cover(index[start : start + chunk], size, setup))
    if not found:
        empty = np.zeros(0, np.int64)
        return Fragments(
            pixel=empty, triangle=empty, weights=np.zeros((0, 3), np.float32), depth=np.zeros(0, np.float32)
        )
    pixel = np.concatenate([f[0] for f in found])
    triangle = np.concatenate([f[1] for f in found])
    w1 = np.concatenate([f[2] for f in found])
    w2 = np.concatenate([f[3] for f in found])
    w0 = 1 - w1 - w2
    z = depth[triangles]
    at = w0 * z[triangle, 0] + w1 * z[triangle, 1] + w2 * z[triangle, 2]
    near, far = float(depth.min()), float(depth.max())
    quantized = ((far - at) * ((1 << 24) / max(far - near, 1e-9))).astype(np.int64)
    key = (quantized.clip(0, 1 << 25) << 32) | np.arange(len(pixel))
    best = np.full(width * height, -1, np.int64)
    np.maximum.at(best, pixel, key)
    covered = np.flatnonzero(best >= 0)
    winner = best[covered] & 0xFFFFFFFF
    return Fragments(
        pixel=covered,
        triangle=triangle[winner],
        weights=np.stack([w0[winner], w1[winner], w2[winner]], -1),
        depth=at[winner],
    )


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """Triangles on screen: corners' x and y (3, T), 1 / area, upper left corner of the box, picture size."""

    x: np.ndarray
    y: np.ndarray
    inverse: np.ndarray
    x0: np.ndarray
    y0: np.ndarray
    width: int
    height: int


def _cover(index: np.ndarray, size: int, setup: _Setup) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fragments of triangles whose boxes fit ``size`` x ``size``: pixel, triangle, second and third weight."""
    x, y = setup.x[:, index], setup.y[:, index]
    inverse, x0, y0 = setup.inverse[index], setup.x0[index], setup.y0[index]
    steps = np.arange(size, dtype=np.float32)
    px, py = (x0 - x[0])[:, None] + steps, (y0 - y[0])[:, None] + steps
    # the weight of c grows with the distance from edge ab, the weight of b with that from edge ca
    w2 = (py * ((x[1] - x[0]) * inverse)[:, None])[:, :, None] - (px * ((y[1] - y[0]) * inverse)[:, None])[:, None, :]
    w1 = (px * ((y[2] - y[0]) * inverse)[:, None])[:, None, :] - (py * ((x[2] - x[0]) * inverse)[:, None])[:, :, None]
    least = np.minimum(w1, w2)
    np.minimum(least, 1 - w1 - w2, out=least)
    flat = np.flatnonzero(least >= np.float32(-1e-4))
    which = flat // (size * size)
    rest = flat - which * (size * size)
    row = rest // size
    column = x0[which].astype(np.int64) + (rest - row * size)
    line = y0[which].astype(np.int64) + row
    fits = (column < setup.width) & (line < setup.height)
    if not fits.all():
        flat, which, column, line = flat[fits], which[fits], column[fits], line[fits]
    return line * setup.width + column, index[which], w1.ravel()[flat], w2.ravel()[flat]
