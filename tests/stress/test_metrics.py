from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from stress.evaluation import metrics
from stress.evaluation.sample import Sample

SCORES = st.lists(st.tuples(st.sampled_from([i / 20 for i in range(21)]), st.booleans()), min_size=2, max_size=40)


def both_classes(rows: list[tuple[float, bool]]) -> bool:
    return {label for _, label in rows} == {True, False}


def arrays(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows], int)


def evaluate(scores, labels, threshold=0.5, weights=None) -> dict[str, np.ndarray]:
    """Each score is a clip's only one."""
    n = len(scores)
    found = Sample(
        scores=np.asarray(scores, np.float64), labels=np.asarray(labels), clip=np.arange(n),
        thresholds=np.broadcast_to(threshold, n),
    )  # fmt: skip
    return found.metrics(np.ones(n) if weights is None else weights)


@settings(max_examples=30, deadline=None)
@given(SCORES.filter(both_classes), st.integers(0, 10**6))
def test_weighted_metrics_agree_with_scikit_learn(rows: list[tuple[float, bool]], seed: int) -> None:
    scores, labels = arrays(rows)
    weights = np.random.default_rng(seed).integers(0, 4, (2, len(scores))).astype(float)
    weights[:, [labels.argmax(), labels.argmin()]] += 1  # both classes have weight
    found = evaluate(scores, labels, weights=weights)
    for b, w in enumerate(weights):
        assert found["auc"][b] == pytest.approx(oracle.roc_auc_score(labels, scores, sample_weight=w))
        assert found["ap"][b] == pytest.approx(oracle.average_precision_score(labels, scores, sample_weight=w))
        called = scores >= 0.5
        assert found["accuracy"][b] == pytest.approx(oracle.accuracy_score(labels, called, sample_weight=w))
        balanced = oracle.balanced_accuracy_score(labels, called, sample_weight=w)
        assert found["balanced_accuracy"][b] == pytest.approx(balanced)
        assert found["detection_rate"][b] == pytest.approx(oracle.recall_score(labels, called, sample_weight=w))
        specificity = oracle.recall_score(labels, called, sample_weight=w, pos_label=0)
        assert found["false_alarm_rate"][b] == pytest.approx(1 - specificity)
        fpr, tpr, _ = oracle.roc_curve(labels, scores, sample_weight=w, drop_intermediate=False)
        assert found["tpr_at_5pct_fpr"][b] == pytest.approx(tpr[fpr <= 0.05].max())
        assert found["tpr_at_1pct_fpr"][b] == pytest.approx(tpr[fpr <= 0.01].max())
        k = np.argmax(fpr + tpr >= 1)  # the first point beyond fpr = 1 - tpr
        share = (1 - fpr[k - 1] - tpr[k - 1]) / (fpr[k] + tpr[k] - fpr[k - 1] - tpr[k - 1])
        assert found["eer"][b] == pytest.approx(fpr[k - 1] + share * (fpr[k] - fpr[k - 1]))


def test_equal_error_rate_is_a_root_of_the_interpolated_roc() -> None:
    rng = np.random.default_rng(0)
    for n in (7, 40, 400):
        labels = np.arange(n) % 2
        scores = rng.normal(0.5 * labels, 1)
        fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
        root = brentq(lambda x, f=fpr, t=tpr: 1 - x - interp1d(f, t)(x), 0, 1)
        found = evaluate(scores, labels)["eer"][0]
        if len(np.unique(fpr)) == len(fpr):
            assert found == pytest.approx(root, abs=1e-9)
        # where the ROC rises straight up the root lies on the rise
        assert np.interp(found, fpr, tpr) >= 1 - found - 1e-9 or fpr[np.searchsorted(fpr, found)] == found


def test_equal_error_rate_lies_between_points() -> None:
    # One of two reals above one of three fakes: (fpr, miss) goes from (0, 1/3) straight to (1/2, 1/3).
    scores, labels = [0.9, 0.8, 0.5, 0.4, 0.1], [1, 1, 0, 1, 0]
    found = evaluate(scores, labels)["eer"][0]
    assert found == pytest.approx(1 / 3)
    nearest = 0.5 * (0 + 1 / 3)
    assert abs(found - nearest) > 0.1


