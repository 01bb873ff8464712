from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors import Detector, new_detector
from stress.detectors.zoo import default_card
from stress.study.ablation import with_units
from stress.study.contributions import Head, contributions, mean_outputs, settings_of, value_range
from stress.study.neurons import sample
from stress.study.overlap import against_chance, chance, exchanged, halves, top
from stress.study.resampled import Resampled, room
from stress.study.units import CutNetwork
from tests.stress.synthetic import crops


class _Perceptron(nn.Module):
    """Two hidden layers over the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 7), nn.Linear(7, 5), nn.Linear(5, 1)

    def forward(self, x):
        x = torch.relu(self.first(x.mean((2, 3)) * 40))
        return self.last(torch.tanh(self.second(x)))


class _Around(_Perceptron):
    """A second way goes around the units."""

    def forward(self, x):
        return super().forward(x) + x.mean((1, 2, 3))[:, None]


def _detector(module: nn.Module) -> Detector:
    return Detector(card=default_card("small_cnn"), module=module.eval(), name="tiny")


def _pictures(count: int, side: int = 128) -> np.ndarray:
    colours = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3), np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (count, side, side, 3)))


def _brute_force(detector: Detector, layer: nn.Module, pictures: np.ndarray, mode: str) -> np.ndarray:
    """Each unit by a run of the whole network for every value, the layer's input changed on the way."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    detector.fake_probability(pictures)
    hook.remove()
    hidden = seen[0]
    low, high = hidden.min(0).values, hidden.max(0).values
    if mode == "faithful":
        low, high = low.clamp(max=1), high.clamp(min=0)
    found = []
    for unit in range(hidden.shape[1]):
        means = []
        for value in np.linspace(float(low[unit]), float(high[unit]), 4):

            def do(_, inputs, unit=unit, value=value):
                changed = inputs[0].clone()
                changed[:, unit] = value
                return changed

            hook = layer.register_forward_pre_hook(do)
            means.append(detector.fake_probability(pictures).mean())
            hook.remove()
        found.append(max(means) - min(means))
    return np.array(found)


@pytest.mark.parametrize("mode", ["faithful", "corrected"])
@pytest.mark.parametrize(("layer", "plain_sum"), [("second", False), ("last", True)])
def test_contributions_are_those_of_running_the_whole_network_again_for_each_value(layer, plain_sum, mode):
    module = _Perceptron()
    detector, pictures = _detector(module), _pictures(50)
    cut = CutNetwork(detector, layer)
    hidden = cut.hidden(pictures)
    head = Head(logit=cut.logit, affine=cut.affine(hidden))
    assert (head.affine is not None) == plain_sum
    wanted = _brute_force(detector, module.get_submodule(layer), pictures, mode)
    assert wanted.max() > 0.01
    np.testing.assert_allclose(contributions(head, hidden, mode=mode), wanted, atol=1e-5)
    np.testing.assert_allclose(contributions(Head(logit=cut.logit), hidden, mode=mode), wanted, atol=1e-5)


def test_the_published_range_takes_in_one_and_zero():
    hidden = torch.tensor([[2.0, -3.0, -1.0], [5.0, -2.0, 4.0]])
    assert [part.tolist() for part in value_range(hidden, "faithful")] == [[1, -3, -1], [5, 0, 4]]
    assert [part.tolist() for part in value_range(hidden, "corrected")] == [[2, -3, -1], [5, -2, 4]]


def test_means_of_clips_weigh_up_to_the_mean_of_all(monkeypatch):
    cut = CutNetwork(_detector(_Perceptron()))
    hidden = cut.hidden(_pictures(12))
    settings = settings_of(hidden, 3, "corrected")
    groups = np.array([0] * 5 + [1] * 7)
    for head in (Head(logit=cut.logit), Head(logit=cut.logit, affine=cut.affine(hidden))):
        whole = mean_outputs(head, hidden, settings, np.zeros(12, int))[0]
        parts = mean_outputs(head, hidden, settings, groups)
        np.testing.assert_allclose((5 * parts[0] + 7 * parts[1]) / 12, whole, atol=1e-6)
        monkeypatch.setattr("stress.study.contributions._VALUES_AT_ONCE", 1)  # a unit at a time
        np.testing.assert_allclose(mean_outputs(head, hidden, settings, groups), parts, atol=1e-6)
        monkeypatch.undo()


