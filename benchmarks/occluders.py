"""Things in front of a face with exact coverage, drawn where landmarks say: a hand, hair, glasses, a microphone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

KINDS = ("hand", "hair", "glasses", "microphone")
_FINE = 4  # drawn so many times larger, then averaged: coverage in fractions of a pixel

_RIGHT_EYE, _LEFT_EYE = (33, 133), (362, 263)
_CHEEKS = (50, 280, 205, 425)


def skin_of(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Median color of the cheeks, (3,) float32 in [0, 1]."""
    height, width = image.shape[:2]
    places = landmarks[list(_CHEEKS), :2].round().astype(int)
    values = image[places[:, 1].clip(0, height - 1), places[:, 0].clip(0, width - 1)]
    return np.median(values, axis=0).astype(np.float32) / 255


def occluded(image: np.ndarray, landmarks: np.ndarray, kind: str, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Put something in front of a face.

    Args:
        image: uint8 (H, W, 3) RGB.
        landmarks: (478, 2 or 3) of the bare face, pixels.
        kind: One of :data:`KINDS`.
        time: Seconds; what is in front moves a little.

    Returns:
        The picture, and what of each pixel is covered: (H, W) float32 in [0, 1].
    """
    points = landmarks[:, :2].astype(np.float64)
    across = points[_LEFT_EYE[1]] - points[_RIGHT_EYE[0]]
    unit = float(np.linalg.norm(across))
    right = across / unit
    down = np.array([-right[1], right[0]])
    eyes = (points[_RIGHT_EYE[0]] + points[_LEFT_EYE[1]]) / 2
    swing = 4 * time

    def at(x: float, y: float) -> np.ndarray:
        """A place in widths of the eyes from the middle between them."""
        return eyes + unit * (x * right + y * down)

    height, width = image.shape[:2]
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    color = np.empty((height, width, 3), np.float32)
    if kind == "hand":
        palm = at(0.15 + 0.2 * np.sin(swing), 0.95 + 0.1 * np.cos(swing))

        def paint(canvas: np.ndarray) -> None:
            for i in range(4):
                begin = palm + unit * (-0.75 * right + (i - 1.5) * 0.21 * down)
                end = palm + unit * ((0.65 if i in (1, 2) else 0.55) * right + ((i - 1.5) * 0.19 - 0.03) * down)
                cv2.line(canvas, _fixed(begin), _fixed(end), 255, max(1, round(0.19 * unit * _FINE)))

        along = ((xs - palm[0]) * down[0] + (ys - palm[1]) * down[1]) / unit
        color[:] = skin_of(image, landmarks) * (0.78 + 0.17 * np.cos(along * 2 * np.pi / 0.2))[..., None]
    elif kind == "hair":
        bend = 0.05 * np.sin(swing)
        knots = np.array([at(-0.3 + bend, -0.9), at(-0.15, -0.3), at(-0.35 - bend, 0.3), at(-0.25, 0.8)])

        def paint(canvas: np.ndarray) -> None:
            t = np.linspace(0, 1, 40)[:, None]
            for aside in np.linspace(-0.09, 0.09, 7):
                p = knots + unit * aside * right * (1 + 0.5 * np.arange(4))[:, None]
                curve = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]
                line = np.array([_fixed(point) for point in curve], np.int32)
                cv2.polylines(canvas, [line], False, 255, max(1, round(0.035 * unit * _FINE)))

        color[:] = (0.12, 0.08, 0.05)
    elif kind == "glasses":
        turn = float(np.degrees(np.arctan2(right[1], right[0])))
        thick = max(1, round(0.06 * unit * _FINE))

        def paint(canvas: np.ndarray) -> None:
            axes = (round(0.33 * unit * _FINE), round(0.25 * unit * _FINE))
            for corners in (_RIGHT_EYE, _LEFT_EYE):
                cv2.ellipse(canvas, _fixed(points[list(corners)].mean(axis=0)), axes, turn, 0, 360, 255, thick)
            cv2.line(canvas, _fixed(at(-0.13, -0.05)), _fixed(at(0.13, -0.05)), 255, thick)
            for side in (-1, 1):
                cv2.line(canvas, _fixed(at(0.82 * side, -0.03)), _fixed(at(1.2 * side, -0.05)), 255, thick)

        color[:] = (0.06, 0.05, 0.05)
    elif kind == "microphone":
        ball = at(0.35 + 0.05 * np.sin(swing), 1.15)

        def paint(canvas: np.ndarray) -> None:
            cv2.circle(canvas, _fixed(ball), round(0.27 * unit * _FINE), 255, -1)
            stand = _fixed(ball + unit * (1.5 * right + 2 * down))
            cv2.line(canvas, _fixed(ball), stand, 255, max(1, round(0.18 * unit * _FINE)))

        shine = np.hypot(xs - ball[0] + 0.1 * unit, ys - ball[1] + 0.1 * unit) / unit
        mesh = np.random.default_rng(0).standard_normal((height, width, 1)).astype(np.float32)
        color[:] = np.clip(0.35 - 0.5 * shine, 0.08, 0.35)[..., None] + 0.03 * mesh
    else:
        raise ValueError(f"nothing known of {kind!r}; known: {', '.join(KINDS)}")
    alpha = _covered((height, width), paint)
    mixed = image * (1 - alpha[..., None]) + 255 * np.clip(color, 0, 1) * alpha[..., None]
    return mixed.round().astype(np.uint8), alpha


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = (point * _FINE + (_FINE - 1) / 2).round().astype(int).tolist()
    return x, y


def _covered(shape: tuple[int, int], paint: Callable[[np.ndarray], None]) -> np.ndarray:
    canvas = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    paint(canvas)
    return cv2.resize(canvas, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
