from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from stress.data.crops import Crops
from stress.detectors import Detector
from stress.detectors.zoo import build
from stress.evaluation.metrics import youden_threshold
from stress.evaluation.scoring import score
from stress.training import Recipe, TrainSettings, train
from stress.training.augment import augment
from stress.training.batches import AlternatingBatches, BalancedBatches, ReplayBatches
from stress.training.freezing import freeze
from stress.training.holdout import hold_out
from stress.training.loop import _hold_out
from tests.stress.synthetic import crops, sides, small_detector

FAST = TrainSettings(epochs=5, batch=16, lr=3e-3)


def _auc(detector: Detector, data: list[Crops]) -> float:
    table = score(detector, data)
    return float(roc_auc_score(table.label, table.score))


def _contrary(seed: int, people: int = 10) -> list[Crops]:
    """Blue pictures in which the reals carry the artefact and the fakes don't: learning it undoes what was learned."""
    data = []
    for item in crops(people, artefact=14, seed=seed):
        images = item.images.copy()
        images[..., 2] = 255
        flipped = dataclasses.replace(item.clip, label=1 - item.clip.label)
        data.append(Crops(clip=flipped, frames=item.frames, images=images))
    return data


def test_replay_keeps_what_fine_tuning_would_forget():
    old, old_unseen, new = crops(10, artefact=14), crops(8, artefact=14, seed=5), _contrary(1)
    start = train(small_detector(), *sides(old), FAST)
    assert _auc(start, old_unseen) > 0.95
    plain = train(start, *sides(new), FAST)
    assert _auc(plain, old_unseen) < 0.6
    replayed = train(start, *sides(new), FAST, replay=old)
    assert _auc(replayed, old_unseen) > 0.8
    assert "clips of the old data" in replayed.card.training_data


def test_nobody_held_out_is_replayed():
    both = crops(12, artefact=0)
    for seed in range(20):
        new, old = _hold_out(both, crops(12, artefact=0), dataclasses.replace(FAST, seed=seed), Recipe())
        assert new.people
        learned = {person for part in (new, old) for item in part.train for person in item.clip.people}
        assert learned.isdisjoint({*new.people, *old.people})


def test_a_fake_stands_beside_the_stretch_it_was_made_from() -> None:
    """Several reals of one source clip, of other frames each: the fake names its own."""
    made = crops(6, artefact=0)
    made = [dataclasses.replace(item, clip=dataclasses.replace(item.clip, source_clip="same")) for item in made]
    reals, fakes = sides(made)
    reals = [dataclasses.replace(item, images=np.full_like(item.images, i)) for i, item in enumerate(reals)]
    fakes = [
        dataclasses.replace(item, clip=dataclasses.replace(item.clip, id=f"f{i}", matched=reals[i].clip.id),
                            images=np.full_like(item.images, i))
        for i, item in enumerate(fakes)
    ]  # fmt: skip
    for _ in range(5):
        images = BalancedBatches(reals, fakes, 16, np.random.default_rng(0)).draw().images
        assert np.array_equal(images[0::4], images[1::4])  # every other real is the fake's own


def test_replay_batches_are_half_old():
    old, new = crops(4, artefact=0), _contrary(1, people=4)
    parts = [BalancedBatches(*sides(data), 8, np.random.default_rng(0)) for data in (new, old)]
    drawn = ReplayBatches(*parts).draw()
    images, labels = drawn.images, drawn.labels
    blue = (images[..., 2] == 255).all((1, 2))
    assert blue.tolist() == [True] * 8 + [False] * 8
    assert labels.tolist() == [1, 0] * 8


def test_old_and_new_batches_come_in_turn_and_whole():
    old, new = crops(4, artefact=0), _contrary(1, people=4)
    parts = [BalancedBatches(*sides(data), 8, np.random.default_rng(0)) for data in (new, old)]
    batches = AlternatingBatches(*parts)
    assert batches.per_epoch == 2 * parts[0].per_epoch
    blue = [(batches.draw().images[..., 2] == 255).all() for _ in range(4)]
    assert blue == [False, True, False, True]


