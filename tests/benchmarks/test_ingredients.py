"""Ingredients that the product has not do what their papers say, rows differ from base, and kept results are used."""

from __future__ import annotations

import copy
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.autoencoder import ModelSettings
from faceswap_hq.training.augmentation import AugmentSettings
from faceswap_hq.training.data import MARGIN, PersonData
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.settings import TrainSettings, load_preset, to_dict
from faceswap_hq.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import ingredient_layers
import ingredient_losses
import ingredient_table
import ingredients
from ingredient_rows import ROWS, Extras, Row
from ingredient_swaps import RememberingFinder
from ingredient_trainer import IngredientTrainer, train

MODEL = ModelSettings(
    resolution=32, encoder_channels=(8, 16), bottleneck=16, expression_width=8, base_channels=8, decoder_channels=(8,),
    residual=(1,), views=2,
)  # fmt: skip
LARGER = ModelSettings(
    resolution=64, encoder_channels=(8, 16), bottleneck=16, expression_width=8, base_channels=8,
    decoder_channels=(8, 4), residual=(1, 0), views=2,
)  # fmt: skip
SETTINGS = TrainSettings(batch=2, precision="float32", model=MODEL, augment=AugmentSettings(flip=0))


def person(name: str, side: int = 32) -> PersonData:
    random = torch.Generator().manual_seed(len(name))
    side = round(side * MARGIN)
    measures = torch.randn(6, expression.COUNT, generator=random)
    return PersonData(
        name=name, images=torch.randint(0, 256, (6, 3, side, side), generator=random, dtype=torch.uint8),
        weights=torch.full((6, 3, side, side), 255, dtype=torch.uint8), measures=measures,
        calibration=expression.Calibration.fit(measures.numpy()),
    )  # fmt: skip


PEOPLE = [person("anna"), person("ben")]


class TestFocalFrequency:
    def test_is_what_the_formula_says(self):
        face, target, area = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
        wave = np.exp(-2j * np.pi * np.outer(np.arange(8), np.arange(8)) / 8)
        expected = []
        for b in range(2):
            for c in range(3):
                difference = ((face - target) * area)[b, c].numpy().astype(np.float64)
                spectrum = np.abs(wave @ difference @ wave / 8)
                expected.append((spectrum / spectrum.max() * spectrum**2).mean())
        found = ingredient_losses.focal_frequency(face, target, area)
        assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)

    def test_without_weights_it_is_the_squared_error(self):
        face, target = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
        found = ingredient_losses.focal_frequency(face, target, torch.ones(2, 1, 16, 16), alpha=0)
        torch.testing.assert_close(found, (face - target).square().mean())

    def test_its_weights_have_no_gradient(self):
        face, target, area = torch.rand(1, 1, 4, 4, requires_grad=True), torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
        ingredient_losses.focal_frequency(face, target, area).backward()
        spectrum = torch.fft.fft2(face.detach() - target, norm="ortho")
        by_hand = 2 * torch.fft.ifft2(spectrum * spectrum.abs() / spectrum.abs().max(), norm="ortho").real / 16
        torch.testing.assert_close(face.grad, by_hand)

    def test_equal_pictures_cost_nothing(self):
        face = torch.rand(1, 3, 8, 8)
        assert float(ingredient_losses.focal_frequency(face, face, torch.ones(1, 1, 8, 8))) == 0


@pytest.mark.parametrize("kind", ["hinge", "lsgan"])
def test_a_discriminator_learns_to_tell_flat_faces_from_textured_ones(kind):
    adversary = ingredient_losses.Adversary(kind, seed=0, learning_rate=2e-3)
    area = torch.ones(4, 1, 32, 32)
    losses = [adversary.learn(torch.full((4, 3, 32, 32), 0.5), torch.rand(4, 3, 32, 32), area) for _ in range(25)]
    assert losses[-1] < 0.6 * losses[0]
    flat = torch.full((4, 3, 32, 32), 0.5, requires_grad=True)
    cost = adversary.fooled(flat, area)
    assert cost > adversary.fooled(torch.rand(4, 3, 32, 32), area)
    cost.backward()
    assert flat.grad is not None
    assert all(parameter.requires_grad for parameter in adversary.net.parameters())