@pytest.mark.parametrize(("architecture", "side", "into", "units"), [
    ("small_cnn", 32, None, 96), ("meso4", 256, None, 16), ("mesoinception4", 256, None, 16),
    ("xception", 64, None, 2048), ("efficientnet_b0", 64, None, 1280),
])  # fmt: skip
def test_both_parts_of_a_cut_network_are_the_network(architecture, side, into, units):
    detector = new_detector(architecture, device="cpu", input_size=side)
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    cut = CutNetwork(detector, into)
    hidden = cut.hidden(pictures)
    assert hidden.shape == (3, units)
    probability = torch.sigmoid(cut.logit(hidden)).numpy()
    np.testing.assert_allclose(probability, detector.fake_probability(pictures), atol=1e-5)
    assert cut.affine(hidden) is not None


def test_the_published_units_of_shallownet_are_the_dense_layer_before_its_norm():
    from stress.detectors.shallownet import ShallowNet
    from stress.study.architectures import published

    module = ShallowNet(side=32)
    detector = _detector(module)
    detector.card = default_card("shallownet").__class__(**{**detector.card.__dict__, "input_size": 32})
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    cut = CutNetwork(detector, published("shallownet").units_into)
    hidden = cut.hidden(pictures)
    with torch.no_grad():
        wanted = torch.relu(module.fc1(module.features(detector.inputs(pictures)).flatten(1)))
    torch.testing.assert_close(hidden, wanted)
    np.testing.assert_allclose(torch.sigmoid(cut.logit(hidden)), detector.fake_probability(pictures), atol=1e-5)


def test_a_network_that_cannot_be_cut_there_is_refused():
    with pytest.raises(UserError, match="no module 'fc9'"):
        CutNetwork(_detector(_Perceptron()), "fc9")
    with pytest.raises(UserError, match="goes around"):
        CutNetwork(_detector(_Around()))
    with pytest.raises(UserError, match="no dense layer"):
        CutNetwork(_detector(nn.Conv2d(3, 1, 3)))
    cut = CutNetwork(new_detector(device="cpu"), "stages.4.first.0")
    with pytest.raises(UserError, match="maps, not units"):
        cut.hidden(_pictures(1))


def test_chance_is_hypergeometric_for_two_lists_and_what_is_drawn_for_more():
    np.testing.assert_allclose(chance(40, 15, 2), hypergeom.pmf(np.arange(16), 40, 15, 15), atol=1e-12)
    assert chance(1024, 512, 5) @ np.arange(513) == pytest.approx(32)
    generator = np.random.default_rng(0)
    drawn = generator.random((20_000, 4, 20)).argsort(-1).argsort(-1) < 10
    counts = np.bincount(drawn.all(1).sum(-1), minlength=11) / 20_000
    np.testing.assert_allclose(chance(20, 10, 4), counts, atol=0.015)
    level = against_chance(4, 20, 10, 4)
    assert level["p"] == pytest.approx(counts[4:].sum(), abs=0.01)
    assert level["low"] == 0
    assert 3 <= level["high"] <= 4
    assert against_chance(0, 20, 10, 4)["p"] == pytest.approx(1)


def test_equal_contributions_are_told_apart_by_chance_and_larger_ones_come_first():
    generator = np.random.default_rng(0)
    amounts = np.zeros((2000, 10))
    amounts[:, 7] = 1
    picked = np.stack([top(one, 5, generator.permutation(10)) for one in amounts])
    assert (picked.sum(1) == 5).all()
    assert picked[:, 7].all()
    np.testing.assert_allclose(np.delete(picked.mean(0), 7), 4 / 9, atol=0.05)
    assert top(np.arange(6.0), 2, np.arange(6)).tolist() == [False] * 4 + [True] * 2


def _made(different: float, seed: int = 0):
    """Clips of three data sets, eight people each; amounts of 200 units of fixed general size, and lists from them."""
    generator = np.random.default_rng(seed)
    dataset, cells = np.repeat(np.arange(3), 8), [(1, person) for _ in range(3) for person in range(8)]
    general = 3 * generator.random(200)
    own = different * generator.random((3, 200))
    amounts = general + own[dataset] + generator.normal(0, 0.3, (24, 200))
    orders = [generator.permutation(200) for _ in range(6)]

    def lists_of(sets):
        return np.stack([top(amounts[clips].mean(0), 100, orders[i]) for i, clips in enumerate(sets)])

    return lists_of, dataset, cells, generator


def test_units_of_different_general_size_pass_chance_and_not_the_exchange_of_data_sets():
    """Nothing distinguishes the data sets, but units differ: far above independence, and exactly as exchanged."""
    lists_of, dataset, cells, generator = _made(different=0)
    found = exchanged(lists_of, dataset, cells, draws=40, generator=generator)
    assert against_chance(found["observed"], 200, 100, 3)["p"] < 1e-6
    assert found["p"] > 0.05
    assert found["low"] - 2 <= found["observed"] <= found["high"] + 2
    assert found["exchangeable"] == 24
    halved = halves(lists_of, dataset, cells, draws=20, generator=generator)
    assert abs(halved["difference"]["mean"]) < 0.02
    assert halved["within"]["mean"] > 0.8