def test_alternating_replay_takes_whole_batches_of_each(monkeypatch):
    drawn = []
    plain = Recipe.draws
    monkeypatch.setattr(Recipe, "draws", lambda self, *a: (drawn.append(a[2]), plain(self, *a))[1])
    old, new = crops(8, artefact=14), _contrary(1, people=8)
    settings = dataclasses.replace(FAST, epochs=1, batch=6, replay="alternating", validation=0.0)
    train(small_detector(), *sides(new), settings, replay=old)
    train(small_detector(), *sides(new), dataclasses.replace(settings, batch=8, replay="mixed"), replay=old)
    assert drawn == [6, 6, 4, 4]
    with pytest.raises(ValueError, match="replay"):
        dataclasses.replace(FAST, replay="shuffled")


def test_learns_an_artefact_that_is_there_and_finds_nothing_where_nothing_is():
    unseen = crops(10, artefact=14, seed=5)
    epochs = []
    start = small_detector()
    trained = train(start, *sides(crops(14, artefact=14)), FAST, on_epoch=epochs.append)
    assert _auc(trained, unseen) > 0.95
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].validation_auc is not None
    # The threshold was chosen on people held out, and does on strangers what it should.
    table = score(trained, unseen)
    assert ((table.score >= trained.card.threshold) == (table.label == 1)).mean() > 0.9
    assert "held out" in trained.card.threshold_source
    assert _auc(start, unseen) < 0.9, "the detector given was changed"

    fooled = train(start, *sides(crops(14, artefact=0)), dataclasses.replace(FAST, epochs=2))
    assert abs(_auc(fooled, crops(20, artefact=0, seed=6)) - 0.5) < 0.15


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    data = sides(crops(6, artefact=14, frames=3))
    settings = dataclasses.replace(FAST, epochs=1, batch=8)
    torch.rand(3)  # the global generator's state must not matter
    first = train(small_detector(), *data, settings).module.state_dict()
    torch.rand(5)
    again = train(small_detector(), *data, settings).module.state_dict()
    other = train(small_detector(), *data, dataclasses.replace(settings, seed=1)).module.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_fine_tuning_the_last_layer_moves_nothing_else():
    start = small_detector()
    trained = train(start, *sides(crops(6, artefact=14, frames=3)), dataclasses.replace(FAST, epochs=1, layers="last"))
    before, after = start.module.state_dict(), trained.module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}  # batch-norm statistics included in what stays
    assert all(value.requires_grad for value in trained.module.parameters())


