"""Importers of the checkpoints people have: one file a format, each of which reads data and runs nothing."""

from __future__ import annotations

from pathlib import Path

from faceswap_hq.errors import UserError
from stress.detectors.card import HUB
from stress.detectors.importers import huggingface, mesonet_keras, onnx_file, torch_file, torchscript
from stress.detectors.importers.checkpoint import Checkpoint, checksum

__all__ = ["Checkpoint", "checksum", "read_detector"]


def read_detector(source: str | Path) -> Checkpoint:
    """Open a detector of any known format; formats are told apart by content (ONNX, which has no signature, by suffix).

    Args:
        source: A file; a folder of the Hugging Face hub's form; or ``hf:ORG/NAME[@REVISION]``.

    Returns:
        How to make its network, and what its format says of its card. No code in it has run.

    Raises:
        UserError: There is nothing there, or it is damaged, unsafe or unknown.
    """
    if str(source).startswith(HUB):
        return huggingface.read(huggingface.fetch(str(source)), str(source))
    path = Path(source)
    if not path.exists():
        hint = f"On the Hugging Face hub? Write {HUB}{path}." if len(path.parts) == 2 and not path.suffix else None
        raise UserError(f"{path} does not exist.", hint)
    if path.is_dir():
        return huggingface.read(path)
    with path.open("rb") as stream:
        start = stream.read(len(mesonet_keras.SIGNATURE))
    if start == mesonet_keras.SIGNATURE:
        return mesonet_keras.read(path)
    if path.suffix.lower() == ".onnx":
        return onnx_file.read(path)
    if torchscript.is_torchscript(path):
        return torchscript.read(path)
    return torch_file.read(path)
