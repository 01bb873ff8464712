"""Training settings: presets, YAML and what does not belong there."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest
import yaml

from faceswap_hq.errors import UserError
from faceswap_hq.training.settings import TrainSettings, from_dict, load_preset, preset_names, to_dict
from tests.faceswap_hq.helpers import SETTINGS, SETTINGS_YAML


def test_presets():
    assert {"fast", "hq", "tiny"} <= set(preset_names())
    sizes = {name: load_preset(name).model.resolution for name in preset_names()}
    assert (sizes["fast"], sizes["hq"]) == (128, 256)
    assert all(load_preset(name).preset == name for name in preset_names())
    assert load_preset("fast") == load_preset("fast")


@pytest.mark.parametrize("name", preset_names())
def test_round_trip_through_yaml(name):
    settings = load_preset(name)
    text = yaml.safe_dump(to_dict(settings))
    assert from_dict(TrainSettings, yaml.safe_load(text), "text") == settings


def test_every_setting_is_in_the_dictionary():
    def names(value) -> set[str]:
        nested = (getattr(value, f.name) for f in fields(value))
        return {f.name for f in fields(value)}.union(*(names(v) for v in nested if is_dataclass(v)))

    def keys(value) -> set[str]:
        return set(value).union(*(keys(v) for v in value.values() if isinstance(v, dict)))

    assert names(SETTINGS) == keys(to_dict(SETTINGS))


def test_a_yaml_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SETTINGS_YAML)
    assert load_preset(str(path)) == SETTINGS
    path.write_text("learning_rate: 1\n")
    assert load_preset(str(path)).learning_rate == 1.0
    assert isinstance(load_preset(str(path)).learning_rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 0.1", r"unknown setting 'learning_rat'"),
        ("model: {depth: 3}", r"model: unknown setting 'depth'"),
        ("batch: many", r"batch must be a int, not 'many'"),
        ("batch: 2.5", r"batch must be a int"),
        ("batch: true", r"batch must be a int"),
        ("learning_rate: true", r"learning_rate must be a float"),
        ("learning_rate: 1e-3", r"learning_rate must be a float, not '1e-3'"),  # YAML 1.1 reads a string
        ("learning_rate: .nan", r"learning_rate must be a finite"),
        ("learning_rate: .inf", r"learning_rate must be a finite"),
        ("learning_rate: -0.1", r"learning rate"),
        ("batch: 0", r"batch"),
        ("shared: -1", r"shared"),
        ("shared: 9", r"shared"),
        ("keep: 0", r"keep"),
        ("clip: 0", r"clip"),
        ("beta2: 1.0", r"beta2"),
        ("final_rate: -1", r"final_rate"),
        ("pose_matching: 0.5", r"pose_matching"),
        ("seed: -1", r"seed"),
        ("minutes: 0", r"positive"),
        ("precision: float64", r"precision"),
        ("coverage: 0.9", r"coverage"),
        ("coverage: .nan", r"coverage"),
        ("model: 5", r"expected a table"),
        ("model: {encoder_channels: 5}", r"encoder_channels"),
        ("model: {encoder_channels: [a, b]}", r"encoder_channels"),
        ("model: {resolution: 100}", r"not 100"),
        ("augment: {flip: 2}", r"flip"),
        ("loss: {l1: -1}", r"l1"),
        ("- a\n- b", r"expected a table"),
        ("", r"expected a table"),
        ("a: [", r"cannot be read as YAML"),
        ("1: 2\nx: 3", r"unknown setting"),
        ("!!python/object/apply:os.system ['true']", r"cannot be read as YAML"),
    ],
)
def test_what_does_not_belong(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_preset(str(path))


def test_missing_presets(tmp_path):
    with pytest.raises(UserError, match="no preset 'slow'") as caught:
        load_preset("slow")
    assert "fast" in str(caught.value)
    with pytest.raises(UserError, match="is missing"):
        load_preset(str(tmp_path / "mine.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match=r"folder\.yaml"):
        load_preset(str(tmp_path / "folder.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\x80\xff\x00")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        load_preset(str(tmp_path / "binary.yaml"))
