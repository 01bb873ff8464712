"""The study as one self-contained page, with the report's own style and tables."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stress.report import tables, words
from stress.study.heat_maps import BINS

_TEMPLATES = Path(__file__).parents[1] / "report"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_page(found: Mapping[str, Any]) -> str:
    """The page of what study.json holds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "plain": words.plain, "number": words.number, "chance": words.chance, "short": words.short,
        "letter": lambda place: string.ascii_lowercase[place % 26],
    }  # fmt: skip
    zero, few, heat = zero_shot(found), few_shot(found), heat_maps(found)
    neurons = [neuron(row) for row in found["neurons"]]
    cells = [cell for row in zero["rows"] for cell in row["cells"]]
    cells += [cell for part in few for row in part["rows"] for cell in row["cells"]]
    cells += [cell for row in heat for cell in row["cells"]]
    cells += [cell for part in neurons for row in part["ablation"] for cell in row["cells"]]
    return environment.get_template("study.html.j2").render(
        r=found, policy=_POLICY, cautions=cautions(found), zero=zero, few=few, heat=heat, neurons=neurons,
        notes=tables.notes(cells), interval=f"{100 * found['settings']['confidence']:g} %",
    )  # fmt: skip


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What to know before quoting a figure."""
    said = []
    if found["failures"]:
        said.append(f"Not in it because they failed: {words.several(len(found['failures']), 'part')}; see the end.")
    given = [item["name"] for item in found["networks"] if item["given"]]
    if given:
        said.append(
            f"{', '.join(given)}: trained elsewhere. If they learned from people who are tested here, their figures "
            "are too good; nobody can see that from here."
        )
    if not found["people"]["learned"]:
        said.append("Nothing was learned from these data sets: everybody is tested.")
    elif len(found["people"]["tested"]) < 12:
        said.append(f"Only {len(found['people']['tested'])} people are tested; intervals are wide for that reason.")
    if found["neurons"]:
        said.append(
            "That units are “universal” more often than independent lists allow does not show that forgeries make them "
            "so. Look at the levels of exchanged data sets, reals, noise and the untrained network."
        )
    return said


def zero_shot(found: Mapping[str, Any]) -> dict[str, Any]:
    """Networks x data sets: a cell an AUC, its shade from 0.5 to 1."""
    names = [item["name"] for item in found["datasets"]]
    rows = []
    for network in dict.fromkeys(row["network"] for row in found["zero_shot"]):
        mine = {row["dataset"]: row for row in found["zero_shot"] if row["network"] == network}
        rows.append({"network": network, "cells": [_shaded(mine.get(name)) for name in names]})
    return {"names": names, "rows": rows}


def _shaded(row: Mapping[str, Any] | None) -> dict[str, Any]:
    cell: dict[str, Any] = dict(tables.cell(row and row["auc"], "auc"))
    value = row["auc"]["value"] if row else None
    drop = tables.cell(row["drop"]["auc"], "auc", "drop") if row and row["drop"] else None
    n = ""
    if row:
        fakes, reals, people = row["n"]["fakes"]["clips"], row["n"]["reals"]["clips"], row["n"]["all"]["people"]
        n = f"{fakes} + {reals} clips, {people} people"
    return {**cell, "shade": _shade(value or 0.0), "drop": drop, "n": n}


def _shade(value: float) -> int:
    """Per cent of colour, from none at chance to 60 at 1."""
    return round(60 * max(0.0, 2 * value - 1))


def few_shot(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A table for each network and new data set: approaches x (data set asked about), a column a number of clips."""
    parts = []
    kinds = dict.fromkeys((row["network"], row["new"]) for row in found["few_shot"])
    for network, new in kinds:
        mine = [row for row in found["few_shot"] if (row["network"], row["new"]) == (network, new)]
        shots = sorted({row["shots"] for row in mine})
        before = {row["dataset"]: row for row in found["zero_shot"] if row["network"] == network}
        rows = []
        for approach, dataset in dict.fromkeys((row["approach"], row["dataset"]) for row in mine):
            there = {row["shots"]: row for row in mine if (row["approach"], row["dataset"]) == (approach, dataset)}
            cells = [tables.cell(before[dataset]["auc"], "auc") if dataset in before else tables.cell(None, "auc")]
            for count in shots:
                row = there.get(count)
                cell = tables.cell(row and row["after"], "auc")
                cells.append({**cell, "kind": tables.cell(row and row["gain"], "auc", "recovery")["kind"]})
            kind = "new" if dataset == new else "old" if dataset == found["base"] else "another"
            rows.append({"approach": approach, "dataset": dataset, "kind": kind, "cells": cells})
        parts.append({"network": network, "new": new, "shots": shots, "rows": rows})
    return parts


def heat_maps(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of agreement."""
    return [
        {
            **row,
            "cells": [
                tables.cell(row["ssim"], "auc"),
                tables.cell(row["strangers"], "auc"),
                *(tables.cell(row["bins"] and row["bins"][name], "share") for name in BINS),
            ],
        }
        for row in found["heat_maps"]
    ]


def neuron(row: Mapping[str, Any]) -> dict[str, Any]:
    """One network's neuron study: levels as rows of text, and its ablation."""
    chance, exchanged, halves = row["chance"], row["exchanged"], row["halves"]
    share, n = row["universal"]["share"], row["units"]
    levels = [
        ("universal: in all lists", f"{row['universal']['count']}", _times(share, n), ""),
        ("if lists were independent", f"{chance['expected']:.1f}", f"{chance['low']} to {chance['high']}", chance["p"]),
        ("data sets exchanged among the same people", f"{exchanged['mean']:.1f}",
         f"{exchanged['low']:.0f} to {exchanged['high']:.0f}", exchanged["p"]),
        ("untrained network", "–" if row["untrained"] is None else f"{row['untrained']}", "", ""),
    ]  # fmt: skip
    names = {
        "datasets": "two data sets", "fakes": "fakes of two data sets", "fakes_and_reals": "fakes and reals",
        "fakes_and_noise": "fakes and noise",
    }  # fmt: skip
    pairs = [(label, tables.cell(row["shared"][name], "share")) for name, label in names.items()]
    if halves:
        for name, label in (("within", "two halves of one data set"), ("between", "halves of two data sets")):
            part = halves[name]
            pairs.append((label, tables.cell({**part, "value": part["mean"]}, "share")))
    rows = row["ablation"]["rows"]
    ways = [name for name in (rows[0] if rows else ()) if name not in ("dataset", "n")]
    return {
        **row,
        "levels": levels,
        "pairs": pairs,
        "ways": ways,
        "ablation": [
            {
                "dataset": part["dataset"],
                "cells": [tables.cell(part[way], "auc", "recovery" if " - " in way else "") for way in ways],
            }
            for part in rows
        ],
        "note": row["ablation"].get("note", ""),
        "among_largest": row["ablation"]["among_largest"],
        "shades": [[_shade(value) for value in line] for line in row["matrix"]["shared"]],
    }


def _times(share: Mapping[str, Any], n: int) -> str:
    return "" if share["low"] is None else f"{n * share['low']:.0f} to {n * share['high']:.0f}"

