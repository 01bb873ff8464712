"""Hair as sheets of strands: grids that are combed over the head and shaded along the strands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.geometry import SKULL_CENTER, generic_head, smoothstep
from faceswap_hq.actors.identity import Identity

_TEXTURE = 512
# The hairline from the right sideburn over the forehead's middle, on the generic head.
_HAIRLINE = np.array(
    [(-0.80, 0.34, 0.66), (-0.79, 0.12, 0.58), (-0.76, -0.08, 0.46), (-0.72, -0.33, 0.28), (-0.60, -0.51, 0.10),
     (-0.36, -0.63, -0.06), (0.0, -0.655, -0.13)]
)  # fmt: skip
# thickness on top and at the sides, shift of the parting
_CAPS = {
    "crop": (0.085, 0.03, 0.0), "side": (0.17, 0.035, 0.45), "back": (0.19, 0.045, 0.0), "bun": (0.05, 0.035, 0.0),
    "curls": (0.24, 0.17, 0.0), "bob": (0.06, 0.05, 0.0), "long": (0.05, 0.05, 0.0), "fringe": (0.06, 0.05, 0.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A grid of strands.

    Attributes:
        points: (U, V, 3) float64; the first index runs across strands, the second from root to tip.
        texture: (x0, x1) part of the strand texture's width it uses.
        ragged: How much the tips vary in length, 0 to 1.
        edges: Whether the first and last strands thin out.
    """

    points: np.ndarray
    texture: tuple[float, float]
    ragged: float = 0.3
    edges: tuple[bool, bool] = (True, True)


@dataclass(frozen=True, kw_only=True)
class Hair:
    """All hair of a person as one mesh.

    Attributes:
        points: (V, 3) float32 rest positions in the head's axes.
        triangles: (T, 3) int32.
        normals: (V, 3) float32.
        tangents: (V, 3) float32, along the strands.
        attributes: (V, 4) float32: texture x and y in texels, tip (0 root to 1 tip), edge (1 where strands thin out).
        ragged: (V,) float32.
        hanging: (V,) float32, 1 where the hair rests on the shoulders rather than on the head.
        texture: (S, S, 3) float32: shade of a strand, its length and a random number.
    """

    points: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    tangents: np.ndarray
    attributes: np.ndarray
    ragged: np.ndarray
    hanging: np.ndarray
    texture: np.ndarray


class _Scalp:
    """Distance of the head's surface from the skull's center in any direction."""

    def __init__(self, points: np.ndarray) -> None:
        away = points[generic_head().points[:, 1] < 1.1] - SKULL_CENTER
        self.radius = np.linalg.norm(away, axis=1)
        self.unit = away / self.radius[:, None]

    def at(self, unit: np.ndarray) -> np.ndarray:
        """Radii (...,) in directions (..., 3)."""
        weight = np.exp(150 * (unit @ self.unit.T - 1))
        return (weight * self.radius).sum(-1) / (weight.sum(-1) + 1e-12)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    angle = np.arccos(np.clip((a * b).sum(-1, keepdims=True), -1, 1))
    sine = np.maximum(np.sin(angle), 1e-6)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine


