"""What an importer hands over: how to make the network, and what the format says of its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file
from stress.detectors.card import DetectorCard
from stress.detectors.weights import check_tensors, load_into
from stress.detectors.zoo import build, same_network

Facts = Mapping[str, tuple[Any, str]]
"""Field of the card to its value and to the reason why the format implies it."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A detector's file or folder, read as data; nothing of its network exists yet.

    Args:
        path: What was opened.
        format: Its kind, for people.
        network: Makes the network with its weights, as a card says.
        files: What its checksum covers; the first has the weights.
        facts: What the format says of the card.
        remarks: What else a draft should tell, for people; keys begin with ``_``.
        card: The card that the file carries, or None.
    """

    path: Path
    format: str
    network: Callable[[DetectorCard], nn.Module]
    files: tuple[Path, ...]
    facts: Facts = field(default_factory=dict)
    remarks: Mapping[str, Any] = field(default_factory=dict)
    card: DetectorCard | None = None


def checksum(files: tuple[Path, ...]) -> str:
    """SHA-256 of one file; of several, of the lines ``sha256  name`` in the order of the names."""
    if len(files) == 1:
        return sha256_file(files[0])
    lines = sorted((file.name, sha256_file(file)) for file in files)
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()


def from_tensors(
    path: Path, what: str, architecture: str, tensors: dict[str, torch.Tensor], facts: Facts, **more: Any
) -> Checkpoint:
    """A checkpoint whose tensors were renamed for an architecture of the zoo.

    Args:
        path: The file.
        what: Its format.
        architecture: What the tensors are for.
        tensors: Named as the architecture names them.
        facts: What the format says of the card, ``architecture`` aside.
        more: Further fields of :class:`Checkpoint`.
    """
    check_tensors(tensors, path)

    def network(card: DetectorCard) -> nn.Module:
        if not same_network(card.architecture, architecture):
            raise UserError(
                f"{path} is {what}, for {architecture}; its card says {card.architecture}.",
                "Correct architecture in its card.",
            )
        module = build(card.architecture, card.outputs)
        load_into(module, tensors, path)
        return module

    facts = {"architecture": (architecture, f"the weights are named as in {what}"), **facts}
    return Checkpoint(path=path, format=what, network=network, facts=facts, **{"files": (path,), **more})
