"""A scene to compose, and the settings that the tests go through."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

import blending
from blending import BEST, PRESETS, BlendSettings, compose
from tests.blending.scenes import Scene, scene

SCENE = scene()


def changed(base: BlendSettings, **sections: dict[str, Any]) -> BlendSettings:
    return dataclasses.replace(
        base, **{name: dataclasses.replace(getattr(base, name), **values) for name, values in sections.items()}
    )


def run(it: Scene, options: BlendSettings = BEST, **more: Any) -> blending.ComposeResult:
    return compose(it.frame, it.face, it.mask, it.matrix, polygon=it.polygon, settings=options, **more)


def recolored(it: Scene) -> np.ndarray:
    """The face with a wrong white balance, exposure and contrast."""
    gain = np.array([[0.80, 0.05, 0.0], [0.0, 0.95, 0.0], [0.02, 0.0, 1.1]], np.float32)
    return np.clip(cv2.transform(it.face, gain) + np.float32(0.06), 0, 1)


RUNGS = {
    **PRESETS,
    "best without colour": changed(BEST, color={"method": "off"}),
    "best without Poisson": changed(BEST, poisson={"gradients": "off"}),
    "best without detail": changed(BEST, detail={"sharpness": 0, "noise": 0}),
    "best, mixed gradients": changed(BEST, poisson={"gradients": "mixed"}),
    "best, refined": changed(BEST, mask={"refine": 0.06}),
    "best, learned": changed(BEST, mask={"shape": "learned"}),
    "best, hull": changed(BEST, mask={"shape": "hull"}),
    "best, union": changed(BEST, mask={"shape": "union"}),
    "best, product": changed(BEST, mask={"shape": "product"}),
    "best, enlarged": changed(BEST, detail={"oversampling": 0.8}),
    "best, histogram": changed(BEST, color={"method": "histogram"}),
    "best, sliced": changed(BEST, color={"method": "sliced"}),
    "square, Reinhard": changed(BEST, mask={"shape": "square"}, color={"method": "reinhard"}),
}
