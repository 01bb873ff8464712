"""The gate: on its own kind of data a detector must reach what its card claims, or a drop would mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faceswap_hq.errors import UserError
from stress.evaluation.comparison import LEVELS
from stress.evaluation.metrics import MEANING, METRICS

_CHECK = (
    "Look at how it is asked: crop_margin, alignment, color_order, mean and std, fake_index and output in its card, "
    "and whether --base is the kind of data that the claim is about. A detector asked wrongly shows a drop that is not "
    "there. --ignore-gate goes on all the same."
)


def judge(
    claims: Mapping[str, float] | None,
    reference: Mapping[str, Mapping[str, Mapping[str, Any]]] | None,
    tolerance: float,
) -> dict[str, Any]:
    """Compare what a card claims with what was found.

    Args:
        claims: Such as ``{"video_auc": 0.99}``: level, underscore, metric; other names are ignored.
        reference: Level -> metric -> value, low, high: the untouched detector on the base data; None without any.
        tolerance: By how much the figure may fall short of the claim, in the metric's units.

    Returns:
        JSON-able: ``asked`` (whether there was something to compare), ``passed`` (None where not), ``tolerance``,
        ``rows`` (level, metric, claimed, found, low, high, fine) and ``reason`` (for the person; when passed, what
        could not be checked).
    """
    wanted = _claims(claims)
    found: dict[str, Any] = {"asked": False, "passed": None, "tolerance": tolerance, "rows": [], "reason": ""}
    if not wanted:
        return found | {"reason": "the card claims nothing (base_metrics) that could be checked"}
    if reference is None:
        return found | {"reason": "no reals and fakes of the detector's own kind were given"}
    unsaid: list[str] = []
    for level, metric, claimed in wanted:
        figure = reference[level][metric]
        if figure["value"] is None:
            unsaid.append(f"{level} {MEANING[metric][0]}")
            continue
        short = METRICS[metric] * (claimed - figure["value"])
        row = {"level": level, "metric": metric, "claimed": claimed, "found": figure["value"]}
        found["rows"].append(row | {"low": figure["low"], "high": figure["high"], "fine": short <= tolerance + 1e-9})
    if not found["rows"]:
        return found | {"reason": "the base data are too few for what the card claims"}
    found |= {"asked": True, "passed": all(row["fine"] for row in found["rows"])}
    if not found["passed"]:
        found["reason"] = " ".join(_sentence(row) for row in found["rows"] if not row["fine"])
    elif unsaid:
        found["reason"] = f"not checked, for want of base data: {', '.join(unsaid)}"
    return found


def stop(gate: Mapping[str, Any]) -> UserError:
    """The error with which a run ends whose detector misses its own claim."""
    return UserError(f"The run was stopped at the gate. {gate['reason']}", _CHECK)


def _claims(claims: Mapping[str, float] | None) -> Sequence[tuple[str, str, float]]:
    parts = ((name.partition("_"), value) for name, value in (claims or {}).items())
    return [
        (level, metric, float(value)) for (level, _, metric), value in parts if level in LEVELS and metric in METRICS
    ]


def _sentence(row: Mapping[str, Any]) -> str:
    between = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return (
        f"On its own kind of data the detector reaches a {row['level']} {MEANING[row['metric']][0]} of "
        f"{row['found']:.3f}{between}, its card claims {row['claimed']:.3f}."
    )
