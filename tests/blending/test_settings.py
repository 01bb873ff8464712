from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import yaml

import blending
from blending import (
    BEST,
    PRESETS,
    BlendSettings,
    ColorSettings,
    MaskSettings,
    color,
    preset,
    settings_from_dict,
    settings_to_dict,
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json_and_yaml(name: str) -> None:
    plain = settings_to_dict(PRESETS[name])
    assert settings_from_dict(json.loads(json.dumps(plain))) == PRESETS[name]
    assert settings_from_dict(yaml.safe_load(yaml.safe_dump(plain))) == PRESETS[name]
    assert preset(name) is PRESETS[name]


@pytest.mark.parametrize("method", ["off", *color.METHODS])
def test_every_colour_method_survives_yaml(method: color.ColorMethod) -> None:
    chosen = BlendSettings(color=ColorSettings(method=method))
    assert settings_from_dict(yaml.safe_load(yaml.safe_dump(settings_to_dict(chosen)))) == chosen


def test_a_wrong_colour_method_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="off, mean, .*histogram, idt, sliced, not 'sot'"):
        ColorSettings(method="sot")  # type: ignore[arg-type]


def test_defaults_are_the_preset_best_and_gaps_are_filled() -> None:
    assert BlendSettings() == BEST
    assert settings_from_dict({}) == BEST
    assert settings_from_dict({"mask": {"feather": 0.3}}) == BlendSettings(mask=MaskSettings(feather=0.3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": {}}, "colour"),
        ({"mask": {"fether": 0.1}}, "mask.fether"),
        ({"mask": {"feather": 7}}, "mask.feather"),
        ({"mask": {"shape": "round"}}, "mask.shape"),
        ({"color": {"method": "magic"}}, "color.method"),
        ({"poisson": {"gradients": "all"}}, "poisson.gradients"),
        ({"detail": {"noise": -1}}, "detail.noise"),
        ({"detail": {"noise": "loud"}}, "detail"),
        ({"temporal": {"color": float("nan")}}, "temporal.color"),
        ({"temporal": None}, "temporal"),
    ],
)
def test_mistakes_are_named(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from_dict(values)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="none, classic, best"):
        preset("wurst")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BEST.mask.feather = 0.5  # type: ignore[misc]


def test_importing_blending_brings_numpy_and_opencv_alone() -> None:
    code = (
        "import sys, blending; "
        "print(sorted({'torch', 'scipy', 'mediapipe', 'faceswap_hq', 'stress', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert done.stdout.strip() == "[]"


def _root() -> str:
    return str(__import__("pathlib").Path(blending.__file__).parents[1])
