"""The recipe frequency-mask: what it does to faces, when, and that what it trains is asked about whole ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from faceswap_hq.errors import UserError
from stress.cli import main
from stress.detectors import load_detector, new_detector, save_detector
from stress.evaluation.metrics import youden_threshold
from stress.evaluation.scoring import score
from stress.training import Recipe, TrainSettings, train
from stress.training.batches import Batch
from stress.training.config import load_config
from stress.training.holdout import hold_out
from stress.training.loop import Epoch
from stress.training.recipe import frames_of
from stress.training.recipes import make_recipe
from stress.training.recipes.frequency_mask import FrequencyMask, published
from stress.training.recipes.masks import BANDS, MODES
from tests.stress.synthetic import crops, sides, small_detector

FAST = TrainSettings(epochs=5, batch=16, lr=3e-3)
EVERY = [
    FrequencyMask(kind="frequency", band=band, mode=mode) for band in BANDS for mode in MODES
] + [FrequencyMask(kind=kind, mode=mode) for kind in ("pixel", "patch") for mode in MODES]


def batch(count: int = 6, size: int = 48) -> Batch:
    images = np.concatenate([item.images for item in crops(1, artefact=10, size=size, frames=count)])[:count]
    return Batch(images=images, labels=np.tile(np.array([1, 0], np.float32), count // 2))


@pytest.mark.parametrize("recipe", EVERY, ids=FrequencyMask.describe)
def test_every_face_has_a_mask_of_its_own_that_the_seed_decides(recipe: FrequencyMask) -> None:
    one = batch()
    same = dataclasses.replace(one, images=np.repeat(one.images[:1], 6, axis=0))
    kept = same.images.copy()
    found = recipe.change(same, np.random.default_rng(4))
    assert np.array_equal(same.images, kept)
    assert found.images.shape == kept.shape
    assert found.images.dtype == np.uint8
    assert np.array_equal(found.labels, one.labels)
    assert len({image.tobytes() for image in [kept[0], *found.images]}) == 7
    assert np.array_equal(found.images, recipe.change(same, np.random.default_rng(4)).images)
    assert not np.array_equal(found.images, recipe.change(same, np.random.default_rng(5)).images)


@pytest.mark.parametrize("recipe", EVERY, ids=FrequencyMask.describe)
def test_a_ratio_of_nothing_changes_nothing(recipe: FrequencyMask) -> None:
    plain = dataclasses.replace(recipe, ratio=0.0)
    assert np.array_equal(plain.change(batch(), np.random.default_rng(0)).images, batch().images)


def test_hidden_pixels_are_black_in_all_channels_and_the_others_untouched() -> None:
    image = np.clip(batch(2).images[0], 1, 255)
    for kind in ("pixel", "patch"):
        found = FrequencyMask(kind=kind, ratio=0.3).mask(image, np.random.default_rng(0))
        black = (found == 0).any(-1)
        assert (found[black] == 0).all()
        assert np.array_equal(found[~black], image[~black])
        expected = 0.3 * 48 * 48 if kind == "pixel" else 3 * 16 * 16
        assert black.sum() == int(np.ceil(expected))


def test_a_probability_is_the_share_of_the_faces_that_are_masked() -> None:
    recipe = FrequencyMask(kind="pixel", probability=0.3)
    data = batch(2, 16)
    many = dataclasses.replace(data, images=np.repeat(data.images, 400, axis=0))
    changed = (recipe.change(many, np.random.default_rng(0)).images != many.images).any((1, 2, 3))
    assert abs(changed.mean() - 0.3) < 0.05
    nobody = dataclasses.replace(recipe, probability=0.0)
    assert np.array_equal(nobody.change(many, np.random.default_rng(0)).images, many.images)


def test_published_variation_is_a_shift_and_a_mirror_of_most_faces() -> None:
    rows, columns = np.mgrid[:56, :56]
    image = np.stack([rows * 4, columns * 4, rows + columns], axis=-1).astype(np.uint8)
    kept = image.copy()
    found = [published(image, np.random.default_rng(seed)) for seed in range(300)]
    assert np.array_equal(image, kept)
    assert all(item.shape == image.shape and item.dtype == np.uint8 for item in found)
    shifts = []
    for item in found:
        for straight in (item, item[:, ::-1]):
            down, right = ((straight[20, 20, :2].astype(int) - 80) / 4).tolist()
            inner = image[20 + int(down) : 30 + int(down), 20 + int(right) : 30 + int(right)]
            if max(abs(down), abs(right)) <= 4 and np.array_equal(straight[20:30, 20:30], inner):
                shifts.append((down, right))
    assert 0.7 < len(shifts) / len(found) < 0.95  # 0.81 are neither blurred nor compressed; a blur of 0.3 px shows less
    assert {down for down, _ in shifts} == {right for _, right in shifts} == set(range(-4, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "wavelet"}, {"band": "middle"}, {"ratio": 1.5}, {"ratio": -0.1}, {"mode": "best"},
        {"probability": 2.0}, {"variation": "none"}, {"kind": "pixel", "band": "low"},
        {"mode": "faithful", "probability": 0.5}, {"ratio": "much"}, {"width": 3},
    ],
)  # fmt: skip
def test_options_that_are_not_possible_are_the_users_to_mend(options: dict[str, object]) -> None:
    with pytest.raises(UserError):
        make_recipe("frequency-mask", options)


@pytest.mark.parametrize("options", [{}, {"mode": "faithful"}, {"kind": "patch"}])
def test_an_artefact_is_learned_through_masks(options: dict[str, str]) -> None:
    start, epochs = small_detector(), list[Epoch]()
    recipe = make_recipe("frequency-mask", options)
    trained = train(start, *sides(crops(12, artefact=20)), FAST, recipe=recipe, on_epoch=epochs.append)
    table = score(trained, crops(10, artefact=20, seed=5))
    assert roc_auc_score(table.label, table.score) > 0.9
    assert epochs[-1].loss < epochs[0].loss
    assert recipe.describe() in trained.card.training_data


@pytest.mark.parametrize("mode", MODES)
def test_the_epoch_is_chosen_by_masked_faces_in_faithful_only_and_the_threshold_never(mode: str) -> None:
    data = crops(14, artefact=20, frames=3)
    settings = dataclasses.replace(FAST, epochs=1)
    epochs: list[Epoch] = []
    trained = train(
        small_detector(), *sides(data), settings, recipe=FrequencyMask(mode=mode, ratio=0.5), on_epoch=epochs.append
    )
    ordered = [*sides(data)[0], *sides(data)[1]]
    images, labels = frames_of(hold_out(ordered, settings.validation, settings.seed).validation, 1024)
    scores = trained.fake_probability(images)
    assert trained.card.threshold == youden_threshold(scores, labels)
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    balanced = (losses[labels == 1].mean() + losses[labels == 0].mean()) / 2
    assert bool(np.isclose(epochs[0].validation_loss, balanced, atol=1e-5)) is (mode == "corrected")


def test_a_saved_detector_is_asked_about_whole_faces(tmp_path, monkeypatch) -> None:
    data = crops(6, artefact=20, frames=3)
    trained = train(
        small_detector(), *sides(data), dataclasses.replace(FAST, epochs=1), recipe=FrequencyMask(mode="faithful")
    )
    save_detector(trained, tmp_path / "d.pt")

    def masked(*_):
        raise AssertionError("a face was masked")

    monkeypatch.setattr(FrequencyMask, "mask", masked)
    loaded = load_detector(tmp_path / "d.pt", device="cpu")
    images = data[0].images
    with torch.inference_mode():
        direct = torch.sigmoid(loaded.fake_logit(loaded.inputs(images)).double()).numpy()
    assert np.array_equal(loaded.fake_probability(images), direct)
    assert np.allclose(score(loaded, data[:1]).score, direct)
    train(loaded, *sides(data), dataclasses.replace(FAST, epochs=1))  # fine-tuned plainly


def test_the_published_setting_takes_steps() -> None:
    """At 64 px, untrained, four faces a step: everything else as published."""
    how = load_config("frequency-mask-published")
    recipe = how.make_recipe()
    assert (recipe.describe(), how.train.seed) == ("frequency-mask (mode faithful, variation published)", 44)
    made = new_detector(how.arch, device="cpu", input_size=64)
    assert made.card.mean == (0.485, 0.456, 0.406)
    assert made.module.fc.out_features == 1
    epochs: list[Epoch] = []
    settings = dataclasses.replace(how.train, epochs=1, batch=4)
    data = crops(6, artefact=20, size=64, frames=1)
    train(made, *sides(data), settings, recipe=recipe, on_epoch=epochs.append)
    assert epochs[0].steps >= 2
    assert np.isfinite(epochs[0].loss)


def test_the_reduced_setting_is_plain_training_but_for_the_masks() -> None:
    plain, masked = load_config("plain"), load_config("frequency-mask")
    assert dataclasses.replace(masked, recipe="plain", options={}) == plain
    assert masked.make_recipe() == FrequencyMask()
    assert type(plain.make_recipe()) is Recipe


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [("--config frequency-mask-published", 44), ("--config frequency-mask-published --seed 0", 0), ("", 0)],
)
def test_the_seed_is_the_configurations_unless_another_is_given(arguments, seed, monkeypatch, tmp_path) -> None:
    asked: list[int] = []

    def stop(*_, **given):
        asked.append(given["seed"])
        raise UserError("far enough")

    monkeypatch.setattr("stress.detectors.new_detector", stop)
    assert main(f"train --real r --fake f -o {tmp_path / 'd.pt'} {arguments}".split()) == 2
    assert asked == [seed]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("--recipe frequency-mask --band low --ratio 0.3", FrequencyMask(band="low", ratio=0.3)),
        ("--config frequency-mask-published --band mid",
         FrequencyMask(band="mid", mode="faithful", variation="published")),
        ("--recipe frequency-mask --ratio 1", FrequencyMask(ratio=1.0)),
        ("--recipe frequency-mask --set kind=pixel --ratio 0.3", FrequencyMask(kind="pixel", ratio=0.3)),
        ("--band low", "masks nothing"),
        ("--ratio 0.1", "masks nothing"),
        ("--recipe frequency-mask --ratio 1.1", "ratio lies in [0, 1]"),
        ("--recipe frequency-mask --band middle", "band is all, low, mid or high"),
        ("--recipe frequency-mask --set kind=patch --band low", "kind patch has none"),
        ("--recipe frequency-mask --set ratio=0.1 --ratio 0.2", "set as well"),
    ],
)  # fmt: skip
def test_band_and_ratio_are_short_for_options_of_this_recipe(arguments, wanted, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found: list[Recipe] = []

    def stop(*_, **__):
        raise UserError("far enough")

    make = make_recipe
    monkeypatch.setattr("stress.training.config.make_recipe", lambda *given: found.append(make(*given)) or found[-1])
    monkeypatch.setattr("stress.detectors.new_detector", stop)
    assert main(f"train --real r --fake f -o {tmp_path / 'd.pt'} {arguments}".split()) == 2
    if isinstance(wanted, str):
        assert wanted in capsys.readouterr().err
        assert not found
    else:
        assert found == [wanted]
        assert "far enough" in capsys.readouterr().err
