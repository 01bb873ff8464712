"""The outcome of an experiment on a terminal: one small table and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def show_matrix(found: Mapping[str, Any]) -> None:
    """Print what :func:`stress.matrix.run_matrix` found: video AUC, a row a detector, a column a data set."""
    for phase, title in (("before", "video AUC [95 % interval]"), ("after", "video AUC after fine-tuning")):
        if not any(phase in cell for cell in found["cells"]):
            continue
        table = Table(title=title, title_justify="left")
        table.add_column("")
        names = list(dict.fromkeys(cell["dataset"] for cell in found["cells"]))
        for name in names:
            table.add_column(name, justify="right")
        for detector in dict.fromkeys(cell["detector"] for cell in found["cells"]):
            row = {cell["dataset"]: cell for cell in found["cells"] if cell["detector"] == detector}
            table.add_row(detector, *(_matrix_cell(row.get(name, {}), phase) for name in names))
        out.print(table)


def show_study(found: Mapping[str, Any]) -> None:
    """Print what :func:`stress.study.run.run_study` found: zero-shot AUC, few-shot gains, and universal units."""
    if found["zero_shot"]:
        cells = [{**row, "before": {"video": row}, "suspect": False} for row in found["zero_shot"]]
        show_matrix({"cells": [{**cell, "detector": cell["network"]} for cell in cells]})
    if found["few_shot"]:
        table = Table(title="few-shot, video AUC on the new data set [95 % interval]", title_justify="left")
        for name in ("network", "new", "approach", "fakes", "AUC", "gain", "gain on the old data"):
            table.add_column(name, justify="left" if name in ("network", "new", "approach") else "right")
        known = {_few_shot_key(row, row["dataset"]): row for row in found["few_shot"]}
        for row in found["few_shot"]:
            if row["dataset"] == row["new"]:
                old = known.get(_few_shot_key(row, found["base"]))
                figures = _cell(row["after"]), _cell(row["gain"]), _cell(old and old["gain"])
                table.add_row(row["network"], row["new"], row["approach"], str(row["shots"]), *figures)
        out.print(table)
    for row in found["neurons"]:
        chance, exchanged = row["chance"], row["exchanged"]
        say(
            f"{row['network']}: {row['universal']['count']} of {row['units']} units are in all {len(row['datasets'])} "
            f"lists; {chance['expected']:.1f} if lists were independent, {exchanged['mean']:.1f} with data sets "
            f"exchanged, {'-' if row['untrained'] is None else row['untrained']} in an untrained network."
        )


def _few_shot_key(row: Mapping[str, Any], dataset: str) -> tuple[Any, ...]:
    return row["network"], row["new"], row["approach"], row["shots"], dataset


def _matrix_cell(cell: Mapping[str, Any], phase: str) -> str:
    if "failed" in cell:
        return "failed"
    if phase not in cell:
        return "-"
    return _cell(cell[phase]["video"]["auc"]) + (" (suspect)" if cell["suspect"] else "")


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
    if len(results.get("strategies", ())) > 1:
        found.append(_strategies(results["strategies"]))
    return found


def _strategies(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Video AUC of every way to fine-tune, what it won back and cost, and the p-value of the recovery."""
    table = Table(title="ways to fine-tune, video AUC", title_justify="left")
    for name in ("", "after", "recovery", "p", "forgetting"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        figures = (row["conditions"]["after"], row["changes"].get("recovery"), row["changes"].get("forgetting"))
        after, recovery, forgetting = (_cell(part and part["video"]["auc"]) for part in figures)
        p = row["p"]["recovery"]["video"]["auc"]
        table.add_row(row["label"], after, recovery, "-" if p is None else f"{p:.3f}", forgetting)
    return table


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