def test_calibration_error_agrees_with_scikit_learns_bins() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, 500)
    labels = (rng.uniform(0, 1, 500) < (3 * scores) % 1).astype(int)  # now sure by too much, now by too little
    true, mean = calibration_curve(labels, scores, n_bins=10)  # all ten bins are filled
    share = np.histogram(scores, 10, (0, 1))[0] / 500
    assert evaluate(scores, labels)["ece"][0] == pytest.approx(share @ np.abs(true - mean))


@settings(max_examples=40, deadline=None)
@given(SCORES.filter(both_classes), st.integers(0, 10**6))
def test_a_weight_is_a_repetition(rows: list[tuple[float, bool]], seed: int) -> None:
    scores, labels = arrays(rows)
    weights = np.random.default_rng(seed).integers(0, 4, len(scores))
    weights[[labels.argmax(), labels.argmin()]] += 1
    once = evaluate(scores, labels, 0.4, weights)
    again = evaluate(np.repeat(scores, weights), np.repeat(labels, weights), 0.4)
    for name in metrics.METRICS:
        assert once[name] == pytest.approx(again[name], abs=1e-9), name


def test_a_threshold_for_each_score() -> None:
    scores, labels = np.array([0.3, 0.6, 0.3, 0.6]), np.array([1, 1, 0, 0])
    found = evaluate(scores, labels, np.array([0.2, 0.7, 0.4, 0.9]))
    assert found["detection_rate"] == pytest.approx(0.5)
    assert found["false_alarm_rate"] == pytest.approx(0.0)
    assert evaluate([0.5, 0.5], [1, 0])["detection_rate"] == 1  # the threshold itself means fake


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="one fake and one real"):
        metrics.curve([0.1, 0.2], [1, 1])
    with pytest.raises(ValueError, match="one fake and one real"):
        metrics.curve([0.1, 0.2], [1, 0], [[1, 1], [1, 0]])
    with pytest.raises(ValueError, match="finite"):
        metrics.curve([0.1, np.nan], [1, 0])
    with pytest.raises(ValueError, match="0 \\(real\\) or 1"):
        metrics.curve([0.1, 0.2], [1, 2])
    with pytest.raises(ValueError, match="one length"):
        metrics.curve([0.1, 0.2], [1])
    with pytest.raises(ValueError, match="non-negative"):
        metrics.curve([0.1, 0.2], [1, 0], [[1, -1]])


def test_a_video_is_the_mean_of_its_frames() -> None:
    frames = pd.DataFrame(
        {
            "group": "stress",
            "dataset": "d",
            "label": [1, 1, 0, 1],
            "clip": ["a", "a", "a", "b"],  # a fake and its real share an id
            "fold": -1,
            "frame": [0, 5, 0, 0],
            "score": [0.2, 0.6, 0.1, 0.9],
            "threshold": 0.5,
            "people": ["x|y", "x|y", "y", "y|x"],
        }
    )
    videos = metrics.to_videos(frames)
    assert videos[["label", "clip", "frames", "people"]].to_numpy().tolist() == [
        [1, "a", 2, "x|y"],
        [0, "a", 1, "y"],
        [1, "b", 1, "y|x"],
    ]
    assert videos.score.tolist() == pytest.approx([0.4, 0.1, 0.9])


def test_every_metric_has_a_name_and_a_direction() -> None:
    assert metrics.METRICS.keys() == metrics.MEANING.keys()
    assert set(metrics.METRICS.values()) == {1, -1}
    rng = np.random.default_rng(2)
    labels = np.arange(400) % 2
    good = evaluate(np.clip(rng.normal(0.2 + 0.6 * labels, 0.1), 0, 1), labels, 0.5)
    bad = evaluate(np.clip(rng.normal(0.45 + 0.1 * labels, 0.2), 0, 1), labels, 0.7)
    for name, better in metrics.METRICS.items():
        if name != "ece":
            assert better * (good[name][0] - bad[name][0]) >= -1e-9, name
    honest = [0, 0, 0, 1] * 50 + [1, 1, 1, 0] * 50
    assert evaluate(np.repeat([0.25, 0.75], 200), honest)["ece"] == pytest.approx(0)
    assert good["ece"] > 0.1  # sure of itself by less than it might be
