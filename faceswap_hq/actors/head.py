"""A head that can move: rest shape, expressions and soft shadows, all as linear maps prepared once for a person."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faceswap_hq.actors import ears
from faceswap_hq.actors.geometry import (
    EYE_RADIUS,
    FACE_POINTS,
    LOWER_LIDS,
    UPPER_LIDS,
    Normals,
    generic_head,
    refinement,
    smoothstep,
)
from faceswap_hq.actors.modes import near, side
from faceswap_hq.actors.performance import Moment
from faceswap_hq.faces.mesh import generic_face
from faceswap_hq.faces.regions import LEFT_EYE, LIPS_INNER, LIPS_OUTER, RIGHT_EYE

PIVOT = np.array([0.0, 0.95, 0.72])  # where the head turns on the neck
_LID_RINGS = (((247, 30, 29, 27, 28, 56, 190), 0.80), ((113, 225, 224, 223, 222, 221, 189), 0.34))
_LOWER_RINGS = (((25, 110, 24, 23, 22, 26, 112), 0.75), ((31, 228, 229, 230, 231, 232, 233), 0.3))
SHAPES = ("jaw", "spread", "pucker", "press", "smile", "smirk", "frown", "brow_up", "brow_down", "blink", "squint")


@dataclass(frozen=True, kw_only=True)
class Head:
    """A person's head, ready to be posed.

    Attributes:
        rest: (V, 3) float32, refined rest shape.
        shapes: (K, V * 3) float32, refined displacement for a strength of 1 of each of :data:`SHAPES`.
        eyes: (2, 3) float64, centers of the eyeballs.
        coarse: (C, 3) float64, the rest shape before refinement.
        lids: index of the coarse vertices that must stay in front of the eyeballs.
        lid_shapes: (K, L, 3) float64, displacement of those before refinement.
        lid_rows: (R, L) float32, how refined vertices follow those.
    """

    rest: np.ndarray
    shapes: np.ndarray
    eyes: np.ndarray
    coarse: np.ndarray
    lids: np.ndarray
    lid_shapes: np.ndarray
    lid_rows: np.ndarray

    def posed(self, moment: Moment) -> np.ndarray:
        """Refined vertices (V, 3) float32 with the expression of ``moment``, not yet turned."""
        strength = np.array(strengths(moment), np.float32)
        points = (self.rest.ravel() + strength @ self.shapes).reshape(-1, 3)
        lids = self.coarse[self.lids] + np.tensordot(strength.astype(np.float64), self.lid_shapes, 1)
        center = self.eyes[(lids[:, 0] > 0).astype(int)]
        away = ((lids - center)[:, :2] ** 2).sum(1)
        front = center[:, 2] - np.sqrt(np.maximum((EYE_RADIUS + 0.008) ** 2 - away, 0))
        push = np.where(away < (0.98 * EYE_RADIUS) ** 2, np.minimum(front - lids[:, 2], 0), 0)
        points[: len(self.lid_rows), 2] += self.lid_rows @ push.astype(np.float32)
        return points


def strengths(moment: Moment) -> list[float]:
    """Strength of each of :data:`SHAPES` at a moment."""
    return [
        moment.jaw, max(moment.wide, 0.0), max(-moment.wide, 0.0), moment.press, moment.smile, moment.smirk,
        moment.frown, moment.brow_up, moment.brow_down, moment.blink, moment.squint * (1 - moment.blink),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def mirror() -> np.ndarray:
    """For each of MediaPipe's 478 points the one on the other side, (478,) int."""
    return generic_face().mirror


def _shape_basis(points: np.ndarray) -> np.ndarray:
    mesh = generic_head()
    p, generic = points, mesh.points
    lower = mesh.lower[:, None]
    s = side(generic)
    out = {name: np.zeros_like(p) for name in SHAPES}
    jaw = mesh.jaw[:, None]
    reach = np.clip(0.62 - p[:, 2:3], 0, 1.4) / 0.85
    out["jaw"] = jaw * reach * [0.0, 0.33, 0.0] + jaw * [0, 0, 0.07]
    corners = near(generic, (61, 291, 78, 308), (0.10, 0.09, 0.2))
    out["jaw"] += -corners * s * [0.03, 0, 0] + near(generic, (187, 411, 207, 427), 0.18) * (
        -s * [0.02, 0, 0] + [0, 0, 0.02]
    )
    out["spread"] = corners * (s * [0.045, 0, 0] + [0, 0, 0.02])
    lips = near(generic, (*LIPS_OUTER, *LIPS_INNER), (0.09, 0.07, 0.3))
    center = p[[13, 14]].mean(0)
    out["pucker"] = lips * np.concatenate(
        [-(p[:, :1] - center[0]) * 0.42, (p[:, 1:2] - center[1]) * 0.22, np.full((len(p), 1), -0.065)], 1
    )
    rim = near(generic, LIPS_INNER, (0.05, 0.05, 0.2))
    out["press"] = rim * ((1 - lower) * [0, 0.006, 0.012] + lower * [0, -0.016, 0.012])
    smile_corner = near(generic, (61, 291, 78, 308), (0.13, 0.11, 0.25)) * (s * [0.06, 0, 0] + [0, -0.06, 0.045])
    cheeks = near(generic, (50, 280, 205, 425), (0.13, 0.10, 0.3)) * (s * [0.02, 0, 0] + [0, -0.030, -0.024])
    thin = near(generic, (0, 17, 13, 14), (0.14, 0.07, 0.2)) * [0, -0.008, 0.028]
    fold = near(generic, (203, 423, 206, 426), (0.06, 0.09, 0.2)) * (s * [0.022, 0, 0] + [0, -0.015, -0.006])
    out["smile"] = smile_corner + cheeks + thin + fold
    out["smirk"] = (smile_corner + cheeks) * (s > 0) * 0.9 - (smile_corner + cheeks) * (s <= 0) * 0.5
    out["frown"] = corners * [0, 0.04, 0] + near(generic, (17, 18), (0.12, 0.06, 0.2)) * [0, -0.02, -0.014]
    brows = (105, 334, 52, 282, 65, 295, 63, 293, 66, 296, 53, 283)
    out["brow_up"] = near(generic, brows, (0.14, 0.10, 0.3)) * [0, -0.06, -0.006] + near(
        generic, (28, 258, 223, 443), 0.05
    ) * [0, -0.014, 0]
    out["brow_down"] = near(generic, (55, 285, 107, 336, 65, 295), (0.10, 0.08, 0.3)) * (
        -s * [0.016, 0, 0] + [0, 0.036, -0.014]
    )
    flip = mirror()
    for k, (top, bottom) in enumerate(zip(UPPER_LIDS, LOWER_LIDS, strict=True)):
        up, low = np.array(top[1:-1]), np.array(bottom[1:-1])
        gap = p[low] - p[up]
        gap[:, 2] = 0
        for name, high_share, low_share in (("blink", 0.86, -0.14), ("squint", 0.16, -0.30)):
            out[name][up] = gap * high_share
            out[name][low] = gap * low_share
            for rings, share in ((_LID_RINGS, high_share), (_LOWER_RINGS, low_share)):
                for ring, fade in rings:
                    index = np.array(ring) if k == 0 else flip[list(ring)]
                    out[name][index] = gap * share * fade
    basis = np.stack([out[name] for name in SHAPES])
    start = FACE_POINTS
    for loop in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
        basis[:, start : start + len(loop)] = basis[:, list(loop)]
        start += len(loop)
    # the inside of the lips follows the teeth less than the edge does
    return basis


