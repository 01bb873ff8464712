"""The outcome of an experiment on a terminal: one small table and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from faceswap_hq.console import out, say, warn
from stress.report.verdict import caution, headline

_METRICS = ("auc", "ap", "eer", "accuracy")
_COLUMNS = {
    "reference": "own data",
    "before": "before",
    "before_tested": "before, tested part",
    "after": "after fine-tuning",
}
_CHANGES = {"drop": "drop", "recovery": "recovery", "recovery_share": "share won back", "forgetting": "forgetting"}


def show(results: Mapping[str, Any]) -> None:
    """Print the results of :func:`stress.experiment.run`.

    Args:
        results: ``Outcome.results``, or what results.json holds.
    """
    for table in tables(results):
        out.print(table)
    say(_counts(results))
    for sentence in headline(results):
        say(sentence)
    for text in caution(results):
        warn(text)


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The metrics of every condition, and the changes between them, as rich tables."""
    conditions, changes = results["conditions"], results["changes"]
    names = {key: label for key, label in _COLUMNS.items() if key in conditions}
    if names.keys() >= {"before", "before_tested"} and conditions["before"]["n"] == conditions["before_tested"]["n"]:
        del names["before_tested"]
    confidence = round(100 * results["settings"]["confidence"])
    found = [_table(f"{results['detector']['name']}: figure [{confidence} % interval]", names, conditions, results)]
    shown = {key: label for key, label in _CHANGES.items() if key in changes}
    if shown:
        found.append(_table("changes", shown, changes, results))
    return found


def _table(title: str, columns: Mapping[str, str], figures: Mapping[str, Any], results: Mapping[str, Any]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for label in columns.values():
        table.add_column(label, justify="right")
    for level in ("video", "frame"):
        for metric in _METRICS:
            cells = [figures[key][level].get(metric) for key in columns]
            if any(cell is not None for cell in cells):
                table.add_row(f"{level} {results['metrics'][metric]['name']}", *map(_cell, cells))
        if level == "video":
            table.add_section()
    return table


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{figure['value']:.3f}"
    return value if figure["low"] is None else f"{value} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _counts(results: Mapping[str, Any]) -> str:
    clips = results["clips"]
    fakes = [row for row in clips if row["label"] == 1]
    people = {person for row in clips for person in row["people"]}
    text = f"{len(fakes)} fakes and {len(clips) - len(fakes)} reals of {len(people)} people"
    text += f", {sum(row['frames'] for row in clips)} frames"
    if results["excluded"]:
        text += f"; {len(results['excluded'])} clips left out"
    folds = results["finetune"]["folds"]
    if folds:
        text += f"; {len(folds)} folds without a common person"
        left_out = results["finetune"]["left_out"]
        text += f", {len(left_out)} fakes between them not tested" if left_out else ""
    return text + "."
