"""Which settings `blending_truth.py` tries."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache
from typing import Any

from blending import BEST, PRESETS, BlendSettings
from blending.color import METHODS

TO_THE_LETTER = {"cells": 0, "smoothing": 0.0, "limit": None, "fade": None}
"""Poisson editing as published, on every pixel."""

SINGLE: dict[str, dict[str, list[Any]]] = {
    "color": {
        "method": ["off", *METHODS],
        "strength": [0.5],
        "trim": [2.0, 3.0],
        "max_gain": [1.2, 3.0],
        "floor": [0.01, 0.1],
        "anchor": [0.0, 0.15],
    },
    "mask": {
        "shape": ["square", "learned", "hull", "product", "union"],
        "reach": [0.0, 0.1],
        "inset": [0.0, 0.05],
        "erosion": [0.03, 0.06],
        "feather": [0.0, 0.03, 0.12, 0.2],
        "cover": [0.0],
        "refine": [0.0],
        "hair": [0.0],
    },
    "poisson": {
        "gradients": ["off", "mixed"],
        "strength": [0.5],
        "cells": [0],
        "smoothing": [0.0],
        "limit": [None, 0.05],
        "fade": [None, 0.1, 0.5],
    },
    "detail": {
        "sharpness": [0.0],
        "motion": [0.0],
        "noise": [0.0],
        "grain": [0.0],
        "compression": [0.0],
        "oversampling": [0.0],
    },
}
"""Every option of ``best``, changed alone."""

POISSON: dict[str, dict[str, Any]] = {
    "no Poisson": {"gradients": "off"},
    "Poisson": {},
    "Poisson to the letter": TO_THE_LETTER,
    "mixed": {"gradients": "mixed"},
}
DETAIL: dict[str, dict[str, Any]] = {
    "detail": {},
    "no detail": {"sharpness": 0.0, "noise": 0.0},
}


def changed(base: BlendSettings, **sections: dict[str, Any]) -> BlendSettings:
    """Settings with some values of some sections changed."""
    return replace(base, **{name: replace(getattr(base, name), **values) for name, values in sections.items()})


@lru_cache(maxsize=1)
def one_at_a_time() -> dict[str, BlendSettings]:
    """``best`` with one thing changed, or a few that belong together."""
    found = {
        f"{section}.{option}={value}": changed(BEST, **{section: {option: value}})
        for section, options in SINGLE.items()
        for option, values in options.items()
        for value in values
        if getattr(getattr(BEST, section), option) != value
    }
    return {
        **found,
        "poisson to the letter": changed(BEST, poisson=TO_THE_LETTER),
        "no detail": changed(BEST, detail=DETAIL["no detail"]),
        "color alone": changed(BEST, poisson=POISSON["no Poisson"], detail=DETAIL["no detail"]),
        "poisson alone": changed(BEST, color={"method": "off"}, detail=DETAIL["no detail"]),
        "mask alone": changed(
            BEST, color={"method": "off"}, poisson=POISSON["no Poisson"], detail=DETAIL["no detail"]
        ),
    }


@lru_cache(maxsize=1)
def combinations() -> dict[str, BlendSettings]:
    """Every combination of the main options."""
    found = {}
    axes = itertools.product(
        ["off", *METHODS], ["learned", "hull", "minimum"], [0.07, 0.15], [0.0, 0.04], POISSON, DETAIL
    )
    for method, shape, feather, erosion, gradients, detail in axes:
        name = f"{method}, {shape}, feather {feather}, erosion {erosion}, {gradients}, {detail}"
        found[name] = changed(
            BEST,
            color={"method": method},
            mask={"shape": shape, "feather": feather, "erosion": erosion},
            poisson=POISSON[gradients],
            detail=DETAIL[detail],
        )
    return found


def colors() -> list[str]:
    """Names among :func:`one_at_a_time` that change the color's method alone."""
    return [name for name in one_at_a_time() if name.startswith("color.method=")]


@lru_cache(maxsize=1)
def together() -> dict[str, BlendSettings]:
    """``best`` with several changes that gained something, or once did, together."""
    found: dict[str, dict[str, dict[str, Any]]] = {
        "covariance": {"color": {"method": "covariance"}},
        "softer": {"mask": {"feather": 0.12}},
        "covariance, softer": {"color": {"method": "covariance"}, "mask": {"feather": 0.12}},
        "softer, no reach": {"mask": {"feather": 0.12, "reach": 0.0}},
        "trim 2, not refined": {"color": {"trim": 2.0}, "mask": {"refine": 0.0}},
    }
    return {f"together: {name}": changed(BEST, **sections) for name, sections in found.items()}


@lru_cache(maxsize=1)
def everything() -> dict[str, BlendSettings]:
    """All of them, the presets first."""
    return {**PRESETS, **one_at_a_time(), **together(), **combinations()}