def test_a_perceptual_network_is_that_of_the_file(tmp_path):
    import timm

    torch.save(timm.create_model("resnet10t", pretrained=False).state_dict(), tmp_path / "net.pt")
    net = ingredient_losses.Perceptual(tmp_path / "net.pt", "resnet10t")
    face, area = torch.rand(1, 3, 32, 32, requires_grad=True), torch.ones(1, 1, 32, 32)
    assert float(net(face, face.detach(), area)) == pytest.approx(0, abs=1e-6)
    net(face, torch.rand(1, 3, 32, 32), area).backward()
    assert face.grad.abs().sum() > 0
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="resnet10t"):
        ingredient_losses.Perceptual(tmp_path / "other.pt", "resnet10t")


class TestLayers:
    @pytest.mark.parametrize("kind", ["separable", "grouped"])
    def test_cheaper_convolutions_draw_the_same_shape_with_fewer_weights(self, kind):
        torch.manual_seed(0)
        model = SwapAutoencoder(LARGER, ["anna"])
        before = sum(p.numel() for p in model.decoders.parameters())
        x = torch.rand(2, 8, 8, 8)
        shape, size = model.decoders[0](x).shape, model.decoders[0].stages[0](x).std()
        ingredient_layers.cheapen(model, kind)
        assert model.decoders[0](x).shape == shape
        assert sum(p.numel() for p in model.decoders.parameters()) < before
        assert 0.4 < model.decoders[0].stages[0](x).std() / size < 2.5
        begun = model.decoders[0].stages[1](x)  # a residual block, which begins as identity
        torch.testing.assert_close(begun, torch.nn.functional.leaky_relu(x, 0.1))

    def test_coarse_decoders_draw_pixels_two_by_two_and_in_full_afterwards(self):
        model = SwapAutoencoder(LARGER, ["anna"])
        x = torch.rand(2, 8, 8, 8)
        full = model.decoders[0](x)
        ingredient_layers.draw_coarsely_first(model)
        torch.testing.assert_close(model.decoders[0](x), full)
        ingredient_layers.set_coarse(model, True)
        coarse = model.decoders[0](x)
        assert coarse.shape == full.shape
        (small,) = ingredient_layers.halved(coarse)
        torch.testing.assert_close(small.repeat_interleave(2, 2).repeat_interleave(2, 3), coarse)


class TestTraining:
    def test_without_extras_it_is_the_product_s(self):
        ours = IngredientTrainer(SETTINGS, PEOPLE, Extras())
        theirs = Trainer(SETTINGS, PEOPLE, open_fabric(torch.device("cpu"), "float32"))
        for share in (0.0, 0.9):
            assert ours.step(share) == theirs.step(share)
        for own, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
            assert torch.equal(own, other)

    def test_a_discriminator_takes_part_in_the_last_third_alone(self):
        trainer = IngredientTrainer(SETTINGS, PEOPLE, Extras(adversarial=0.1))
        begun = copy.deepcopy(trainer.adversary.net.state_dict())

        def changed() -> bool:
            return any(not torch.equal(begun[key], now) for key, now in trainer.adversary.net.state_dict().items())

        assert "adversarial" not in trainer.step(0.3)
        assert not changed()
        assert "adversarial" not in trainer.step(0.64)
        assert changed()
        losses = trainer.step(0.7)
        assert losses["total"] == pytest.approx(
            sum(value for key, value in losses.items() if key not in ("total", "discriminator")), rel=1e-5
        )
        assert "adversarial" in losses

    def test_added_terms_are_in_the_total(self):
        settings = TrainSettings(batch=2, precision="float32", model=LARGER)
        them = [person("anna", 64), person("ben", 64)]
        losses = IngredientTrainer(settings, them, Extras(mse=20, dssim_quarter=0.5, focal_frequency=10)).step(0.0)
        assert {"mse", "dssim_quarter", "focal_frequency"} < set(losses)
        assert losses["total"] == pytest.approx(sum(v for k, v in losses.items() if k != "total"), rel=1e-5)
        assert all(value > 0 for value in losses.values())

    @pytest.mark.parametrize("how", ["loss", "drawing"])
    def test_progressive_rows_are_coarse_in_the_first_third_alone(self, how):
        settings = TrainSettings(batch=2, precision="float32", model=LARGER)
        trainer = IngredientTrainer(settings, [person("anna", 64), person("ben", 64)], Extras(coarse=how))
        last = trainer.model.decoders[0].stages[-1].convolution.weight
        before = last.detach().clone()
        trainer.step(0.1)
        assert torch.equal(last, before) == (how == "drawing")
        trainer.step(0.5)
        assert not torch.equal(last, before)

    def test_a_training_remembers_faces_and_a_diverging_one_is_given_up(self):
        trainer = IngredientTrainer(SETTINGS, PEOPLE, Extras())
        done = train(trainer, 3)
        assert (done.steps, done.diverged) == (3, False)
        assert trainer.shown.codes.any()
        trainer.terms = lambda *them: {"total": them[0].sum() * torch.nan}
        done = train(trainer, 50)
        assert (done.steps, done.diverged, done.losses) == (3, True, {})


