"""Spectacles: two rims, a bridge and the temples, drawn as curves in space."""

from __future__ import annotations

import cv2
import numpy as np

from faceswap_hq.actors.camera import Camera
from faceswap_hq.actors.canvas import linear
from faceswap_hq.actors.identity import Identity

_FRAMES = ((0.05, 0.045, 0.045), (0.28, 0.16, 0.08), (0.35, 0.33, 0.32), (0.12, 0.10, 0.22))


def curves(identity: Identity, eyes: np.ndarray, bridge: np.ndarray, ears: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Curves in the head's axes: ``rims`` (two loops) and ``bars`` (bridge, temples).

    Args:
        identity: Whose form of frame.
        eyes: (2, 3) centers of the eyeballs.
        bridge: (3,) the root of the nose.
        ears: (2, 3) where the temples rest.
    """
    power = 2.0 if identity.glasses == 1 else 4.2
    rx, ry = (0.232, 0.205) if identity.glasses == 1 else (0.25, 0.175)
    angle = np.linspace(0, 2 * np.pi, 49)
    front = float(bridge[2]) - 0.045
    rims, bars = [], []
    for k, sign in enumerate((-1, 1)):
        c, s = np.cos(angle), np.sin(angle)
        shape = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
        x = eyes[k, 0] + sign * 0.015 + rx * shape * c
        y = eyes[k, 1] + 0.03 + ry * shape * s * (1 - 0.06 * c * sign)
        z = front + 0.20 * np.clip(np.abs(x) - 0.12, 0, None) ** 1.3
        rims.append(np.stack([x, y, z], -1))
        outer = rims[k][np.argmax(sign * x)] + [0, -0.05, 0]
        bend = np.array([sign * max(abs(outer[0]) + 0.02, 0.76), outer[1], outer[2] + 0.22])
        t = np.linspace(0, 1, 14)[:, None]
        path = np.concatenate([outer + (bend - outer) * t[::4], bend + (ears[k] - bend) * t[1:]])
        bars.append(path)
    inner = [rims[0][np.argmax(rims[0][:, 0])], rims[1][np.argmin(rims[1][:, 0])]]
    t = np.linspace(0, 1, 11)[:, None]
    arch = inner[0] * (1 - t) + inner[1] * t + np.array([0, -0.05, -0.035]) * np.sin(np.pi * t) + [0, -0.03, 0]
    bars.append(arch)
    return {"rims": rims, "bars": bars}


def draw_glasses(
    canvas: np.ndarray, depth: np.ndarray, shapes: dict[str, list[np.ndarray]], identity: Identity, turn: np.ndarray,
    offset: np.ndarray, camera: Camera, light: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Draw spectacles over the face in place.

    Args:
        canvas: (H, W, 3) float32 linear light.
        depth: (H, W) float32 of what is already there.
        shapes: See :func:`curves`.
        identity: Whose.
        turn: Head to camera, rotation.
        offset: Head to camera, offset.
        camera: The projection.
        light: (3,) linear RGB around the eyes.

    Returns:
        Opacity of the frame, (H, W) float32.
    """
    full = np.zeros(depth.shape, np.float32)
    around = camera.project(np.concatenate([*shapes["rims"], *shapes["bars"]]) @ turn.T + offset)
    pad = int(0.15 * camera.scale) + 2
    x0, y0 = np.clip(np.floor(around.min(0)).astype(int) - pad, 0, None)
    x1, y1 = np.minimum(np.ceil(around.max(0)).astype(int) + pad, depth.shape[::-1])
    if x1 - x0 < 4 or y1 - y0 < 4:
        return full
    canvas, depth = canvas[y0:y1, x0:x1], depth[y0:y1, x0:x1]
    h, w = depth.shape
    mask = np.zeros((h, w), np.uint8)
    thick = max(1, int(round((0.030 if identity.glasses == 2 else 0.020) * camera.scale)))

    def placed(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = curve @ turn.T + offset
        return camera.project(space) - (x0, y0), space[:, 2]

    lenses = np.zeros((h, w), np.uint8)
    for rim in shapes["rims"]:
        xy, _ = placed(rim)
        cv2.polylines(mask, [np.round(xy * 16).astype(np.int32)], True, (255,), thick, cv2.LINE_AA, 4)
        cv2.fillPoly(lenses, [np.round(xy * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    for bar in shapes["bars"]:
        xy, z = placed(bar)
        at = np.clip(np.round(xy).astype(int), 0, (w - 1, h - 1))
        seen = z < depth[at[:, 1], at[:, 0]] + 0.05
        for k in range(len(bar) - 1):
            if seen[k] and seen[k + 1]:
                ends = np.round(xy[k : k + 2] * 16).astype(np.int32)
                cv2.polylines(mask, [ends], False, (255,), max(1, thick), cv2.LINE_AA, 4)
    alpha = mask.astype(np.float32) / 255
    drop = cv2.warpAffine(alpha, np.array([[1, 0, 0], [0, 1, 0.05 * camera.scale]], np.float32), (w, h))
    shadow = cv2.GaussianBlur(drop, (0, 0), max(0.025 * camera.scale, 0.7))
    canvas *= 1 - 0.38 * shadow[..., None] * (depth < 1.2)[..., None]
    glass = lenses.astype(np.float32)[..., None] / 255
    y, x = np.mgrid[:h, :w].astype(np.float32)
    streak = np.exp(-((((x + 0.7 * y) / camera.scale) % 1.1 - 0.5) ** 2) / 0.012)[..., None]
    canvas *= 1 - 0.05 * glass
    canvas += glass * light * (0.006 + 0.03 * streak)
    color = linear(np.array(_FRAMES[identity.seed % len(_FRAMES)], np.float32))
    edge = cv2.Sobel(alpha, cv2.CV_32F, 0, 1, ksize=3)[..., None]
    frame = color * light * 1.1 + np.clip(edge, 0, 1) * 0.10 * light
    canvas += alpha[..., None] * (frame - canvas)
    full[y0:y1, x0:x1] = alpha
    return full
