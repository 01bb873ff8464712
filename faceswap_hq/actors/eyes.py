"""Eyeballs, drawn analytically: a sphere per pixel, textured by gaze, lit, and shaded by the lids."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from faceswap_hq.actors.camera import Camera
from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.geometry import EYE_RADIUS
from faceswap_hq.actors.identity import Identity
from faceswap_hq.actors.lighting import halfway

IRIS = 0.36  # sine of the angle from the eye's axis to the edge of the iris
_SIZE = 288


@lru_cache(maxsize=24)
def eye_texture(identity: Identity) -> np.ndarray:
    """Reflectance of an eyeball seen along its axis, (S, S, 3) float32 linear; the picture spans sines of -1 to 1."""
    rng = np.random.default_rng([identity.seed, 51])
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32)
    x, y = (x - (_SIZE - 1) / 2) / ((_SIZE - 1) / 2), (y - (_SIZE - 1) / 2) / ((_SIZE - 1) / 2)
    r = np.sqrt(x * x + y * y)
    t = r / IRIS
    angle = np.arctan2(y, x)
    white = np.array([0.86, 0.815, 0.785], np.float32) - 0.05 * identity.age * np.array([0, 0.4, 1], np.float32)
    out = np.broadcast_to(white, (_SIZE, _SIZE, 3)).copy()
    out *= 1 - 0.35 * np.clip((r - 0.5) / 0.5, 0, 1)[..., None] * np.array([0.25, 0.8, 0.8], np.float32)
    veins = np.zeros((_SIZE, _SIZE), np.uint8)
    for _ in range(26):
        a = float(rng.choice([0, np.pi]) + rng.normal(0, 0.5))
        path = [np.array([np.cos(a), np.sin(a)]) * 0.98]
        for _ in range(7):
            a += rng.normal(0, 0.12)
            path.append(path[-1] - np.array([np.cos(a), np.sin(a)]) * 0.075)
        at = ((np.array(path) + 1) * (_SIZE - 1) / 2 * 16).round().astype(np.int32)
        cv2.polylines(veins, [at], False, (int(rng.integers(60, 150)),), 1, cv2.LINE_AA, 4)
    vein = cv2.GaussianBlur(veins, (0, 0), 0.8).astype(np.float32)[..., None] / 255
    out *= 1 - vein * np.array([0.08, 0.5, 0.45], np.float32)
    waves = np.zeros_like(angle)
    for frequency, strength in ((11, 0.5), (23, 0.7), (41, 0.8), (67, 0.6), (97, 0.4)):
        waves += strength * np.sin(
            frequency * angle + rng.uniform(0, 6.28) + 2.2 * np.sin(3 * t + rng.uniform(0, 6.28))
        )
    base = np.array(identity.eye_color, np.float32)
    warm = base * np.array([1.25, 1.0, 0.7], np.float32) + np.array([0.07, 0.03, 0.0], np.float32)
    ring = np.exp(-(((t - 0.52) / 0.16) ** 2))[..., None]
    iris = base * (1 - 0.55 * ring) + warm * 0.55 * ring
    iris = iris * (1.12 + 0.17 * waves[..., None]) * (1.15 - 0.2 * t[..., None])
    iris *= 1 - 0.72 * np.clip((t - 0.78) / 0.24, 0, 1)[..., None] ** 1.3
    pupil = np.clip((t - 0.36) / 0.07, 0, 1)[..., None]
    iris = 0.015 + (iris - 0.015) * pupil
    edge = np.clip((t - 0.94) / 0.12, 0, 1)[..., None]
    return np.ascontiguousarray(linear((iris * (1 - edge) + out * edge).clip(0, 1)))


def gaze_axes(gaze_x: float, gaze_y: float) -> np.ndarray:
    """Axes of an eye looking by degrees to the picture's right and down, (3, 3): rows x, y and backward."""
    a, b = np.radians([gaze_x, gaze_y])
    forward = np.array([np.sin(a) * np.cos(b), np.sin(b), -np.cos(a) * np.cos(b)])
    right = np.cross([0.0, 1.0, 0.0], -forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(-forward, right), -forward])


