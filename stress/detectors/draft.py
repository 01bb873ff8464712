"""Drafts of cards for checkpoints that came without one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from faceswap_hq.files import write_json
from stress.detectors.card import EXPLANATIONS, FORMAT, REQUIRED, VERSION, DetectorCard, card_from_dict, card_path
from stress.detectors.importers import Checkpoint, checksum, read_detector


def write_draft(checkpoint: str | Path, settings: Sequence[str] = ()) -> tuple[Path, list[str]]:
    """Write ``NAME.card.json`` beside a checkpoint: what can be read off the file, and blanks for the rest.

    What a known format implies is filled in, each field with its reason under ``_filled_in_because``. Nothing is
    guessed, and nothing in the checkpoint is run. A card with blanks is refused when the detector is loaded. Fields
    that ``settings`` fill in are checked at once when none is left blank.

    Args:
        checkpoint: File, folder or hub id, see :func:`stress.detectors.importers.read_detector`.
        settings: ``field=value`` with values as in JSON (bare words are strings); these may also fill in blanks of a
            draft written before.

    Returns:
        The card's path, and the names of the fields still to be filled in.

    Raises:
        UserError: The checkpoint cannot be read, or it already has a card and nothing is to be set, or a card of that
            name describes another file, or a field is unknown or its value not possible.
    """
    found = read_detector(checkpoint)
    target = card_path(checkpoint)
    if target.exists() and not settings:
        raise UserError(f"{target} is there already.", "Fill it in, change it with --set FIELD=VALUE, or delete it.")
    given = dict(map(_setting, settings))
    values = {**(_begun(target, found, given) if target.exists() else _draft(found)), **given}
    missing = [name for name in REQUIRED if values.get(name) is None]
    if not missing:
        card_from_dict(values, target)
    write_json(target, values)
    return target, missing


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: that is not FIELD=VALUE.", "For example --set input_size=224")
    if name not in EXPLANATIONS:
        raise UserError(f"--set {text}: a card has no field {name!r}.", f"Fields: {', '.join(EXPLANATIONS)}.")
    return name, _value(value)


def _begun(target: Path, found: Checkpoint, given: dict[str, Any]) -> dict[str, Any]:
    from faceswap_hq.files import read_json

    values = read_json(target)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{target} is not a {FORMAT}.")
    described = values.get("sha256")
    if "sha256" not in given and described not in (None, checksum(found.files)):
        raise UserError(
            f"{target} describes another file: its SHA-256 begins {str(described)[:12]}. Nothing was changed.",
            "Rename one of the two files, or delete the card if the checkpoint was replaced.",
        )
    return values


def _draft(found: Checkpoint) -> dict[str, Any]:
    digest = checksum(found.files)
    if found.card is not None:
        return dataclasses.replace(found.card, sha256=digest).to_dict()
    blanks: dict[str, Any] = {field.name: None for field in dataclasses.fields(DetectorCard)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "_format": found.format,
        "_filled_in_because": {name: reason for name, (_, reason) in found.facts.items()},
        **found.remarks,
        "_what_the_fields_mean": EXPLANATIONS,
        **blanks,
        **{name: value for name, (value, _) in found.facts.items()},
        "sha256": digest,
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
