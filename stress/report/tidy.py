"""Every number of the page as one long table: a row a number, for a spreadsheet, R or pandas.

The page's own tables are cut to what can be read; this one is not. Text from data is kept as it is in Parquet; in CSV,
what a spreadsheet would take for a formula gets an apostrophe before it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

Results = Mapping[str, Any]
Row = dict[str, Any]

#: Columns and their pandas types; docs/formats.md says what each means.
COLUMNS = {
    "section": "str",
    "item": "str",
    "condition": "str",
    "by": "str",
    "step": "Int64",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n_fakes": "Int64",
    "n_reals": "Int64",
    "n_people": "Int64",
    "n_frames": "Int64",
    "text": "str",
}
_LEVELS = ("video", "frame")


def tidy(results: Results, scores: pd.DataFrame | None = None) -> pd.DataFrame:
    """The long table.

    Args:
        results: ``Outcome.results``, or what results.json holds.
        scores: ``Outcome.scores``: the frames' scores before are the gallery's captions and get rows of their own.

    Returns:
        Columns of :data:`COLUMNS`; ``text`` holds a note, or a value that is not a number.
    """
    rows: list[Row] = []
    for part in (_figures, _gate, _strategies, _ladder, _robustness, _localisation, _audit, _clips, _finetune, _record):
        rows += part(results)
    if scores is not None:
        rows += _frames(scores)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, kind in COLUMNS.items():
        if kind == "str":
            table[name] = table[name].fillna("").astype(str)
        else:
            table[name] = pd.to_numeric(table[name]).astype(kind)
    return table


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV in which no text is a formula."""
    safe = table.copy()
    for name, kind in COLUMNS.items():
        if kind == "str":
            safe[name] = safe[name].map(unformulaic)
    buffer = io.StringIO()
    safe.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def unformulaic(text: str) -> str:
    """Text that a spreadsheet takes for text (OWASP, CSV injection): an apostrophe before what begins a formula.

    >>> unformulaic("=1+1"), unformulaic("anna_ben")
    ("'=1+1", 'anna_ben')
    """
    start = text.lstrip(" \u00a0")[:1]
    return f"'{text}" if start and start in "=+-@\t\r\n＝＋－＠" else text


def _estimate(section: str, metric: str, found: Any, **more: Any) -> Row:
    """A row of an estimate, or of a bare number."""
    if isinstance(found, Mapping):
        ends = {end: found.get(end) for end in ("value", "low", "high")}
        return {"section": section, "metric": metric, **ends, "text": found.get("note"), **more}
    return {"section": section, "metric": metric, "value": found, **more}


def _counts(n: Mapping[str, Any] | None) -> Row:
    """Counts of clips, people and frames from an ``n``, as far as it has them."""
    n = n or {}

    def of(group: str, what: str) -> Any:
        part = n.get(group)
        return part.get(what) if isinstance(part, Mapping) else (part if what == "clips" else None)

    return {
        "n_fakes": of("fakes", "clips"),
        "n_reals": of("reals", "clips"),
        "n_people": of("all", "people"),
        "n_frames": of("all", "frames"),
    }


def _metrics(section: str, found: Mapping[str, Any] | None, **more: Any) -> Iterator[Row]:
    for level in _LEVELS:
        for metric, mark in ((found or {}).get(level) or {}).items():
            yield _estimate(section, metric, mark, by=level, **more)


def _figures(results: Results) -> Iterator[Row]:
    for kind in ("conditions", "changes"):
        for name, found in results[kind].items():
            yield from _metrics("figures", found, condition=name, **_counts(found.get("n")))
    for level, groups in results.get("resampling", {}).items():
        for group, counts in groups.items():
            for name, value in counts.items():
                yield _estimate("resampling", name, value, item=group, by=level)


