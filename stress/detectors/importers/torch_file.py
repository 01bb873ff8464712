"""Safetensors and PyTorch files of bare weights: told apart by their names, read as data only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.card import DetectorCard, card_from_header
from stress.detectors.importers import deepfakebench, efficientnet_pytorch
from stress.detectors.importers.checkpoint import Checkpoint
from stress.detectors.importers.suggest import suggest
from stress.detectors.weights import describe, load_into, named_tensors, read_checkpoint, unwrapped
from stress.detectors.zoo import build

_KNOWN: tuple[Callable[[Path, dict[str, torch.Tensor]], Checkpoint | None], ...] = (
    deepfakebench.recognise,
    efficientnet_pytorch.recognise,
)


def read(path: Path) -> Checkpoint:
    """Read a file of weights; a layout of names that is known is translated, any other is as its card says.

    Raises:
        UserError: See :func:`stress.detectors.weights.read_checkpoint`.
    """
    content, metadata = read_checkpoint(path)
    tensors = unwrapped(content)[1]
    for recognise in _KNOWN:
        found = recognise(path, tensors)
        if found is not None:
            return found
    return _plain(path, content, card_from_header(metadata, path))


def _plain(path: Path, content: dict[str, Any], card: DetectorCard | None) -> Checkpoint:
    def network(card: DetectorCard) -> nn.Module:
        tensors = named_tensors(content, card, path)
        module = build(card.architecture, card.outputs)
        load_into(module, tensors, path)
        return module

    seen = describe(content)
    if not seen["tensors"]:
        raise UserError(f"{path} holds no named tensors.", f"At its top: {', '.join(list(content)[:8])}.")
    facts = {}
    if seen["weights_key"]:
        facts["weights_key"] = (seen["weights_key"], "the tensors lie under this name in the file")
    if seen["strip_prefix"]:
        facts["strip_prefix"] = (seen["strip_prefix"], "every tensor's name begins with it")
    prefix = seen["strip_prefix"] or ""
    names = {name.removeprefix(prefix): value for name, value in unwrapped(content)[1].items()}
    remarks = {
        "_read_off_the_file": {key: seen[key] for key in ("tensors", "parameters", "first", "last")},
        "_architecture_could_be": suggest(names) if card is None else [],
    }
    return Checkpoint(
        path=path, format="weights", network=network, files=(path,), facts=facts, remarks=remarks, card=card
    )
