"""The schedule that waits for the held-out people, on a network whose loss on them is written down beforehand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from stress.detectors import Detector, new_detector
from stress.training import Recipe, TrainSettings, train
from stress.training.loop import Epoch
from stress.training.recipe import Learner
from tests.stress.synthetic import crops, sides

PLATEAU = TrainSettings(
    epochs=20, batch=8, lr=1.0, schedule="plateau", step_factor=0.1, step_drops=2, patience=2, warmup=0
)


class Constant(nn.Module):
    """Says the same of every face; the class-balanced log loss grows with how sure it is of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sure = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sure.expand(len(x), 1)


class Scripted(Learner):
    """Is as sure in each epoch as the script says, and notes the learning rate."""

    def __init__(self, detector: Detector, settings: TrainSettings, script: list[float], rates: list[float]) -> None:
        super().__init__(detector, settings)
        self.script, self.rates, self.epoch = script, rates, 0

    def set_rate(self, step: int, epoch: int, share: float) -> None:
        super().set_rate(step, epoch, share)
        self.epoch = epoch

    def step(self, x, batch) -> float:
        with torch.no_grad():
            self.detector.module.sure.fill_(self.script[self.epoch - 1])
        self.rates[self.epoch - 1 :] = [self.optimizer.param_groups[0]["lr"]]
        return 0.0


def run(script: list[float], settings: TrainSettings = PLATEAU) -> tuple[list[float], Detector]:
    """The learning rate of every epoch there was, and what was kept."""
    rates: list[float] = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Written(Recipe):
        def learner(self, detector, settings):
            return Scripted(detector, settings, script, rates)

    start = new_detector("small_cnn", device="cpu", input_size=8)
    start.module = Constant()
    data = sides(crops(8, artefact=0, size=8, frames=1))
    epochs: list[Epoch] = []
    trained = train(start, *data, settings, recipe=Written(), on_epoch=epochs.append)
    assert len(epochs) == len(rates)
    assert all(epoch.validation_loss is not None for epoch in epochs) or settings.validation == 0
    return rates, trained


def test_the_rate_falls_whenever_patience_runs_out_and_then_training_stops() -> None:
    rates, _ = run([1.0] * 20)  # best in epoch 1, so patience runs out after 3, 5 and 7
    assert np.allclose(rates, [1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_what_improves_is_left_alone_and_the_best_is_kept() -> None:
    script = [5.0, 4.0, 4.0, 3.0, 3.5, 3.5, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5]
    rates, trained = run(script)  # best in 1, 2, 4 and 7; patience runs out after 6, 9 and 11
    assert np.allclose(rates, [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert trained.module.sure.item() == 2.0


def test_waiting_begins_anew_when_the_rate_has_fallen_and_not_again_when_it_is_worse() -> None:
    rates, _ = run([1.0, 2.0, 3.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1])  # best in 1 and 4; after 3, 6 and 8
    assert np.allclose(rates, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_other_schedules_stop_where_patience_runs_out(schedule: str) -> None:
    rates, _ = run([1.0] * 20, dataclasses.replace(PLATEAU, schedule=schedule))
    assert len(rates) == 3


def test_without_held_out_people_the_rate_stays() -> None:
    rates, _ = run([1.0] * 20, dataclasses.replace(PLATEAU, validation=0.0, epochs=9))
    assert np.allclose(rates, [1.0] * 9)
