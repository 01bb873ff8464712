"""``out/`` as ``stress-test --fakes out/`` takes it, ``out/rejected/`` beside it, and what is written about both."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faceswap_hq
from faceswap_hq import fakes, files
from faceswap_hq.curation.review import Decision
from faceswap_hq.curation.thresholds import Verdict
from faceswap_hq.errors import UserError

FORMAT = "faceswap-hq curation"
VERSION = 1
WORK, REJECTED, REPORT, SETTINGS, CARD, PAGE, SUMS = (
    "work", "rejected", "curation.json", "curation.yaml", "README.md", "review.html", "SHA256SUMS",
)  # fmt: skip
KINDS = {"fake": "fakes", "real": "reals", "control": "controls", "mask": "masks"}
"""What belongs to a fake, and the folder that it lies in."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fake with all that is known of it."""

    entry: dict[str, Any]
    """The manifest's."""
    folder: Path
    """Where its files lie: the round's directory."""
    number: int
    """Which round it comes from."""
    values: dict[str, float | None]
    quality: dict[str, Any]
    automatic: Verdict
    """What the thresholds say."""
    review: Decision | None = None
    """What a person says of this very file."""

    @property
    def id(self) -> str:
        """The fake's name."""
        return str(self.entry["id"])

    @property
    def people(self) -> tuple[str, str]:
        """Source and target."""
        return str(self.entry["source"]["person"]), str(self.entry["target"]["person"])

    @property
    def sha256(self) -> str:
        """Of the fake."""
        return str(self.entry["sha256"]["fake"])

    @property
    def verdict(self) -> Verdict:
        """What counts: the person's verdict where there is one."""
        return self.automatic if self.review is None else self.review.over(self.automatic)


def ranked(judged: Sequence[Judged]) -> list[Judged]:
    """Accepted before rejected, then the highest score first; by name where they are equal."""

    def order(item: Judged) -> tuple[bool, float, str]:
        score = item.verdict.score
        return not item.verdict.accepted, 2.0 if score is None else -score, item.id

    return sorted(judged, key=order)


def preferred(versions: Sequence[Judged]) -> Judged:
    """The version of a fake that is published.

    What a person accepted comes first, then what the thresholds accept and nobody has judged, then what a person
    rejected, then the rest; among equals the higher score, then the earlier.
    """

    def standing(item: Judged) -> tuple[bool, bool, float]:
        judged = item.review is not None and item.review.verdict != "automatic"
        score = item.verdict.score
        return item.verdict.accepted, judged, -math.inf if score is None else score

    return max(versions, key=standing)


def judgement(item: Judged, rank: int) -> dict[str, Any]:
    """The verdict as plain data; where a person has spoken, with what they said and what the thresholds say."""
    verdict = item.verdict
    found = {
        "accepted": verdict.accepted, "reasons": list(verdict.reasons), "score": verdict.score,
        "unmeasured": list(verdict.unmeasured), "rank": rank, "round": item.number,
    }  # fmt: skip
    if item.review is not None:
        found["review"] = item.review.facts()
        found["automatic"] = {"accepted": item.automatic.accepted, "reasons": list(item.automatic.reasons)}
    return found


def entry_of(item: Judged, rank: int) -> dict[str, Any]:
    """The manifest's entry of a judged fake, with its numbers."""
    return {**item.entry, "quality": item.values, "curation": judgement(item, rank)}


def publish(out: Path, judged: Sequence[Judged]) -> None:
    """Let ``out/`` hold the accepted fakes and ``out/rejected/`` the others, with reals, controls, masks and manifest.

    The files are links to where they lie now. At no moment does a manifest name a file that is not there, and a fake
    that moves from one folder to the other is at no moment in neither manifest.

    Args:
        out: The output directory.
        judged: Every fake, the better version where there are two.
    """
    order = ranked(judged)
    from_rounds = {item.id: item.folder for item in order}
    wanted: dict[Path, dict[str, dict[str, Any]]] = {out: {}, out / REJECTED: {}}
    for rank, item in enumerate(order, 1):
        wanted[out if item.verdict.accepted else out / REJECTED][item.id] = entry_of(item, rank)
    leaving = {folder: _unlist(folder, entries) for folder, entries in wanted.items()}
    for folder, entries in wanted.items():
        for name, entry in entries.items():
            for path in fakes.paths_of(entry):
                files.put_link(from_rounds[name] / path, folder / path)
    for folder, entries in wanted.items():
        if entries or leaving[folder] or folder == out:
            _write_manifest(folder, [*entries.values(), *leaving[folder]])
    for folder, entries in wanted.items():
        if not entries and folder != out:
            (folder / "manifest.json").unlink(missing_ok=True)
        elif leaving[folder]:
            _write_manifest(folder, list(entries.values()))
        _tidy(folder, entries)


def _unlist(folder: Path, entries: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out of a manifest what is about to change, before its files do; returns what leaves the folder."""
    try:
        old = fakes.Manifest(folder).read()
    except UserError:  # it is ours, so it is made anew
        old = []
    hashes = {name: entry["sha256"] for name, entry in entries.items()}
    leaving = [entry for entry in old if str(entry.get("id")) not in hashes]
    staying = [entry for entry in old if entry in leaving or entry.get("sha256") == hashes[str(entry.get("id"))]]
    if staying != old:
        _write_manifest(folder, staying)
    return leaving


def _write_manifest(folder: Path, entries: list[dict[str, Any]]) -> None:
    value = {"format": fakes.FORMAT, "version": fakes.VERSION, "toolkit": faceswap_hq.__version__, "entries": entries}
    files.write_json(folder / "manifest.json", value)


def _tidy(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Remove videos, what lies beside them, and masks that the manifest no longer names."""
    named = {folder / path for entry in entries.values() for path in fakes.paths_of(entry)}
    for kind, place in KINDS.items():
        for path in (folder / place).glob("*.zip" if kind == "mask" else "*.mp4*"):
            if path not in named:
                path.unlink()
    for place in (*KINDS.values(), "."):
        with contextlib.suppress(OSError):  # not empty, or not there
            (folder / place).rmdir()


def write_sums(out: Path) -> None:
    """``SHA256SUMS`` of everything that belongs to the data set, for ``sha256sum -c``; ``work/`` does not."""
    paths = sorted(path for path in out.rglob("*") if path.is_file() and _belongs(path.relative_to(out)))
    lines = (f"{files.sha256_file(path)}  {path.relative_to(out).as_posix()}\n" for path in paths)
    files.write_bytes(out / SUMS, "".join(lines).encode())


def _belongs(path: Path) -> bool:
    return path.parts[0] not in (WORK, SUMS) and not any(part.startswith(".") for part in path.parts)


def clean(work: Path) -> None:
    """Remove what a killed run left half-written. The output directory must be locked."""
    for part in work.rglob(".*.part*"):
        if re.search(r"\.part(\.\w+)?$", part.name):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def publish_settings(out: Path) -> None:
    """Let ``out/curation.yaml`` be that of the run that has just published.

    Until then it lies under ``work/``: a plan, or a run that fails early, says nothing of what is in ``out/``.
    """
    files.write_bytes(out / SETTINGS, (out / WORK / SETTINGS).read_bytes())


def check_folder(out: Path) -> None:
    """Refuse a directory that holds something other than an earlier curation.

    Raises:
        UserError: If it does.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file.", "Choose another directory with -o.")
    known = any((place / SETTINGS).exists() for place in (out, out / WORK))
    if out.is_dir() and not known and any(p.name[0] != "." for p in out.iterdir()):
        raise UserError(f"{out} exists and is not of an earlier curation.", "Choose another directory with -o.")
