"""The two ways to augment a detector by new data (Li et al., arXiv 2308.04177): train its last layers, or all of it.

Both learn from batches of old and of new data in turn. How many clips of the new data are seen is counted exactly:
nobody is held out, the number of steps is the same whatever the number of clips, and the last weights are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL
from stress.data.spread import spread
from stress.detectors.detector import Detector
from stress.study.architectures import published
from stress.study.settings import StudySettings
from stress.training.batches import Batch, Draws
from stress.training.recipe import Learner, Recipe, autocast
from stress.training.settings import TrainSettings


class SquaredErrorLearner(Learner):
    """Takes steps down the mean squared error of the fake probability, as the Meso networks were published."""

    def loss(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean of (probability - label)²."""
        with autocast(x.device):
            logit = self.detector.fake_logit(x)
        return functional.mse_loss(torch.sigmoid(logit), torch.from_numpy(batch.labels).to(x))


@dataclass(frozen=True, kw_only=True)
class StudyRecipe(Recipe):
    """Plain training, with the loss and the length of an epoch that the study asks for.

    Args:
        loss: ``"cross-entropy"`` or ``"squared"``.
        steps: Batches an epoch of each kind of data, or None for as many as show each face about once.
    """

    name: ClassVar[str] = "study"
    loss: str = "cross-entropy"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.loss not in ("cross-entropy", "squared"):
            raise ValueError(f"loss = {self.loss!r} is not possible")

    def draws(self, real: Sequence[Crops], fake: Sequence[Crops], size: int, generator: np.random.Generator) -> Draws:
        """As plainly, with the length of an epoch changed."""
        found = super().draws(real, fake, size, generator)
        found.per_epoch = self.steps or found.per_epoch
        return found

    def learner(self, detector: Detector, settings: TrainSettings) -> Learner:
        """What takes the steps."""
        return (SquaredErrorLearner if self.loss == "squared" else Learner)(detector, settings)


def first_training(architecture: str, settings: StudySettings, seed: int) -> tuple[TrainSettings, StudyRecipe]:
    """How a detector is trained from nothing."""
    how = dataclasses.replace(settings.training, seed=settings.training.seed + seed)
    if not settings.as_published:
        return how, StudyRecipe()
    own = published(architecture)
    return dataclasses.replace(how, optimizer="adam", lr=own.rate), StudyRecipe(loss=own.loss)


def augmenting(
    architecture: str, settings: StudySettings, approach: str, repeat: int
) -> tuple[TrainSettings, StudyRecipe]:
    """How a detector is augmented by ``transfer`` or ``merge``."""
    own = published(architecture)
    layers: str | int = "all" if approach == "merge" else settings.last or own.last
    changes: dict[str, Any] = {"layers": layers, "seed": settings.augmenting.seed + repeat}
    if settings.as_published:
        changes |= {"optimizer": "adam", "lr": own.augmenting_rate}
    loss = own.augmenting_loss if settings.as_published else "cross-entropy"
    return dataclasses.replace(settings.augmenting, **changes), StudyRecipe(loss=loss, steps=settings.steps)


def choose(clips: Sequence[Crops], count: int, seed: int, *, even: bool = False) -> list[Crops]:
    """``count`` fakes, and as many reals as there are up to that: those they were made from first.

    Each fake in turn takes the real it was made from, where that is known, and otherwise one of its source clip; so the
    reals show the same targets as the fakes, as often. Reals of other source clips come last. A larger count holds the
    choice of a smaller one with the same seed.

    Args:
        clips: Fakes and reals.
        count: At least 1; more than there are takes all.
        seed: Of the choice.
        even: Spread the fakes over people (:func:`stress.data.spread.spread`); otherwise they are drawn blindly.
    """
    order = np.random.default_rng([seed, 2]).permutation(len(clips))
    mixed = [clips[i] for i in order]
    fakes = [item for item in mixed if item.clip.label == FAKE]
    reals = [item for item in mixed if item.clip.label == REAL]
    if even:
        fakes = [fakes[i] for i in spread([item.clip.people for item in fakes], seed)]
    return fakes[:count] + _in_turn(fakes, reals)[:count]


def _in_turn(fakes: Sequence[Crops], reals: Sequence[Crops]) -> list[Crops]:
    """All reals, in the order in which the fakes take them, round after round."""
    left: dict[str, list[Crops]] = {}
    for item in reals:
        left.setdefault(item.clip.source_clip, []).append(item)
    wanted = {item.clip.matched for item in fakes}
    found: list[Crops] = []
    while mine := [item.clip for item in fakes if left.get(item.clip.source_clip)]:
        for clip in mine:
            there = left[clip.source_clip]
            if there:  # other fakes' own reals last
                ranks = [(real.clip.id != clip.matched, real.clip.id in wanted) for real in there]
                found.append(there.pop(ranks.index(min(ranks))))
    taken = {id(item) for item in found}
    return found + [item for item in reals if id(item) not in taken]
