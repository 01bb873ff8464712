"""Observations of clips that carry weights, and what they are worth for thousands of weightings at once.

A resample of the people weighs clips, and every frame of a clip alike. So what is a sum over observations is a product
of the weights with sums by clip, and what depends on their order needs that order once: the weights are added up along
it, for the fakes and for the reals, and no weighting is sorted, masked or divided as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stress.evaluation.metrics import Array

Index = NDArray[np.int64]

_CHUNK = 500_000  # weights of observations added up at a time: what a processor's cache holds
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Observations (videos or frames) of clips that carry weights.

    Args:
        scores: (n,) probabilities of being fake.
        labels: (n,) 1 = fake, 0 = real.
        clip: (n,) number of each observation's clip, an index into the weights.
        thresholds: (n,) the threshold of the detector that gave each score.
        probabilities: (n,) the scores as the detectors gave them, where ``scores`` were moved; None where not.

    Raises:
        ValueError: Scores are not finite, labels neither 0 nor 1, or lengths differ.
    """

    scores: Array
    labels: NDArray[np.int64]
    clip: NDArray[np.int64]
    thresholds: Array
    probabilities: Array | None = None

    def __post_init__(self) -> None:
        given = [self.labels, self.clip, self.thresholds, *([] if self.probabilities is None else [self.probabilities])]
        if self.scores.ndim != 1 or any(values.shape != self.scores.shape for values in given):
            raise ValueError("scores, labels, clips and thresholds are vectors of one length")
        if not np.isfinite(self.scores).all():
            raise ValueError("scores must be finite; a failed observation is to be left out and counted")
        if not np.isin(self.labels, (0, 1)).all():
            raise ValueError("labels must be 0 (real) or 1 (fake)")

    def metrics(self, weights: ArrayLike) -> dict[str, Array]:
        """Every metric of :data:`stress.evaluation.metrics.METRICS` for clip weights (B, C): name -> (B,).

        "score >= threshold" means fake. AP is scikit-learn's, without interpolation. The EER is where the line from ROC
        point to ROC point crosses fpr = 1 - tpr: with a dozen clips the nearest point is off by several per cent. The
        calibration error is that of Naeini, Cooper and Hauskrecht (AAAI 2015).

        Raises:
            ValueError: A weighting has no fake or no real.
        """
        return self.ranking(weights) | self.rates(weights)

    def usable(self, weights: Array) -> NDArray[np.bool_]:
        """(B,) whether both classes have weight."""
        fakes, reals = np.unique(self.clip[self.labels == 1]), np.unique(self.clip[self.labels == 0])
        return (weights[:, fakes].sum(1) > 0) & (weights[:, reals].sum(1) > 0)

    @cached_property
    def order_key(self) -> bytes:
        """What the metrics that depend on the order of the observations alone are recognized by."""
        digest = hashlib.blake2b(digest_size=16)
        for values in (self.scores, self.labels, self.clip):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.digest()

    def ranking(self, weights: ArrayLike) -> dict[str, Array]:
        """AUC, AP, EER and TPR at an FPR: those of :meth:`metrics` that no threshold enters."""
        w = np.atleast_2d(np.asarray(weights, np.float64))
        if not self.usable(w).all():
            raise ValueError("every weighting needs at least one fake and one real")
        step = max(1, _CHUNK // len(self.scores))
        parts = [self._order.ranking(w[i : i + step]) for i in range(0, len(w), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rates(self, weights: ArrayLike) -> dict[str, Array]:
        """Accuracy, rates at the threshold and calibration error: those of :meth:`metrics` that are sums by clip."""
        w = np.atleast_2d(np.asarray(weights, np.float64))
        sums = w[:, : len(self._sums)] @ self._sums
        fakes, reals, hits, alarms = sums[:, :4].T
        return {
            "accuracy": (hits + reals - alarms) / (fakes + reals),
            "balanced_accuracy": (hits / fakes + 1 - alarms / reals) / 2,
            "detection_rate": hits / fakes,
            "false_alarm_rate": alarms / reals,
            "ece": np.abs(sums[:, 4:]).sum(1) / (fakes + reals),
        }

    @cached_property
    def _sums(self) -> Array:
        """(C, 4 + bins) of each clip: fakes, reals, fakes called fake, reals called fake, score minus label by bin."""
        fake, called = self.labels == 1, self.scores >= self.thresholds
        known = self.scores if self.probabilities is None else self.probabilities
        bins = np.clip(np.ceil(known * _BINS).astype(int) - 1, 0, _BINS - 1)
        columns = [fake, ~fake, fake & called, ~fake & called]
        columns += [np.where(bins == number, known - self.labels, 0) for number in range(_BINS)]
        return np.stack([np.bincount(self.clip, column) for column in columns], axis=1)

    @cached_property
    def _order(self) -> _Order:
        return _Order.of(self.scores, self.labels == 1, self.clip)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """Fakes and reals, each from the highest score to the lowest, and where they stand among each other.

    Attributes:
        fakes: (f,) clip of each fake.
        reals: (r,) clip of each real.
        fakes_called: (f,) how many fakes have at least a fake's score.
        reals_called: (f,) how many reals have at least a fake's score.
        reals_above: (f,) how many reals have more.
        true: (T + 1,) how many fakes are called at each threshold: infinity, and then the distinct scores, falling.
        false: (T + 1,) how many reals.
    """

    fakes: Index
    reals: Index
    fakes_called: Index
    reals_called: Index
    reals_above: Index
    true: Index
    false: Index

    @classmethod
    def of(cls, scores: Array, fake: NDArray[np.bool_], clip: Index) -> _Order:
        """Sort observations."""
        falling = np.argsort(-scores, kind="stable")
        fakes, reals = falling[fake[falling]], falling[~fake[falling]]
        high, low = -scores[fakes], -scores[reals]  # rising, as searchsorted wants them
        thresholds = np.unique(-scores)
        start = np.zeros(1, np.int64)
        return cls(
            fakes=clip[fakes],
            reals=clip[reals],
            fakes_called=np.searchsorted(high, high, "right"),
            reals_called=np.searchsorted(low, high, "right"),
            reals_above=np.searchsorted(low, high, "left"),
            true=np.concatenate([start, np.searchsorted(high, thresholds, "right")]),
            false=np.concatenate([start, np.searchsorted(low, thresholds, "right")]),
        )

    def ranking(self, weights: Array) -> dict[str, Array]:
        """See :meth:`Sample.ranking`; for as many weightings as are to be held at once."""
        fakes = np.take(weights, self.fakes, axis=1)
        true, false = _running(fakes), _running(np.take(weights, self.reals, axis=1))
        found, accused = true[:, -1], false[:, -1]

        wrong = np.take(false, self.reals_called, axis=1)
        ahead = np.einsum("bk,bk->b", fakes, wrong)  # pairs in which the real is not below the fake
        if (self.reals_above != self.reals_called).any():  # ties count half
            ahead = (ahead + np.einsum("bk,bk->b", fakes, np.take(false, self.reals_above, axis=1))) / 2
        right = np.take(true, self.fakes_called, axis=1)
        wrong += right
        np.divide(right, np.maximum(wrong, 1e-300, out=wrong), out=right)  # precision; 0 where nothing is called yet

        rows = np.arange(len(weights))

        def rates(point: Index) -> tuple[Array, Array]:
            return true[rows, self.true[point]] / found, false[rows, self.false[point]] / accused

        def gap(point: Index) -> Array:
            tpr, fpr = rates(point)
            return fpr + tpr - 1  # rises from -1 to 1

        def tpr_at(limit: float) -> Array:
            return rates(self._bisect(rows, lambda point: rates(point)[1] > limit + 1e-12)[0])[0]

        last, first = self._bisect(rows, lambda point: gap(point) >= 0)
        share = -gap(last) / (gap(first) - gap(last))
        alarms = [rates(point)[1] for point in (last, first)]
        return {
            "auc": (found * accused - ahead) / (found * accused),
            "ap": np.einsum("bk,bk->b", fakes, right) / found,
            "eer": alarms[0] + share * (alarms[1] - alarms[0]),
            "tpr_at_1pct_fpr": tpr_at(0.01),
            "tpr_at_5pct_fpr": tpr_at(0.05),
        }

    def _bisect(self, rows: Index, passed: Callable[[Index], NDArray[np.bool_]]) -> tuple[Index, Index]:
        """For every weighting the last point of its ROC that has not passed, and the first that has.

        Both rates rise from point to point, so whatever is asked of them is passed once and for all.
        """
        low, high = np.zeros_like(rows), np.full_like(rows, len(self.true) - 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            there = passed(middle)
            low, high = np.where(there, low, middle), np.where(there, middle, high)
        return low, high


def _running(weights: Array) -> Array:
    """(B, n) -> (B, n + 1) sums of the first 0, 1, ..., n."""
    found = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=found[:, 1:])
    return found
