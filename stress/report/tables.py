"""The report's first tables, figures and clips, as rows of ready text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stress.report.words import Results, percent

_RANKS = ("auc", "ap")
_MOST = 200


def columns(results: Results) -> list[dict[str, str]]:
    """Columns of the main table: key, name, and whether it is a condition or a change."""
    conditions, changes = results["conditions"], results["changes"]
    same = "before_tested" in conditions and conditions["before_tested"]["n"] == conditions["before"]["n"]
    names = {"reference": "Own data", "before": "Before", "before_tested": "Before, tested part", "after": "After"}
    found = [
        {"key": key, "name": name, "kind": "condition"}
        for key, name in names.items()
        if key in conditions and not (key == "before_tested" and same)
    ]
    names = {"drop": "Drop", "recovery": "Recovery", "recovery_share": "… of the drop", "forgetting": "Forgetting"}
    return found + [{"key": key, "name": name, "kind": "change"} for key, name in names.items() if key in changes]


def rows(results: Results) -> list[dict[str, Any]]:
    """Levels (video, frame), each with its rows: metric, meaning, and a cell for every column."""
    found = []
    for level in ("video", "frame"):
        lines: list[dict[str, Any]] = []
        for metric, about in results["metrics"].items():
            cells = []
            for column in columns(results):
                part = results["conditions"] if column["kind"] == "condition" else results["changes"]
                cells.append(cell(part[column["key"]][level].get(metric), metric, column["key"]))
            if any(cell["value"] != "–" for cell in cells):
                lines.append({"metric": metric, "name": about["name"], "meaning": about["meaning"], "cells": cells})
        found.append({"level": level, "rows": lines})
    return found


def cell(figure: Mapping[str, Any] | None, metric: str, column: str = "") -> dict[str, str]:
    """A figure as text: value, interval, note, and whether its interval leaves out 0 (``kind`` "sure").

    Args:
        figure: Estimate, or None where there is none.
        metric: AUC and AP are written as decimals, all others as per cent.
        column: "drop", "recovery" and "forgetting" are changes and get a sign.
    """
    if figure is None or figure["value"] is None:
        return {"value": "–", "interval": "", "note": (figure or {}).get("note", ""), "kind": ""}
    change = column in ("drop", "recovery", "forgetting")
    decimal = metric in _RANKS and column != "recovery_share"

    def text(value: float, *, bare: bool = False) -> str:
        if change:
            written = f"{value:+.3f}" if decimal else f"{100 * value:+.1f}"
            return written if float(written) else written[1:]  # no sign on what rounds to nothing
        if decimal:
            return f"{value:.3f}"
        return f"{100 * value:.1f}" if bare else percent(value, 1)

    interval = ""
    if figure["low"] is not None:
        interval = f"{text(figure['low'], bare=True)} to {text(figure['high'], bare=True)}"
    sure = figure["low"] is not None and (figure["low"] > 0 or figure["high"] < 0)
    return {
        "value": text(figure["value"]).replace("-", "−"),
        "interval": interval.replace("-", "−"),
        "note": figure.get("note", ""),
        "kind": "sure" if change and sure else "",
    }


def fakes(results: Results) -> dict[str, Any]:
    """The stress fakes, the most missed first: rows, and how many more there are."""
    found = sorted((row for row in results["clips"] if row["label"] == 1), key=lambda row: row["before"])
    scores = {(row["dataset"], row["clip"]): row["before"] for row in results["clips"] if row["label"] == 0}
    shown = [
        {
            **row,
            "pair": " → ".join(row["people"]),
            "real": scores.get((row.get("matched_real_dataset") or row["dataset"], row["matched_real"])),
        }
        for row in found[:_MOST]
    ]
    return {"rows": shown, "more": max(0, len(found) - _MOST)}


def alarms(results: Results) -> list[Mapping[str, Any]]:
    """Reals that were called fake before or after, the highest score first."""
    found = [
        row
        for row in results["clips"]
        if row["label"] == 0 and (row["called_fake_before"] or row["called_fake_after"])
    ]
    return sorted(found, key=lambda row: -row["before"])[:_MOST]


def notes(cells: Iterable[Any]) -> list[str]:
    """The different notes of cells, in order; what stands below a table."""
    found = [one["note"] for one in cells if isinstance(one, Mapping) and one.get("note")]
    return list(dict.fromkeys(found))
