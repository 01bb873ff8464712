"""How heads differ in shape: smooth displacements of the generic head, each with a name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from faceswap_hq.actors.geometry import generic_head, smoothstep
from faceswap_hq.faces.regions import LIPS_INNER, LIPS_OUTER


def near(points: np.ndarray, landmarks: tuple[int, ...], sigma: float | tuple[float, float, float]) -> np.ndarray:
    """Largest of Gaussian bumps around landmarks, (V, 1)."""
    away = (points[:, None] - points[list(landmarks)][None]) / np.asarray(sigma, np.float64)
    return np.exp(-0.5 * (away**2).sum(-1)).max(1)[:, None]


def side(points: np.ndarray) -> np.ndarray:
    """-1 to 1: which half of the face, soft at the middle, (V, 1)."""
    return np.tanh(points[:, :1] / 0.06)


def _toward(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return np.array([[x, y, z]])


Mode = Callable[[np.ndarray], np.ndarray]
_NOSE = (4, 1, 195)
_WINGS = (64, 294, 48, 278, 129, 358)
_EYES = (159, 145, 386, 374, 33, 133, 263, 362)


def _lips(p: np.ndarray, lower: bool) -> np.ndarray:
    """Weight of one lip's red, (V, 1)."""
    below = generic_head().lower[:, None]
    bump = near(p, (14, 17, 87, 317, 181, 405) if lower else (13, 0, 82, 312, 39, 269), (0.09, 0.05, 0.12))
    return bump * (below if lower else 1 - below)


def _eye_scale(p: np.ndarray, sx: float, sy: float) -> np.ndarray:
    out = np.zeros_like(p)
    for center in generic_head().eyes:
        weight = np.exp(-0.5 * (((p[:, :2] - center[:2]) / [0.2, 0.13]) ** 2).sum(-1)) * (p[:, 2] < 0.4)
        out[:, :2] += weight[:, None] * (p[:, :2] - center[:2]) * [sx, sy]
    return out