def iris_points(center: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """MediaPipe's five iris points (center, right, top, left, bottom of the picture), (5, 3) in the head's axes."""
    back = np.sqrt(1 - IRIS**2)
    local = np.array([(0, 0, -1), (IRIS, 0, -back), (0, -IRIS, -back), (-IRIS, 0, -back), (0, IRIS, -back)])
    return center + EYE_RADIUS * (local @ axes)


def draw_eye(
    canvas: np.ndarray,
    texture: np.ndarray,
    outline: np.ndarray,
    center: np.ndarray,
    axes: np.ndarray,
    camera: Camera,
    key: np.ndarray,
    key_color: np.ndarray,
    ambient: np.ndarray,
    inner_corner: np.ndarray,
    up: np.ndarray,
) -> None:
    """Draw one eye into linear ``canvas`` (H, W, 3) in place.

    Args:
        canvas: The picture; the face is drawn over it afterwards.
        texture: See :func:`eye_texture`.
        outline: (16, 2) lid edge in pixels.
        center: (3,) center of the eyeball in camera axes.
        axes: (3, 3) axes of the eye in camera axes, rows x, y, backward.
        camera: The projection.
        key: (3,) unit vector toward the key light.
        key_color: (3,) linear RGB of the key light that reaches the eye.
        ambient: (3,) linear RGB of the light around.
        inner_corner: (2,) pixel of the corner by the nose.
        up: (2,) unit vector in the picture from the eye toward its upper lid.
    """
    h, w = canvas.shape[:2]
    scale = camera.scale_at(center[2])
    pad = int(0.05 * scale) + 2
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(outline.max(0)).astype(int) + pad + 1, (w, h))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    middle = camera.project(center[None])[0]
    x = (np.arange(x0, x1, dtype=np.float32) - np.float32(middle[0])) / np.float32(scale * EYE_RADIUS)
    y = (np.arange(y0, y1, dtype=np.float32) - np.float32(middle[1])) / np.float32(scale * EYE_RADIUS)
    x, y = np.broadcast_to(x[None], (len(y), len(x))), np.broadcast_to(y[:, None], (len(y), len(x)))
    rr = np.minimum(x * x + y * y, 0.98)
    n = np.stack([x, y, -np.sqrt(1 - rr)], -1).astype(np.float32)
    local = n @ axes.T.astype(np.float32)
    rho = np.sqrt(local[..., 0] ** 2 + local[..., 1] ** 2)
    half = (_SIZE - 1) / 2
    # beyond the equator the white goes on as it is at the rim
    reach = np.where(local[..., 2] < 0, half, 0.97 * half / np.maximum(rho, 1e-3)).astype(np.float32)
    color = cv2.remap(texture, local[..., 0] * reach + half, local[..., 1] * reach + half, cv2.INTER_LINEAR)
    # the cornea bulges: a brighter, sharper highlight over the iris
    bulge = np.where(local[..., 2] < 0, np.clip(1 - rho / (IRIS * 1.15), 0, 1), 0)[..., None] * np.float32(0.55)
    # (an eye's surface is wet: two narrow lobes, the lamp itself and a wide softbox around it)
    forward = -axes[2].astype(np.float32)
    cornea = n - bulge * (n - forward) * 0.9
    cornea /= np.linalg.norm(cornea, axis=-1, keepdims=True)
    middleway = halfway(key)
    shine = np.clip(cornea @ middleway, 0, 1)
    gloss = 2.6 * np.exp(420 * (shine - 1)) + 0.10 * np.exp(36 * (shine - 1))
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [np.round((outline - (x0, y0)) * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    open_ = mask.astype(np.float32) / 255
    sigma = max(0.028 * scale, 0.6)
    blurred = cv2.GaussianBlur(open_, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    shift = np.array([[1, 0, -up[0] * sigma * 1.5], [0, 1, -up[1] * sigma * 1.5]], np.float32)
    lid = cv2.warpAffine(blurred, shift, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_LINEAR)
    shade = np.clip(0.30 + 1.05 * np.minimum(lid, blurred * 1.1), 0, 1)[..., None]
    diffuse = np.clip(0.25 + 0.75 * (n @ key), 0, 1)[..., None]
    lit = color * (ambient + key_color * diffuse) * shade
    corner = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1).astype(np.float32) - inner_corner.astype(
        np.float32
    )
    pink = np.exp(-0.5 * (corner**2).sum(-1) / (0.026 * scale) ** 2)[..., None]
    flesh = np.array([0.50, 0.20, 0.17], np.float32) * (ambient + 0.6 * key_color)
    lit = lit + pink * (flesh * shade - lit)
    lit = lit + gloss[..., None] * key_color * np.clip(blurred * 1.6, 0, 1)[..., None]
    region = canvas[y0:y1, x0:x1]
    cover = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(np.float32)[..., None] / 255
    region += cover * (lit - region)


def draw_lashes(canvas: np.ndarray, upper: np.ndarray, away: np.ndarray, scale: float, strength: float) -> None:
    """Draw the upper lashes of one eye over the skin in linear ``canvas`` (H, W, 3) in place.

    Args:
        canvas: The picture.
        upper: (9, 2) pixels along the upper lid's edge, outer corner first.
        away: (2,) unit vector in the picture from the eye toward its brow.
        scale: Pixels a unit of length.
        strength: Opacity, 0 to 1.
    """
    h, w = canvas.shape[:2]
    pad = int(0.08 * scale) + 2
    x0, y0 = np.maximum(np.floor(upper.min(0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(upper.max(0)).astype(int) + pad, (w, h))
    if x1 - x0 < 3 or y1 - y0 < 3:
        return
    t = np.linspace(0.02, 0.9, 22)
    at = np.linspace(0, 1, len(upper))
    roots = np.stack([np.interp(t, at, upper[:, k]) for k in range(2)], -1) - (x0, y0)
    outward = (upper[0] - upper[-1]) / (np.linalg.norm(upper[0] - upper[-1]) + 1e-6)
    fan = (0.75 - 1.15 * t)[:, None] * outward + 0.55 * away
    tips = roots + fan * (0.062 - 0.022 * t)[:, None] * scale
    middle = (roots + tips) / 2 - away * 0.006 * scale
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    lines = np.round(np.stack([roots, middle, tips], 1) * 16).astype(np.int32)
    cv2.polylines(mask, list(lines), False, (255,), 1, cv2.LINE_AA, 4)
    edge = np.round((upper[:-1] - (x0, y0)) * 16).astype(np.int32)
    cv2.polylines(mask, [edge], False, (230,), max(1, int(0.012 * scale)), cv2.LINE_AA, 4)
    thin = min(1.0, scale / 170)  # a line cannot be thinner than a pixel, so let it be fainter
    alpha = mask.astype(np.float32)[..., None] * np.float32(strength * thin / 255)
    region = canvas[y0:y1, x0:x1]
    region += alpha * (0.008 - region)
