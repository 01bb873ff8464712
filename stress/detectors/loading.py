"""From a file, a folder or a hub id to a detector: the one way in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from faceswap_hq.errors import UserError
from stress.detectors.card import HUB, DetectorCard, card_path, hub_name, read_card
from stress.detectors.detector import Detector, placed
from stress.detectors.importers import Checkpoint, checksum, read_detector
from stress.detectors.importers.torchscript import is_torchscript


def load_detector(
    path: str | Path,
    card: DetectorCard | str | Path | None = None,
    *,
    device: str = "auto",
    trust_code: bool = False,
) -> Detector:
    """Load a detector from its file, its folder or the Hugging Face hub.

    The card is the one given, or else ``NAME.card.json`` beside the file (for the hub: in the current folder), or else
    the one in a safetensors header.

    Args:
        path: Any format of :mod:`stress.detectors.importers`.
        card: Card or its file.
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``, ...
        trust_code: Run TorchScript files, which are programs.

    Raises:
        UserError: No card; a checksum that differs from the card's; code that is not trusted; weights that do not fit;
            see :func:`stress.detectors.importers.read_detector` for the file itself.
    """
    if not trust_code and Path(path).is_file() and is_torchscript(Path(path)):
        raise UserError(
            f"{path} is TorchScript, which runs code when it is loaded; it was refused.",
            "If you trust its author, say so with --trust-code; or ask for the bare weights.",
        )
    found = read_detector(path)
    place = Path(card) if isinstance(card, str | Path) else card_path(path)
    card = _resolve_card(path, card, found)
    digest = checksum(found.files)
    if card.sha256 not in (None, digest):
        raise UserError(
            f"{path} is not the file its card describes: "
            f"its SHA-256 begins {digest[:12]}, the card's {str(card.sha256)[:12]}.",
            "Fetch the file again, or write a new card for it.",
        )
    module = found.network(card)
    name = hub_name(path) if str(path).startswith(HUB) else _name(Path(path))
    card = dataclasses.replace(card, sha256=digest)
    own = None if card.base_data is None else place.parent / card.base_data
    detector = Detector(card=card, module=placed(module, device), name=name, own_data=own)
    _try_out(detector, path)
    return detector


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _resolve_card(path: str | Path, card: DetectorCard | str | Path | None, found: Checkpoint) -> DetectorCard:
    if isinstance(card, DetectorCard):
        return card
    if card is not None:
        return read_card(card)
    beside = card_path(path)
    if beside.is_file():
        return read_card(beside)
    if found.card is None:
        raise UserError(
            f"{path} has no card, so nobody knows what it wants to see and which output means fake.",
            f"Write a draft with   stress-test card {path}   and fill in {beside.name}.",
        )
    return found.card


def _try_out(detector: Detector, path: str | Path) -> None:
    """One empty picture: a network that cannot take the card's input is found out here and not after the cropping."""
    size = detector.card.input_size
    try:
        value = detector.fake_probability(np.full((1, size, size, 3), 127, np.uint8))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: {detector.card.architecture} does not take {size} px: {reason}.",
            "Correct input_size in its card.",
        ) from error
    if not np.isfinite(value).all():
        raise UserError(f"{path} answers a grey picture with {value[0]}; its weights are of no use.")
