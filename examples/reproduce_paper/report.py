"""``result.json`` and the page that is made of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceswap_hq import __version__ as toolkit
from reproduce_paper.data import Faces
from reproduce_paper.machine import machine
from reproduce_paper.plan import Settings, Swap, curation_settings
from stress.report import tables, words
from stress.results import as_record, environment, json_safe

FORMAT, VERSION = "faceswap-hq reproduction", 1
PAPER = {
    "title": "Fooling State-of-the-Art Deepfake Detection with High-Quality Deepfakes",
    "authors": "Beckmann, Hilsmann, Eisert, IH&MMSec 2023, arXiv 2305.05282",
    "usual": 0.974, "fakes": 0.267, "n": 90,
    "source": "a summary page of Fraunhofer AISEC about the paper; its tables could not be read",
}  # fmt: skip
_FOLDER = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_ENOUGH = 12
_LEARNED = 0.8


def result(
    *, every: Sequence[Swap], swaps: Sequence[Swap], test: Sequence[Swap], ladder: Sequence[Swap],
    folds: Sequence[frozenset[str]], counts: Mapping[str, int], settings: Settings, options: Any, good: Path,
    faces: Faces, detectors: Mapping[str, Any], audit: Mapping[str, Any], seconds: Mapping[str, float],
    failures: Sequence[Mapping[str, str]], models: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Everything that was found, and from what; no path of this machine."""
    accepted = sum(swap.accepted for swap in every)
    groups = [
        {"people": sorted(fold), "tested": sum(fold.issuperset(swap.people) for swap in swaps),
         "learned": sum(fold.isdisjoint(swap.people) for swap in swaps)}
        for fold in folds
    ]  # fmt: skip
    record = as_record(settings)
    record["strategy"] = settings.strategy.name
    record["detectors"] = [path.name for path in settings.detectors]
    return dict(json_safe({
        "format": FORMAT, "version": VERSION, "toolkit": toolkit, "paper": PAPER,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "environment": environment(), "machine": machine(), "settings": record, "quick": options.quick,
        "virtual": str(options.cast) == "actors", "curation": _bare(curation_settings(good)),
        "models": list(models), "seconds": dict(seconds),
        "fakes": {
            "made": len(every), "accepted": accepted, "rejected": len(every) - accepted, "used": len(swaps),
            "tested": len(test), "ladder": len(ladder), "people": len(frozenset().union(*folds)),
        },
        "clips": {name: len(clips) for name, clips in faces.clips.items()},
        "folds": groups, "counts": dict(counts), "detectors": dict(detectors), "audit": dict(audit),
        "failures": list(failures), "excluded": list(faces.excluded),
    }))  # fmt: skip


