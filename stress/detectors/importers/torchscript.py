"""TorchScript: a program, not data. It is run only for a user who says that its author is trusted."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.card import DetectorCard
from stress.detectors.importers.checkpoint import Checkpoint
from stress.detectors.weights import check_tensors

ARCHITECTURE = "torchscript"


class _Program(nn.Module):
    """A TorchScript module in the coat of an ordinary one, since it refuses some calls itself (``requires_grad_``)."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def __deepcopy__(self, memo: dict[int, object]) -> _Program:
        """A copy with weights of its own: PyTorch's copy of a TorchScript module cannot be trained."""
        buffer = io.BytesIO()
        torch.jit.save(self.program, buffer)
        buffer.seek(0)
        first = next(self.parameters(), None)
        copied = _Program(torch.jit.load(buffer, map_location=None if first is None else first.device))
        return copied.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, S, S) to (B, outputs)."""
        return self.program(x)


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return False
    return any("/code/" in name or name.endswith("/constants.pkl") for name in names)


def read(path: Path) -> Checkpoint:
    """Describe a TorchScript file; its code runs when its network is made, not here.

    Its weights can be fine-tuned if it keeps any. A traced network keeps the mode it was traced in: its dropout and
    batch norms do not follow the training.
    """

    def network(card: DetectorCard) -> nn.Module:
        if card.architecture != ARCHITECTURE:
            raise UserError(f"{path} is TorchScript; its card says {card.architecture}.", "Write torchscript in it.")
        try:
            module = torch.jit.load(str(path), map_location="cpu")
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path} is damaged or of another version of PyTorch: {reason}") from error
        check_tensors(dict(module.state_dict()), path)
        return _Program(module)

    facts = {"architecture": (ARCHITECTURE, "the file is TorchScript")}
    return Checkpoint(path=path, format="TorchScript", network=network, files=(path,), facts=facts)
