"""`faceswap-hq curate --apply`: a person's review put into effect on what lies published, nothing rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceswap_hq import fakes, files
from faceswap_hq.curation import publish, report
from faceswap_hq.curation.publish import Judged
from faceswap_hq.curation.review import DECISIONS, Decision, as_review, kept_decisions, merged, read_review
from faceswap_hq.curation.thresholds import Verdict
from faceswap_hq.errors import UserError


def apply_review(review: Path, out: Path) -> tuple[list[Judged], list[Decision]]:
    """Accept and reject as a person says. The output directory must be locked by the caller.

    The decisions are kept in ``out/decisions.json`` first, so that what is interrupted later is put right by applying
    the review again, or by the next ``curate``. ``work/`` is not needed.

    Args:
        review: What ``review.html`` exports.
        out: Directory of a curation.

    Returns:
        All fakes, ranked, and what the review says.

    Raises:
        UserError: For a review that is damaged, names a fake that is not here, or judges another version of one. Then
            nothing has been changed.
    """
    decisions = read_review(review)
    value = _read_report(out)
    published = _published(out, value)
    _check(review, decisions, out, published)
    kept = merged(kept_decisions(out), decisions)
    _whole(published)
    publish.clean(out)
    files.write_json(out / DECISIONS, as_review(kept.values()))
    order = publish.ranked([replace(item, review=kept.get(item.sha256)) for item in published])
    publish.publish(out, order)
    old = {row["id"]: row for row in value["fakes"]}
    rows = [
        report.fake_row(item, rank, old[item.id]["known"], old[item.id]["doubts"])
        for rank, item in enumerate(order, 1)
    ]
    report.write(out, {**value, "fakes": rows}, order)
    return order, decisions


def _read_report(out: Path) -> dict[str, Any]:
    path = out / publish.REPORT
    if not path.exists():
        raise UserError(f"{out} holds no finished curation.", "Give the directory that holds review.html with -o.")
    value = files.read_json(path)
    if not isinstance(value, dict) or value.get("format") != publish.FORMAT or "fakes" not in value:
        raise UserError(f"{path} is damaged.", "Run faceswap-hq curate again.")
    if (version := value.get("version")) != publish.VERSION:
        raise UserError(f"{path} has version {version!r}; this toolkit reads version {publish.VERSION}.")
    return value


def _published(out: Path, value: dict[str, Any]) -> list[Judged]:
    """What lies in ``out/`` and ``out/rejected/``, with the thresholds' verdict as it was recorded."""
    places = {
        str(entry.get("id")): (entry, folder)
        for folder in (out, out / publish.REJECTED) for entry in fakes.Manifest(folder).read()
    }  # fmt: skip
    found = []
    try:
        for row in value["fakes"]:
            (entry, folder), said = places.pop(row["id"]), row.get("automatic", row)
            automatic = Verdict(
                accepted=said["accepted"], reasons=tuple(said["reasons"]), score=row["score"],
                unmeasured=tuple(row["unmeasured"]),
            )  # fmt: skip
            found.append(
                Judged(entry={key: entry[key] for key in entry if key not in ("quality", "curation")}, folder=folder,
                       number=row["round"], values=row["values"], quality=row["quality"], automatic=automatic)
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        places["?"] = ({}, out)
    if places:
        raise UserError(f"{out}: {publish.REPORT} and the manifests disagree.", "Run faceswap-hq curate again.")
    return found


def _check(review: Path, decisions: Sequence[Decision], out: Path, published: Sequence[Judged]) -> None:
    """Refuse a review of other fakes than those that lie here."""
    here = {item.id: item for item in published}
    if unknown := [decision.id for decision in decisions if decision.id not in here]:
        raise UserError(f"{review} judges fakes that {out} does not hold: {_some(unknown)}.", "Nothing was changed.")
    stale = [decision.id for decision in decisions if decision.sha256 != here[decision.id].sha256]
    if stale:
        raise UserError(
            f"{review} judges earlier versions of {_some(stale)}.",
            f"Nothing was changed. Reload {out / 'review.html'}, look again, and export.",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(" ".join(name.split()) for name in names[:5]) + more


def _whole(published: Sequence[Judged]) -> None:
    """Refuse to move what is not there, or is not what the manifest says."""
    for item in published:
        for path in fakes.paths_of(item.entry):
            if not (item.folder / path).is_file():
                raise UserError(
                    f"{item.folder / path} is missing.", "Run faceswap-hq curate again; nothing was changed."
                )
        fake = item.folder / item.entry["fake"]
        if files.sha256_file(fake) != item.sha256:
            raise UserError(f"{fake} is not what was scored.", "Run faceswap-hq curate again; nothing was changed.")