def _gate(results: Results) -> Iterator[Row]:
    for claim in results.get("claims") or ():
        for name in ("claimed", "reference", "before"):
            if claim.get(name) is not None:
                yield _estimate("claims", claim["metric"], claim[name], condition=name, by=claim["level"])
    found = results.get("gate")
    if not found:
        return
    yield _estimate("gate", "tolerance", found.get("tolerance"), text=found.get("reason"))
    yield _estimate("gate", "passed", None if found.get("passed") is None else float(found["passed"]))
    for row in found.get("rows") or ():
        about = {"by": row["level"], "text": "reached" if row["fine"] else "not reached"}
        yield _estimate("gate", row["metric"], row["claimed"], condition="claimed", by=row["level"])
        reached = {"value": row["found"], "low": row["low"], "high": row["high"]}
        yield {**_estimate("gate", row["metric"], reached, condition="reference"), **about}


def _strategies(results: Results) -> Iterator[Row]:
    for item in results.get("strategies") or ():
        name = {"item": item["name"]}
        for kind in ("conditions", "changes"):
            for condition, found in item[kind].items():
                yield from _metrics("strategies", found, condition=condition, **_counts(found.get("n")), **name)
        found = item.get("p") or {}
        for change, levels in ({"recovery": found} if "video" in found else found).items():
            for level, values in levels.items():
                for metric, p in values.items():
                    yield _estimate("strategies", f"{metric}: p", p, condition=change, by=level, **name)
        for row in item.get("by_seed") or ():
            for key, condition in (("after_auc", "after"), ("base_after_auc", "base_after")):
                if row.get(key) is not None:
                    about = {"condition": condition, "by": "video", "step": row["seed"], "text": "step: the seed"}
                    yield _estimate("strategies", "auc of one seed", row[key], **about, **name)


def _ladder(results: Results) -> Iterator[Row]:
    for place, step in enumerate(results.get("ladder") or ()):
        for phase in ("before", "after", "step"):
            about = {"item": step["stage"], "condition": phase, "step": place, **_counts(step.get("n"))}
            yield from _metrics("ladder", step.get(phase), **about)


def _robustness(results: Results) -> Iterator[Row]:
    for row in (results.get("robustness") or {}).get("rows") or ():
        about = {"item": f"{row['family']}: {row['name']}", "condition": row["phase"], "step": row["level"]}
        for line in _metrics("robustness", row, **about, **_counts(row.get("n"))):
            yield {**line, "text": "; ".join(str(t) for t in (row.get("setting"), line.get("text")) if t)}


def _localisation(results: Results) -> Iterator[Row]:
    found = results.get("localisation")
    if not found:
        return
    names, counts = ("iou", "cell_auc", "false_area"), {"n_fakes": found["n"]["fakes"], "n_reals": found["n"]["reals"]}
    for name in names:
        if name in found:
            yield _estimate("localisation", name, found[name], condition="before", **counts)
    for row in found["clips"]:
        for name in names:
            if row[name] is not None:
                kind = "fake" if row["label"] else "real"
                yield _estimate("localisation", name, row[name], item=row["clip"], condition="before", by=kind)


