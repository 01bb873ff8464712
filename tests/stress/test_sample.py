"""Metrics for weights of clips, against those for weights of observations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stress.evaluation import comparison, metrics
from stress.evaluation.comparison import Bootstrap, Condition, measure
from stress.evaluation.sample import Sample
from stress.experiment import ExperimentSettings, run
from stress.strategies import parse
from tests.stress.standin import StandIn, finetune, quiet, study


def sample(clips: int, frames: int, *, steps: int | None, seed: int, moved: bool = False) -> Sample:
    """Every other clip a fake; scores on a grid of ``steps`` have ties, within and between the labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clips) % 2, frames)
    scores = 1 / (1 + np.exp(-rng.normal(labels, 1.2)))
    scores = scores if steps is None else np.round(scores * steps) / steps
    return Sample(
        scores=scores,
        labels=labels,
        clip=np.repeat(rng.permutation(clips), frames),
        thresholds=rng.uniform(0.3, 0.7, len(scores)),
        probabilities=np.clip(scores + 0.1, 0, 1) if moved else None,
    )


def drawn(found: Sample, clips: int, count: int, seed: int) -> np.ndarray:
    """Weights as a bootstrap over people makes them: products of counts, many of them 0."""
    rng = np.random.default_rng(seed)
    weights = (rng.poisson(1, (count, clips)) * rng.poisson(1, (count, clips))).astype(np.float64)
    weights[:, [found.clip[found.labels == label][0] for label in (0, 1)]] += 1
    return weights


def plain(found: Sample, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every observation is a clip, with the weight of the one it is of."""
    single = Sample(
        scores=found.scores, labels=found.labels, clip=np.arange(len(found.clip)), thresholds=found.thresholds,
        probabilities=found.probabilities,
    )  # fmt: skip
    return single.metrics(weights[:, found.clip])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 30), st.integers(1, 5), st.sampled_from([None, 2, 10, 50]), st.booleans(), st.integers(0, 10**6)
)
def test_weights_of_clips_give_what_weights_of_their_observations_do(clips, frames, steps, moved, seed):
    found = sample(clips, frames, steps=steps, seed=seed, moved=moved)
    weights = drawn(found, clips, 8, seed)
    new, old = found.metrics(weights), plain(found, weights)
    assert list(new) == list(old) == list(metrics.METRICS)
    for name, values in old.items():
        np.testing.assert_allclose(new[name], values, rtol=0, atol=1e-12, err_msg=name)
    for name in ("eer", "tpr_at_1pct_fpr", "tpr_at_5pct_fpr"):
        np.testing.assert_array_equal(new[name], old[name])


def test_many_weightings_are_worked_off_in_parts_and_come_back_in_order(monkeypatch):
    found = sample(40, 3, steps=None, seed=1)
    weights = drawn(found, 40, 50, 1)
    whole = found.metrics(weights)
    monkeypatch.setattr("stress.evaluation.sample._CHUNK", 7 * 120)
    for name, values in found.metrics(weights).items():
        np.testing.assert_array_equal(values, whole[name])


def test_what_cannot_be_weighed_is_refused():
    found = sample(6, 2, steps=None, seed=0)
    with pytest.raises(ValueError, match="at least one fake and one real"):
        found.metrics((np.arange(6) == found.clip[0]).astype(float))
    with pytest.raises(ValueError, match="finite"):
        Sample(scores=np.array([0.1, np.nan]), labels=np.arange(2), clip=np.arange(2), thresholds=np.ones(2))
    with pytest.raises(ValueError, match="labels"):
        Sample(scores=np.ones(2), labels=np.array([1, 2]), clip=np.arange(2), thresholds=np.ones(2))
    with pytest.raises(ValueError, match="one length"):
        Sample(scores=np.ones(2), labels=np.arange(2), clip=np.arange(3), thresholds=np.ones(2))


def table(seed: int, shift: float = 1.0):
    import pandas as pd

    rng = np.random.default_rng(seed)
    labels = np.arange(16) % 2
    names = [f"c{i}" for i in range(16)]
    rows = {
        "group": "stress", "dataset": "d", "label": np.repeat(labels, 3), "clip": np.repeat(names, 3),
        "fold": -1, "frame": np.tile(np.arange(3), 16), "threshold": 0.5,
        "score": 1 / (1 + np.exp(-np.repeat(rng.normal(shift * labels, 1), 3))),
    }  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("level", ["video", "frame"])
def test_estimates_are_those_of_observations_weighed_one_by_one(monkeypatch, level):
    """The intervals too: the same draws, whichever way they are weighed."""
    tables = {"before": Condition(tables=(table(0),)), "after": Condition(tables=(table(1, 2.0), table(2, 2.0)))}
    people = {("stress", "d", i % 2, f"c{i}"): (f"p{i // 2}",) for i in range(16)}
    how = {"level": level, "changes": {"gain": ("after", "before", 1)}}
    new, _ = measure(tables, [people], Bootstrap(resamples=200, confidence=0.95, seed=0), **how)

    class Plain(Sample):
        def metrics(self, weights):
            return plain(self, np.atleast_2d(weights))

    monkeypatch.setattr(comparison, "Sample", Plain)
    monkeypatch.setattr(Bootstrap, "metrics", lambda self, samples, weights: [one.metrics(weights) for one in samples])
    old, _ = measure(tables, [people], Bootstrap(resamples=200, confidence=0.95, seed=0), **how)
    for name, found in old.items():
        for metric, estimate in found.items():
            assert new[name][metric].as_dict() == estimate.as_dict(), (name, metric)


def test_what_was_ranked_before_is_not_ranked_again_and_thresholds_still_count(monkeypatch):
    found, ranked = Bootstrap(resamples=200, confidence=0.95, seed=0), []
    one, other = sample(12, 2, steps=None, seed=3), sample(12, 2, steps=None, seed=4)
    stricter = Sample(scores=one.scores, labels=one.labels, clip=one.clip, thresholds=np.ones(24))
    weights = drawn(one, 12, 5, 0) + 1
    ranking = Sample.ranking
    monkeypatch.setattr(Sample, "ranking", lambda self, weights: ranked.append(self) or ranking(self, weights))
    first = found.metrics([one, other, stricter], weights)
    assert len(ranked) == 2
    np.testing.assert_array_equal(first[0]["auc"], first[2]["auc"])
    assert (first[2]["detection_rate"] == 0).all()
    assert (first[0]["detection_rate"] > 0).all()
    found.metrics([one], weights + 1)
    assert len(ranked) == 3
    assert repr(found) == repr(Bootstrap(resamples=200, confidence=0.95, seed=0))  # names of what is kept rest on it


def test_strategies_share_what_was_ranked_before(monkeypatch):
    """Whatever is the same for all of them is ranked for the first."""
    ranked: list[tuple[bytes, bytes]] = []
    ranking = Sample.ranking

    def counted(self, weights):
        ranked.append((self.order_key, weights.tobytes()))
        return ranking(self, weights)

    monkeypatch.setattr(Sample, "ranking", counted)
    one = ExperimentSettings(resamples=100, strategies=(parse("all"), parse("last")), seeds=1, shuffles=0)
    outcome = run(StandIn(), *study(8), settings=one, progress=quiet, finetune=finetune)
    assert len(outcome.results["strategies"]) == 2
    assert len(ranked) == len(set(ranked))
