"""Shoulders and clothes: rendered once for a person in a scene, then moved with the body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.camera import DISTANCE, Camera, camera_of
from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.geometry import NECK_CENTER, Normals, smoothstep
from faceswap_hq.actors.identity import Identity
from faceswap_hq.actors.lighting import COUNT, directions
from faceswap_hq.actors.scene import Scene, environment, kelvin_rgb, key_direction
from faceswap_hq.actors.texture import skin_base
from faceswap_hq.faces.raster import rasterize

_AROUND, _DOWN = 120, 30
_MARGIN = 0.22


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A picture of the body, larger than the frame.

    Attributes:
        color: (H', W', 4) float32, linear RGB and opacity.
        depth: (H', W') float32, camera z; large where there is nothing.
        margin: Pixels by which it exceeds the frame on the left and at the top.
        top: First row of the layer with anything in it.
    """

    color: np.ndarray
    depth: np.ndarray
    margin: int
    top: int

    def place(self, canvas: np.ndarray, scene: Scene, sway: np.ndarray) -> np.ndarray:
        """Draw the body, moved by ``sway`` (3,), over ``canvas`` (H, W, 3) in place; returns its depth (H, W)."""
        camera = camera_of(scene)
        zoom = DISTANCE / (DISTANCE + sway[2])
        center = np.array(camera.center)
        shift = center + zoom * (camera.scale * sway[:2] - center - self.margin)
        depth = np.full((scene.height, scene.width), 99.0, np.float32)
        first = int(np.clip(np.floor(zoom * self.top + shift[1]) - 2, 0, scene.height))
        if first < scene.height:
            matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1] - first]], np.float32)
            size = (scene.width, scene.height - first)
            color = cv2.warpAffine(self.color, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
            canvas[first:] *= 1 - color[..., 3:]
            canvas[first:] += color[..., :3]
            there = cv2.warpAffine(self.depth, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(99.0,))
            depth[first:] = there + np.float32(sway[2])
        return depth


def _shoulders(woman: bool) -> tuple[np.ndarray, np.ndarray]:
    """Grid (down, around, 3) of neck base, shoulders and chest, and how far down each row is (0 to 1)."""
    around = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[None]
    t = np.linspace(0, 1, _DOWN)[:, None]
    side, front = np.sin(around), -np.cos(around)  # front < 0 faces the camera
    broad = 1.62 if woman else 1.95
    grow = smoothstep(0.05, 1.0, t) * 0.75 + 0.25 * t
    x = side * (0.50 + (broad - 0.50) * grow)
    z = NECK_CENTER[2] + 0.04 + front * (0.44 + 0.34 * smoothstep(0.0, 0.7, t))
    slope = 0.62 if woman else 0.54
    y = (
        1.55
        + slope * t**1.25
        + 1.25 * t * (1 - np.abs(side)) ** 1.4 * (front < 0)
        + 0.5 * t * (1 - np.abs(side)) * (front >= 0)
    )
    y = y + 1.8 * smoothstep(0.86, 1.0, t)
    x = x * (1 + 0.05 * smoothstep(0.86, 1.0, t))
    return np.stack([x, y, z + 0 * t], -1), t[:, 0]


@lru_cache(maxsize=16)
def body_layer(identity: Identity, scene: Scene) -> Layer:
    """Render a person's shoulders and clothes in a scene's mean light."""
    rng = np.random.default_rng([identity.seed, 71])
    woman = identity.makeup > 0
    grid, t = _shoulders(woman)
    around = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    frontness = np.clip(np.cos(around), 0, 1)
    neckline = int(rng.integers(0, 3))
    low = (0.13, 0.11, 0.09)[neckline] + np.array([0.02, 0.16, 0.24])[neckline] * frontness ** (2, 6, 2.5)[neckline]
    cloth = smoothstep(-0.012, 0.012, t[:, None] - low[None])
    points = grid.reshape(-1, 3).copy()
    index = np.arange(_DOWN * _AROUND).reshape(_DOWN, _AROUND)
    a, b = index[:-1].ravel(), np.roll(index[:-1], -1, 1).ravel()
    c, d = index[1:].ravel(), np.roll(index[1:], -1, 1).ravel()
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).astype(np.int32)
    smooth_normals = Normals(triangles, len(points))
    n = smooth_normals(points.astype(np.float32))
    outward = points - np.array([0, 2.2, NECK_CENTER[2]])
    flip = np.sign((n * outward).sum(1).sum())
    n = n * flip
    points += n * (0.035 * cloth.reshape(-1, 1))
    folds = cv2.resize(rng.standard_normal((6, 18)).astype(np.float32), (_AROUND, _DOWN), interpolation=cv2.INTER_CUBIC)
    points += n * (0.028 * folds.reshape(-1, 1) * cloth.reshape(-1, 1))
    n = smooth_normals(points.astype(np.float32)) * flip

    margin = int(_MARGIN * max(scene.width, scene.height))
    base = camera_of(scene)
    camera = Camera(scale=base.scale, center=(base.center[0] + margin, base.center[1] + margin))
    width, height = scene.width + 2 * margin, scene.height + 2 * margin
    found = rasterize(
        camera.project(points).astype(np.float32),
        points[:, 2].astype(np.float32),
        triangles,
        width,
        height,
        both_sides=True,
    )
    rows = np.broadcast_to(t[:, None], (_DOWN, _AROUND)).reshape(-1, 1)
    limit = np.broadcast_to(low[None], (_DOWN, _AROUND)).reshape(-1, 1)
    turn = np.stack([np.cos(around), np.sin(around)], -1)
    turn = np.broadcast_to(turn[None], (_DOWN, _AROUND, 2)).reshape(-1, 2)
    table = np.concatenate([n, rows, limit, turn, points], 1).astype(np.float32)
    pixel = found.interpolate(table, triangles)
    normal = pixel[:, :3] / (np.linalg.norm(pixel[:, :3], axis=1, keepdims=True) + 1e-6)
    normal *= np.where(normal[:, 2:3] > 0, -1, 1)
    beyond = pixel[:, 3] - pixel[:, 4]
    covered = np.clip(beyond / 0.006 + 0.5, 0, 1)[:, None]
    weave = rng.standard_normal((height, width)).astype(np.float32)
    weave = 0.5 * weave + 0.8 * cv2.GaussianBlur(weave, (0, 0), 0.7)
    fabric = linear(np.asarray(identity.cloth_color, np.float32)) * (1 + 0.055 * weave.ravel()[found.pixel][:, None])
    pattern = int(rng.integers(0, 4))
    if pattern == 1:  # stripes
        stripe = np.sin(pixel[:, 8:9] * 46) > 0.45
        fabric = np.where(stripe, fabric * 0.55 + 0.18, fabric)
    elif pattern == 2:  # heather
        fabric = fabric * (1 + 0.10 * cv2.GaussianBlur(weave, (0, 0), 1.5).ravel()[found.pixel][:, None] * 3)
    rib = (beyond < 0.045)[:, None]
    fabric = np.where(rib, fabric * (0.72 + 0.16 * np.sin(np.arctan2(pixel[:, 6:7], pixel[:, 5:6]) * 110)), fabric)
    albedo = skin_base(identity) * 0.93 * (1 - covered) + fabric * covered
    key, color = key_direction(scene, 0.0), kelvin_rgb(scene.key_kelvin) * np.float32(scene.key_strength)
    wrap = np.where(covered > 0.5, 0.12, 0.22)
    diffuse = np.clip((normal @ key)[:, None] + wrap, 0, None) / (1 + wrap)
    p = pixel[:, 7:10]
    toward = np.exp(-0.5 * (((p[:, 0] + key[0] * 0.5) / 0.75) ** 2 + ((p[:, 2] - 0.25) / 0.7) ** 2))[:, None]
    beneath = 1 - 0.75 * toward * (1 - smoothstep(1.55, 2.5, p[:, 1:2]))  # the head's shadow
    sky = np.zeros_like(albedo)
    ways = directions()
    for way, light in zip(ways, environment(scene, ways), strict=True):
        sky += np.maximum(normal @ way, 0)[:, None] * light * (4.0 / COUNT)
    edge = 1 - 0.35 * np.exp(-((beyond / 0.02) ** 2))[:, None]
    lit = albedo * (sky * (0.35 + 0.65 * beneath) + color * diffuse * beneath) * edge
    picture = np.zeros((height * width, 4), np.float32)
    depth = np.full(height * width, 99.0, np.float32)
    picture[found.pixel, :3] = lit
    picture[found.pixel, 3] = 1
    depth[found.pixel] = found.depth
    picture = picture.reshape(height, width, 4)
    soft = cv2.GaussianBlur(picture, (0, 0), 0.7)
    filled = np.flatnonzero(soft[..., 3].max(axis=1) > 0)
    top = int(filled[0]) if len(filled) else height
    return Layer(color=soft, depth=depth.reshape(height, width), margin=margin, top=top)