def _audit(results: Results) -> Iterator[Row]:
    audit = results["audit"]
    compared = {"n_fakes": audit["compared"]["fakes"], "n_reals": audit["compared"]["reals"]}
    yield _estimate("audit", "limit", audit["limit"], **compared)
    for side, codecs in audit["codecs"].items():
        for codec, count in codecs.items():
            yield _estimate("audit", "codec", count, item=codec, condition=side)
    yield _estimate("audit", "unmatched fakes", len(audit["unmatched_fakes"]))
    yield _estimate("audit", "people in base", len(audit["people_in_base"]))
    for row in audit["features"]:
        about = {"item": row["label"], "text": "suspect" if row["flag"] else "", **compared}
        for side in ("fakes", "reals"):
            yield _estimate("audit", "median", row[side], item=row["label"], condition=side)
        yield {**_estimate("audit", "auc", row["auc"]), **about}
        yield _estimate("audit", "p", row["p"], item=row["label"])
    for row in audit.get("probes") or ():
        label = row.get("label") or row["name"]
        about = {"item": label, "condition": "probe", "text": "suspect" if row.get("flag") else ""}
        counts = {f"n_{key}": row.get(key) for key in ("fakes", "reals", "people")}
        ends = {"value": row["auc"], "low": row.get("low"), "high": row.get("high")}
        yield {**_estimate("audit", "auc", ends), **about, **counts}
        yield _estimate("audit", "p", row.get("p"), item=label, condition="probe")
    shuffled, control = audit.get("shuffled"), audit.get("processed_real")
    if shuffled:
        ends = {"value": shuffled["auc"], "low": shuffled.get("low"), "high": shuffled.get("high")}
        yield _estimate("audit", "auc", ends, item="shuffled labels")
        yield _estimate("audit", "runs", shuffled.get("runs"), item="shuffled labels")
    if control:
        for key in ("rate", "reals_rate", "auc"):
            yield _estimate("audit", key, control.get(key), item="processed reals")
        for key, value in (control.get("n") or {}).items():
            parts = value if isinstance(value, Mapping) else {"clips": value}
            for what, count in parts.items():
                yield _estimate("audit", f"n: {what}", count, item="processed reals", condition=key)
    for key, sentence in (audit.get("names") or {}).items():
        yield {"section": "audit", "item": key, "metric": "difference", "text": sentence and str(sentence)}


def _clips(results: Results) -> Iterator[Row]:
    for row in results["clips"]:
        about = {"item": row["clip"], "by": "fake" if row["label"] else "real", "n_frames": row["frames"]}
        for phase in ("before", "after"):
            if row[phase] is not None:
                called = "called fake" if row[f"called_fake_{phase}"] else "called real"
                yield _estimate("clips", "score", row[phase], condition=phase, text=called, **about)
        if row["after"] is not None:
            yield _estimate("clips", "score", row["after"] - row["before"], condition="difference", **about)


def _frames(scores: pd.DataFrame) -> Iterator[Row]:
    stress = scores[(scores.group == "stress") & (scores.phase == "before")]
    for row in stress[["clip", "label", "phase", "frame", "score"]].itertuples(index=False):
        yield {
            "section": "frames",
            "item": row.clip,
            "by": "fake" if row.label else "real",
            "condition": row.phase,
            "step": row.frame,
            "metric": "score",
            "value": row.score,
        }


def _finetune(results: Results) -> Iterator[Row]:
    for fold in results["finetune"]["folds"]:
        about = {"item": ", ".join(fold["people"]), "step": fold["fold"] + 1}
        for part in ("test", "train"):
            counts = {f"n_{key}": fold[part].get(key) for key in ("fakes", "reals", "people")}
            yield {"section": "folds", "condition": part, "metric": "clips", **about, **counts}
        yield _estimate("folds", "threshold", fold["threshold"], **about)


def _record(results: Results) -> Iterator[Row]:
    """Settings, detector, versions and hashes: numbers as values, all else as text."""
    parts = {name: results[name] for name in ("settings", "detector", "environment")}
    found = results.get("hashes") or {}
    clips = {f"clip {name}": digest for name, digest in (found.get("clips") or {}).items()}
    parts["hashes"] = {"detector": found.get("detector"), **clips}
    for section, values in parts.items():
        for name, value in _leaves(values):
            if value is None:
                continue
            numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
            yield {"section": section, "item": name, ("value" if numeric else "text"): value if numeric else str(value)}
    for name in ("excluded", "failures"):
        yield {"section": "left out", "metric": name, "value": len(results[name])}
    yield {"section": "left out", "metric": "not tested", "value": len(results["finetune"]["left_out"])}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield from _leaves({str(i): item for i, item in enumerate(value)}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
