"""Drafts of cards for checkpoints that came without one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file, write_json
from stress.detectors.card import (
    EXPLANATIONS,
    FORMAT,
    VERSION,
    DetectorCard,
    card_from_dict,
    card_from_header,
    card_path,
)
from stress.detectors.weights import describe, read_checkpoint


def write_draft(checkpoint: str | Path, settings: Sequence[str] = ()) -> tuple[Path, list[str]]:
    """Write ``NAME.card.json`` beside a checkpoint: what can be read off the file, and blanks for the rest.

    Nothing is guessed. A card with blanks is refused when the detector is loaded. Fields that ``settings`` fill in are
    checked at once when none is left blank.

    Args:
        checkpoint: Weights.
        settings: ``field=value`` with values as in JSON (bare words are strings); these may also fill in blanks of a
            draft written before.

    Returns:
        The card's path, and the names of the fields still to be filled in.

    Raises:
        UserError: The checkpoint cannot be read, or it already has a card and nothing is to be set, or a field is
            unknown or its value not possible.
    """
    checkpoint = Path(checkpoint)
    content, metadata = read_checkpoint(checkpoint)
    target = card_path(checkpoint)
    if target.exists() and not settings:
        raise UserError(f"{target} is there already.", "Fill it in, change it with --set FIELD=VALUE, or delete it.")
    values = _begun(target) if target.exists() else _draft(checkpoint, content, metadata)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in EXPLANATIONS:
            raise UserError(f"--set {setting}: that is not FIELD=VALUE.", f"Fields: {', '.join(EXPLANATIONS)}.")
        values[name] = _value(text)
    required = [field.name for field in dataclasses.fields(DetectorCard) if field.default is dataclasses.MISSING]
    missing = [name for name in required if values.get(name) is None]
    if not missing:
        card_from_dict(values, target)
    write_json(target, values)
    return target, missing


def _begun(target: Path) -> dict[str, Any]:
    from faceswap_hq.files import read_json

    values = read_json(target)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{target} is not a {FORMAT}.")
    return values


def _draft(checkpoint: Path, content: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
    embedded = card_from_header(metadata, checkpoint)
    if embedded is not None:
        return dataclasses.replace(embedded, sha256=sha256_file(checkpoint)).to_dict()
    seen = describe(content)
    if not seen["tensors"]:
        raise UserError(f"{checkpoint} holds no named tensors.", f"At its top: {', '.join(list(content)[:8])}.")
    blanks: dict[str, Any] = {field.name: None for field in dataclasses.fields(DetectorCard)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "_read_off_the_file": {key: seen[key] for key in ("tensors", "parameters", "first", "last")},
        "_what_the_fields_mean": EXPLANATIONS,
        **blanks,
        "weights_key": seen["weights_key"],
        "strip_prefix": seen["strip_prefix"],
        "sha256": sha256_file(checkpoint),
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
