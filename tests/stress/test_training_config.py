"""Trainings as YAML files, recipes by name, optimizers and learning rates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from stress.cli import main
from stress.cli_train import _training
from stress.detectors import new_detector, save_detector
from stress.training import Recipe, TrainSettings
from stress.training.config import TrainConfig, config_names, load_config
from stress.training.optimizers import learning_rate, make_optimizer
from stress.training.recipes import RECIPES, make_recipe


def test_every_shipped_configuration_makes_its_recipe() -> None:
    assert config_names()
    for name in config_names():
        assert load_config(name).make_recipe().name in RECIPES


def test_every_recipe_is_known_by_the_name_it_gives_itself() -> None:
    for name in RECIPES:
        assert make_recipe(name).name == name


def test_a_file_says_what_the_dataclass_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("arch: meso4\ninput_size: 64\ntrain: {epochs: 3, lr: 1, schedule: step}\n")
    wanted = TrainConfig(
        arch="meso4", input_size=64, train=TrainSettings(epochs=3, lr=1.0, schedule="step"), recipe="plain"
    )
    assert load_config(str(path)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "arc: meso4", "train: {epochs: 0}", "train: {schedule: whenever}", "[1, 2]", "train: {lr: fast}", "a: [", "",
        "recipe: plain\noptions: 3", "train: {epochs: ten}", "train: {lr: .inf}", "input_size: big", "input_size: 3",
        "mean: [0, 0]", "std: [0, 1, 1]", "frames_per_clip: 0", "output: word", "crop_margin: 0",
        "recipe: adversarial-blur\noptions: {step: fast}",
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError):
        load_config(str(path)).make_recipe()


def test_unknown_names_and_options_are_refused() -> None:
    for recipe, options in (("nothing", {}), ("plain", {"a": 1})):
        with pytest.raises(UserError):
            make_recipe(recipe, options)
    with pytest.raises(UserError):
        load_config("nothing")


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("arch: meso4\nframes_per_clip: 4\ntrain: {epochs: 3, batch: 8}\n")
    found = _training(str(path), {"arch": "small_cnn", "options": {}}, {"batch": 16, "epochs": None, "seed": 2})
    wanted = TrainConfig(arch="small_cnn", frames_per_clip=4, train=TrainSettings(epochs=3, batch=16, seed=2))
    assert found == wanted
    assert _training(str(path), {}, {"minutes": 2.0}).train.epochs is None


def test_no_weights_can_be_asked_for_against_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("arch: resnet18\npretrained: true\n")
    assert _training(str(path), {"pretrained": None}, {}).pretrained
    assert not _training(str(path), {"pretrained": False}, {}).pretrained


def test_a_detector_to_go_on_from_keeps_its_own_network(tmp_path: Path) -> None:
    detector = new_detector("small_cnn")
    save_detector(detector, tmp_path / "one.safetensors")
    start = tmp_path / "one.safetensors"
    asked = ["train", "--real", tmp_path, "--fake", tmp_path, "-o", tmp_path / "two", "--from", start]
    for refused in (["--arch", "meso4"], ["--input-size", "64"], ["--config", "self-blended-published"]):
        assert main([*map(str, asked), *refused]) == 2
    assert not (tmp_path / "two").exists()


def test_learning_rates_against_their_closed_forms() -> None:
    base = TrainSettings(lr=0.4, warmup=0, step_epochs=2, step_factor=0.1)
    shares = np.array([0, 0.25, 0.5, 0.75, 0.875, 1])

    def rates(schedule: str) -> list[float]:
        how = dataclasses.replace(base, schedule=schedule)
        return [learning_rate(how, 100, 1, share) for share in shares]

    assert np.allclose(rates("cosine"), 0.2 * (1 + np.cos(np.pi * shares)))
    assert np.allclose(rates("constant"), 0.4)
    assert np.allclose(rates("linear-tail"), [0.4, 0.4, 0.4, 0.4, 0.2, 0])
    stepped = dataclasses.replace(base, schedule="step")
    assert np.allclose([learning_rate(stepped, 0, epoch, 0.5) for epoch in range(1, 6)], [0.4, 0.4, 0.04, 0.04, 0.004])
    warm = dataclasses.replace(base, schedule="constant", warmup=4)
    assert np.allclose([learning_rate(warm, step, 1, 0) for step in range(5)], [0.1, 0.2, 0.3, 0.4, 0.4])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("radam", torch.optim.RAdam), ("sgd", torch.optim.SGD)],
)
def test_optimizers_by_name(name: str, kind: type[torch.optim.Optimizer]) -> None:
    settings = TrainSettings(optimizer=name, weight_decay=0.125, lr=0.5)
    made = make_optimizer([torch.nn.Parameter(torch.ones(1))], settings)
    assert type(made) is kind
    assert made.param_groups[0]["weight_decay"] == 0.125
    assert made.param_groups[0]["lr"] == 0.5


def test_a_recipe_says_which_options_are_not_the_usual_ones() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(Recipe):
        name = "other"
        share: float = 0.5
        kind: str = "a"

    assert Other().describe() == "other"
    assert Other(share=0.25).describe() == "other (share 0.25)"
