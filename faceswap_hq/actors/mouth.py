"""What is behind the lips: dark, teeth and tongue."""

from __future__ import annotations

import cv2
import numpy as np

from faceswap_hq.actors.camera import Camera
from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.identity import Identity

_UPPER = np.cumsum([0.0, 0.052, 0.041, 0.045, 0.040, 0.038])
_LOWER = np.cumsum([0.0, 0.033, 0.036, 0.040, 0.038, 0.036])


_SHADES = np.array((1.0, 0.93, 0.82, 0.66, 0.5))


def _row(upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """One row of teeth from back to front (10, 6, 3) and its gums (30, 3), as seen from the middle of its lip."""
    steps, height = (_UPPER, -0.115) if upper else (_LOWER, 0.09)
    lengths = (1.0, 0.93, 1.02, 0.88, 0.8) if upper else (0.95, 0.97, 1.0, 0.9, 0.85)
    edge, depth = (0.022, 0.075) if upper else (0.004, 0.095)
    teeth = []
    for k in range(4, -1, -1):
        for sign in (-1, 1):
            a, b, gap = sign * steps[k], sign * steps[k + 1], 0.0022 * sign
            x = np.array([a + gap, a + gap, a + 3 * gap, b - 3 * gap, b - gap, b - gap])
            y = edge + height * np.array([1, 0.25, 1 - lengths[k], 1 - lengths[k], 0.25, 1])
            teeth.append(np.stack([x, y, depth + 1.9 * x * x], -1))
    x = np.linspace(-steps[-1], steps[-1], 15)
    gums = [np.stack([x, np.full(15, edge + height * f), depth + 1.9 * x * x], -1) for f in (1.7, 0.75)]
    return np.stack(teeth), np.concatenate([gums[0], gums[1][::-1]])


_ROWS = (_row(True), _row(False))
_AROUND = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_TONGUE = np.stack([0.14 * np.cos(_AROUND), 0.055 * np.sin(_AROUND), np.full(24, 0.16)], -1)


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

    lower = lower_lip + jaw_drop
    parts = [_TONGUE + lower]
    for (teeth, gums), lip in zip(_ROWS, (upper_lip, lower), strict=True):
        parts += [gums + lip, (teeth + lip).reshape(-1, 3)]
    pixels = camera.project(np.concatenate(parts) @ rotation.T + offset) - (x0, y0)
    tongue, *rows = np.split(np.round(pixels * 16).astype(np.int32), np.cumsum([len(p) for p in parts])[:-1])

    inside: np.ndarray = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
    inside[:] = linear(np.array([0.26, 0.10, 0.09], np.float32)) * 0.5
    cv2.fillPoly(inside, [tongue], linear(np.array([0.66, 0.33, 0.32])).tolist(), cv2.LINE_AA, 4)
    inside = cv2.GaussianBlur(inside, (0, 0), max(0.02 * scale, 0.5))
    yellow = 0.10 * identity.age * np.array([0.5, 0.8, 1.2], np.float32)
    ivory = linear(np.array([0.90, 0.86, 0.79], np.float32) - yellow)
    for gums, teeth, shade in ((rows[0], rows[1], 1.0), (rows[2], rows[3], 0.8)):
        cv2.fillPoly(inside, [gums], linear(np.array([0.68, 0.37, 0.36])).tolist(), cv2.LINE_AA, 4)
        for k, tooth in enumerate(teeth.reshape(10, 6, 2)):
            cv2.fillPoly(inside, [tooth], (ivory * float(shade * _SHADES[4 - k // 2])).tolist(), cv2.LINE_AA, 4)
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
