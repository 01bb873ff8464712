"""Experiments on the stand-in, as the tests of several files run them."""

from __future__ import annotations

import pandas as pd

from stress.experiment import ExperimentSettings, Outcome, run
from stress.strategies import Strategy
from tests.stress.standin import StandIn, finetune, quiet

ALL = Strategy()
QUICK = ExperimentSettings(resamples=100, strategies=(ALL,), seeds=1, shuffles=0)


def go(fakes, reals, own=None, *, detector=None, settings=QUICK, excluded=(), tune=finetune) -> Outcome:
    return run(detector or StandIn(), fakes, reals, own, settings, excluded, progress=quiet, finetune=tune)


def video_means(outcome: Outcome, group: str, phase: str) -> pd.DataFrame:
    scores = outcome.scores
    part = scores[(scores.group == group) & (scores.phase == phase)]
    return part.groupby(["label", "clip", "fold"], as_index=False)[["score", "threshold"]].mean()
