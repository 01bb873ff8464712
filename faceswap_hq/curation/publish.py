"""``out/`` as ``stress-test --fakes out/`` takes it, ``out/rejected/`` beside it, and what is written about both."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faceswap_hq
from faceswap_hq import fakes, files
from faceswap_hq.curation.thresholds import Verdict
from faceswap_hq.errors import UserError
from faceswap_hq.provenance import sidecar_path

FORMAT = "faceswap-hq curation"
VERSION = 1
WORK, REJECTED, REPORT, SETTINGS, CARD, SUMS = (
    "work", "rejected", "curation.json", "curation.yaml", "README.md", "SHA256SUMS",
)  # fmt: skip
KINDS = {"fake": "fakes", "real": "reals", "control": "controls"}
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
    verdict: Verdict

    @property
    def id(self) -> str:
        """The fake's name."""
        return str(self.entry["id"])


def ranked(judged: Sequence[Judged]) -> list[Judged]:
    """Accepted before rejected, then the highest score first; by name where they are equal."""

    def order(item: Judged) -> tuple[bool, float, str]:
        score = item.verdict.score
        return not item.verdict.accepted, 2.0 if score is None else -score, item.id

    return sorted(judged, key=order)


def entry_of(item: Judged, rank: int) -> dict[str, Any]:
    """The manifest's entry of a judged fake, with its numbers."""
    verdict = item.verdict
    return {
        **item.entry,
        "quality": item.values,
        "curation": {
            "accepted": verdict.accepted, "reasons": list(verdict.reasons), "score": verdict.score,
            "unmeasured": list(verdict.unmeasured), "rank": rank, "round": item.number,
        },
    }  # fmt: skip


def publish(out: Path, judged: Sequence[Judged]) -> None:
    """Let ``out/`` hold the accepted fakes and ``out/rejected/`` the others, each with reals, controls and manifest.

    The files are links to those of the rounds. At no moment does a manifest name a file that is not there.

    Args:
        out: The output directory.
        judged: Every fake, the better version where there are two.
    """
    order = ranked(judged)
    for folder, accepted in ((out, True), (out / REJECTED, False)):
        entries = {
            item.id: entry_of(item, rank) for rank, item in enumerate(order, 1) if item.verdict.accepted == accepted
        }
        from_rounds = {item.id: item.folder for item in order if item.id in entries}
        _unlist(folder, entries)
        for name, entry in entries.items():
            for kind in entry["sha256"]:
                made, final = from_rounds[name] / entry[kind], folder / entry[kind]
                files.put_link(sidecar_path(made), sidecar_path(final))
                files.put_link(made, final)
        if entries or accepted:
            _write_manifest(folder, list(entries.values()))
        else:
            (folder / "manifest.json").unlink(missing_ok=True)
        _tidy(folder, entries)


def _unlist(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Take out of a manifest what does not stay as it is, before its files change."""
    try:
        old = fakes.Manifest(folder).read()
    except UserError:  # it is ours, so it is made anew
        old = []
    hashes = {name: entry["sha256"] for name, entry in entries.items()}
    staying = [entry for entry in old if str(entry.get("id")) in hashes and entry.get("sha256") == hashes[entry["id"]]]
    if staying != old:
        _write_manifest(folder, staying)


def _write_manifest(folder: Path, entries: list[dict[str, Any]]) -> None:
    value = {"format": fakes.FORMAT, "version": fakes.VERSION, "toolkit": faceswap_hq.__version__, "entries": entries}
    files.write_json(folder / "manifest.json", value)


def _tidy(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Remove videos, and what lies beside them, that the manifest no longer names."""
    named = {folder / entry[kind] for entry in entries.values() for kind in entry["sha256"]}
    named |= {sidecar_path(path) for path in named}
    for place in KINDS.values():
        for path in (folder / place).glob("*.mp4*"):
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
