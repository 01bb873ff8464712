"""Training from reals alone: batches, variation, what is judged, and whether it learns."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from stress.api import FaceCrop
from stress.data.crops import Crops
from stress.detectors import new_detector
from stress.training import Learner, TrainSettings, train
from stress.training.batches import Batch
from stress.training.config import load_config
from stress.training.optimizers import learning_rate
from stress.training.recipes import make_recipe
from stress.training.recipes.self_blended import EDGE, PairBatches, SelfBlended, moved_edges
from stress.training.sam import SharpnessAwareLearner
from tests.blending.scenes import schematic_face
from tests.stress.synthetic import clip, crops

RECIPE = SelfBlended()


def _reals(people: int, size: int = 64, frames: int = 4, seed: int = 0) -> list[Crops]:
    """Textured pictures, each with a face somewhere in its middle; sharp and noisy as a photograph."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(people):
        coarse = cv2.resize(rng.uniform(60, 190, (5, 5, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
        fine = cv2.GaussianBlur(rng.normal(0, 30, (size, size, 3)), (0, 0), 0.8)
        images = np.clip(coarse + fine + rng.normal(0, 3, (frames, size, size, 3)), 0, 255).astype(np.uint8)
        landmarks = np.stack([schematic_face(size) + rng.uniform(-2, 2, 2) for _ in range(frames)])
        name = f"s{seed}p{number}"
        found.append(
            Crops(
                clip=clip(name, 0, (name,)), frames=np.arange(frames), images=images,
                landmarks=landmarks.astype(np.float32),
            )
        )  # fmt: skip
    return found


def test_batches_are_pairs_that_agree_outside_the_mask():
    batches = PairBatches(_reals(3), 8, np.random.default_rng(0), "corrected")
    for _ in range(5):
        batch = batches.draw()
        assert batch.labels.tolist() == [1, 0] * 4
        assert batch.masks.shape == (8, 64, 64)
        assert (batch.masks[1::2] == 0).all()
        for fake, real, mask in zip(batch.images[::2], batch.images[1::2], batch.masks[::2], strict=True):
            assert mask.max() > 0.2
            np.testing.assert_array_equal(fake[mask == 0], real[mask == 0])
            assert not np.array_equal(fake, real)


def test_every_frame_has_its_turn_once_an_epoch(monkeypatch):
    seen = []

    def note(image, landmarks, generator, mode):
        seen.append(int(image[0, 0, 0]))
        from stress.training.recipes.self_blending import SelfBlend

        return SelfBlend(target=image, source=image, fake=image, mask=np.zeros(image.shape[:2], np.float32))

    monkeypatch.setattr("stress.training.recipes.self_blended.self_blend", note)
    data = _reals(3, frames=4)
    for number, item in enumerate(data):
        item.images[:, 0, 0, 0] = 10 * number + np.arange(4)
    batches = PairBatches(data, 8, np.random.default_rng(0), "corrected")
    assert batches.per_epoch == 3  # 12 frames, 4 pairs a batch
    for _ in range(3):
        batches.draw()
    assert sorted(seen) == [10 * number + frame for number in range(3) for frame in range(4)]
    assert seen != sorted(seen)


def test_both_of_a_pair_are_varied_alike_and_the_mask_with_them():
    """A pair of one picture twice stays one; a mask that is the picture's brightness stays about that."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 12:30] = 255
    mask = image[..., 0] / np.float32(255)
    batch = Batch(images=np.stack([image, image]), labels=np.array([1, 0], np.float32), masks=np.stack([mask, mask]))
    changed, mirrored = 0, 0
    for seed in range(30):
        varied = RECIPE.vary(batch, np.random.default_rng(seed))
        np.testing.assert_array_equal(varied.images[0], varied.images[1])
        grey = varied.images[0].astype(np.float32).mean(-1)
        bright = grey > (grey.min() + grey.max()) / 2
        assert (bright != (varied.masks[0] > 0.5)).mean() < 0.02
        changed += not np.array_equal(varied.images[0], image)
        mirrored += np.average(np.arange(64), weights=varied.masks[0].sum(0)) > 31.5
    assert changed >= 28
    assert 5 < mirrored < 25
    np.testing.assert_array_equal(batch.images[0], image)  # not changed itself


def test_moved_edges_stretch_a_window_over_the_central_square():
    columns, rows = np.meshgrid(np.arange(100, dtype=np.float32), np.arange(100, dtype=np.float32))
    same = moved_edges(columns, np.zeros(4), 80)
    np.testing.assert_allclose(same, columns, atol=1e-4)
    edges = np.array([4.0, -3.0, 2.0, 5.0])  # left, top, right, bottom: outwards
    found = moved_edges(columns, edges, 80)[10:90, 10:90]
    expected = 10 - 4 + (np.arange(80) + 0.5) * (80 + 4 + 2) / 80 - 0.5
    np.testing.assert_allclose(found[40], expected, atol=0.05)  # OpenCV's fixed point
    found = moved_edges(rows, edges, 80)[10:90, 10:90]
    np.testing.assert_allclose(found[:, 40], 10 + 3 + (np.arange(80) + 0.5) * (80 - 3 + 5) / 80 - 0.5, atol=0.05)
    half = moved_edges(columns, np.full(4, -20.0), 80)[10:90, 10:90]  # the middle 40 px, at twice their size
    np.testing.assert_allclose(half[40], 30 + (np.arange(80) + 0.5) / 2 - 0.5, atol=0.05)
    whole = moved_edges(columns, np.full(4, 9.0), 100)  # nothing lies outside: the edges stay
    np.testing.assert_allclose(whole, columns, atol=1e-4)


@pytest.mark.parametrize("size", [32, 128, 380])
def test_crops_with_room_are_wider_in_as_many_pixels_more(size):
    card = FaceCrop(input_size=size, crop_margin=1.25)
    wide = RECIPE.crop_settings(card)
    assert (wide.input_size - size) % 2 == 0
    assert wide.input_size >= size * (1 + 2 * EDGE)
    assert wide.crop_margin / wide.input_size == pytest.approx(1.25 / size)
    assert SelfBlended(room=1).crop_settings(card) == card


def test_what_is_judged_are_pairs_of_held_out_people_fixed_by_the_seed():
    data = _reals(3) + [item for item in crops(2, artefact=0, size=64) if item.clip.label == 1]
    images, labels = RECIPE.judged(data, 1000, 0)
    assert labels.tolist() == [1, 0] * 12  # 3 clips of 4 frames; the fakes, which have no landmarks, are not used
    assert images.shape == (24, 64, 64, 3)
    again, _ = RECIPE.judged(data, 1000, 0)
    np.testing.assert_array_equal(images, again)
    other, _ = RECIPE.judged(data, 1000, 1)
    assert not np.array_equal(images, other)
    few, labels = RECIPE.judged(data, 12, 0)
    assert len(few) == len(labels) == 12
    assert len(RECIPE.judged([], 10, 0)[0]) == 0


def _detector(size: int = 48):
    return new_detector("small_cnn", seed=0, device="cpu", input_size=size)


def test_it_trains_from_reals_alone_and_tells_self_blended_strangers():
    settings = TrainSettings(epochs=6, batch=16, lr=3e-3, patience=6, weight_decay=0, schedule="linear-tail")
    epochs = []
    size = RECIPE.crop_settings(_detector().card).input_size
    trained = train(_detector(), _reals(12, size, 6), [], settings, recipe=RECIPE, on_epoch=epochs.append)
    assert epochs[-1].loss < epochs[0].loss
    faces, labels = RECIPE.judged(_reals(8, size, 6, seed=9), 1000, 3)
    start = (size - 48) // 2
    scores = trained.fake_probability(faces[:, start : start + 48, start : start + 48])
    apart = scores[labels == 1][:, None] > scores[labels == 0]
    assert apart.mean() > 0.7
    assert max(epoch.validation_auc for epoch in epochs) > 0.6
    assert "recipe self-blended" in trained.card.training_data
    assert "0 fakes" in trained.card.training_data


def test_the_same_seed_gives_the_same_weights():
    settings = TrainSettings(epochs=1, batch=8, validation=0)
    states = [train(_detector(32), _reals(2, 36), [], settings, recipe=RECIPE).module.state_dict() for _ in range(2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_fakes_are_not_looked_at():
    fakes = [item for item in crops(2, artefact=99, size=36) if item.clip.label == 1]
    settings = TrainSettings(epochs=1, batch=8, validation=0)
    alone, beside = (train(_detector(32), _reals(2, 36), fake, settings, recipe=RECIPE) for fake in ([], fakes))
    assert alone.card == beside.card
    expected = alone.module.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in beside.module.state_dict().items())


def test_reals_without_landmarks_are_refused():
    bare = [dataclasses.replace(item, landmarks=None) for item in _reals(2)]
    odd = [dataclasses.replace(item, landmarks=item.landmarks[:, :5]) for item in _reals(2)]
    for data in (bare, odd):
        with pytest.raises(UserError, match="landmarks"):
            train(_detector(), data, [], TrainSettings(epochs=1), recipe=RECIPE)


def test_options_are_checked_and_choose_the_learner():
    for wrong in ({"mode": "exact"}, {"rho": -1.0}, {"room": 0.9}, {"room": 3.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            make_recipe("self-blended", wrong)
    learner = RECIPE.learner(_detector(), TrainSettings())
    assert isinstance(learner, SharpnessAwareLearner)
    assert learner.rho == 0.05
    assert type(SelfBlended(rho=0.0).learner(_detector(), TrainSettings())) is Learner


def test_the_rate_at_each_epoch_is_the_published_one():
    """Constant up to epoch 75, then down to 0 at 100 along a line."""
    how = load_config("self-blended-published").train
    assert (how.optimizer, how.lr, how.epochs, how.batch, how.warmup) == ("sgd", 1e-3, 100, 32, 0)
    for epoch in range(101):
        published = 1e-3 if epoch <= 75 else 1e-3 - 1e-3 / 25 * (epoch - 75)
        assert learning_rate(how, 360 * epoch, epoch + 1, epoch / 100) == pytest.approx(published, abs=1e-12)


@pytest.mark.slow
def test_the_published_setting_takes_two_steps():
    _two_steps("self-blended-published", 4)


def test_the_small_setting_takes_two_steps():
    _two_steps("self-blended", 4)


def _two_steps(name: str, batch: int) -> None:
    config = load_config(name)
    detector = new_detector(
        config.arch, device="cpu", input_size=config.input_size, crop_margin=config.crop_margin,
        mean=config.mean, std=config.std, output=config.output,
    )  # fmt: skip
    recipe = config.make_recipe()
    size = recipe.crop_settings(detector.card).input_size
    steps = []
    settings = dataclasses.replace(config.train, epochs=2, batch=batch, validation=0.0)
    data = _reals(1, size, batch // 2)
    trained = train(detector, data, [], settings, recipe=recipe, progress=lambda note: steps.append(note))
    assert len(steps) == 2
    before, after = detector.module.state_dict(), trained.module.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    if name.endswith("published"):
        assert trained.card.mean == (0, 0, 0)
        assert trained.card.std == (1, 1, 1)
        x = trained.inputs(data[0].images[:1, : config.input_size, : config.input_size])
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
        assert trained.module(x).shape == (1, 2)
