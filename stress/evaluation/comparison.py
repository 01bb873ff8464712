"""From scores to figures: every condition with its metrics, every change with its interval, and what each rests on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from stress.evaluation.estimates import Estimate
from stress.evaluation.metrics import CLIP_KEY, METRICS, Array, align, to_videos
from stress.evaluation.sample import Sample
from stress.evaluation.statistics import intervals, strata_of

#: What each term means; shown in the report and kept in results.json.
DEFINITIONS = {
    "reference": "The untouched detector on its own kind of data: the base reals and fakes.",
    "before": "The untouched detector on the stress fakes and their reals.",
    "before_tested": "Before, on the clips that are tested after fine-tuning; recovery starts from here.",
    "after": "Out-of-fold: each clip scored by a detector fine-tuned on clips of other people and other source clips, "
    "called by that detector's own threshold; for AUC, AP, EER and TPR the folds' scores are pooled by how far their "
    "log odds lie above it. With several seeds, the mean over their detectors.",
    "after_old_threshold": "After, called by the untouched detector's threshold.",
    "before_calibrated": "Before, on the same clips, called by the threshold that suits the untouched detector's video "
    "scores best (highest TPR - FPR) on the clips that the fold was fine-tuned on: what new data are worth without "
    "training.",
    "drop": "Reference minus before. Positive: the stress fakes are harder than what the detector was made for.",
    "recovery": "After minus before, on the same clips. Positive: fine-tuning helped on people it never saw.",
    "recovery_share": "Recovery as a share of the drop, on the same clips; only where the drop is surely above 0.",
    "forgetting": "Performance on the base data before fine-tuning minus after it. A fold's detector is never asked "
    "about base clips of people or source clips it was fine-tuned on. Where every fold keeps all base clips, each is "
    "measured by itself and the mean is given; otherwise the folds' scores are pooled. Positive: fine-tuning cost "
    "something.",
    "base_before": "The untouched detector on the base clips that the fine-tuned detectors are asked about.",
    "base_after": "The fine-tuned detectors on the base data.",
}

LEVELS = ("video", "frame")
_RANKING = ("auc", "ap", "eer")
_RATES = {"tpr_at_1pct_fpr": 100, "tpr_at_5pct_fpr": 20}


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made, and the videos' scores that they are for.

    Args:
        resamples: Number of resamples of the people.
        confidence: Nominal coverage.
        seed: Of the draws.
        video_score: How a video's score is made of its frames', see :data:`stress.evaluation.metrics.VIDEO_SCORES`.

    Attributes:
        known: What samples were worth for weights that were drawn, by the content of both: strategies are compared with
            the same scores before, and that takes most of the time.
    """

    resamples: int
    confidence: float
    seed: int
    video_score: str = "mean"
    known: dict[tuple[bytes, bytes], dict[str, Array]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def metrics(self, samples: Sequence[Sample], weights: Array) -> list[dict[str, Array]]:
        """:meth:`Sample.metrics` of each sample; rankings that are known are not made again."""
        drawn = hashlib.blake2b(weights.tobytes(), digest_size=16).digest()
        found = []
        for sample in samples:
            key = sample.order_key, drawn
            if key not in self.known:
                self.known[key] = sample.ranking(weights)
            found.append(self.known[key] | sample.rates(weights))
        return found


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Scores under one condition; several tables (one a fold) are averaged after their metrics.

    Args:
        tables: One row a frame: group, dataset, label, clip, score, threshold.
    """

    tables: tuple[pd.DataFrame, ...]


Key = tuple[str, str, int, str]
People = Mapping[Key, tuple[str, ...]]


def keys_of(table: pd.DataFrame) -> list[Key]:
    """The clip of every row: group, dataset, label, id."""
    return list(zip(*(table[name].tolist() for name in CLIP_KEY), strict=True))


def both_labels(table: pd.DataFrame) -> bool:
    """Whether a table has fakes and reals."""
    return len(table) > 0 and set(table.label) == {0, 1}


def counts(table: pd.DataFrame, people: People) -> dict[str, dict[str, int]]:
    """How much a table holds: clips, frames and people, of fakes and of reals and together."""
    frames = Counter(keys_of(table.drop_duplicates([*CLIP_KEY, "frame"])))  # whatever the number of detectors
    found = {}
    for name, labels in (("fakes", (1,)), ("reals", (0,)), ("all", (0, 1))):
        keys = [key for key in frames if key[2] in labels]
        names = {person for key in keys for person in people[key]}
        found[name] = {"clips": len(keys), "frames": sum(frames[key] for key in keys), "people": len(names)}
    return found


def measure(
    conditions: Mapping[str, Condition],
    people: Sequence[People],
    settings: Bootstrap,
    *,
    level: str,
    changes: Mapping[str, tuple[str, str, int]] | None = None,
    shares: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[dict[str, dict[str, Estimate]], dict[str, int]]:
    """Metrics of conditions, and changes between them, resampled together.

    Args:
        conditions: Name -> scores.
        people: Clips and who is in them, one mapping a data set; people of each are drawn by themselves.
        settings: Of the bootstrap.
        level: ``"video"`` or ``"frame"``.
        changes: Name -> (condition, condition, sign): the first minus the second where more is better, the second
            minus the first where less is better, times the sign.
        shares: Name -> (change, change), the first as a share of the second.

    Returns:
        Name -> metric -> estimate; and the counts of :func:`intervals`.
    """
    clips = {key: who for mapping in people for key, who in mapping.items()}
    number = {key: i for i, key in enumerate(clips)}
    samples = {
        name: [_sample(table, number, level, settings.video_score) for table in condition.tables]
        for name, condition in conditions.items()
    }

    def statistic(weights: Array) -> dict[str, Array]:
        found = {}
        every = iter(settings.metrics([part for parts in samples.values() for part in parts], weights))
        for name, parts in samples.items():
            each = [next(every) for _ in parts]
            found.update({f"{name}.{metric}": np.mean([one[metric] for one in each], axis=0) for metric in METRICS})
        return found

    def usable(weights: Array) -> Any:
        return np.logical_and.reduce([part.usable(weights) for parts in samples.values() for part in parts])

    differences, mixtures = {}, {}
    for name, (first, second, sign) in (changes or {}).items():
        for metric, better in METRICS.items():
            ends = (f"{first}.{metric}", f"{second}.{metric}")
            differences[f"{name}.{metric}"] = ends if sign * better > 0 else ends[::-1]
    for name in (*conditions, *(changes or {})):
        fakes = _fake_share(samples[name] if name in samples else next(iter(samples.values())))
        alarm = -1.0 if name in samples else 1.0  # changes count fewer false alarms as better
        for metric, share in (("accuracy", fakes), ("balanced_accuracy", 0.5)):
            mixtures[f"{name}.{metric}"] = {
                f"{name}.detection_rate": share,
                f"{name}.false_alarm_rate": alarm * (1 - share),
            }
    ratios = {
        f"{name}.{metric}": (f"{a}.{metric}", f"{b}.{metric}")
        for name, (a, b) in (shares or {}).items()
        for metric in METRICS
    }
    rests = {name: _rests_on(condition, clips, level) for name, condition in conditions.items()}
    for name, (first, second, _) in (changes or {}).items():
        rests[name] = rests[first].least(rests[second])
    for name, (a, b) in (shares or {}).items():
        rests[name] = rests[a].least(rests[b])
    found, drawn = intervals(
        statistic,
        list(clips.values()),
        usable=usable,
        differences=differences,
        mixtures=mixtures,
        ratios=ratios,
        units=lambda name: _units(name, rests),
        limit_share=lambda name: 0.5 if name.rsplit(".", 1)[1] in _RANKING else 1.0,
        strata=strata_of(*(list(mapping.values()) for mapping in people)),
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    result: dict[str, dict[str, Estimate]] = {}
    for key, estimate in found.items():
        name, metric = key.split(".")
        result.setdefault(name, {})[metric] = _honest(metric, estimate, rests[name])
    return result, drawn


def _sample(table: pd.DataFrame, number: Mapping[Key, int], level: str, video_score: str) -> Sample:
    rows = table[[*CLIP_KEY, "fold", "frame", "score", "threshold"]]
    rows = align(to_videos(rows, video_score) if level == "video" else rows)
    return Sample(
        scores=rows.score.to_numpy(np.float64),
        labels=rows.label.to_numpy(np.int64),
        clip=np.array([number[key] for key in keys_of(rows)], np.int64),
        thresholds=rows.threshold.to_numpy(np.float64),
        probabilities=rows.probability.to_numpy(np.float64),
    )


def _fake_share(samples: Sequence[Sample]) -> float:
    return float(np.mean([sample.labels.mean() for sample in samples]))


@dataclass(frozen=True, kw_only=True)
class _Basis:
    """The least that a condition's tables rest on: reals observed, and people (or clips, where fewer) of each label."""

    reals: int
    real_units: int
    fake_units: int

    def least(self, other: _Basis) -> _Basis:
        return _Basis(
            reals=min(self.reals, other.reals),
            real_units=min(self.real_units, other.real_units),
            fake_units=min(self.fake_units, other.fake_units),
        )


def _rests_on(condition: Condition, clips: People, level: str) -> _Basis:
    found = []
    for table in condition.tables:
        n = counts(table, clips)
        units = {name: min(each["clips"], each["people"]) for name, each in n.items()}
        observed = n["reals"]["clips" if level == "video" else "frames"]
        found.append(_Basis(reals=observed, real_units=units["reals"], fake_units=units["fakes"]))
    return reduce(_Basis.least, found)


def _units(key: str, rests: Mapping[str, _Basis]) -> int:
    name, metric = key.split(".")
    basis = rests[name]
    if metric == "detection_rate":
        return basis.fake_units
    return basis.real_units if metric == "false_alarm_rate" else min(basis.fake_units, basis.real_units)


def _honest(metric: str, estimate: Estimate, basis: _Basis) -> Estimate:
    """Take back what so few reals cannot say."""
    needed = _RATES.get(metric, 0)
    if basis.reals < needed:
        return Estimate(value=None, note=f"not given: needs at least {needed} reals, there are {basis.reals}")
    if basis.real_units < needed and estimate.low is not None:
        return replace(estimate, low=None, high=None, note=f"no interval: needs {needed} people in the reals")
    if metric == "ece" and estimate.low is not None:
        return replace(estimate, low=None, high=None, note="no interval: resampling biases it upwards")
    return estimate


def figures(scores: pd.DataFrame, people: People, bootstrap: Bootstrap) -> dict[str, Any]:
    """Every condition and change of an experiment, at both levels, with what they rest on.

    Args:
        scores: As :class:`stress.results.Outcome` has them, after fine-tuning by one strategy only.
        people: Who is in each clip.
        bootstrap: How intervals are made.

    Returns:
        JSON-able: ``conditions`` (name -> n and, by level and metric, value, low, high, note), ``changes`` (the same
        without n) and ``resampling`` (what was drawn).
    """
    stress, base = (_part(scores, group, "before") for group in ("stress", "base"))
    after, base_after = (_part(scores, group, "after") for group in ("stress", "base"))
    conditions = {"before": Condition(tables=(stress,))}
    changes: dict[str, tuple[str, str, int]] = {}
    seeds = tuple(part for _, part in after.groupby("seed") if both_labels(part))
    if seeds:
        tested = _same_clips_each(stress, seeds)
        old = float(stress.threshold.iloc[0])
        conditions |= {
            "before_tested": Condition(tables=tested),
            "after": Condition(tables=seeds),
            "after_old_threshold": Condition(tables=tuple(part.assign(threshold=old) for part in seeds)),
        }
        calibrated = _calibrated(tested[0], after)
        if calibrated is not None:
            conditions["before_calibrated"] = Condition(tables=(calibrated,))
        changes["recovery"] = ("after", "before_tested", 1)
    own: dict[str, Condition] = {}
    if both_labels(base):
        own["reference"] = Condition(tables=(base,))
    folds = tuple(table for _, part in base_after.groupby("seed") for table in base_tables(part))
    if own and folds:
        own["base_before"] = Condition(tables=_as_often(base, folds))
        own["base_after"] = Condition(tables=folds)

    groups = [{key: who for key, who in people.items() if key[0] == group} for group in ("stress", "base")]
    found: dict[str, dict[str, Any]] = {name: {} for name in (*conditions, *own)}
    resampling: dict[str, Any] = {}
    for level in LEVELS:
        estimates, drawn = measure(conditions, groups[:1], bootstrap, level=level, changes=changes)
        resampling[level] = {"stress": drawn}
        if own:
            lost = {"forgetting": ("base_before", "base_after", 1)} if folds else {}
            more, resampling[level]["base"] = measure(own, groups[1:], bootstrap, level=level, changes=lost)
            both, resampling[level]["both"] = _drops(conditions, own, groups, bootstrap, level, changes)
            estimates |= more | both
        for name, metrics in estimates.items():
            values = {metric: estimate.as_dict() for metric, estimate in metrics.items()}
            found.setdefault(name, {})[level] = values
    for name, condition in (conditions | own).items():
        found[name]["n"] = counts(pd.concat(condition.tables), people)
    names = ("drop", "recovery", "recovery_share", "forgetting")
    return {
        "conditions": {name: found[name] for name in (*conditions, *own)},
        "changes": {name: found[name] for name in names if name in found},
        "resampling": resampling,
    }


def _calibrated(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame | None:
    """The scores before, with the threshold that was chosen for them on what each clip's fold was fine-tuned on."""
    chosen = dict(zip(keys_of(after), after.calibrated, strict=True))
    thresholds = np.array([chosen[key] for key in keys_of(before)])
    return None if np.isnan(thresholds).any() else before.assign(threshold=thresholds)


def _drops(
    conditions: Mapping[str, Condition],
    own: Mapping[str, Condition],
    groups: Sequence[People],
    bootstrap: Bootstrap,
    level: str,
    changes: Mapping[str, tuple[str, str, int]],
) -> tuple[dict[str, dict[str, Estimate]], dict[str, int]]:
    """Drop, and recovery as a share of it: the people of both data sets are drawn."""
    used = {name: conditions[name] for name in ("before", "before_tested", "after") if name in conditions}
    drops = {"drop": ("reference", "before", 1)}
    shares = {}
    if changes:
        drops |= {"drop_tested": ("reference", "before_tested", 1), **changes}
        shares["recovery_share"] = ("recovery", "drop_tested")
    joint = used | {"reference": own["reference"]}
    found, drawn = measure(joint, groups, bootstrap, level=level, changes=drops, shares=shares)
    return {name: found[name] for name in ("drop", "recovery_share") if name in found}, drawn


def base_tables(after: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """Base scores after fine-tuning: a table a fold where all saw the same clips, otherwise one for all."""
    if not both_labels(after):
        return ()
    parts = [part for _, part in after.groupby("fold")]
    same = all(set(keys_of(part)) == set(keys_of(parts[0])) for part in parts)
    return tuple(parts) if same else (after,)


def _part(scores: pd.DataFrame, group: str, phase: str) -> pd.DataFrame:
    return scores[(scores.group == group) & (scores.phase == phase)]


def _same_clips(table: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    wanted = set(keys_of(like))
    return table[[key in wanted for key in keys_of(table)]]


def _same_clips_each(table: pd.DataFrame, like: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, ...]:
    """The clips of each of several tables; once where all have the same ones."""
    same = len({frozenset(keys_of(part)) for part in like}) == 1
    return tuple(_same_clips(table, part) for part in (like[:1] if same else like))


def _as_often(table: pd.DataFrame, like: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, ...]:
    """The clips of each of several tables, once for every fold that scored them: what is compared weighs alike."""
    if all(part.fold.nunique() == 1 for part in like):
        return _same_clips_each(table, like)
    return tuple(
        pd.concat([_same_clips(table, mine).assign(fold=fold) for fold, mine in part.groupby("fold")]) for part in like
    )
