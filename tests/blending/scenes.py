"""Pictures made of smooth noise, and a face-like scene, for the blending tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


def smooth_noise(
    seed: int, shape: tuple[int, int], *, scale: float = 3.0, low: float = 0.1, high: float = 0.9
) -> np.ndarray:
    """(H, W, 3) float32 with structure about ``scale`` pixels wide, spread over [low, high]."""
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.standard_normal((*shape, 3)).astype(np.float32), (0, 0), scale)
    noise /= noise.std() * 6
    return np.clip((noise + 0.5) * (high - low) + low, low, high).astype(np.float32)


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float, wobble: float = 0.0) -> np.ndarray:
    """(H, W) uint8, 255 in a disc whose radius wobbles with the angle."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    angle = np.arctan2(y - center[1], x - center[0])
    inside = np.hypot(y - center[1], x - center[0]) < radius * (1 + wobble * np.sin(5 * angle))
    return (inside * 255).astype(np.uint8)


@dataclass
class Scene:
    """A frame with a face-like oval, and a generated crop of it."""

    frame: np.ndarray
    face: np.ndarray
    mask: np.ndarray
    matrix: np.ndarray
    polygon: np.ndarray


def portrait(shape: tuple[int, int], center: Sequence[float] | np.ndarray, height: float, seed: int = 0) -> np.ndarray:
    """(H, W, 3) float32: skin-coloured oval with eyes, brows and mouth on a busy background."""
    picture = smooth_noise(seed, shape, scale=6, low=0.2, high=0.8)
    canvas = picture.copy()
    scale = height / 2

    def oval(x: float, y: float, a: float, b: float, color: tuple[float, float, float]) -> None:
        at = (center[0] + x * scale, center[1] + y * scale)
        fixed = tuple(round(v * 16) for v in at), (round(a * scale * 16), round(b * scale * 16))
        cv2.ellipse(canvas, *fixed, 0, 0, 360, color, -1, cv2.LINE_AA, 4)

    oval(0, 0, 0.92, 1.15, (0.75, 0.55, 0.45))
    for side in (-1, 1):
        oval(side * 0.32, -0.2, 0.14, 0.07, (0.95, 0.95, 0.95))
        oval(side * 0.32, -0.2, 0.06, 0.06, (0.2, 0.15, 0.1))
        oval(side * 0.32, -0.4, 0.2, 0.05, (0.25, 0.18, 0.12))
    oval(0, 0.5, 0.3, 0.1, (0.7, 0.3, 0.3))
    texture = smooth_noise(seed + 1, shape, scale=1.5, low=-0.04, high=0.04)
    light = np.linspace(-0.06, 0.06, shape[1], dtype=np.float32)[None, :, None]
    return np.clip(cv2.GaussianBlur(canvas, (0, 0), 0.8) + texture + light, 0, 1).astype(np.float32)


def scene(
    *,
    shape: tuple[int, int] = (240, 320),
    center: tuple[float, float] = (160.0, 120.0),
    height: float = 120.0,
    size: int = 128,
    angle: float = 7.0,
    seed: int = 0,
    enlarged: int = 1,
) -> Scene:
    """A portrait whose crop is its own face: the perfect generator for the identity swap.

    Large pictures are painted faster ``enlarged`` from a smaller one.
    """
    small = portrait((shape[0] // enlarged, shape[1] // enlarged), np.divide(center, enlarged), height / enlarged, seed)
    frame = np.round(small * 255).astype(np.uint8)
    if enlarged > 1:
        frame = cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_CUBIC)
    zoom = 0.7 * size / height
    turn = np.deg2rad(angle)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.hstack([linear, (size / 2 - linear @ np.array(center))[:, None]]).astype(np.float32)
    face = cv2.warpAffine(
        frame.astype(np.float32) / 255, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    turns = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    polygon = np.stack([center[0] + 0.4 * height * np.cos(turns), center[1] + 0.5 * height * np.sin(turns)], axis=1)
    mask = cv2.GaussianBlur(disc((size, size), (size / 2, size / 2), 0.4 * size).astype(np.float32) / 255, (0, 0), 2)
    return Scene(frame, np.clip(face, 0, 1), mask, matrix, polygon.astype(np.float32))


# Where MediaPipe has the 68 points' jaw (told in 23 points), their hairline, and the rest of them from the brows on.
_JAW_478 = (
    127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148,
    152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356,
)  # fmt: skip
_FOREHEAD_478 = (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389)
_REST_478 = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip


def schematic_face(size: int, *, points: int = 68) -> np.ndarray:
    """Landmarks of a drawn face that fills a square of ``size`` px from brows to chin about to its half.

    Returns:
        (68 or 478, 2) float32; of 478 those that stand for the 68 points and the hairline are where they belong, the
        others in the middle of the face.
    """
    turn = np.pi * np.arange(17) / 16
    jaw = np.column_stack([-np.cos(turn), 0.1 + 1.1 * np.sin(turn)])
    brow = np.column_stack([np.linspace(-0.85, -0.2, 5), -0.1 - 0.08 * np.sin(np.pi * np.arange(5) / 4)])
    bridge = np.column_stack([np.zeros(4), np.linspace(0.05, 0.45, 4)])
    base = np.column_stack([np.linspace(-0.2, 0.2, 5), [0.52, 0.55, 0.57, 0.55, 0.52]])
    eye = np.array([[-0.65, 0.1], [-0.52, 0.04], [-0.4, 0.04], [-0.27, 0.1], [-0.4, 0.15], [-0.52, 0.15]])
    turn = 2 * np.pi * np.arange(20) / 20
    mouth = np.column_stack([-0.3 * np.cos(turn), 0.8 - 0.1 * np.sin(turn)])
    mirror = np.array([-1, 1])
    left_eye = (eye * mirror)[[3, 2, 1, 0, 5, 4]]
    face = np.concatenate([jaw, brow, (brow * mirror)[::-1], bridge, base, eye, left_eye, mouth])
    if points == 478:
        turn = np.pi * np.arange(13) / 12
        hairline = np.column_stack([-0.95 * np.cos(turn), -0.05 - 0.6 * np.sin(turn)])
        few, face = face, np.tile([0.0, 0.4], (478, 1))
        face[list(_JAW_478)] = np.column_stack([np.interp(np.arange(23) / 22, np.arange(17) / 16, few[:17, i])
                                                for i in range(2)])  # fmt: skip
        rest = (*range(17, 48), *range(48, 68))
        face[list(_FOREHEAD_478)] = hairline
        face[list(_REST_478)] = few[list(rest)]
    return (face * (0.36 * size) + (0.5 * size, 0.42 * size)).astype(np.float32)
