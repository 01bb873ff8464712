"""The recipe locate-and-verify: its arithmetic on toy cases, and that it learns whether and where."""

from __future__ import annotations

import dataclasses
import types

import cv2
import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.detectors import Detector, locates, maps, new_detector
from stress.detectors.detector import fake_logit
from stress.detectors.locate_verify.network import Found
from stress.training import TrainSettings, train
from stress.training.batches import Batch
from stress.training.config import load_config
from stress.training.loop import _draws
from stress.training.recipes import make_recipe
from stress.training.recipes.face_parts import part_region
from stress.training.recipes.locate_and_verify import cells_of, mixed, pseudo_labels
from tests.stress.synthetic import clip, sides

NAME = "locate-and-verify"


def squares(people: int, *, seed: int = 0, size: int = 64, frames: int = 4, masks: bool = True) -> list[Crops]:
    """For every person a real, and a fake with a fine texture in a square somewhere."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    texture = 24.0 * ((rows + columns) % 4 < 2)
    found = []
    for number in range(people):
        picture = cv2.resize(rng.uniform(60, 170, (5, 5, 3)).astype(np.float32), (size, size), interpolation=2)
        target, source = f"s{seed}p{number}", f"s{seed}p{(number + 1) % people}"
        left, top = (int(value) for value in rng.integers(0, size // 2, 2))
        mask = np.zeros((size, size), np.uint8)
        mask[top : top + size // 2, left : left + size // 2] = 255
        for label in (0, 1):
            noisy = picture + rng.normal(0, 4, (frames, size, size, 3))
            noisy += label * (texture * (mask > 0))[..., None]
            found.append(
                Crops(
                    clip=clip(target, label, (source, target) if label else (target,)),
                    frames=np.arange(frames),
                    images=np.clip(noisy, 0, 255).astype(np.uint8),
                    masks=np.repeat(mask[None], frames, 0) if label and masks else None,
                )
            )
    return found


def small(side: int = 64) -> Detector:
    return new_detector("locate_verify_small", device="cpu", input_size=side)


def iou(detector: Detector, data: list[Crops]) -> float:
    found = []
    for item in sides(data)[1]:
        exact = cells_of(torch.from_numpy(item.masks).float() / 255, 4, 0.5).numpy() == 1
        said = maps(detector, item.images) >= 0.5
        found += [(a & b).sum() / (a | b).sum() for a, b in zip(exact, said, strict=True)]
    return float(np.mean(found))


def accuracy(detector: Detector, data: list[Crops]) -> float:
    return float(
        np.mean([(detector.fake_probability(c.images) >= detector.card.threshold) == c.clip.label for c in data])
    )


def test_it_learns_whether_and_where():
    settings = TrainSettings(epochs=6, batch=16, lr=3e-3, optimizer="adam", weight_decay=1e-5)
    unseen, start = squares(8, seed=5), small()
    assert iou(start, unseen) < 0.5
    losses = []
    trained = train(
        start, *sides(squares(10)), settings, recipe=make_recipe(NAME), on_epoch=lambda epoch: losses.append(epoch)
    )
    assert losses[-1].loss < 0.7 * losses[0].loss
    assert losses[-1].validation_auc > 0.95
    assert accuracy(trained, unseen) > 0.9
    assert iou(trained, unseen) > 0.7
    assert "recipe locate-and-verify" in trained.card.training_data
    assert trained.card.map_trained is True


def test_the_last_training_decides_whether_a_map_counts_as_trained():
    settings, data = TrainSettings(epochs=1, batch=2, validation=0.0), sides(squares(2, size=32, frames=1))
    detector = small(32)
    assert detector.card.map_trained is None
    located = train(detector, *data, settings, recipe=make_recipe(NAME))
    assert located.card.map_trained is True
    assert train(located, *data, settings).card.map_trained is False
    plain = new_detector("small_cnn", device="cpu", input_size=32)
    assert train(plain, *data, settings).card.map_trained is None


class _Said(torch.nn.Module):
    """A network whose answers are given."""

    def __init__(self, verdict: torch.Tensor, cells: torch.Tensor, patches: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.said = Found(verdict=verdict + self.weight, cells=cells, patches=patches)
        self.seen: list[torch.Tensor] = []

    def both(self, x: torch.Tensor) -> Found:
        self.seen.append(x)
        return self.said

    locate = both


def learner_of(net: _Said, **options):
    detector = small(32)
    detector.module = net
    return make_recipe(NAME, options).learner(detector, TrainSettings()), detector


def ce(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross entropy over cells: logits (B, 2, g, g), labels (B, g, g)."""
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-np.take_along_axis(logs, labels[:, None], 1).mean())