@pytest.mark.parametrize("architecture", ["small_cnn", "meso4", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_freezing_counts_weight_layers_from_the_end(architecture):
    module = build(architecture, 1)
    frozen = freeze(module, "last")
    (head,) = {name.rsplit(".", 1)[0] for name, value in module.named_parameters() if value.requires_grad}
    assert module.get_submodule(head).weight.shape[0] == 1
    assert all(not value.requires_grad for part in frozen for value in part.parameters())
    trained = []
    for layers in (1, 3, 10_000, "all"):
        freeze(module, layers)
        trained.append(sum(value.numel() for value in module.parameters() if value.requires_grad))
    assert trained == sorted(trained)
    assert trained[-2] == trained[-1] == sum(value.numel() for value in module.parameters())


def test_without_people_to_hold_out_the_old_threshold_stays_and_the_card_says_so():
    data = crops(2, artefact=14, frames=2)
    trained = train(small_detector(), *sides(data), dataclasses.replace(FAST, epochs=1, batch=4))
    assert trained.card.threshold == 0.5
    assert "kept" in trained.card.threshold_source


def test_after_a_few_steps_batch_norm_statistics_are_those_of_the_faces():
    """Running averages would still hold 0.9 ** 12 = 28 % of their initial variance of 1."""
    data = crops(4, artefact=14)
    settings = dataclasses.replace(FAST, epochs=4, augment=False, validation=0.0)
    trained = train(small_detector(), *sides(data), settings)
    with torch.inference_mode():
        x = trained.inputs(np.concatenate([item.images for item in data]))
        residual = x - torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        found = trained.module.stem[0](residual).var((0, 2, 3))
    ratio = trained.module.stem[1].running_var / found
    assert float(ratio.min()) > 0.8
    assert float(ratio.max()) < 1.25


def test_minutes_end_the_training():
    settings = dataclasses.replace(FAST, epochs=None, minutes=0.01, batch=4)
    epochs = []
    train(small_detector(), *sides(crops(4, artefact=14, frames=2)), settings, on_epoch=epochs.append)
    assert epochs[-1].seconds < 5


def test_held_out_people_occur_nowhere_in_training():
    data = crops(20, artefact=0, frames=1, size=8)
    for seed in range(5):
        held = hold_out(data, 0.2, seed)
        inside = {person for item in held.validation for person in item.clip.people}
        outside = {person for item in held.train for person in item.clip.people}
        assert inside <= set(held.people)
        assert not inside & outside
        assert {item.clip.label for item in held.validation} == {0, 1}
        assert len(held.train) + len(held.validation) + len(held.left_out) == len(data)
        assert all(len(set(item.clip.people) & set(held.people)) == 1 for item in held.left_out)
    assert hold_out(data, 0.0, 0).train == data


def test_batches_are_half_fake_see_every_clip_and_pair_frames():
    data = crops(5, artefact=0, frames=4, size=8)
    for item in data:  # a face that says who and when it is
        item.images[:] = item.images[:1] * 0
        item.images[:, 0, 0, 0] = int(item.clip.id.split("p")[1])
        item.images[:, 0, 0, 1] = item.frames
    reals, fakes = sides(data)
    batches = BalancedBatches(reals, fakes[:3], 8, np.random.default_rng(0))
    assert batches.per_epoch == 5  # 20 reals, 4 a batch
    seen = set()
    for _ in range(10):
        drawn = batches.draw()
        images, labels = drawn.images, drawn.labels
        assert labels.tolist() == [1, 0] * 4
        marks = images[:, 0, 0, :2].tolist()
        assert marks[0] == marks[1]  # a fake beside its own real, same frame
        assert marks[4] == marks[5]
        seen |= {(mark[0], label) for mark, label in zip(marks, labels.tolist(), strict=True)}
    assert seen == {(i, 0.0) for i in range(5)} | {(i, 1.0) for i in range(3)}


def test_augmentation_is_mild_seeded_and_leaves_its_input():
    image = crops(1, artefact=0)[0].images[0]
    kept = image.copy()
    drawn = [augment(image, np.random.default_rng(seed)) for seed in range(60)]
    assert np.array_equal(image, kept)
    assert all(item.shape == image.shape and item.dtype == np.uint8 for item in drawn)
    assert np.array_equal(drawn[3], augment(image, np.random.default_rng(3)))
    distance = [min(np.abs(item[:, ::step].astype(float) - image).mean() for step in (1, -1)) for item in drawn]
    assert max(distance) < 30
    assert np.mean([d > 0 for d in distance]) > 0.7


def test_threshold_has_the_highest_youden_index_and_lies_between_scores():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    scores = np.clip(0.3 * labels + rng.normal(0.4, 0.2, 200), 0, 1)
    fpr, tpr, _ = roc_curve(labels, scores)
    threshold = youden_threshold(scores, labels)
    called = scores >= threshold
    assert called[labels == 1].mean() - called[labels == 0].mean() == pytest.approx((tpr - fpr).max())
    assert threshold not in scores
    assert youden_threshold(np.array([0.2, 0.8]), np.array([0, 1])) == pytest.approx(0.5)
    assert youden_threshold(np.array([0.8, 0.2]), np.array([0, 1])) in (0.1, 1.0)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"epochs": None}, {"batch": 3}, {"lr": 0}, {"layers": "first"}, {"validation": 1.0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) if wrong != {"epochs": None} else "minutes"):
        TrainSettings(**wrong)