def _roots(count: int, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """Points along the hairline from one sideburn to the other, and u in -1..1."""
    line = np.concatenate([_HAIRLINE, _HAIRLINE[-2::-1] * [-1, 1, 1]])
    at = np.linspace(-1, 1, len(line))
    u = np.linspace(-1, 1, count)
    points = np.stack([np.interp(u, at, line[:, k]) for k in range(3)], -1)
    for _ in range(3):
        points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
    recede = 0.10 * identity.age * (identity.makeup == 0)
    front = 1 - smoothstep(0.1, 0.6, np.abs(u))
    points[:, 1] -= recede * front
    points[:, 2] += recede * front * 0.6
    return points, u


def _cap(identity: Identity, scalp: _Scalp, rng: np.random.Generator) -> Sheet:
    """Hair combed from the hairline over the crown to the nape."""
    style = identity.hair_style
    top, sides, part = _CAPS[style]
    count, steps = 45, 22
    roots, u = _roots(count, identity)
    start = _unit(roots - SKULL_CENTER)
    wide = np.sin(u * np.pi / 2)
    lean = part * (1 if identity.seed % 2 else -1)
    crown = _unit(
        np.stack([wide * 0.95 + lean * (1 - np.abs(u)), -0.10 - 0.95 * np.cos(u * np.pi / 2), np.full(count, 0.30)], -1)
    )
    nape = _unit(np.stack([wide * 0.62, 0.50 + 0.0 * u, 0.75 - 0.1 * np.abs(wide)], -1))
    v = np.linspace(0, 1, steps)
    t = v[None, :, None]
    path = _unit(_slerp(_slerp(start[:, None], crown[:, None], t), _slerp(crown[:, None], nape[:, None], t), t))
    weight = 1 - smoothstep(0.35, 0.85, np.abs(u))
    thick = sides + (top - sides) * weight
    lift = 0.012 + thick[:, None] * smoothstep(0.0, 0.20 if style in ("back", "side", "curls") else 0.3, v)[None]
    lift = lift * (1 - 0.45 * smoothstep(0.55, 1.0, v))[None]
    if style == "side":
        lift = lift * (1 + 0.35 * np.tanh(3 * u * np.sign(lean)))[:, None]
    if style == "curls":
        bumps = cv2.resize(
            rng.standard_normal((16, 12)).astype(np.float32), (steps, count), interpolation=cv2.INTER_CUBIC
        )
        lift = lift * (1 + 0.22 * bumps)
    points = SKULL_CENTER + path * (scalp.at(path) + lift)[..., None]
    return Sheet(points=points, texture=(0.0, 1.0), ragged=0.1, edges=(True, True))


def _curtain(
    identity: Identity, scalp: _Scalp, rng: np.random.Generator, side: float, length: float, part: float, *, under: bool
) -> Sheet:
    """Hair from the parting down one side, hanging below the ears."""
    count, steps = 20, 22
    u = np.linspace(0, 1, count)
    v = np.linspace(0, 1, steps)
    root = np.stack([np.full(count, part) * (1 - 0.4 * u), -0.65 - 0.58 * np.sin(u * 1.9), -0.13 + 1.55 * u], -1)
    start = _unit(root - SKULL_CENTER)
    around = -0.42 + (np.pi / 2 + 0.36) * u  # from before the ear to behind the neck
    reach = np.stack([side * np.cos(around), np.full(count, 0.02), np.sin(around)], -1)
    bend = _unit(np.stack([side * 0.72 * (1 - 0.55 * u**2), np.full(count, -0.62), -0.52 + 1.35 * u], -1))
    end = _unit(reach)
    split = 0.5
    t = np.clip(v / split, 0, 1)[None, :, None]
    path = _unit(_slerp(_slerp(start[:, None], bend[:, None], t), _slerp(bend[:, None], end[:, None], t), t))
    body = 0.03 + (0.055 if under else 0.115) * smoothstep(0.0, 0.28, v)[None] + 0.012 * rng.standard_normal((count, 1))
    points = SKULL_CENTER + path * (scalp.at(path) + body)[..., None]
    fall = np.clip((v - split) / (1 - split), 0, 1)[None, :]
    drop = length * (1 - 0.12 * np.abs(u - 0.35))[:, None]
    points[..., 1] += drop * fall
    points[..., 0] += side * (0.05 * np.sin(np.pi * fall) - 0.10 * fall**2 * (length < 1.3))
    points[..., 2] += 0.10 * fall * (1 - u)[:, None]
    waves = (identity.seed % 3) * 0.022
    phase = 6.28 * np.cumsum(rng.normal(0.05, 0.03, count))[:, None]
    points[..., 0] += waves * np.sin(8.5 * fall * length + phase) * fall
    points[..., 2] += waves * np.cos(8.5 * fall * length + phase) * fall
    if under:
        points[..., 2] += 0.05
    at = (0.02, 0.5) if side < 0 else (0.5, 0.98)
    return Sheet(points=points, texture=at, ragged=0.2 if under else 0.35, edges=(not under, False))


def _fringe(scalp: _Scalp, rng: np.random.Generator) -> Sheet:
    """Strands from the crown down over the forehead."""
    count, steps = 22, 12
    u = np.linspace(-1, 1, count)
    v = np.linspace(0, 1, steps)
    start = _unit(np.stack([u * 0.35, np.full(count, -1.0), np.full(count, 0.05)], -1))
    tip = np.stack(
        [u * 0.66, -0.275 + 0.05 * u**2 + 0.012 * rng.standard_normal(count), -0.16 + 0.42 * np.abs(u) ** 2.2], -1
    )
    end = _unit(tip - SKULL_CENTER)
    path = _unit(_slerp(start[:, None], end[:, None], v[None, :, None]))
    lift = 0.10 * np.sin(np.pi * np.clip(v * 0.85 + 0.1, 0, 1))[None] + 0.028
    points = SKULL_CENTER + path * (scalp.at(path) + lift)[..., None]
    return Sheet(points=points, texture=(0.15, 0.85), ragged=0.3, edges=(True, True))


def _bun() -> Sheet:
    count, steps = 24, 12
    a = np.linspace(0, 2 * np.pi, count)[:, None]
    b = np.linspace(0.06, np.pi - 0.06, steps)[None]
    center = np.array([0.0, -1.27, 1.05])
    grid = np.stack([np.sin(b) * np.cos(a), -np.cos(b) + 0 * a, np.sin(b) * np.sin(a)], -1)
    return Sheet(points=center + grid * [0.36, 0.29, 0.36], texture=(0.1, 0.9), ragged=0.0, edges=(False, False))


@lru_cache(maxsize=24)
def build_hair(identity: Identity, head: bytes) -> tuple[Hair, ...]:
    """Comb a person's hair: layers from the inside out, none for a bald head.

    Args:
        identity: Style, color and details.
        head: The head's coarse rest points as float64 bytes (so that the answer can be kept).
    """
    style = identity.hair_style
    if style == "bald":
        return ()
    rng = np.random.default_rng([identity.seed, 61])
    scalp = _Scalp(np.frombuffer(head, np.float64).reshape(-1, 3))
    under, over = [_cap(identity, scalp, rng)], []
    if style in ("bob", "long", "fringe"):
        part = 0.0 if style == "fringe" else float(rng.choice([-0.24, 0.0, 0.24, 0.3]))
        length = {"bob": 0.95, "long": 2.4, "fringe": float(rng.choice([1.0, 2.2]))}[style]
        for side in (-1.0, 1.0):
            under.append(_curtain(identity, scalp, rng, side, length * 0.96, part, under=True))
            over.append(_curtain(identity, scalp, rng, side, length, part, under=False))
    if style == "fringe":
        over.append(_fringe(scalp, rng))
    if style == "bun":
        over.append(_bun())
    texture = _strands(rng, style)
    return tuple(_assemble(sheets, texture) for sheets in (under, over) if sheets)


def _assemble(sheets: list[Sheet], texture: np.ndarray) -> Hair:
    points, triangles, normals, tangents, attributes, ragged = [], [], [], [], [], []
    count = 0
    for sheet in sheets:
        p = sheet.points
        rows, columns = p.shape[:2]
        index = np.arange(rows * columns).reshape(rows, columns) + count
        a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel()
        triangles.append(np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]))
        across, along = np.gradient(p, axis=0), np.gradient(p, axis=1)
        normal = _unit(np.cross(across, along))
        outward = p - np.array([0, 0.0, 0.8])
        outward[..., 1] *= 0.4
        normal = normal * np.sign((normal * outward).sum(-1, keepdims=True) + 1e-9)
        u = np.linspace(0, 1, rows)[:, None] + np.zeros((1, columns))
        v = np.zeros((rows, 1)) + np.linspace(0, 1, columns)[None]
        x = sheet.texture[0] + (sheet.texture[1] - sheet.texture[0]) * u
        edge = np.maximum(
            np.clip(1 - u / 0.10, 0, 1) * sheet.edges[0], np.clip(1 - (1 - u) / 0.10, 0, 1) * sheet.edges[1]
        )
        points.append(p.reshape(-1, 3))
        normals.append(normal.reshape(-1, 3))
        tangents.append(_unit(along).reshape(-1, 3))
        attributes.append(np.stack([x * (_TEXTURE - 1), v * (_TEXTURE - 1), v, edge], -1).reshape(-1, 4))
        ragged.append(np.full(rows * columns, sheet.ragged))
        count += rows * columns
    everything = np.concatenate(points)
    return Hair(
        points=everything.astype(np.float32),
        triangles=np.concatenate(triangles).astype(np.int32),
        normals=np.concatenate(normals).astype(np.float32),
        tangents=np.concatenate(tangents).astype(np.float32),
        attributes=np.concatenate(attributes).astype(np.float32),
        ragged=np.concatenate(ragged).astype(np.float32),
        hanging=smoothstep(0.7, 1.9, everything[:, 1]).astype(np.float32),
        texture=texture,
    )