def test_rows_are_distinct_and_each_changes_something():
    assert len({row.name for row in ROWS}) == len({ingredients._file(row) for row in ROWS}) == len(ROWS)
    base = to_dict(ingredients.settings_of(ROWS[0], "fast", 0))
    assert base == to_dict(load_preset("fast")) | {"precision": "float32"}
    for row in ROWS[1:]:
        settings = to_dict(ingredients.settings_of(row, "fast", 0))
        assert (settings != base) or (row.extras != Extras()), row.name


def test_a_finder_looks_once_at_each_picture():
    looked = []

    def detect(image: np.ndarray) -> list[np.ndarray]:
        looked.append(image)
        return [np.full((478, 3), image.mean(), np.float32)]

    finder = RememberingFinder(SimpleNamespace(detect=detect, name="one", points=478))
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    for image in (black, white, black, white):
        (found,) = finder.detect(image)
        assert (found == image.mean()).all()
        found[:] = -1
    assert len(looked) == 2


def test_differences_are_paired_by_seed():
    def kept(mouth: float | None, diverged: bool = False) -> dict:
        summary = None if mouth is None else {"mouth": {"mean": mouth}}
        training = {"steps": 10, "wall_seconds": 2.0, "processor_seconds": 1.0, "diverged": diverged}
        return {"summary": summary, "training": training}

    results = {"base": {0: kept(0.5), 1: kept(0.7), 2: kept(0.9)}, "other": {1: kept(0.8), 2: kept(0.7)}}
    found = ingredient_table.differences(results["other"], results["base"], "mouth")
    assert found == pytest.approx({"mean": -0.05, "min": -0.2, "max": 0.1, "seeds": 2})
    results["lost"] = {0: kept(None, diverged=True)}
    assert ingredient_table.differences(results["lost"], results["base"], "mouth") is None
    text = ingredient_table.table(results, {}, {"perceptual": "left out"})
    assert "0.800 / 0.700; -0.050 [-0.200, +0.100]" in text
    assert "| 100 | 200 | – | 10 | 5.00 |" in text
    assert "diverged" in text


class TestBudgetAndResults:
    def bench(self, tmp_path, monkeypatch, **changes):
        options = Namespace(**{
            "work": tmp_path, "preset": "fast", "steps": 2, "minutes": None, "every": 3, "identity": None,
            "cost_rounds": 1, "actors": 2, "cast_seed": 5, "seconds": 1.0, "held_out_seconds": 1.0, "side": 160,
            "perceptual": None, "set": [], "kept": False,
        } | changes)  # fmt: skip
        monkeypatch.setattr(ingredients, "settings_of", lambda *of: SETTINGS)
        summary = {"pair": "a on b", "frames": 4, **dict.fromkeys(ingredients.swap_quality.MEASURES, 0.5)}
        return ingredients.Bench(options, PEOPLE, SimpleNamespace(rows=lambda model: [summary]), None)

    def test_a_kept_result_is_used_and_one_of_other_settings_refused(self, tmp_path, monkeypatch):
        bench = self.bench(tmp_path, monkeypatch)
        row = Row(name="focal, frequency", extras=Extras(focal_frequency=10))
        first = bench.result(row, 0, bench.cost(row))
        assert first["summary"]["mouth"]["mean"] == 0.5
        bench.options.kept = True
        assert bench.result(row, 0, None) == first
        assert bench.result(row, 1, None) is None  # nothing is trained
        bench.options.kept = False
        assert first["training"]["steps"] == 2
        bench.measurer = bench.people = None
        assert bench.result(row, 0, bench.cost(row)) == first
        with pytest.raises(SystemExit, match="extras"):
            bench.result(Row(name=row.name, extras=Extras(focal_frequency=11)), 0, None)

    def test_equal_time_gives_a_row_of_dear_steps_fewer(self, tmp_path, monkeypatch):
        bench = self.bench(tmp_path, monkeypatch, minutes=2.0)
        costs = {"base": 100.0, "dear": 300.0}
        monkeypatch.setattr(bench, "cost", lambda row: {
            "wall": {"median": costs[row.name]}, "ratio": {"median": costs[row.name] / 100}
        })  # fmt: skip
        assert [bench.steps(bench.cost(Row(name=name))) for name in costs] == [1200, 400]