def case(known: list[bool]) -> tuple[Batch, _Said]:
    """Fake and real in turn, 32 px, cells of 16 px; what the network says is random."""
    rng, n = np.random.default_rng(0), len(known)
    masks = np.zeros((n, 32, 32), np.float32)
    masks[::2, :10, :10] = 1  # the upper left cell
    masks[[not value for value in known]] = np.nan
    regions = np.zeros((n, 32, 32), np.float32)
    regions[:, 20:30, 20:30] = 1  # the lower right cell
    batch = Batch(
        images=np.zeros((n, 32, 32, 3), np.uint8), labels=np.tile([1, 0], n // 2).astype(np.float32), masks=masks,
        regions=regions,
    )  # fmt: skip
    patches = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 5, 2, 2)).astype(np.float32)), dim=1)
    cells = torch.from_numpy(rng.normal(size=(n, 2, 2, 2)).astype(np.float32))
    return batch, _Said(torch.from_numpy(rng.normal(size=(n, 1)).astype(np.float32)), cells, patches)


def bce(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))


def test_with_masks_the_loss_is_that_of_verdict_and_cells_one_to_one():
    batch, net = case([True] * 4)
    learner, detector = learner_of(net, mixup=0.0)
    x = torch.randn(4, 3, 32, 32)
    exact = np.zeros((4, 2, 2), np.int64)
    exact[::2, 0, 0] = 1
    logit = fake_logit(net.said.verdict, detector.card).detach().numpy()
    want = bce(logit, batch.labels) + ce(net.said.cells.numpy(), exact)
    assert float(learner.loss(x, batch)) == pytest.approx(want, rel=1e-5)
    assert net.seen[0] is x


def test_mixup_mixes_pictures_labels_and_cells_by_one_share(monkeypatch):
    batch, net = case([True] * 4)
    learner, detector = learner_of(net, mixup=1.0)
    order = torch.tensor([1, 3, 0, 2])
    monkeypatch.setattr(torch, "randperm", lambda count: order)
    monkeypatch.setattr(torch.distributions, "Beta", lambda a, b: types.SimpleNamespace(sample=lambda: 0.3))
    x = torch.randn(4, 3, 32, 32)
    loss = float(learner.loss(x, batch))
    torch.testing.assert_close(net.seen[0], 0.3 * x + 0.7 * x[order])
    exact = np.zeros((4, 2, 2), np.int64)
    exact[::2, 0, 0] = 1
    logit, cells = fake_logit(net.said.verdict, detector.card).detach().numpy(), net.said.cells.numpy()
    want = sum(
        share * (bce(logit, labels) + ce(cells, target))
        for share, labels, target in ((0.3, batch.labels, exact), (0.7, batch.labels[order], exact[order]))
    )
    assert loss == pytest.approx(want, rel=1e-5)
    half = torch.tensor([0.0, 2.0])
    torch.testing.assert_close(mixed(half, 0.25, torch.tensor([1, 0])), torch.tensor([1.5, 0.5]))


@pytest.mark.parametrize("known", [[False, True, False, True], [True, True, False, True]])
def test_without_masks_patches_are_labelled_by_what_they_are_like_and_reals_count_twice_at_first(known):
    """No mixup then, also where only some masks are missing; what is known is used."""
    batch, net = case(known)
    learner, detector = learner_of(net, mixup=1.0)
    patches = net.said.patches.numpy()
    sure = [patches[i, :, 0, 0] if known[i] else patches[i, :, 1, 1] for i in (0, 2)]
    false, true = np.mean(sure, axis=0), patches[[1, 3]].mean((0, 2, 3))
    labels = np.zeros((4, 2, 2), np.int64)
    for i in (0, 2):
        for row in range(2):
            for column in range(2):
                p = patches[i, :, row, column]
                near = [float(p @ anchor / np.linalg.norm(anchor)) for anchor in (false, true)]
                labels[i, row, column] = near[0] > near[1]
        if known[i]:
            labels[i] = [[1, 0], [0, 0]]
    assert 0 < labels.sum() < 8
    cells = net.said.cells.numpy()
    base = bce(fake_logit(net.said.verdict, detector.card).detach().numpy(), batch.labels) + ce(cells, labels)
    reals = ce(cells[[1, 3]], np.zeros((2, 2, 2), np.int64))
    x = torch.randn(4, 3, 32, 32)
    for epoch, want in ((1, base + reals), (2, base + reals), (3, base)):
        learner.set_rate(0, epoch, 0.0)
        assert float(learner.loss(x, batch)) == pytest.approx(want, rel=1e-5)
    assert all(seen is x for seen in net.seen)


def test_pseudo_labels_of_a_batch_with_one_kind_only():
    patches, part = torch.randn(2, 3, 2, 2), torch.tensor([[[1, 0], [0, 0]]] * 2)
    assert pseudo_labels(patches, torch.tensor([False, False]), part).sum() == 0
    torch.testing.assert_close(pseudo_labels(patches, torch.tensor([True, True]), part), part)