def _strands(rng: np.random.Generator, style: str) -> np.ndarray:
    """The strand texture (see :attr:`Hair.texture`); strands run down."""
    size = _TEXTURE

    def streaks(columns: int, rows: int) -> np.ndarray:
        field: np.ndarray = rng.standard_normal((rows, columns)).astype(np.float32)
        field = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
        return (field - field.mean()) / field.std()

    rows = {"curls": 60, "crop": 14}.get(style, 5)
    shade = (
        0.34 * streaks(512, rows)
        + 0.36 * streaks(200, rows)
        + 0.34 * streaks(60, max(3, rows // 2))
        + 0.18 * streaks(18, 3)
    )
    if style == "curls":
        shade = 0.5 * shade + 0.6 * streaks(70, 60)
    length = np.broadcast_to(0.6 * streaks(300, 2) + 0.5 * streaks(60, 2), shade.shape)
    out = np.stack([np.clip(1 + 0.36 * shade, 0.25, 2.2), length, streaks(400, 24)], -1)
    return np.ascontiguousarray(out, np.float32)


def hair_alpha(pixel: np.ndarray, strand: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Opacity of hair fragments (N,): ragged roots, tips and edges, fuzz along silhouettes.

    Args:
        pixel: (N, 3): tip, edge, ragged.
        strand: (N, 3) samples of the strand texture.
        facing: (N,) absolute cosine between normal and view.
    """
    tip, edge, ragged = pixel.T
    _, length, chance = strand.T
    root = np.clip((tip - 0.016 * (length + chance * 0.6)) / 0.07 + 0.2, 0, 1)
    end = np.clip((1.0 - 0.04 - ragged * (0.16 + 0.20 * length) - tip) / 0.07 + 0.5, 0, 1)
    side = np.clip(1.45 - 1.5 * edge + 0.35 * (length + 0.5 * chance) * (edge > 0), 0, 1)
    fuzz = np.clip((facing - 0.04) / 0.16 + 0.3 * chance, 0, 1)
    return root * end * side * fuzz


def hair_color(identity: Identity) -> np.ndarray:
    """Linear RGB reflectance of the hair, (3,) float32."""
    return linear(np.asarray(identity.hair_color, np.float32)) * 0.8