def _bare(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A curation's settings; of a file its name alone."""
    return {key: Path(value).name if isinstance(value, str) else value for key, value in settings.items()}


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What to know before quoting a figure."""
    said, people = [], found["fakes"]["people"]
    if found["quick"]:
        said.append("Made with --quick: a model of a few steps, a few clips. No figure here means anything.")
    if found["virtual"]:
        said.append("Virtual actors, drawn by a program: what detectors do on them is not what they do on footage.")
    if people < _ENOUGH:
        said.append(
            f"{words.several(people, 'person')} and {words.several(found['fakes']['tested'], 'fake')} that are tested: "
            "intervals are wide for that reason, and each fold's threshold and AUC rest on a few reals."
        )
    if found["fakes"]["used"] > found["fakes"]["accepted"]:
        rejected = found["fakes"]["used"] - found["fakes"]["accepted"]
        said.append(
            f"{rejected} of the {found['fakes']['used']} good fakes were rejected by curation and used all the same."
        )
    for name, each in found["detectors"].items():
        before = _figure(each, "crude", "0", "auc")
        if before["value"] is not None and before["value"] < _LEARNED:
            said.append(
                f"{name} does not know crude fakes of other people (AUC {before['value']:.2f}): "
                "what it misses among the good ones says little about these."
            )
    for row in found["audit"]["warnings"]:
        said.append(row)
    for row in ("failures", "excluded"):
        if found[row]:
            said.append(f"{words.several(len(found[row]), 'item')} under {row} in result.json took no part.")
    return said


def differences(found: Mapping[str, Any]) -> list[str]:
    """What is not as in the paper, as far as that is known."""
    names = ", ".join(found["detectors"])
    fakes, curation = found["fakes"], found["curation"]
    data = "virtual actors" if found["virtual"] else "the clips given here"
    return [
        f"Figure: the paper's two are accuracies of one detector, as a summary gives them, without an interval; ours "
        f"are shares of fakes called fake, at a threshold chosen on people who are not tested ({_share(found)}).",
        f"Detector: the paper's is not named where we could read; ours: {names}, trained on crude fakes of a few "
        "people and on nothing else, unless they are published files.",
        "Usual data: the paper's 97.4 % are on its usual test data, which we do not know; ours are crude fakes (pasted "
        "without blending) of the same swaps, by the same model, in the same frames.",
        f"Fakes: 90 in the paper, of how many people is not known, probably Google's DFD actors; here "
        f"{fakes['used']} of {data}, {fakes['people']} people, of which {fakes['tested']} are tested.",
        "Model: the paper's autoencoder draws 256 x 256 pixels and is trained for each pair on a GPU, about 250 000 "
        f"steps; ours is one for the whole cast, preset {curation.get('preset')}, budget "
        f"{curation.get('steps') or curation.get('minutes') or 'of the preset'}.",
        "Blending: the paper's is Poisson editing with a mask of both faces' parsers; ours is preset "
        f"{curation.get('blend')}.",
        "Fine-tuning: the paper's protocol could not be read; ours: "
        f"{found['settings']['tune_steps']} steps, {found['settings']['strategy']}, nobody held out.",
    ]


def _share(found: Mapping[str, Any]) -> str:
    return f"{len(found['folds'])} folds, {words.several(found['settings']['seeds'], 'seed')}"


def _figure(each: Mapping[str, Any], test: str, count: str, metric: str) -> dict[str, Any]:
    none = {"value": None, "low": None, "high": None}
    return dict(each["tests"].get(test, {}).get(count, {}).get(metric) or none)


def _cells(each: Mapping[str, Any], test: str, counts: Sequence[str], metric: str) -> list[dict[str, str]]:
    return [tables.cell(_figure(each, test, count, metric), metric) for count in counts]


def _changes(each: Mapping[str, Any], name: str, counts: Sequence[str], metric: str) -> list[dict[str, str]]:
    rows = [each["changes"].get(f"{name}@{count}", {}).get(metric) for count in counts]
    return [tables.cell(row, metric, "recovery") for row in rows]


def _n(each: Mapping[str, Any], test: str) -> str:
    """"24 fakes, 10 reals, 10 people"."""
    n = next(iter(each["tests"].get(test, {}).values()), {}).get("n")
    if not n:
        return ""
    fakes, reals = n["fakes"]["clips"], n["reals"]["clips"]
    parts = ((fakes, "fake"), (reals, "real"), (n["all"]["people"], "person"))
    return ", ".join(words.several(count, name) for count, name in parts)


def sections(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each detector: rows of every table, with cells of ready text."""
    counts = list(found["counts"])
    last = counts[-1]
    later = [count for count in counts if count != "0"]
    made = []
    for name, each in found["detectors"].items():
        ladder = [test for test in each["tests"] if test.startswith("ladder:")]
        order = ["none", "mask", "color", "poisson", "detail", "temporal"]
        ladder.sort(key=lambda test: order.index(test.partition(":")[2]) if test.partition(":")[2] in order else 9)
        others = [test for test in each["tests"] if test not in ("crude", "good", *ladder)]
        one = [(metric, label) for metric, label in (("auc", "AUC"), ("detection_rate", "fakes detected"))]
        false = ("false_alarm_rate", "reals called fake")
        made.append({
            "name": name,
            "trained_here": each["trained_here"],
            "basis": {test: _n(each, test) for test in each["tests"]},
            "crude": tables.cell(_figure(each, "crude", "0", "detection_rate"), "detection_rate"),
            "good": tables.cell(_figure(each, "good", "0", "detection_rate"), "detection_rate"),
            "after": tables.cell(_figure(each, "good", last, "detection_rate"), "detection_rate"),
            "alarms": tables.cell(_figure(each, "good", "0", "false_alarm_rate"), "false_alarm_rate"),
            "alarms_after": tables.cell(_figure(each, "good", last, "false_alarm_rate"), "false_alarm_rate"),
            "auc_crude": tables.cell(_figure(each, "crude", "0", "auc"), "auc"),
            "auc_good": tables.cell(_figure(each, "good", "0", "auc"), "auc"),
            "auc_after": tables.cell(_figure(each, "good", last, "auc"), "auc"),
            "drop": tables.cell(each["changes"].get("drop", {}).get("auc"), "auc", "drop"),
            "recovery": [
                {"test": test, "label": label, "cells": _cells(each, test, counts, metric)}
                for test in ("good", "crude") for metric, label in (*one, *([false] if test == "good" else []))
            ],
            "changes": [
                {"label": label, "metric": what, "cells": _changes(each, change, later, metric)}
                for change, label in (("recovery", "recovery, good fakes"), ("forgetting", "forgetting, crude fakes"))
                for metric, what in one
            ],
            "ladder": [
                {"stage": test.partition(":")[2], "n": _n(each, test),
                 "cells": [*_cells(each, test, ["0", last], "auc"), *_cells(each, test, ["0", last], "detection_rate")]}
                for test in ladder
            ],
            "transfer": [
                {"test": test, "n": _n(each, test), "cells": _cells(each, test, counts, "auc"),
                 "change": _changes(each, f"transfer to {test}", later, "auc")}
                for test in others
            ],
            "controls": [f"After {count}: {row['sentence']}" if count != "0" else row["sentence"]
                         for count, row in each["controls"].items() if row],
        })  # fmt: skip
    return made


def page(found: Mapping[str, Any]) -> str:
    """The report, one self-contained page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    import stress.report
    from reproduce_paper.drawing import recovery

    environment = Environment(
        loader=FileSystemLoader([_FOLDER, Path(stress.report.__file__).parent]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "plain": words.plain, "short": words.short, "percent": words.percent, "chance": words.chance,
        "letter": lambda place: chr(ord("a") + place % 26),
    }  # fmt: skip
    rows = sections(found)
    return environment.get_template("report.html.j2").render(
        r=found, policy=_POLICY, cautions=cautions(found), differences=differences(found), detectors=rows,
        counts=list(found["counts"]), notes=tables.notes(_every(rows)),
        drawing=Markup(recovery(found)),  # noqa: S704 - matplotlib escapes its texts
        minutes={name: f"{seconds / 60:.1f}" for name, seconds in found["seconds"].items()},
    )  # fmt: skip


def _every(value: Any) -> list[Any]:
    """All cells in nested rows."""
    if isinstance(value, Mapping):
        return [value] if "note" in value else [cell for part in value.values() for cell in _every(part)]
    return [cell for part in value for cell in _every(part)] if isinstance(value, list) else []


def lines(found: Mapping[str, Any]) -> list[str]:
    """The main figures, for the terminal."""
    last = list(found["counts"])[-1]
    said = [f"paper: {PAPER['usual']:.1%} of its usual test data, {PAPER['fakes']:.1%} of its 90 fakes"]
    for row in sections(found):
        said.append(
            f"{row['name']}: detects {_text(row['crude'])} of the crude fakes, {_text(row['good'])} of the good ones, "
            f"{_text(row['after'])} after fine-tuning on {last} of them; false alarms {_text(row['alarms'])}, then "
            f"{_text(row['alarms_after'])}; "
            f"AUC {_text(row['auc_crude'])}, {_text(row['auc_good'])}, {_text(row['auc_after'])}"
        )
    return said


def _text(cell: Mapping[str, str]) -> str:
    return f"{cell['value']} [{cell['interval']}]" if cell["interval"] else cell["value"]
