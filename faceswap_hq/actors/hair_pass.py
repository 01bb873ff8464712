"""Hair over a picture: its layers rasterised, shaded and composited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceswap_hq.actors.camera import Camera
from faceswap_hq.actors.hair import Hair
from faceswap_hq.actors.shading import Light, shade_hair
from faceswap_hq.faces.raster import Fragments, rasterize

_BIAS = np.float32(0.012)  # roots may lie this far below the skin


@dataclass(frozen=True, kw_only=True)
class PlacedHair:
    """A layer of hair in one frame.

    Attributes:
        hair: The layer.
        points: (V, 3) float32 in camera axes.
        lit: (V, 4) float32, ambient RGB and share of the key light that arrives.
    """

    hair: Hair
    points: np.ndarray
    lit: np.ndarray


def draw_hair(
    canvas: np.ndarray, depth: np.ndarray, layers: list[PlacedHair], base: np.ndarray, light: Light, camera: Camera
) -> np.ndarray:
    """Draw layers of hair over ``canvas`` in place and lower ``depth`` where hair is dense.

    Args:
        canvas: (H, W, 3) float32 linear light.
        depth: (H, W) float32 of what is already there.
        layers: From the inside out.
        base: (3,) linear RGB reflectance of the hair.
        light: The light.
        camera: The projection.

    Returns:
        Opacity of the hair, (H, W) float32.
    """
    turn = light.turn.T.astype(np.float32)
    flat_depth, flat = depth.reshape(-1), canvas.reshape(-1, 3)
    hidden = np.full(depth.size, np.inf, np.float32)  # depth of opaque hair farther out
    shaded: list[tuple[Fragments, np.ndarray, np.ndarray]] = []
    for layer in reversed(layers):
        hair = layer.hair
        found = rasterize(
            camera.project(layer.points),
            layer.points[:, 2],
            hair.triangles,
            depth.shape[1],
            depth.shape[0],
            both_sides=True,
        )
        nearest = np.minimum(flat_depth[found.pixel] + _BIAS, hidden[found.pixel])
        found = found.keep(found.depth < nearest)
        if not len(found.pixel):
            continue
        color, alpha = shade_hair(hair, found, hair.normals @ turn, hair.tangents @ turn, layer.lit, base, light)
        opaque = alpha > 0.97
        hidden[found.pixel[opaque]] = found.depth[opaque]
        shaded.append((found, color, alpha))
    cover = np.zeros(depth.size, np.float32)
    for found, color, alpha in reversed(shaded):
        in_front = found.depth < flat_depth[found.pixel] + _BIAS
        pixel, alpha, at = found.pixel[in_front], alpha[in_front], found.depth[in_front]
        flat[pixel] += alpha[:, None] * (color[in_front] - flat[pixel])
        cover[pixel] = np.maximum(cover[pixel], alpha)
        dense = alpha > 0.5
        flat_depth[pixel[dense]] = at[dense]
    return cover.reshape(depth.shape)
