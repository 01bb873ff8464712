"""Scores of several detectors on one scale, thresholds, and the score of a video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from stress.evaluation.metrics import VIDEO_SCORES, align, to_videos
from tests.stress.experiments import QUICK, go, video_means
from tests.stress.standin import Card, StandIn, study


def test_folds_with_scales_of_their_own_are_compared_by_their_thresholds() -> None:
    """Each fold's detector is perfect on its fold, at another level; pooled as they are they would be near chance."""
    fakes, reals, _ = study(12)
    calls = []

    class Shifted(StandIn):
        shift = 0.0

        def fake_probability(self, images):
            return np.clip(0.2 * super().fake_probability(images) + self.shift, 0, 1)

    def shifted(detector, reals, fakes, settings, progress):
        tuned = Shifted(green=1.0)
        tuned.shift = 0.1 + 0.12 * len(calls)
        ends = [tuned.fake_probability(item.images).mean() for item in (*reals, *fakes)]
        middle = (max(ends[: len(reals)]) + min(ends[len(reals) :])) / 2
        tuned.card = Card(threshold=float(middle))
        calls.append(tuned.shift)
        return tuned

    outcome = go(fakes, reals, tune=shifted)
    raw = video_means(outcome, "stress", "after")
    assert roc_auc_score(raw.label, raw.score) < 0.9
    after = outcome.results["conditions"]["after"]["video"]
    assert after["auc"]["value"] > 0.99
    assert after["detection_rate"]["value"] == pytest.approx((raw.score >= raw.threshold)[raw.label == 1].mean())
    assert outcome.results["strategies"][0]["by_seed"][0]["after_auc"] > 0.99


def test_aligning_changes_no_call() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"score": rng.random(500), "fold": rng.integers(0, 4, 500)})
    table["threshold"] = np.array([0.0, 0.3, 0.7, 1.0])[table.fold]
    table.loc[:40, "score"] = table.threshold[:41]
    aligned = align(table)
    assert ((aligned.score >= aligned.threshold) == (table.score >= table.threshold)).all()
    for fold in (1, 2):  # within a fold the order stays
        part = table.fold == fold
        assert (aligned.score[part].rank() == table.score[part].rank()).all()
    assert (aligned.probability == table.score).all()


def test_a_threshold_calibrated_on_the_folds_own_training_clips() -> None:
    """The untouched detector ranks well but calls everything real: its rate rises, its AUC stays."""
    fakes, reals, _ = study(12)
    shy = [replace(item, images=item.images // 3) for item in fakes], [
        replace(item, images=item.images // 3) for item in reals
    ]
    results = go(*shy).results["conditions"]
    before, calibrated = results["before_tested"]["video"], results["before_calibrated"]["video"]
    assert calibrated["auc"] == before["auc"]
    assert before["detection_rate"]["value"] == 0
    assert calibrated["balanced_accuracy"]["value"] > before["balanced_accuracy"]["value"]


def test_videos_scores_can_be_made_in_other_ways() -> None:
    frames = pd.DataFrame(
        {"group": "stress", "dataset": "d", "label": 1, "clip": "c", "fold": -1, "frame": range(8), "threshold": 0.5}
    ).assign(score=[0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.8, 1.0])
    found = {how: to_videos(frames, how).score[0] for how in VIDEO_SCORES}
    assert found == pytest.approx({"mean": 0.3375, "median": 0.2, "max": 1.0, "top-quarter": 0.9})
    fakes, reals, _ = study(4)
    results = go(fakes, reals, settings=replace(QUICK, video_score="max")).results
    best = {item.clip.id: StandIn().fake_probability(item.images).max() for item in fakes}
    for row in results["clips"]:
        assert not row["label"] or row["before"] == pytest.approx(best[row["clip"]])
