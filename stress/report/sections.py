"""The report's sections that only some results have: gate, strategies, ladder, perturbations, audit, hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stress.report.curves import small_chart
from stress.report.tables import cell
from stress.report.words import Results, chance, number, plain, several

_PHASES = {"before": "before", "after": "after"}
_MODES = {
    "faithful": "as DeeperForensics-1.0 published them, quirks kept",
    "corrected": "as DeeperForensics-1.0 describes them, its code's mistakes mended",
}
_FACES = {
    "clean": "Faces were found on the untouched frames.",
    "again": "Faces were found again on the perturbed frames.",
}


def gate(results: Results) -> dict[str, Any] | None:
    """Whether the detector reaches on its own kind of data what its card claims."""
    found = results.get("gate")
    if not found or not (found.get("asked") or found.get("rows") or found.get("reason")):
        return None
    said = {True: "Passed", False: "Not passed", None: "Not decided"}[found.get("passed")]
    if not found.get("asked"):
        said = "Not asked"
    rows = [
        {
            "name": f"{results['metrics'].get(row['metric'], {}).get('name', row['metric'])} by {row['level']}",
            "claimed": number(row["claimed"]),
            "found": cell({"value": row["found"], "low": row["low"], "high": row["high"]}, "auc"),
            "fine": row["fine"],
        }
        for row in found.get("rows") or ()
    ]
    reason = (found.get("reason") or "").rstrip(".")
    return {
        "said": said,
        "passed": found.get("passed"),
        "reason": f"{reason[:1].upper()}{reason[1:]}." if reason else "",
        "rows": rows,
        "tolerance": found.get("tolerance"),
    }


def strategies(results: Results) -> list[dict[str, Any]]:
    """What each way of fine-tuning reaches, wins back and forgets (AUC by video), and how its seeds spread."""
    rows = []
    for item in results.get("strategies") or ():
        changes, conditions = item["changes"], item["conditions"]
        seeds = [row for row in item.get("by_seed") or () if row.get("after_auc") is not None]
        after = [row["after_auc"] for row in seeds]
        rows.append(
            {
                "name": item["name"],
                "label": item.get("label") or plain(item.get("layers")),
                "replay": item.get("replay") and not item.get("label"),  # a label says so itself
                "main": item.get("main"),
                "after": cell(_auc(conditions.get("after")), "auc"),
                "recovery": cell(_auc(changes.get("recovery")), "auc", "recovery"),
                "p": chance(_p_value(item.get("p"))),
                "share": cell(_auc(changes.get("recovery_share")), "auc", "recovery_share"),
                "base_after": cell(_auc(conditions.get("base_after")), "auc"),
                "forgetting": cell(_auc(changes.get("forgetting")), "auc", "forgetting"),
                "spread": f"{number(min(after))} to {number(max(after))}" if after else "–",
                "seeds": {
                    row["seed"]: {"after": number(row["after_auc"]), "base": number(row.get("base_after_auc"))}
                    for row in seeds
                },
            }
        )
    return rows


def _p_value(p: Mapping[str, Any] | None) -> float | None:
    """Of the recovery: given alone, or beside that of the forgetting."""
    p = p or {}
    return ((p.get("recovery") or p).get("video") or {}).get("auc")


def _auc(condition: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return ((condition or {}).get("video") or {}).get("auc")


def ladder(results: Results) -> list[dict[str, Any]]:
    """A row a stage, from crude to best: AUC and detection rate before and after, and what the stage changed."""
    return [
        {
            "stage": step["stage"],
            "n": fakes_of(step.get("n")),
            "cells": [
                cell(((step.get(phase) or {}).get("video") or {}).get(metric), metric)
                for phase in _PHASES
                for metric in ("auc", "detection_rate")
            ],
            "step": cell(_auc(step.get("step")), "auc", "drop"),
        }
        for step in results.get("ladder") or ()
    ]


def fakes_of(n: Mapping[str, Any] | None) -> str:
    """How many fakes a figure rests on, as text."""
    count = ((n or {}).get("fakes") or {}).get("clips")
    return "–" if count is None else str(count)


def robustness(results: Results) -> dict[str, Any] | None:
    """A chart and rows of numbers for every perturbation, by family in the order given."""
    found = results.get("robustness")
    if not found or not found.get("rows"):
        return None
    rows = found["rows"]
    names = list(dict.fromkeys((row["family"], row["name"]) for row in rows))
    last = max(1, *(int(row["level"]) for row in rows))
    values = [row["video"]["auc"] for row in rows]
    ends = [mark[end] for mark in values for end in ("low", "value") if mark[end] is not None]
    low = min(0.5, int(10 * min(ends, default=0.5)) / 10)
    items = []
    for family, name in names:
        mine = sorted((row for row in rows if (row["family"], row["name"]) == (family, name)), key=_level)
        by_phase = {phase: [row for row in mine if row["phase"] == phase] for phase in _PHASES}
        by_phase = {phase: part for phase, part in by_phase.items() if part}
        lines = {phase: [(_level(row), row["video"]["auc"]) for row in part] for phase, part in by_phase.items()}
        label = f"AUC by video under {mine[0]['label']}, level 0 to {last}"
        settings = {_level(row): str(row["setting"]) for row in mine if row.get("setting") and row["level"]}
        items.append(
            {
                "family": family,
                "label": mine[0]["label"],
                "chart": small_chart(lines, low=low, levels=last, label=label),
                "settings": [f"{level}: {text}" for level, text in settings.items()],
                "rows": [_perturbed(phase, part, last) for phase, part in by_phase.items()],
            }
        )
    said = [_MODES.get(found.get("mode", ""), ""), _FACES.get(found.get("faces", ""), "")]
    basis = [row.get("n") for row in rows]
    counts = sorted({text for text in map(fakes_of, basis) if text != "–"}, key=int)
    return {
        "items": items,
        "levels": list(range(last + 1)),
        "mode": found.get("mode", ""),
        "mode_meaning": said[0],
        "faces": said[1],
        "basis": " to ".join([counts[0], counts[-1]] if len(counts) > 1 else counts),
        "worst": _worst(rows),
    }


def _level(row: Mapping[str, Any]) -> int:
    return int(row["level"])


def _perturbed(phase: str, rows: list[Mapping[str, Any]], last: int) -> dict[str, Any]:
    by_level = {_level(row): row["video"] for row in rows}
    worst = by_level[max(by_level)]
    return {
        "phase": phase,
        "cells": [cell(by_level.get(level, {}).get("auc"), "auc") for level in range(last + 1)],
        "detected": cell(worst.get("detection_rate"), "detection_rate"),
        "alarms": cell(worst.get("false_alarm_rate"), "false_alarm_rate"),
    }


def _worst(rows: list[Mapping[str, Any]]) -> str:
    """Where the AUC is lowest, before: a sentence."""
    known = [row for row in rows if row["phase"] == "before" and row["video"]["auc"]["value"] is not None]
    if not known:
        return ""
    least = min(known, key=lambda row: row["video"]["auc"]["value"])
    if not _level(least):
        return "No perturbation makes the untouched detector worse than it is on untouched frames."
    here = number(least["video"]["auc"]["value"])
    return f"Lowest before fine-tuning: AUC {here} under {least['label']} at level {least['level']}."


def audit(results: Results) -> dict[str, Any]:
    """Probes, shuffled labels, the processed-real control and names: ready text, each None where it was not run."""
    found = results["audit"]
    shuffled, control = found.get("shuffled"), found.get("processed_real")
    probes = [
        {
            "label": row.get("label") or row["name"],
            "auc": cell({"value": row["auc"], "low": row.get("low"), "high": row.get("high")}, "auc"),
            "p": chance(row.get("p")),
            "basis": _basis(row),
            "said": "suspect" if row.get("flag") else ("" if row.get("enough", True) else "too few clips to tell"),
            "flag": row.get("flag"),
        }
        for row in found.get("probes") or ()
    ]
    return {
        "probes": probes,
        "shuffled": shuffled and {**shuffled, "cell": cell({"value": shuffled["auc"], **_ends(shuffled)}, "auc")},
        "control": control
        and {
            "flag": control.get("flag"),
            "phase": {"before": "before fine-tuning", "after": "after fine-tuning"}.get(control.get("phase", ""), ""),
            "basis": _control_basis(control.get("n")),
            "rate": cell(control.get("rate"), "detection_rate"),
            "reals_rate": cell(control.get("reals_rate"), "false_alarm_rate"),
            "auc": cell(control.get("auc"), "auc"),
        },
        "names": [
            (key.replace("_", " "), plain(value) if value else "no difference found")
            for key, value in (found.get("names") or {}).items()
        ],
        "flags": sum(bool(row.get("flag")) for row in (*found["features"], *(found.get("probes") or ()), shuffled or {},
                                                       control or {})),
    }  # fmt: skip


def _ends(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"low": row.get("low"), "high": row.get("high")}


def _basis(row: Mapping[str, Any]) -> str:
    counts = [("fakes", "fake"), ("reals", "real"), ("people", "person")]
    return ", ".join(several(row[key], name) for key, name in counts if row.get(key) is not None)


def _control_basis(n: Mapping[str, Any] | None) -> str:
    """Counts of the control, whatever they are called: "12 processed, 12 reals, 6 people"."""
    parts = []
    for key, value in (n or {}).items():
        clips = value.get("clips") if isinstance(value, Mapping) else value
        if clips is not None:
            parts.append(f"{clips} {key.replace('_', ' ')}")
    return ", ".join(parts)


def hashes(results: Results) -> dict[str, Any] | None:
    """The detector's sha256 and that of every clip."""
    found = results.get("hashes")
    if not found or not (found.get("detector") or found.get("clips")):
        return None
    return {"detector": found.get("detector"), "clips": list((found.get("clips") or {}).items())}


