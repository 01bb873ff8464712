"""The quality ladder: the same swaps with one blending stage more on every rung, and which of them fool a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from stress.evaluation.comparison import (
    LEVELS,
    Bootstrap,
    Condition,
    People,
    both_labels,
    counts,
    measure,
)

_PREFIX = "ladder:"


def group(stage: str) -> str:
    """Name of a rung's clips among all that are scored."""
    return f"{_PREFIX}{stage}"


def figures(stages: Sequence[str], scores: pd.DataFrame, people: People, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Every rung's fakes against the stress data's reals, before and after fine-tuning on the stress fakes.

    Args:
        stages: Rungs from crude to best.
        scores: All scores, after fine-tuning by one strategy only.
        people: Who is in each clip.
        bootstrap: How intervals are made; all rungs see the same draws.

    Returns:
        JSON-able rows: ``stage``, ``n``, ``before`` and ``after`` (level -> metric -> value, low, high; None where
        there is nothing), and ``step``: before minus the rung before it, negative where the stage made detection
        harder (None for the first).
    """
    tables: dict[str, Condition] = {}
    scores = _on_every_rung(stages, scores)
    for number, stage in enumerate(stages):
        for phase in ("before", "after"):
            table = _with_reals(scores, stage, phase)
            if table is not None:
                tables[f"{phase}{number}"] = table
    if not tables:
        return []
    keys = {key: who for key, who in people.items() if key[0] == "stress" and key[2] == 0 or key[0].startswith(_PREFIX)}
    steps = {
        f"step{number}": (f"before{number}", f"before{number - 1}", 1)
        for number in range(1, len(stages))
        if f"before{number}" in tables and f"before{number - 1}" in tables
    }
    found: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        estimates, _ = measure(tables, [keys], bootstrap, level=level, changes=steps)
        for name, metrics in estimates.items():
            values = {metric: estimate.as_dict() for metric, estimate in metrics.items()}
            found.setdefault(name, {})[level] = values
    rows = []
    for number, stage in enumerate(stages):
        before = tables.get(f"before{number}")
        if before is None:
            continue
        row = {name: found.get(f"{name}{number}") for name in ("before", "after", "step")}
        rows.append({"stage": stage, "n": counts(before.tables[0], people), **row})
    return rows


def _on_every_rung(stages: Sequence[str], scores: pd.DataFrame) -> pd.DataFrame:
    """Clips that have scores on every rung and, with an after, in both phases: all rungs rest on the same swaps."""
    groups = {group(stage) for stage in stages}
    rungs = scores[scores.group.isin(groups) & (scores.label == 1)]
    sets = [set(part["clip"]) for _, part in rungs.groupby(["group", "phase"])]
    fakes = set.intersection(*sets) if sets else set()
    reals = scores[(scores.group == "stress") & (scores.label == 0)]
    sets = [set(zip(part["dataset"], part["clip"], strict=True)) for _, part in reals.groupby("phase")]
    kept = set.intersection(*sets) if sets else set()
    mine = [
        name in fakes if of in groups and label else (dataset, name) in kept
        for of, label, dataset, name in zip(
            scores["group"], scores["label"], scores["dataset"], scores["clip"], strict=True
        )
    ]
    return scores[mine]


def _with_reals(scores: pd.DataFrame, stage: str, phase: str) -> Condition | None:
    part = scores[scores.phase == phase]
    fakes = part[(part.group == group(stage)) & (part.label == 1)]
    reals = part[(part.group == "stress") & (part.label == 0)]
    tables = []
    for seed, mine in fakes.groupby("seed"):
        table = pd.concat([mine, reals[reals.seed == seed]], ignore_index=True)
        if both_labels(table):
            tables.append(table)
    return Condition(tables=tuple(tables)) if tables else None


