"""``consent.yaml``: on what basis the footage of each person of a cast is used."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError

FILE = "consent.yaml"
BASES = ("own footage", "written consent", "research licence", "virtual actor")
"""What footage of a person may be used on."""
_BLANK = "CHOOSE"
_MOST = 1000  # characters of a note: it goes into every file's credentials


@dataclass(frozen=True, kw_only=True)
class Consent:
    """The basis for one person. It goes into manifest and content credentials, where everybody can read it."""

    basis: str
    """One of :data:`BASES`."""
    date: str = ""
    """When it was given; as written, or ISO 8601."""
    note: str = ""
    """Which licence, where the paper lies: what whoever asks should know."""

    def __post_init__(self) -> None:
        if self.basis not in BASES:
            raise ValueError(f"basis {self.basis!r} is none of {', '.join(BASES)}")
        if len(self.date) + len(self.note) > _MOST:
            raise ValueError(f"date and note are longer than {_MOST} characters")

    def facts(self) -> dict[str, str]:
        """What is said of it in credentials and manifest; nothing that is empty."""
        return {key: value for key, value in vars(self).items() if value}


def read_consent(cast: Path, people: Sequence[str]) -> dict[str, Consent]:
    """Read ``CAST/consent.yaml``: a basis for each person, or an entry with ``basis``, ``date`` and ``note``.

    Args:
        cast: The folder.
        people: Names of everybody in it.

    Returns:
        Name ► consent, of exactly these people.

    Raises:
        UserError: If the file is missing, is no such table, leaves somebody out, or names an unknown basis; with a file
            for these people that can be copied and filled in.
    """
    path = cast / FILE
    if not path.exists():
        raise UserError(
            f"{path} is missing: nobody's face is used without saying on what basis.", _explained(cast, people)
        )
    table = files.read_yaml(path)
    if not isinstance(table, dict):
        raise UserError(f"{path} is no table of people.", _explained(cast, people))
    missing = [name for name in people if name not in {str(key) for key in table}]
    if missing:
        raise UserError(f"{path} says nothing of {', '.join(missing)}.", _explained(cast, missing))
    entries = {str(key): value for key, value in table.items()}
    return {name: _consent(path, cast, name, entries[name]) for name in people}


def _consent(path: Path, cast: Path, name: str, value: Any) -> Consent:
    entry = value if isinstance(value, dict) else {"basis": value}
    unknown = sorted(map(str, set(entry) - {"basis", "date", "note"}))
    if unknown:
        raise UserError(f"{path}: {name}: unknown key {unknown[0]!r}.", "Known: basis, date, note.")
    given = {key: _text(item) for key, item in entry.items()}
    try:
        return Consent(**{"basis": "", **given, **_lowered(given)})
    except ValueError as error:
        raise UserError(f"{path}: {name}: {error}.", _explained(cast, [name])) from None


def _lowered(given: dict[str, str]) -> dict[str, str]:
    basis = " ".join(given.get("basis", "").lower().split())
    return {"basis": "research licence" if basis == "research license" else basis}


def _text(value: Any) -> str:
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return "" if value is None else str(value).strip()


def example(people: Sequence[str]) -> str:
    """A ``consent.yaml`` for these people, in which each basis is yet to be chosen."""
    choice = f"basis: {_BLANK}  # {' | '.join(BASES)}"
    lines = []
    for name in people:
        key = yaml.safe_dump({name: None}).split(": null")[0]
        lines += [f"{key}:", f"  {choice}", '  date: ""', '  note: ""']
    return "\n".join(lines)


def _explained(cast: Path, people: Sequence[str]) -> str:
    block = "\n".join(f"    {line}" for line in example(people).splitlines())
    return (
        f"Write in {cast / FILE}, with the basis that is true for each (date and note may be left out):\n\n{block}\n\n"
        "  It goes into the manifest and into the content credentials of every fake. See docs/responsible-use.md."
    )