def contents(results: Results, faces: int) -> list[tuple[str, str, str]]:
    """The page's sections: anchor, name, and what is in it, in few words; only those that are there."""
    many = sum(row["label"] == 1 for row in results["clips"])
    lost = len(results["excluded"]) + len(results["failures"]) + len(results["finetune"]["left_out"])
    checked, perturbed = gate(results), robustness(results)
    flags = audit(results)["flags"]
    entries: list[tuple[str, str, str] | None] = [
        ("gate", "Gate", checked["said"].lower()) if checked else None,
        ("figures", "Figures", ""),
        ("scores", "Scores and ROC", ""),
        ("strategies", "Ways of fine-tuning", several(len(results["strategies"]), "way"))
        if results.get("strategies")
        else None,
        ("ladder", "Quality ladder", several(len(results["ladder"]), "stage")) if results.get("ladder") else None,
        ("robustness", "Perturbations", several(len(perturbed["items"]), "kind")) if perturbed else None,
        ("where", "Where the forgery is", f"IoU {number(results['localisation']['iou']['value'])}")
        if results.get("localisation")
        else None,
        ("audit", "Audit", f"{flags} suspect" if flags else "nothing found"),
        ("faces", "Faces", several(faces, "fake")) if faces else None,
        ("clips", "Every fake", several(many, "fake")),
        ("method", "Method and terms", ""),
        ("left-out", "Left out", several(lost, "clip") if lost else "nothing"),
        ("settings", "Settings, versions, hashes" if results.get("hashes") else "Settings and versions", ""),
    ]
    return [entry for entry in entries if entry]
