"""What a person decides about fakes: read from a review, kept beside the data set, put above the thresholds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from faceswap_hq import files
from faceswap_hq.curation.thresholds import Verdict
from faceswap_hq.errors import UserError

FORMAT = "faceswap-hq review"
VERSION = 1
DECISIONS = "decisions.json"
"""Name of the file in the output directory that keeps what was applied; of the same format as a review."""
VERDICTS = ("accept", "reject", "automatic")
"""``automatic`` leaves the fake to the thresholds; it takes an earlier decision back."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's verdict on one fake: on this very file, so that a fake made anew is judged anew."""

    id: str
    """The fake's name."""
    sha256: str
    """Of the fake that was looked at, 64 hex digits."""
    verdict: str
    """One of :data:`VERDICTS`."""
    note: str = ""
    time: str = ""
    """When, ISO 8601; empty where it is not known."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str):
                raise ValueError(f"{field.name} is no text")
            if re.search("[\ud800-\udfff]", value):
                raise ValueError(f"{field.name} is no valid Unicode")
        if not self.id:
            raise ValueError("id is empty")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 is not 64 hex digits")
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")
        if self.time:
            datetime.fromisoformat(self.time.replace("Z", "+00:00"))

    def over(self, automatic: Verdict) -> Verdict:
        """The verdict that counts, given the thresholds'; the score stays what was measured."""
        if self.verdict == "automatic":
            return automatic
        note = " ".join(self.note.split())
        said = f"{self.verdict}ed by reviewer" + (f": {note}" if note else "")
        return replace(automatic, accepted=self.verdict == "accept", reasons=(said,))

    def facts(self) -> dict[str, str]:
        """What is written beside the verdict: ``verdict``, ``note`` and ``time``."""
        return {"verdict": self.verdict, "note": self.note, "time": self.time}


def read_review(path: Path) -> list[Decision]:
    """Read a review: what ``review.html`` exports, or ``decisions.json``.

    Raises:
        UserError: If it cannot be read, is of a newer version, or holds something that is no decision.
    """
    value, hint = files.read_json(path), "Export it again from review.html."
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(f"{path} is no review of a curation.", hint)
    if (version := value.get("version")) != VERSION:
        raise UserError(f"{path} has version {version!r}; this toolkit reads version {VERSION}.")
    rows = value.get("fakes")
    if not isinstance(rows, list):
        raise UserError(f"{path} is damaged: it has no list of fakes.", hint)
    found: list[Decision] = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(Decision(**row))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged: fake {number}: {error}.", hint) from None
    if len({decision.sha256 for decision in found}) < len(found):
        raise UserError(f"{path} is damaged: it judges a fake twice.", hint)
    return found


def kept_decisions(out: Path) -> dict[str, Decision]:
    """SHA-256 of a fake ► what was decided about it, of everything that was ever applied to this data set.

    Raises:
        UserError: If the record is damaged: it is a person's work, and never written over.
    """
    path = out / DECISIONS
    return {decision.sha256: decision for decision in read_review(path)} if path.exists() else {}


def merged(kept: Mapping[str, Decision], new: Iterable[Decision]) -> dict[str, Decision]:
    """Earlier decisions with later ones put in their place; what says nothing any more is dropped."""
    both = {**kept, **{decision.sha256: decision for decision in new}}
    return {key: value for key, value in both.items() if value.verdict != "automatic" or value.note.strip()}


def as_review(decisions: Iterable[Decision]) -> dict[str, Any]:
    """Decisions as a review file holds them, by name and time."""
    rows = sorted(decisions, key=lambda decision: (decision.id, decision.time, decision.sha256))
    return {"format": FORMAT, "version": VERSION, "fakes": [asdict(row) for row in rows]}
