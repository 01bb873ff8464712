from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stress.evaluation.metrics import VIDEO_SCORES, youden_threshold
from stress.evaluation.store import FoldStore
from stress.experiment import ExperimentSettings, run
from stress.strategies import Strategy
from tests.stress.standin import StandIn, finetune, quiet, study

QUICK = ExperimentSettings(resamples=100, strategies=(Strategy(),), seeds=1, shuffles=0)


def _thresholds(outcome, trained_on, how):
    """Per fold, what suits the untouched detector's video scores of the clips that the fold was fine-tuned on."""
    before = outcome.scores[outcome.scores.phase == "before"]
    videos = before.groupby(["dataset", "label", "clip"]).score.agg(VIDEO_SCORES[how])
    found = []
    for clips in trained_on:
        keys = [(clip.dataset, clip.label, clip.id) for clip in clips]
        found.append(youden_threshold([videos[key] for key in keys], [key[1] for key in keys]))
    return found


@pytest.mark.parametrize("how", ["mean", "max"])
def test_the_calibrated_threshold_suits_the_scores_that_videos_are_given(how):
    detector = StandIn()
    fakes, reals, _ = study(8)
    outcome = run(detector, fakes, reals, settings=replace(QUICK, video_score=how), progress=quiet, finetune=finetune)
    wanted = _thresholds(outcome, detector.trained_on, how)
    after = outcome.scores[outcome.scores.phase == "after"]
    assert len(wanted) == after.fold.nunique() == len(outcome.results["finetune"]["folds"])
    for fold, part in after.groupby("fold"):
        np.testing.assert_allclose(part.calibrated, wanted[fold])
    reported = [fold["calibrated_before"] for fold in outcome.results["finetune"]["folds"]]
    np.testing.assert_allclose(reported, wanted)


def test_a_fold_that_is_taken_from_the_store_is_calibrated_anew(tmp_path):
    fakes, reals, _ = study(8)
    tables, trained = {}, None
    for how in ("mean", "max"):
        detector = StandIn()
        settings = replace(QUICK, video_score=how)
        tables[how] = run(
            detector, fakes, reals, settings=settings, progress=quiet, finetune=finetune, store=FoldStore(tmp_path)
        )
        trained = trained or detector.trained_on
    assert detector.trained_on == []  # all folds came from the store
    found = {how: _thresholds(outcome, trained, how) for how, outcome in tables.items()}
    assert found["mean"] != found["max"]
    for how, outcome in tables.items():
        reported = [fold["calibrated_before"] for fold in outcome.results["finetune"]["folds"]]
        np.testing.assert_allclose(reported, found[how])
