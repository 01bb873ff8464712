"""Figures of the study with their intervals; all statistics are :func:`stress.evaluation.comparison.measure`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stress.data.crops import Crops
from stress.evaluation.comparison import Bootstrap, Condition, Key, both_labels, counts, measure
from stress.evaluation.out_of_fold import key_of

METRICS = ("auc", "ap", "balanced_accuracy", "detection_rate", "false_alarm_rate")

People = dict[Key, tuple[str, ...]]


def people_of(asked: Mapping[str, Sequence[Crops]]) -> People:
    """Who is in each clip of every data set."""
    return {key_of(item, name): item.clip.people for name, crops in asked.items() for item in crops}


def compare(
    tables: Mapping[str, Sequence[pd.DataFrame]],
    people: People,
    bootstrap: Bootstrap,
    *,
    changes: Mapping[str, tuple[str, str]] | None = None,
    metrics: Sequence[str] = METRICS,
) -> dict[str, dict[str, Any]]:
    """Figures by video of several conditions, and differences between them, all resampled together over people.

    Args:
        tables: Condition -> scores, one row a frame; metrics of several tables are averaged.
        people: Who is in each clip.
        bootstrap: How intervals are made.
        changes: Name -> (condition, condition): the first minus the second, positive where the first is better.
        metrics: Which to keep.

    Returns:
        Condition or change -> metric -> estimate, and for conditions ``n``. Conditions that lack fakes or reals are
        left out, and changes that need them.
    """
    usable = {name: tuple(parts) for name, parts in tables.items() if parts and all(map(both_labels, parts))}
    if not usable:
        return {}
    short = {name: f"c{i}" for i, name in enumerate(usable)}  # names may hold what measure() divides names by
    wanted = {name: ends for name, ends in (changes or {}).items() if set(ends) <= set(usable)}
    known = {f"d{i}": name for i, name in enumerate(wanted)}
    seen = {key for parts in usable.values() for part in parts for key in _keys(part)}
    found, _ = measure(
        {short[name]: Condition(tables=parts) for name, parts in usable.items()},
        [{key: who for key, who in people.items() if key in seen}],
        bootstrap,
        level="video",
        changes={key: (short[wanted[name][0]], short[wanted[name][1]], 1) for key, name in known.items()},
    )
    rows: dict[str, dict[str, Any]] = {
        name: {
            **{metric: found[short[name]][metric].as_dict() for metric in metrics},
            "n": counts(pd.concat(parts), people),
        }
        for name, parts in usable.items()
    }
    return rows | {
        name: {metric: found[key][metric].as_dict() for metric in metrics} for key, name in known.items()
    }


def _keys(table: pd.DataFrame) -> set[Key]:
    from stress.evaluation.comparison import keys_of

    return set(keys_of(table))


def of(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows of one data set."""
    return table[table.group == dataset]
