"""The generic head: a triangle mesh whose first 468 vertices are MediaPipe's face points.

Unit of length: the distance between the outer corners of the eyes (about 9 cm). Axes as in a picture: x to the right,
y down, z away from the viewer; the origin lies midway between the outer eye corners. Triangles are wound so that
``cross(b - a, c - a)`` points out of the head.

``faces/generic_face.npz`` was made without any photograph: MediaPipe read 24 variations of a cartoon face that a few
lines of OpenCV had drawn, and the median of what it read was mirrored, averaged with its mirror image and turned
upright. The triangles follow from ``FACEMESH_TESSELATION``. Skull, neck, eyelid rims and inner lips are grown from the
outlines of that face by the functions below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceswap_hq.faces.mesh import FACE_POINTS, generic_face
from faceswap_hq.faces.regions import FACE_OVAL, LEFT_EYE, LIPS_INNER, RIGHT_EYE

RINGS = 10
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
LIPS_INNER_UPPER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LIPS_INNER_LOWER = (324, 318, 402, 317, 14, 87, 178, 88, 95)
EYE_RADIUS = 0.185


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """The generic head before subdivision.

    Attributes:
        points: (V, 3) float64, rest positions; rows 0..467 are MediaPipe's points.
        triangles: (T, 3) int32.
        uv: (V, 2) float64 in [0, 1], place in the skin texture.
        jaw: (V,) float64 in [0, 1], how much a vertex follows the jaw.
        body: (V,) float64 in [0, 1], 1 where a vertex stays with the shoulders when the head turns.
        lower: (V,) float64 in [0, 1], 1 below the mouth's slit.
        face: (V,) float64, 1 for MediaPipe's face points and the rims inside its holes, 0 outside the oval.
        eyes: (2, 3) float64, centers of the eyeballs (the person's right eye first).
    """

    points: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    jaw: np.ndarray
    body: np.ndarray
    lower: np.ndarray
    face: np.ndarray
    eyes: np.ndarray


def smoothstep(low: float, high: float, value: np.ndarray | float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, and the cubic 3t² - 2t³ between."""
    t = np.clip((np.asarray(value, np.float64) - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _slerp(first: np.ndarray, second: np.ndarray, t: float) -> np.ndarray:
    angle = np.arccos(np.clip((first * second).sum(-1, keepdims=True), -1, 1))
    sine = np.maximum(np.sin(angle), 1e-6)
    return (np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / sine


SKULL_CENTER = np.array([0.0, -0.27, 0.74])
SKULL_RADII = np.array([0.83, 0.98, 1.02])
NECK_CENTER = np.array([0.0, 2.05, 0.86])
NECK_RADII = np.array([0.50, 0.46])


def _ring(oval: np.ndarray, around: np.ndarray, t: float) -> np.ndarray:
    """Points of the ring at ``t`` in (0, 1] on the way from the face's oval to the base of the neck."""
    base = NECK_CENTER + np.stack([np.sin(around) * NECK_RADII[0], np.zeros(36), np.cos(around) * NECK_RADII[1]], -1)
    # over the skull: slide along an ellipsoid from the oval to the nape, then down the neck
    start = (oval - SKULL_CENTER) / SKULL_RADII
    radius = np.linalg.norm(start, axis=-1, keepdims=True)
    nape = np.stack([np.sin(around) * 0.62, np.full(36, 0.62), 0.25 + np.cos(around).clip(-0.2, 1) * 0.55], -1)
    nape /= np.linalg.norm(nape, axis=-1, keepdims=True)
    crown = np.stack([np.sin(around) * 0.95, -0.05 - np.cos(around).clip(0), np.full(36, 0.32)], -1)
    crown /= np.linalg.norm(crown, axis=-1, keepdims=True)
    s = min(t / 0.8, 1.0)
    lift = radius + (1 - radius) * smoothstep(0, 0.35, s)
    way = _slerp(_slerp(start / radius, crown, s), _slerp(crown, nape, s), s)
    over = SKULL_CENTER + SKULL_RADII * way * lift
    if t > 0.8:
        q = float(smoothstep(0.8, 1.0, t))
        over = over * (1 - q) + base * q
    # under the jaw: a Bezier curve along the floor of the mouth to the throat, then down the neck
    throat = np.stack([base[:, 0] * 1.12, np.full(36, 1.36), NECK_CENTER[2] - 0.02 + np.cos(around) * 0.50], -1)
    throat[:, 1] = np.minimum(throat[:, 1], oval[:, 1] + 0.18)
    first = oval + (throat - oval) * [0.25, 0.0, 0.45] + [0, 0.05, 0]
    if t < 0.55:
        q = t / 0.55
        under = (1 - q) ** 2 * oval + 2 * q * (1 - q) * first + q * q * throat
    else:
        q = (t - 0.55) / 0.45
        under = throat * (1 - q) + base * q
    mix = smoothstep(0.0, 0.55, oval[:, 1])[:, None]
    return over * (1 - mix) + under * mix


def jaw_weight(points: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """How much points of the face follow the jaw: a sharp step at the mouth, a soft one on the cheeks."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    mouth = points[13, 1]
    half = abs(points[308, 0])
    soft = smoothstep(-0.42, 0.36, y - mouth - 0.05)
    inside = np.clip(1 - x / half, 0, 1)
    lip = lower * (0.42 + 0.58 * np.minimum(1, 1.8 * inside) ** 0.8) + (1 - lower) * 0.42 * (
        1 - np.minimum(1, 3 * inside)
    )
    sharp = 1 - smoothstep(half * 0.85, half * 1.9, x)
    chin = smoothstep(0.02, 0.22, y - mouth)
    return sharp * (lip * (1 - chin) + np.maximum(lip, soft) * chin) + (1 - sharp) * soft


@lru_cache(maxsize=1)
def generic_head() -> Mesh:
    """Build the generic head: face, eyelid rims, inner lips, skull and neck (about 950 vertices)."""
    face, triangles, _ = generic_face()
    irises, face = face[FACE_POINTS:], face[:FACE_POINTS].copy()
    face[list(LIPS_INNER_UPPER), 1] -= 0.004
    face[list(LIPS_INNER_LOWER), 1] += 0.004
    corners = np.exp(-0.5 * (((face - face[[308]]) / 0.10) ** 2).sum(1)) + np.exp(
        -0.5 * (((face - face[[78]]) / 0.10) ** 2).sum(1)
    )
    face[:, 1] -= 0.022 * corners  # the cartoons' mouths turned down a little
    lower = _below_mouth(face)
    center = np.stack([irises[0], irises[5]])
    eyes = center + [0.0, 0.0, EYE_RADIUS + 0.012]

    angle = np.arctan2(face[:, 0], 0.80 - face[:, 2])
    uv = np.stack([angle * 0.62, face[:, 1] - 0.32], -1)
    parts, maps = [face], [uv]
    faces = [triangles]
    lowers, jaws = [lower], [jaw_weight(face, lower)]
    body = [np.zeros(FACE_POINTS)]
    count = FACE_POINTS
    # rims: the edge of the lids folds back onto the eyeball, the lips roll into the mouth
    for loop, depth, shrink in ((RIGHT_EYE, 0.035, 0.97), (LEFT_EYE, 0.035, 0.97), (LIPS_INNER, 0.10, 1.0)):
        index = np.array(loop)
        middle = face[index].mean(0)
        rim = middle + (face[index] - middle) * shrink
        rim[:, 2] = face[index, 2] + depth
        ring_uv = uv[index].mean(0) + (uv[index] - uv[index].mean(0)) * (0.8 if depth < 0.05 else 0.9)
        parts.append(rim)
        maps.append(ring_uv)
        faces.append(_band(index, np.arange(count, count + len(index)), face, inward=True))
        lowers.append(lower[index])
        jaws.append(jaws[0][index])
        body.append(np.zeros(len(index)))
        count += len(index)
    # rings from the oval over skull and neck
    oval = np.array(FACE_OVAL)
    around = np.arange(36) * (2 * np.pi / 36)  # 0 behind the neck (the forehead's meridian), pi before it (the chin's)
    previous = oval
    outward = uv[oval] - [0.0, 0.02]
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    for k in range(1, RINGS + 1):
        t = (k / RINGS) ** 1.15
        ring = _ring(face[oval], around, t)
        parts.append(ring)
        maps.append(uv[oval] + outward * 0.055 * k)
        index = np.arange(count, count + 36)
        faces.append(_band(previous, index, np.concatenate(parts), inward=False))
        lowers.append(np.ones(36) * (ring[:, 1] > 0.7))
        jaws.append(jaws[0][oval] * max(0.0, 1 - k / 4.0) ** 0.8)
        body.append(smoothstep(1.15, 2.0, ring[:, 1]))
        previous = index
        count += 36
    points = np.concatenate(parts)
    uv = np.concatenate(maps)
    span = max(np.ptp(uv[:, 0]), np.ptp(uv[:, 1])) * 1.01
    uv = (uv - (uv.max(0) + uv.min(0)) / 2) / span + 0.5
    inside = np.zeros(count)
    inside[: FACE_POINTS + 16 + 16 + 20] = 1.0
    return Mesh(
        points=points,
        triangles=np.concatenate(faces).astype(np.int32),
        uv=uv,
        jaw=np.concatenate(jaws),
        body=np.concatenate(body),
        lower=np.concatenate(lowers),
        face=inside,
        eyes=eyes,
    )


def _below_mouth(face: np.ndarray) -> np.ndarray:
    order = np.argsort(face[list(LIPS_INNER), 0])
    line = face[list(LIPS_INNER)][order]
    height = np.interp(face[:, 0], line[:, 0], line[:, 1])
    lower = (face[:, 1] > height).astype(np.float64)
    lower[list(LIPS_INNER_LOWER)] = 1.0
    lower[list(LIPS_INNER_UPPER)] = 0.0
    lower[[78, 308]] = 0.5
    return lower


def _band(first: np.ndarray, second: np.ndarray, points: np.ndarray, *, inward: bool) -> np.ndarray:
    """Triangles between two closed loops of equal length, wound outwards; ``points`` has those of the first."""
    n = len(first)
    following = np.roll(np.arange(n), -1)
    a, b, c, d = first, first[following], second, second[following]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    # decide the winding by the loop's turning direction as seen by the viewer
    loop = points[first]
    area = np.sum(loop[:, 0] * np.roll(loop[:, 1], -1) - np.roll(loop[:, 0], -1) * loop[:, 1])
    if (area > 0) == inward:
        triangles = triangles[:, ::-1]
    return triangles


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """One step of Loop's subdivision (C. Loop 1987) as a linear map.

    Attributes:
        matrix: (V', V) float32; new vertices = matrix @ old vertices; the first V rows are the old vertices, moved.
        triangles: (4T, 3) int32.
        linear: (V', V) float32, the same without smoothing (for attributes such as texture coordinates).
    """

    matrix: np.ndarray
    triangles: np.ndarray
    linear: np.ndarray


@lru_cache(maxsize=1)
def refinement() -> Refinement:
    """The subdivision of :func:`generic_head`."""
    mesh = generic_head()
    return subdivide(mesh.triangles, len(mesh.points))


def subdivide(triangles: np.ndarray, count: int) -> Refinement:
    """One Loop subdivision of a mesh with boundaries.

    Args:
        triangles: (T, 3) int.
        count: Number of vertices V.
    """
    corners = np.concatenate([triangles[:, [0, 1, 2]], triangles[:, [1, 2, 0]], triangles[:, [2, 0, 1]]])
    low, high = corners[:, :2].min(1).astype(np.int64), corners[:, :2].max(1).astype(np.int64)
    edges, edge_of = np.unique(low * count + high, return_inverse=True)
    ends = np.stack([edges // count, edges % count], -1)
    uses = np.bincount(edge_of)
    rows = count + np.arange(len(edges))
    matrix = np.zeros((count + len(edges), count), np.float32)
    linear = np.zeros_like(matrix)
    linear[np.arange(count), np.arange(count)] = 1
    linear[rows, ends[:, 0]] = linear[rows, ends[:, 1]] = 0.5
    inner = uses == 2
    matrix[rows, ends[:, 0]] = matrix[rows, ends[:, 1]] = np.where(inner, 0.375, 0.5)
    opposite = np.zeros_like(matrix)
    np.add.at(opposite, (rows[edge_of], corners[:, 2]), 0.125)
    opposite[rows[~inner]] = 0
    matrix += opposite
    neighbors = np.zeros((count, count), bool)
    neighbors[ends[:, 0], ends[:, 1]] = neighbors[ends[:, 1], ends[:, 0]] = True
    rim = np.zeros((count, count), bool)
    outer = ends[~inner]
    rim[outer[:, 0], outer[:, 1]] = rim[outer[:, 1], outer[:, 0]] = True
    for v in range(count):
        around = np.flatnonzero(rim[v])
        if len(around) == 2:
            matrix[v, v], matrix[v, around] = 0.75, 0.125
            continue
        around = np.flatnonzero(neighbors[v])
        n = len(around)
        beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / n)) ** 2) / n
        matrix[v, v], matrix[v, around] = 1 - n * beta, beta
    # each triangle into four: its corners and the middle
    middle = rows[edge_of].reshape(3, -1)  # edges 01, 12, 20
    a, b, c = triangles.T
    ab, bc, ca = middle
    split = np.concatenate(
        [np.stack(t, -1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))],
    )
    return Refinement(matrix=matrix, triangles=split.astype(np.int32), linear=linear)


class Normals:
    """Vertex normals of one topology, prepared so that each call is a handful of array operations."""

    def __init__(self, triangles: np.ndarray, count: int) -> None:
        self._corners = np.ascontiguousarray(triangles.T)
        corners = triangles.T.reshape(-1)
        order = np.argsort(corners, kind="stable")
        self._triangle_of = np.tile(np.arange(len(triangles)), 3)[order]
        self._starts = np.searchsorted(corners[order], np.arange(count))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Unit normals (V, 3) float32 of vertices at ``points`` (V, 3), weighted by triangle area."""
        x, y, z = (np.ascontiguousarray(points[:, k])[self._corners] for k in range(3))
        ux, uy, uz = x[1] - x[0], y[1] - y[0], z[1] - z[0]
        vx, vy, vz = x[2] - x[0], y[2] - y[0], z[2] - z[0]
        cross = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
        total = np.stack([np.add.reduceat(c[self._triangle_of], self._starts) for c in cross], -1)
        return total / np.maximum(np.sqrt(np.einsum("ij,ij->i", total, total)), 1e-9)[:, None]