MODES: dict[str, Mode] = {
    "width": lambda p: p * _toward(0.055, 0, 0),
    "length": lambda p: p * _toward(0, 0.05, 0) * smoothstep(-1.2, 0.3, p[:, 1:2]),
    "jaw_width": lambda p: (
        p * _toward(0.085) * smoothstep(0.25, 0.95, p[:, 1:2]) * (1 - smoothstep(1.3, 1.8, p[:, 1:2]))
    ),
    "jaw_corner": lambda p: near(p, (172, 397, 58, 288), 0.27) * side(p) * _toward(0.04, 0.02, 0),
    "chin_length": lambda p: near(p, (152, 148, 377), (0.34, 0.26, 0.4)) * _toward(0, 0.085, 0),
    "chin_forward": lambda p: near(p, (199, 175), (0.24, 0.2, 0.4)) * _toward(0, 0, -0.06),
    "chin_width": lambda p: near(p, (149, 378, 176, 400), 0.17) * side(p) * _toward(0.055, 0.012, 0),
    "forehead": lambda p: p[:, 1:2] * _toward(0, 0.09, 0) * (1 - smoothstep(-0.3, 0.0, p[:, 1:2])),
    "cheekbones": lambda p: (
        near(p, (117, 346, 123, 352, 116, 345), 0.17) * (side(p) * _toward(0.038) + _toward(0, 0, -0.03))
    ),
    "cheeks": lambda p: (
        near(p, (187, 411, 207, 427, 213, 433), 0.22) * (side(p) * _toward(0.045) + _toward(0, 0, -0.045))
    ),
    "nose_length": lambda p: near(p, (*_NOSE, 2, 97, 326), (0.17, 0.2, 0.3)) * _toward(0, 0.065, 0),
    "nose_width": lambda p: near(p, _WINGS, (0.09, 0.11, 0.16)) * side(p) * _toward(0.042),
    "nose_bridge": lambda p: near(p, (6, 197, 195, 122, 351), (0.09, 0.17, 0.25)) * _toward(0, 0, -0.05),
    "nose_tip": lambda p: near(p, (1, 4, 5), (0.1, 0.1, 0.16)) * _toward(0, -0.02, -0.065),
    "nose_hump": lambda p: near(p, (197, 195), (0.06, 0.08, 0.2)) * _toward(0, 0, -0.04),
    "nose_bulb": lambda p: near(p, (45, 275, 220, 440), (0.07, 0.08, 0.12)) * side(p) * _toward(0.03, 0, -0.01),
    "nose_up": lambda p: near(p, (2, 1, 94, 98, 327), (0.12, 0.09, 0.18)) * _toward(0, -0.042, 0),
    "bridge_width": lambda p: near(p, (193, 417, 122, 351, 196, 419), (0.05, 0.14, 0.2)) * side(p) * _toward(0.025),
    "eye_distance": lambda p: near(p, _EYES, (0.16, 0.14, 0.25)) * side(p) * _toward(0.03),
    "eye_width": lambda p: _eye_scale(p, 0.09, 0.0),
    "eye_open": lambda p: _eye_scale(p, 0.0, 0.16),
    "eye_tilt": lambda p: (
        (near(p, (33, 263), (0.12, 0.1, 0.2)) - 0.6 * near(p, (133, 362), (0.07, 0.08, 0.2))) * _toward(0, -0.024, 0)
    ),
    "eye_height": lambda p: near(p, _EYES, (0.16, 0.14, 0.25)) * _toward(0, -0.03, 0),
    "eye_hood": lambda p: (
        near(p, (27, 257, 28, 258, 29, 259, 30, 260, 223, 443), (0.1, 0.045, 0.15)) * _toward(0, 0.022, -0.02)
    ),
    "brow_height": lambda p: near(p, (105, 334, 52, 282, 65, 295, 63, 293), (0.13, 0.07, 0.2)) * _toward(0, -0.036, 0),
    "brow_inner": lambda p: near(p, (55, 285, 107, 336), (0.07, 0.07, 0.2)) * _toward(0, -0.03, 0),
    "brow_ridge": lambda p: near(p, (52, 282, 65, 295, 55, 285), (0.12, 0.06, 0.2)) * _toward(0, 0, -0.035),
    "temples": lambda p: near(p, (21, 251, 71, 301, 162, 389), 0.2) * side(p) * _toward(0.045),
    "mouth_width": lambda p: near(p, (61, 291, 78, 308), (0.12, 0.1, 0.2)) * side(p) * _toward(0.038),
    "mouth_height": lambda p: near(p, (*LIPS_OUTER, *LIPS_INNER), (0.1, 0.09, 0.2)) * _toward(0, -0.035, 0),
    "upper_lip": lambda p: _lips(p, False) * _toward(0, -0.026, -0.022) * (1 - near(p, LIPS_INNER, (0.03, 0.012, 0.2))),
    "lower_lip": lambda p: _lips(p, True) * _toward(0, 0.03, -0.026) * (1 - near(p, LIPS_INNER, (0.03, 0.012, 0.2))),
    "mouth_forward": lambda p: near(p, (*LIPS_OUTER, 164, 18), (0.1, 0.1, 0.3)) * _toward(0, 0, -0.04),
    "mouth_corners": lambda p: near(p, (61, 291, 78, 308), (0.07, 0.06, 0.15)) * _toward(0, -0.022, 0),
    "skew": lambda p: near(p, (152, 199, 13), 0.45) * _toward(0.02),
    "nose_skew": lambda p: near(p, (1, 195), (0.14, 0.2, 0.2)) * _toward(0.018),
    "brow_uneven": lambda p: near(p, (105, 52, 65), (0.12, 0.06, 0.2)) * _toward(0, -0.02, 0),
}
MODE_NAMES = tuple(MODES)


@lru_cache(maxsize=1)
def mode_basis() -> np.ndarray:
    """Displacement of every vertex for a strength of 1 of every mode, (modes, V, 3) float64."""
    points = generic_head().points
    return np.stack([np.broadcast_to(mode(points), points.shape) for mode in MODES.values()])


def shape_of(**strengths: float) -> tuple[float, ...]:
    """Mode strengths by name; those not named are 0."""
    unknown = set(strengths) - set(MODES)
    if unknown:
        raise ValueError(f"unknown modes {sorted(unknown)}")
    return tuple(float(strengths.get(name, 0.0)) for name in MODES)