def eye_centers(points: np.ndarray) -> np.ndarray:
    """Where the eyeballs sit in a head of this shape, (2, 3)."""
    mesh = generic_head()
    out = mesh.eyes.copy()
    for k, loop in enumerate((RIGHT_EYE, LEFT_EYE)):
        out[k] += (points[list(loop)] - mesh.points[list(loop)]).mean(0)
    return out


def build_head(points: np.ndarray, ear_size: float = 1.0, ear_angle: float = 25.0) -> Head:
    """Prepare a head of the coarse rest shape ``points`` (V, 3) with ears of this size and angle in degrees."""
    matrix = refinement().matrix
    eyes = eye_centers(points)
    basis = _shape_basis(points)
    refined = np.stack([matrix @ b.astype(np.float32) for b in basis])
    refined = np.concatenate([refined, np.zeros((len(basis), ears.COUNT, 3), np.float32)], 1).reshape(len(basis), -1)
    both_ears = ears.ear_points(points, ear_size, ear_angle).astype(np.float32)
    flip = mirror()
    right = [*RIGHT_EYE, *_LID_RINGS[0][0], *_LOWER_RINGS[0][0]]
    lids = np.array(sorted({*right, *(int(flip[i]) for i in right)}))
    return Head(
        rest=np.concatenate([matrix @ points.astype(np.float32), both_ears]),
        shapes=refined.astype(np.float32),
        eyes=eyes,
        coarse=points,
        lids=lids,
        lid_shapes=basis[:, lids],
        lid_rows=np.ascontiguousarray(matrix[:, lids]),
    )


@lru_cache(maxsize=1)
def fine_triangles() -> np.ndarray:
    """Triangles of the refined head with its ears, (T, 3) int32."""
    fine = refinement()
    return np.concatenate([fine.triangles, ears.ear_triangles() + len(fine.matrix)]).astype(np.int32)


@lru_cache(maxsize=1)
def normals() -> Normals:
    """Vertex normals of the refined head with its ears."""
    return Normals(fine_triangles(), len(refinement().matrix) + ears.COUNT)


@lru_cache(maxsize=1)
def fine_attributes() -> dict[str, np.ndarray]:
    """Attributes of the refined vertices: ``uv`` (V, 2), ``body``, ``face`` and ``swap`` (V,), all float32."""
    mesh, linear, smooth = generic_head(), refinement().linear, refinement().matrix
    nothing = np.zeros(ears.COUNT, np.float32)
    return {
        "uv": np.concatenate([linear @ mesh.uv.astype(np.float32), ears.ear_uv().astype(np.float32)]),
        "body": np.concatenate([smooth @ mesh.body.astype(np.float32), nothing]),
        "face": np.concatenate([(linear @ mesh.face.astype(np.float32) >= 1.0).astype(np.float32), nothing]),
        "swap": np.concatenate([smooth @ swap_weight().astype(np.float32), nothing]),
    }


@lru_cache(maxsize=1)
def swap_weight() -> np.ndarray:
    """How far a swap replaces a coarse vertex: 1 in the inner face, 0 on the oval and outside, (V,) float64."""
    mesh = generic_head()
    count = len(mesh.points)
    oval = np.zeros(count, bool)
    oval[np.unique(mesh.triangles[(mesh.face[mesh.triangles] < 1).any(1)])] = True
    steps = np.where(oval, 0.0, np.inf)
    edges = np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    length = np.linalg.norm(mesh.points[edges[:, 0]] - mesh.points[edges[:, 1]], axis=1)
    for _ in range(40):
        np.minimum.at(steps, edges[:, 1], steps[edges[:, 0]] + length)
    return smoothstep(0.0, 0.26, np.where(np.isfinite(steps), steps, 1.0)) * mesh.face


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation of the head by angles in degrees as :class:`Moment` names them, (3, 3) float64: new = R @ old."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y
