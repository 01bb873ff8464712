"""What a study leaves behind: study.json, tables as CSV, and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceswap_hq.files import write_bytes, write_json
from stress.report.tidy import unformulaic
from stress.study.heat_maps import BINS

_ENDS = ("value", "low", "high")
_UNITS = ("network", "dataset", "unit", "contribution")


def write(found: Mapping[str, Any], units: Sequence[Mapping[str, Any]], folder: Path, *, page: bool) -> list[Path]:
    """Write study.json, the tables that have rows, and, if wanted, study.html; each whole or not at all.

    Args:
        found: What study.json holds.
        units: Rows of :func:`unit_rows`.
        folder: Made if missing.
        page: Whether to write the page.

    Returns:
        The files.
    """
    parts = {
        "zero-shot": _zero_shot(found["zero_shot"]),
        "few-shot": _few_shot(found["few_shot"]),
        "heat-maps": _heat_maps(found["heat_maps"]),
        "neurons": _neurons(found["neurons"]),
        "ablation": _ablation(found["neurons"]),
        "units": [dict(row) for row in units],
    }
    paths = []
    for name, rows in parts.items():
        if rows:
            write_bytes(folder / f"{name}.csv", _csv(rows).encode())
            paths.append(folder / f"{name}.csv")
    if page:
        from stress.study.page import render_page

        write_bytes(folder / "study.html", render_page(found).encode())
        paths.append(folder / "study.html")
    write_json(folder / "study.json", found)
    return [folder / "study.json", *paths]


def unit_rows(network: str, datasets: Sequence[str], amounts: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """One row a network, data set and unit."""
    return [
        dict(zip(_UNITS, (network, dataset, unit, amount), strict=True))
        for dataset, mine in zip(datasets, amounts, strict=True)
        for unit, amount in enumerate(mine)
    ]


def _figure(name: str, figure: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        (name if end == "value" else f"{name}_{end}"): None if figure is None else figure.get(end) for end in _ENDS
    }


def _counts(n: Mapping[str, Any]) -> dict[str, Any]:
    return {"fakes": n["fakes"]["clips"], "reals": n["reals"]["clips"], "people": n["all"]["people"]}


def _zero_shot(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    metrics = [name for name in (rows[0] if rows else ()) if name not in ("network", "dataset", "n", "drop")]
    return [
        {
            "network": row["network"], "dataset": row["dataset"], **_counts(row["n"]),
            **{key: value for name in metrics for key, value in _figure(name, row[name]).items()},
            **_figure("auc_drop", row["drop"] and row["drop"]["auc"]),
        }
        for row in rows
    ]  # fmt: skip


def _few_shot(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = ("network", "new", "approach", "layers", "shots", "repeats", "dataset")
    return [
        {
            **{name: row[name] for name in names},
            **{f"learned_{name}": count for name, count in row["learned"].items()},
            **_counts(row["n"]), **_figure("auc", row["after"]), **_figure("auc_gain", row["gain"]),
        }
        for row in rows
    ]  # fmt: skip


def _heat_maps(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "group": row["group"], "networks": " | ".join(row["networks"]), "dataset": row["dataset"], **row["n"],
            "empty": row["empty"], **_figure("ssim", row["ssim"]), **_figure("ssim_strangers", row["strangers"]),
            **{
                key: value
                for name in BINS
                for key, value in _figure(f"share_{name}", row["bins"] and row["bins"][name]).items()
            },
        }
        for row in rows
    ]  # fmt: skip


def _neurons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        halves, exchanged, chance = row["halves"] or {}, row["exchanged"], row["chance"]
        levels: dict[str, Mapping[str, Any]] = {
            "universal, share of all units": row["universal"]["share"],
            "universal": {"value": row["universal"]["count"]},
            "universal, independent lists": {**chance, "value": chance["expected"]},
            "universal, data sets exchanged": {**exchanged, "value": exchanged["mean"]},
            "universal, untrained network": {"value": row["untrained"]},
            **{f"lists share, {name.replace('_', ' ')}": figure for name, figure in row["shared"].items()},
            **{f"halves share, {name}": {**part, "value": part["mean"]} for name, part in halves.items()
               if name != "draws"},
        }  # fmt: skip
        tests = {"universal, independent lists": chance["p"], "universal, data sets exchanged": exchanged["p"]}
        facts = {"network": row["network"], "units": row["units"], "listed": row["listed"],
                 "datasets": len(row["datasets"])}  # fmt: skip
        found += [
            {**facts, "level": name, **_figure("value", level), "p": tests.get(name)} for name, level in levels.items()
        ]
    return found


def _ablation(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "network": row["network"], "universal": row["ablation"]["units"], "dataset": part["dataset"],
            **_counts(part["n"]), "units": way, **_figure("auc", figure),
        }
        for row in rows
        for part in row["ablation"]["rows"]
        for way, figure in part.items()
        if way not in ("dataset", "n")
    ]  # fmt: skip


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: unformulaic(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    )
    return out.getvalue()
