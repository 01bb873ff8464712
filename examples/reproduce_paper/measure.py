"""From scores to figures: every test before and after, and what changed, each with its interval over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reproduce_paper.data import CONTROLS, EXTERNAL, REALS
from stress.evaluation.audit.processed_real import from_videos
from stress.evaluation.comparison import Bootstrap, both_labels
from stress.evaluation.metrics import CLIP_KEY, to_videos
from stress.study.figures import People, compare

RATES = ("detection_rate", "false_alarm_rate", "balanced_accuracy", "accuracy")
LADDER = "ladder:"


def with_ends(scores: pd.DataFrame, ends: tuple[str, str]) -> pd.DataFrame:
    """Scores with the ladder's first and last rung: the crude and the good fakes of those pairs that the rungs have.

    Args:
        scores: Of all groups.
        ends: Names of these two rungs.
    """
    rungs = scores[scores.group.str.startswith(LADDER)]
    if rungs.empty:
        return scores
    pairs = set(rungs.people)
    parts = [scores]
    for name, group in zip(ends, ("crude", "good"), strict=True):
        mine = scores[(scores.group == group) & scores.people.isin(pairs)]
        parts.append(mine.assign(group=LADDER + name))
    return pd.concat(parts, ignore_index=True)


def tables(scores: pd.DataFrame, test: str, count: str, by: Sequence[str]) -> list[pd.DataFrame]:
    """A test's fakes and reals at one number of good fakes learned, a table for each value of ``by``.

    Args:
        scores: Of one contender.
        test: Name of the group of fakes; another team's brings its own reals.
        count: Name of the number.
        by: ``seed``, or ``seed`` and ``fold``.

    Returns:
        Those that have fakes and reals.
    """
    mine = scores[scores["count"] == count]
    kept = mine[mine.group == EXTERNAL] if test == EXTERNAL else mine[
        (mine.group == test) & (mine.label == 1) | (mine.group == REALS)
    ]  # fmt: skip
    return [part for _, part in kept.groupby(list(by), sort=True) if both_labels(part)]


def changes(tests: Sequence[str], counts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name of a change ► (test@count minus test@count); what is better counts up, but for forgetting and drop."""
    found = {}
    if {"crude", "good"} <= set(tests):
        found["drop"] = ("crude@0", "good@0")
    for count in counts:
        if count == "0":
            continue
        for test in tests:
            name = {"good": "recovery", "crude": "forgetting"}.get(test, f"transfer to {test}")
            ends = (f"{test}@{count}", f"{test}@0")
            found[f"{name}@{count}"] = ends[::-1] if test == "crude" else ends
    return found


def figures(scores: pd.DataFrame, people: People, bootstrap: Bootstrap) -> dict[str, Any]:
    """Every test at every number of good fakes learned, and all changes, of one contender.

    AUC is taken in each fold by itself and averaged over folds and seeds, since every fold has a detector with a scale
    of its own. Rates at the threshold are taken over the fakes of all folds together and averaged over seeds.

    Args:
        scores: Of one contender, with the ladder's ends.
        people: Who is in each clip.
        bootstrap: How intervals are made; another team's people are drawn apart from ours.

    Returns:
        JSON-able: ``tests`` (test ► count ► ``n``, metrics), ``changes`` (name ► metrics), ``by_seed``
        (test ► count ► detection rates).
    """
    counts = list(dict.fromkeys(scores["count"]))
    groups = [name for name in dict.fromkeys(scores.group) if name not in (REALS, CONTROLS)]
    rows: dict[str, dict[str, Any]] = {}
    for tests in ([name for name in groups if name != EXTERNAL], [name for name in groups if name == EXTERNAL]):
        for by, metrics in ((("seed", "fold"), ("auc",)), (("seed",), RATES)):
            parts = {f"{test}@{count}": tables(scores, test, count, by) for test in tests for count in counts}
            found = compare(parts, people, bootstrap, changes=changes(tests, counts), metrics=metrics)
            for name, values in found.items():
                rows.setdefault(name, {}).update(values)
    known: dict[str, dict[str, Any]] = {}
    for test in groups:
        there = {count: rows[f"{test}@{count}"] for count in counts if f"{test}@{count}" in rows}
        if there:
            known[test] = there
    seeds = {
        test: {count: [detected(part) for part in tables(scores, test, count, ["seed"])] for count in there}
        for test, there in known.items()
    }
    names = {f"{test}@{count}" for test in groups for count in counts}
    return {
        "tests": known, "changes": {name: row for name, row in rows.items() if name not in names}, "by_seed": seeds
    }


def detected(table: pd.DataFrame) -> float:
    """Share of the fakes' videos that are called fake."""
    videos = to_videos(table[table.label == 1].drop(columns=["count"]))
    return float((videos.score >= videos.threshold).mean())


def controls(scores: pd.DataFrame, count: str, bootstrap: Bootstrap) -> dict[str, Any] | None:
    """The processed-real control of one contender (:mod:`stress.evaluation.audit.processed_real`), mean over seeds."""
    mine = scores[(scores["count"] == count) & scores.group.isin((CONTROLS, REALS, "good"))]
    if not {CONTROLS, REALS, "good"} <= set(mine.group):
        return None
    videos = to_videos(mine.drop(columns=["count"])).groupby([*CLIP_KEY, "people"], sort=False, as_index=False)
    means = videos[["score", "threshold"]].mean()
    part = means.group == CONTROLS
    return from_videos(means[part], means[~part], resamples=bootstrap.resamples, seed=bootstrap.seed)


def people_of(faces: Mapping[str, Sequence[Any]], ends: tuple[str, str]) -> People:
    """Who is in each clip of every group, the ladder's ends included."""
    groups = dict(faces)
    if any(name.startswith(LADDER) for name in faces):
        groups |= {LADDER + name: faces[group] for name, group in zip(ends, ("crude", "good"), strict=True)}
    return {
        (name, item.clip.dataset, item.clip.label, item.clip.id): item.clip.people
        for name, items in groups.items()
        for item in items
    }
