"""What is behind the lips: dark, teeth and tongue."""

from __future__ import annotations

import cv2
import numpy as np

from faceswap_hq.actors.camera import Camera
from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.identity import Identity

_UPPER = np.cumsum([0.0, 0.052, 0.041, 0.045, 0.040, 0.038])
_LOWER = np.cumsum([0.0, 0.033, 0.036, 0.040, 0.038, 0.036])


def _arch(x: np.ndarray, lips: np.ndarray, depth: float) -> np.ndarray:
    """Depth z of the dental arch at ``x`` behind lips at ``lips`` (3,)."""
    return lips[2] + depth + 1.9 * x * x


def draw_mouth(
    canvas: np.ndarray,
    identity: Identity,
    outline: np.ndarray,
    upper_lip: np.ndarray,
    lower_lip: np.ndarray,
    jaw_drop: np.ndarray,
    to_camera: tuple[np.ndarray, np.ndarray],
    camera: Camera,
    light: np.ndarray,
) -> None:
    """Draw the inside of the mouth into linear ``canvas`` in place; the face is drawn over it afterwards.

    Args:
        canvas: (H, W, 3) float32.
        identity: Whose teeth.
        outline: (20, 2) edge of the inner lips in pixels.
        upper_lip: (3,) middle of the upper inner lip at rest, in the head's axes.
        lower_lip: The same for the lower one.
        jaw_drop: (3,) how far the jaw has moved.
        to_camera: Rotation (3, 3) and offset (3,) from the head's axes to the camera's.
        camera: The projection.
        light: (3,) linear RGB irradiance at the lips.
    """
    h, w = canvas.shape[:2]
    area = 0.5 * abs(float(np.cross(outline, np.roll(outline, -1, 0)).sum()))
    pad = 4
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(outline.max(0)).astype(int) + pad + 1, (w, h))
    if area < 1 or x1 - x0 < 3 or y1 - y0 < 3:
        return
    rotation, offset = to_camera
    scale = camera.scale

    def pixels(points: np.ndarray) -> np.ndarray:
        return np.round((camera.project(points @ rotation.T + offset) - (x0, y0)) * 16).astype(np.int32)

    inside: np.ndarray = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
    inside[:] = linear(np.array([0.26, 0.10, 0.09], np.float32)) * 0.5
    # tongue
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    tongue = lower_lip + jaw_drop + np.stack([0.14 * np.cos(t), 0.0 + 0.055 * np.sin(t), np.full(24, 0.16)], -1)
    cv2.fillPoly(inside, [pixels(tongue)], linear(np.array([0.66, 0.33, 0.32])).tolist(), cv2.LINE_AA, 4)
    inside = cv2.GaussianBlur(inside, (0, 0), max(0.02 * scale, 0.5))
    ivory = linear(
        np.array([0.90, 0.86, 0.79], np.float32) - 0.10 * identity.age * np.array([0.5, 0.8, 1.2], np.float32)
    )
    gums = linear(np.array([0.68, 0.37, 0.36], np.float32))
    for upper in (True, False):
        steps = (_UPPER if upper else _LOWER) * 1.0
        edge_y = upper_lip[1] + 0.022 if upper else lower_lip[1] + jaw_drop[1] + 0.004
        height = -0.115 if upper else 0.09
        lips, depth = (upper_lip, 0.075) if upper else (lower_lip + jaw_drop, 0.095)
        x = np.linspace(-steps[-1], steps[-1], 15)
        z = _arch(x, lips, depth)
        band = np.concatenate(
            [
                np.stack([x, np.full(15, edge_y + height * 1.7), z], -1),
                np.stack([x, np.full(15, edge_y + height * 0.75), z], -1)[::-1],
            ]
        )
        cv2.fillPoly(inside, [pixels(band)], gums.tolist(), cv2.LINE_AA, 4)
        for sign in (-1, 1):
            for k in range(4, -1, -1):
                a, b = sign * steps[k], sign * steps[k + 1]
                gap = 0.0022 * sign
                long = (1.0, 0.93, 1.02, 0.88, 0.8)[k] if upper else (0.95, 0.97, 1.0, 0.9, 0.85)[k]
                xs = np.array([a + gap, a + gap, a + 3 * gap, b - 3 * gap, b - gap, b - gap])
                ys = edge_y + np.array([height, 0.25 * height, 0, 0, 0.25 * height, height])
                ys[2:4] += (1 - long) * height
                quad = np.stack([xs, ys, _arch(xs, lips, depth)], -1)
                shade = (1.0, 0.93, 0.82, 0.66, 0.5)[k] * (1.0 if upper else 0.8)
                cv2.fillPoly(inside, [pixels(quad)], (ivory * shade).tolist(), cv2.LINE_AA, 4)
    mask = np.zeros(inside.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round((outline - (x0, y0)) * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    open_ = cv2.GaussianBlur(
        mask.astype(np.float32) / 255, (0, 0), max(0.020 * scale, 0.6), borderType=cv2.BORDER_CONSTANT
    )
    dark = (0.16 + 1.0 * np.clip(open_ * 1.5 - 0.42, 0, 1))[..., None]
    inside = cv2.GaussianBlur(inside, (0, 0), max(0.006 * scale, 0.4)) * dark * light * 0.85
    cover = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(np.float32)[..., None] / 255
    region = canvas[y0:y1, x0:x1]
    region += cover * (inside - region)