def test_data_sets_that_move_other_units_are_told_from_exchanged_ones():
    lists_of, dataset, cells, generator = _made(different=3)
    found = exchanged(lists_of, dataset, cells, draws=40, generator=generator)
    assert found["p"] < 0.05
    assert found["observed"] < found["low"]
    halved = halves(lists_of, dataset, cells, draws=20, generator=generator)
    assert halved["difference"]["low"] > 0.1


def test_clips_without_a_partner_are_not_exchanged():
    lists_of, dataset, _, generator = _made(different=3)
    found = exchanged(lists_of, dataset, list(range(24)), draws=5, generator=generator)
    assert found["p"] == 1
    assert found["mean"] == found["observed"]
    assert found["exchangeable"] == 0


def test_units_that_are_taken_away_are_at_their_mean():
    hidden = torch.tensor([[1.0, 4.0], [3.0, 8.0]])
    head = Head(logit=lambda h: h @ torch.tensor([1.0, -0.5]))
    kept = with_units(head, hidden, np.array([True, False]))
    np.testing.assert_allclose(kept, 1 / (1 + np.exp(-np.array([1 - 3, 3 - 3.0]))), atol=1e-6)
    removed = with_units(head, hidden, np.array([False, True]))
    np.testing.assert_allclose(removed, 1 / (1 + np.exp(-np.array([2 - 2, 2 - 4.0]))), atol=1e-6)


@pytest.mark.parametrize("mode", ["faithful", "corrected"])
def test_weighted_clips_contribute_as_if_each_were_there_so_often(mode):
    cut = CutNetwork(_detector(_Perceptron()), "second")
    hidden = cut.hidden(_pictures(40)) - 0.5
    head, clip = Head(logit=cut.logit), np.repeat(np.arange(8), 5)
    resampled = Resampled(head, hidden, clip, values=4, mode=mode)
    weights = np.array([[1.0] * 8, [2, 0, 1, 0, 3, 0, 1, 1], [0, 0, 0, 4, 0, 0, 0, 0]])
    found = resampled.amounts(weights)
    rows = [np.concatenate([np.flatnonzero(clip == i).repeat(int(w)) for i, w in enumerate(one)]) for one in weights]
    wanted = np.stack([contributions(head, hidden[one], mode=mode) for one in rows])
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)
    np.testing.assert_allclose(found, wanted, atol=0.01 * wanted.max())
    assert np.ptp(wanted, axis=0).max() > 0.1 * wanted.max()


def test_memory_of_units_is_bounded_and_both_labels_and_all_people_are_kept_evenly(monkeypatch):
    cut = CutNetwork(_detector(_Perceptron()))
    clips = crops(20, artefact=9, size=128, frames=5)
    asked = {"one": clips, "two": clips[::-1]}

    def sizes(limit):
        found = sample(cut, asked, limit, 4)
        for d in (0, 1):
            mine = np.flatnonzero(found.dataset == d)
            labels = found.labels[mine]
            yield len(mine), len(found.rows(mine)), int(labels.sum()), {found.cells[i] for i in mine}

    assert [part[:3] for part in sizes(200)] == [(40, 200, 20)] * 2
    assert [part[:3] for part in sizes(100)] == [(40, 80, 20)] * 2
    one, two = sizes(10)
    assert one == two
    assert one[:3] == (10, 10, 5)
    assert [part[:3] for part in sizes(1)] == [(2, 2, 1)] * 2
    lone = sample(cut, {"one": [clips[0], *clips[1::2]], "two": clips}, 4, 4)
    assert lone.labels[lone.dataset == 0].tolist().count(0) == 1
    monkeypatch.setattr("stress.study.resampled.MOST", 4 * 8 * 5 * 19)
    assert room(5, 4) == 32
    assert [part[:3] for part in sizes(200)] == [(8, 40, 4)] * 2


def test_resampled_contributions_keep_their_digits_however_small_they_are():
    """Beside an answer near 1 they are far below what float32 resolves there."""
    generator = np.random.default_rng(0)
    hidden = torch.from_numpy(generator.random((40, 6), np.float32))
    weights = torch.tensor([1e-5, 2e-5, 0.0, 1e-3, 5e-4, 1e-2], dtype=torch.float64)
    head = Head(logit=lambda h: (h.double() @ weights + 9).float(), affine=(weights, torch.tensor(9.0)))
    found = Resampled(head, hidden, np.repeat(np.arange(8), 5), values=4, mode="corrected").amounts(np.ones((1, 8)))
    np.testing.assert_allclose(found[0], contributions(head, hidden), rtol=1e-4)
    assert found[0, 2] == 0
