"""Light on skin and hair, one array of fragments at a time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from faceswap_hq.actors.hair import Hair, hair_alpha
from faceswap_hq.actors.lighting import halfway
from faceswap_hq.faces.raster import Fragments


@dataclass(frozen=True, kw_only=True)
class Light:
    """The light of one frame.

    Attributes:
        key: (3,) float32 unit vector toward the key light, camera axes.
        color: (3,) float32 linear RGB of the key light.
        turn: (3, 3) rotation from the head's axes to the camera's.
    """

    key: np.ndarray
    color: np.ndarray
    turn: np.ndarray


_WRAP = np.array([0.34, 0.16, 0.10], np.float32)
_BUMPY = np.array([0.35, 0.75, 0.9], np.float32)


def sample(texture: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear samples (N, C) of a texture (S, S, C) at texels ``at`` (N, 2)."""
    count = len(at)
    rows = (count + 255) // 256
    xy = np.zeros((2, rows * 256), np.float32)
    xy[:, :count] = at.T
    x, y = xy.reshape(2, rows, 256)
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR).reshape(rows * 256, -1)[:count]


def _normalize(v: np.ndarray) -> np.ndarray:
    v /= np.sqrt(np.einsum("ij,ij->i", v, v))[:, None] + np.float32(1e-6)
    return v


def shade_skin(color: np.ndarray, relief: np.ndarray, pixel: np.ndarray, light: Light) -> np.ndarray:
    """Linear RGB (N, 3) of skin fragments.

    Light that enters skin leaves it nearby, red light farthest: per channel the shading wraps around the terminator,
    shadows soften and fine relief blurs. Gloss has a broad and a narrow lobe and rises toward the edges (Schlick).

    Args:
        color: (N, 4) reflectance and gloss.
        relief: (N, 3) relief in the head's axes.
        pixel: (N, 7) normal, ambient RGB, share of the key light that arrives.
        light: The light.
    """
    soft = _normalize(pixel[:, :3].copy())
    fine = _normalize(soft + relief @ light.turn.T.astype(np.float32))
    smooth_cosine, fine_cosine = soft @ light.key, fine @ light.key
    cosine = smooth_cosine[:, None] + (fine_cosine - smooth_cosine)[:, None] * _BUMPY
    wide = np.clip((cosine + _WRAP) / (1 + _WRAP), 0, None)
    diffuse = 0.35 * wide * wide + 0.65 * np.clip((cosine + 0.6 * _WRAP) / (1 + 0.6 * _WRAP), 0, None)
    shadow = np.maximum(pixel[:, 6], 0)
    diffuse[:, 0] *= np.sqrt(shadow * np.sqrt(shadow))
    diffuse[:, 1] *= shadow
    diffuse[:, 2] *= shadow
    ambient = pixel[:, 3:6] * (1 - 0.5 * (fine[:, 1:2] - soft[:, 1:2]))
    lit = color[:, :3] * (ambient + light.color * diffuse)
    half = halfway(light.key)
    shine = fine @ half - 1
    away = np.clip(1 + fine[:, 2], 0, 1)
    squared = away * away
    fresnel = 0.025 + 0.275 * squared * squared * away
    gloss = (0.085 * np.exp(12 * shine) + 0.11 * np.exp(55 * shine)) * shadow
    lit += (gloss * color[:, 3])[:, None] * light.color
    lit += (fresnel * color[:, 3])[:, None] * ambient
    return lit


def shade_hair(
    hair: Hair,
    found: Fragments,
    points_normals: np.ndarray,
    tangents: np.ndarray,
    lit: np.ndarray,
    base: np.ndarray,
    light: Light,
) -> tuple[np.ndarray, np.ndarray]:
    """Linear RGB (N, 3) and opacity (N,) of hair fragments.

    Two highlights along the strands, a sharp white and a broad tinted one (Kajiya and Kay 1989; shifted as Marschner
    et al. 2003 found).

    Args:
        hair: The hair.
        found: Its visible fragments.
        points_normals: (V, 3) normals in camera axes.
        tangents: (V, 3) tangents in camera axes.
        lit: (V, 4) ambient RGB and share of the key light.
        base: (3,) linear RGB reflectance.
        light: The light.
    """
    table = np.concatenate([points_normals, tangents, lit, hair.attributes, hair.ragged[:, None]], 1)
    pixel = found.interpolate(table, hair.triangles)
    strand = sample(hair.texture, pixel[:, 10:12])
    normal, tangent = _normalize(pixel[:, :3].copy()), _normalize(pixel[:, 3:6].copy())
    facing = np.abs(normal[:, 2])
    alpha = hair_alpha(pixel[:, 12:15], strand, facing)
    shadow = pixel[:, 9] * 0.9 + 0.1
    along = tangent @ light.key
    round_ = np.sqrt(np.clip(1 - along * along, 0, 1))
    facing_light = np.clip(0.45 + 0.55 * (normal @ light.key), 0, 1)
    diffuse = round_ * facing_light * shadow
    shade = strand[:, 0]
    deep = 0.68 + 0.32 * np.clip(pixel[:, 12] / 0.18, 0, 1)
    color = base * (shade * deep)[:, None] * (pixel[:, 6:9] * 1.05 + (0.95 * diffuse)[:, None] * light.color)
    half = halfway(light.key)
    th = tangent @ half
    nh = normal @ half
    first = np.exp(-(((th + 0.06 + 0.05 * strand[:, 2] * 0.5) / 0.11) ** 2)) * np.clip(nh, 0, 1)
    second = np.exp(-(((th - 0.12 + 0.06 * strand[:, 2]) / 0.22) ** 2)) * np.clip(nh, 0, 1)
    shine = (0.05 * first * shadow * shade)[:, None] + (0.42 * second * shadow * shade)[:, None] * base
    return color + shine * light.color, alpha


def soften_edges(canvas: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Anti-aliasing: blur ``canvas`` (H, W, 3) in place across steps of ``depth`` (H, W) only."""
    edge = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0.07
    where = np.flatnonzero(edge)
    if len(where):
        canvas.reshape(-1, 3)[where] = cv2.GaussianBlur(canvas, (3, 3), 0.85).reshape(-1, 3)[where]
    return canvas
