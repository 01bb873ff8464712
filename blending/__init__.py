"""Blend a generated face into a frame: arrays in, arrays out, with numpy and OpenCV only.

Images are float32 (H, W, 3) RGB in [0, 1] and masks float32 (H, W) in [0, 1], all in pixels of the frame unless
something else is said. :func:`compose` does everything (:func:`prepare` and :func:`finish` are its halves, for two
threads); the modules hold its parts, each usable on its own.
"""

from __future__ import annotations

from blending.compose import ComposeResult, Prepared, compose, finish, prepare
from blending.glasses import worn as wears_glasses
from blending.hair import FaceShape
from blending.ladder import rungs
from blending.occlusion import usual_disagreement, visibility
from blending.settings import (
    BEST,
    CLASSIC,
    NONE,
    PRESETS,
    BlendSettings,
    ColorSettings,
    DetailSettings,
    MaskSettings,
    OcclusionSettings,
    PoissonSettings,
    TemporalSettings,
    preset,
    settings_from_dict,
    settings_to_dict,
)
from blending.state import BlendState

__all__ = [
    "BEST",
    "CLASSIC",
    "NONE",
    "PRESETS",
    "BlendSettings",
    "BlendState",
    "ColorSettings",
    "ComposeResult",
    "DetailSettings",
    "FaceShape",
    "MaskSettings",
    "OcclusionSettings",
    "PoissonSettings",
    "Prepared",
    "TemporalSettings",
    "compose",
    "finish",
    "prepare",
    "preset",
    "rungs",
    "settings_from_dict",
    "settings_to_dict",
    "usual_disagreement",
    "visibility",
    "wears_glasses",
]