def test_a_cell_is_forged_where_any_pixel_is():
    mask = torch.zeros(1, 32, 32)
    mask[0, 15, 16] = 0.4
    assert cells_of(mask, 2, 0.0).tolist() == [[[0, 1], [0, 0]]]
    assert cells_of(mask, 2, 0.5).sum() == 0
    odd = torch.zeros(1, 299, 299)
    odd[0, 13, 298] = 1  # 299 is padded by 2 and 3 to 304: cells of 16 px that begin at -2
    assert cells_of(odd, 19, 0.0).nonzero().tolist() == [[0, 0, 18]]
    odd[0, 14, 298] = 1
    assert cells_of(odd, 19, 0.0).nonzero().tolist() == [[0, 0, 18], [0, 1, 18]]


def test_masks_are_ignored_used_or_asked_for():
    data = sides(squares(4) + squares(4, seed=1, masks=False))
    draw = lambda **options: make_recipe(NAME, options).draws(*data, 8, np.random.default_rng(0))  # noqa: E731
    with pytest.raises(UserError, match="4 of 8 fakes have no exact mask"):
        draw(masks="use")
    recipe, generator = make_recipe(NAME, {"masks": "ignore"}), np.random.default_rng(0)
    batch = recipe.change(_draws(recipe, [*data[0], *data[1]], 8, generator).draw(), generator)
    assert np.isnan(batch.masks[batch.labels == 1]).all()
    assert (batch.masks[batch.labels == 0] == 0).all()
    kept = [draw().draw() for _ in range(4)]
    assert 0 < sum(np.isnan(batch.masks[batch.labels == 1]).any((1, 2)).sum() for batch in kept) < 16
    for options in ({"masks": "some"}, {"mixup": 2}, {"part": "ear"}, {"forged_above": 1.0}, {"mixup_alpha": 0}):
        with pytest.raises(UserError, match="is not possible"):
            make_recipe(NAME, options)


def test_a_network_without_a_map_is_refused():
    detector = new_detector("small_cnn", device="cpu", input_size=32)
    assert not locates(detector)
    with pytest.raises(UserError, match="does not say where") as caught:
        train(detector, *sides(squares(4, size=32)), TrainSettings(epochs=1, batch=4), recipe=make_recipe(NAME))
    assert "locate_verify_small" in str(caught.value)


@pytest.mark.parametrize(("count", "lips"), [(478, (61, 291, 0, 17)), (68, (48, 54, 51, 57))])
def test_the_part_of_the_face_is_the_box_around_its_landmarks(count, lips):
    points = np.full((count, 2), 150, np.float32)
    points[list(lips)] = [[100, 200], [180, 200], [150, 190], [150, 220]]
    which = {478: "LIPS_OUTER", 68: "LIPS_OUTER_68"}[count]
    from faceswap_hq.faces import regions

    every = [*getattr(regions, which), *(range(60, 68) if count == 68 else ())]
    points[[i for i in every if i not in lips]] = (150, 205)
    rows, columns = np.nonzero(part_region("mouth")(points, 299))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (95, 185, 185, 225)
    assert part_region("eyes")(points, 299).sum() == 100  # all eye points at one place, and 5 px around it
    assert part_region("nose")(None, 40).nonzero()[0].min() == 10


def test_the_reduced_and_the_published_setting():
    how = load_config(NAME)
    assert how.arch == "locate_verify_small"
    how.make_recipe()
    published = load_config(f"{NAME}-published")
    assert (published.arch, published.input_size, published.pretrained) == ("locate_verify", 299, True)
    recipe, settings = published.make_recipe(), published.train
    assert (recipe.forged_above, recipe.mixup, recipe.mixup_alpha, recipe.real_epochs) == (0, 0.5, 1, 2)
    assert (settings.epochs, settings.batch, settings.lr, settings.weight_decay) == (30, 16, 5e-4, 1e-5)
    assert (settings.optimizer, settings.schedule) == ("adam", "step")
    assert (settings.step_epochs, settings.step_factor) == (5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("masks", ["auto", "ignore"])
def test_the_published_setting_takes_a_step(masks):
    how = load_config(f"{NAME}-published")
    detector = new_detector(how.arch, device="cpu", input_size=how.input_size, crop_margin=how.crop_margin)
    before = detector.module.residual[6][1].conv1.weight.clone()
    data = sides(squares(2, size=299, frames=1))
    settings = dataclasses.replace(how.train, epochs=1, batch=2)
    recipe = make_recipe(NAME, {**how.options, "masks": masks})
    trained = train(detector, *data, settings, recipe=recipe)
    assert not torch.equal(before, trained.module.residual[6][1].conv1.weight)
    assert maps(trained, data[1][0].images).shape == (1, 19, 19)
