"""Sharpness-aware steps against closed forms."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from torch import nn

from stress.training import TrainSettings
from stress.training.batches import Batch
from stress.training.sam import SharpnessAwareLearner, statistics_kept

NOTHING = Batch(images=np.zeros((2, 1, 1, 3), np.uint8), labels=np.array([1, 0], np.float32))


class _Quadratic(SharpnessAwareLearner):
    """Of ``0.5 w' A w``, A diagonal."""

    curvature = torch.tensor([1.0, 4.0, 0.5])

    def loss(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        (w,) = self.detector.module.parameters()
        return 0.5 * (self.curvature * w**2).sum()


def _holder(*values: torch.Tensor) -> types.SimpleNamespace:
    return types.SimpleNamespace(module=nn.ParameterList([nn.Parameter(value) for value in values]))


@pytest.mark.parametrize("rho", [0.05, 0.7])
def test_a_step_on_a_quadratic_is_the_closed_form(rho):
    """``w - lr A (w + rho A w / |A w|)``, twice with the momentum of 0.9."""
    start = torch.tensor([0.3, -0.2, 1.0])
    learner = _Quadratic(_holder(start.clone()), TrainSettings(optimizer="sgd", lr=0.1, weight_decay=0), rho)
    a, w, velocity = _Quadratic.curvature.double(), start.double(), torch.zeros(3, dtype=torch.float64)
    for _ in range(3):
        loss = learner.step(torch.zeros(1), NOTHING)
        assert loss == pytest.approx(float(0.5 * (a * w**2).sum()), rel=1e-5)
        gradient = a * (w + rho * a * w / torch.linalg.vector_norm(a * w))
        velocity = 0.9 * velocity + gradient
        w = w - 0.1 * velocity
        torch.testing.assert_close(learner.parameters[0].detach().double(), w, rtol=1e-5, atol=1e-6)


def test_one_norm_is_taken_over_all_parameters():
    class Sum(SharpnessAwareLearner):
        seen: list = []

        def loss(self, x, batch):
            first, second = self.detector.module
            self.seen.append((float(first), float(second)))
            return 3 * first + 4 * second

    learner = Sum(_holder(torch.tensor(1.0), torch.tensor(2.0)), TrainSettings(optimizer="sgd", lr=0.1), 0.5)
    learner.step(torch.zeros(1), NOTHING)
    assert Sum.seen[0] == (1.0, 2.0)
    assert Sum.seen[1] == pytest.approx((1 + 0.5 * 3 / 5, 2 + 0.5 * 4 / 5))  # gradient (3, 4), norm 5


def test_a_parameter_without_a_gradient_and_a_flat_loss_do_no_harm():
    class Flat(SharpnessAwareLearner):
        def loss(self, x, batch):
            return 0 * self.detector.module[0]

    learner = Flat(_holder(torch.tensor(1.0), torch.tensor(2.0)), TrainSettings(optimizer="sgd", weight_decay=0), 0.05)
    assert learner.step(torch.zeros(1), NOTHING) == 0
    assert [float(value) for value in learner.parameters] == [1.0, 2.0]


class _Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.frozen = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.frozen(self.norm(self.layer(x))))


def test_batch_norms_note_the_first_pass_alone_and_it_at_the_weights_that_are_kept():
    module = _Normed().train()
    module.frozen.eval()
    x = torch.randn(8, 3)
    with torch.no_grad():
        expected = 0.1 * module.layer(x).mean(0)

    class Whole(SharpnessAwareLearner):
        def loss(self, x, batch):
            return self.detector.module(x).square().mean()

    settings = TrainSettings(optimizer="sgd", lr=0.1)
    learner = Whole(types.SimpleNamespace(module=module), settings, rho=2.0)
    learner.step(x, NOTHING)
    torch.testing.assert_close(module.norm.running_mean, expected)
    assert int(module.norm.num_batches_tracked) == 1
    assert int(module.frozen.num_batches_tracked) == 0
    assert module.norm.track_running_stats
    assert module.frozen.track_running_stats


def test_statistics_are_kept_while_the_batch_still_normalises():
    module = _Normed().train()
    x = torch.randn(8, 3) * 5 + 2
    usual = module(x)
    before = {name: value.clone() for name, value in module.named_buffers()}
    with statistics_kept(module):
        torch.testing.assert_close(module(x), usual)
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    module(x)
    assert not torch.equal(module.norm.running_mean, before["norm.running_mean"])
