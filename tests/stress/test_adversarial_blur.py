"""The recipe adversarial-blur: the game as a whole."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors import Detector, new_detector
from stress.evaluation.scoring import score
from stress.training import TrainSettings, train
from stress.training.batches import Batch
from stress.training.config import load_config
from stress.training.loop import Epoch
from stress.training.recipes import make_recipe
from stress.training.recipes.adversarial_blur import AdversarialBlur, AdversarialLearner
from tests.stress.synthetic import crops, sides, small_detector

FAST = TrainSettings(epochs=3, batch=16, lr=3e-3)
ATTACKS = [
    {},
    {"generators": 1, "constraint": "norm", "norm": 12.5, "learn_norm": True},
    {"own_norms": True, "constraint": "none", "window": 5},
    {"diff_augment": True},
    {"attack": "gradient"},
    {"attack": "gradient", "mode": "corrected"},
    {"attack": "fgsm"},
    {"attack": "pgd", "mode": "corrected", "epsilon": 8 / 255},
]


def _batch(pairs: int = 4) -> Batch:
    fakes, reals = (side[:pairs] for side in reversed(sides(crops(pairs, artefact=14, frames=1))))
    images = [item.images[0] for pair in zip(fakes, reals, strict=True) for item in pair]
    return Batch(images=np.stack(images), labels=np.tile(np.float32([1, 0]), pairs))


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def _learner(detector: Detector, **options) -> AdversarialLearner:
    learner = AdversarialBlur(**{"width": 4, "blocks": 1, **options}).learner(detector, FAST)
    assert isinstance(learner, AdversarialLearner)
    return learner


@pytest.mark.parametrize("options", ATTACKS)
def test_the_adversarys_turn_leaves_the_detector_bit_by_bit_and_the_detectors_turn_the_adversary(options, monkeypatch):
    detector = small_detector()
    detector.module.train()
    detector.module.stages[0].eval()  # as a frozen part is
    learner, batch = _learner(detector, **{"g_per_d": 1, **options}), _batch(2)
    x, labels = detector.inputs(batch.images), torch.from_numpy(batch.labels)
    before = _state(detector.module)
    started = [_state(generator) for generator in learner.generators]
    changed, _ = learner.play(x, labels)
    assert _same(before, detector.module.state_dict())
    assert all(value.grad is None and value.requires_grad for value in learner.parameters)
    assert detector.module.training
    assert not detector.module.stages[0].training
    assert all(not _same(state, g.state_dict()) for state, g in zip(started, learner.generators, strict=True))
    assert not changed.requires_grad

    met = [_state(generator) for generator in learner.generators]
    monkeypatch.setattr(learner, "play", lambda *_: (changed, None))
    learner.step(x, batch)
    assert all(_same(state, g.state_dict()) for state, g in zip(met, learner.generators, strict=True))
    assert not _same(before, detector.module.state_dict())


@pytest.fixture(scope="module")
def fixed() -> Detector:
    """A detector that knows the artefact, and is not trained any further."""
    settings = dataclasses.replace(FAST, epochs=4, augment=False, validation=0.0)
    return train(small_detector(), *sides(crops(8, artefact=14)), settings)


@pytest.mark.parametrize("options", [{}, {"generators": 1}, {"constraint": "norm", "norm": 12.5}])
def test_generators_learn_to_raise_the_loss_of_a_fixed_detector(fixed, options):
    batch = _batch(4)
    x, labels = fixed.inputs(batch.images), torch.from_numpy(batch.labels)
    learner = _learner(fixed, **{"g_per_d": 1, "generator_lr": 0.01, **options})

    def loss(pictures: torch.Tensor) -> float:
        with torch.no_grad():
            logit = fixed.fake_logit(pictures)
        return float(nn.functional.binary_cross_entropy_with_logits(logit, labels))

    found = [loss(learner.play(x, labels)[0]) for _ in range(12)]
    assert np.mean(found[-3:]) > np.mean(found[:3])
    assert np.mean(found[-3:]) > 2 * loss(x)


def test_each_of_two_generators_sees_its_own_class():
    detector, batch = small_detector(), _batch()
    learner = _learner(detector)
    seen = []
    for generator in learner.generators:
        generator.register_forward_pre_hook(lambda module, given: seen.append((module, given[0])))
    x, labels = detector.inputs(batch.images), torch.from_numpy(batch.labels)
    learner.play(x, labels)
    assert len(seen) == 2 * 3  # each three times, on the same batch
    for module, given in seen:
        assert torch.equal(given, x[labels == learner.generators.index(module)])


def test_the_detectors_loss_is_the_mean_over_the_four_groups_and_its_weight_can_be_changed():
    detector, batch = small_detector(), _batch()
    detector.module.eval()
    x = detector.inputs(batch.images)
    both = torch.cat([x, x.flip(-1) * 0.5])
    each = nn.functional.binary_cross_entropy_with_logits(
        detector.fake_logit(both), torch.from_numpy(np.tile(batch.labels, 2)), reduction="none"
    )
    assert float(_learner(detector).loss(both, batch).detach()) == pytest.approx(float(each.mean()), rel=1e-5)
    weighed = (each[:8].mean() + 0.25 * each[8:].mean()) / 1.25
    found = _learner(detector, adversarial_weight=0.25).loss(both, batch)
    assert float(found.detach()) == pytest.approx(float(weighed), rel=1e-5)


def test_only_untouched_pictures_pass_the_detectors_own_norms_when_changed_ones_have_theirs():
    batch = _batch()
    for own, expected in ((False, 16), (True, 8)):
        detector = small_detector()
        learner, seen = _learner(detector, g_per_d=1, own_norms=own), []

        def note(norm, given, seen=seen):
            if norm.training:  # not while it judges
                seen.append(len(given[0]))

        detector.module.stem[1].register_forward_pre_hook(note)
        detector.module.train()
        x = detector.inputs(batch.images)
        learner.step(x, batch)
        assert seen == [expected]
        assert len(learner.shown(x)) == expected  # by these its statistics are measured anew


@pytest.mark.parametrize("options", [ATTACKS[0], ATTACKS[2], ATTACKS[5], ATTACKS[7]])
def test_it_trains_and_leaves_a_sheet_of_what_it_did(options):
    epochs: list[Epoch] = []
    shown: dict[str, np.ndarray] = {}
    recipe = make_recipe("adversarial-blur", {"width": 2, "blocks": 0, "g_per_d": 1, **options})
    trained = train(
        small_detector(), *sides(crops(8, artefact=20, frames=3)), dataclasses.replace(FAST, batch=8),
        recipe=recipe, on_epoch=epochs.append, on_pictures=shown.update,
    )  # fmt: skip
    assert epochs[-1].loss < epochs[0].loss
    table = score(trained, crops(6, artefact=20, frames=2, seed=5))
    assert table[table.label == 1].score.mean() > table[table.label == 0].score.mean()
    assert "adversarial-blur" in trained.card.training_data
    blurs = recipe.attack in ("generator", "gradient")
    ((name, picture),) = shown.items()
    assert name == ("blurred" if blurs else "changed")
    assert picture.shape == ((8 if blurs else 6) * (96 + 18), 4 * 96, 3)
    assert picture.dtype == np.uint8
    reals, after = (picture[row * 114 + 18 : row * 114 + 114].astype(float) for row in (0, 2 if blurs else 1))
    assert 0 < np.abs(reals - after).mean() < 30


def test_the_same_seed_gives_the_same_detector():
    data = sides(crops(4, artefact=14, frames=1))
    settings = dataclasses.replace(FAST, epochs=1, batch=4)
    recipe = make_recipe("adversarial-blur", {"width": 2, "blocks": 1, "g_per_d": 1, "diff_augment": True})
    first, again = (_state(train(small_detector(), *data, settings, recipe=recipe).module) for _ in range(2))
    assert _same(first, again)
    other = train(small_detector(), *data, dataclasses.replace(settings, seed=1), recipe=recipe)
    assert not _same(first, other.module.state_dict())


def test_generators_follow_the_schedule_at_their_own_rate():
    settings = TrainSettings(lr=5e-4, optimizer="radam", schedule="step", step_epochs=15, step_factor=0.1, warmup=0)
    learner = AdversarialBlur(width=2).learner(small_detector(), settings)
    for epoch, factor in ((1, 1), (15, 1), (16, 0.1), (31, 0.01)):
        learner.set_rate(100, epoch, 0.1)
        assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4 * factor)
        for optimizer in learner._generator_optimizers:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 * factor)


@pytest.mark.parametrize(
    "wrong",
    [{"attack": "cw"}, {"generators": 3}, {"constraint": "box"}, {"window": 4}, {"window": 1}, {"g_per_d": 0},
     {"learn_norm": True}, {"mode": "right"}, {"epsilon": 0.0}, {"adversarial_weight": -1.0}],
)  # fmt: skip
def test_options_are_checked(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        make_recipe("adversarial-blur", wrong)


def test_the_small_configuration_trains():
    config = load_config("adversarial-blur")
    settings = dataclasses.replace(config.train, epochs=1, batch=4)
    train(small_detector(), *sides(crops(2, artefact=14, frames=2)), settings, recipe=config.make_recipe())


@pytest.mark.slow
def test_the_published_configuration_takes_two_steps():
    config = load_config("adversarial-blur-published")
    detector = new_detector(config.arch, device="cpu", input_size=config.input_size, output=config.output)
    assert detector.card.mean == detector.card.std == (0.5, 0.5, 0.5)
    data = sides(crops(2, artefact=14, size=256, frames=1))
    settings = dataclasses.replace(config.train, epochs=1, batch=2, validation=0.0)
    epochs: list[Epoch] = []
    trained = train(detector, *data, settings, recipe=config.make_recipe(), on_epoch=epochs.append)
    assert epochs[-1].steps == 2
    assert all(torch.isfinite(value).all() for value in trained.module.state_dict().values())
