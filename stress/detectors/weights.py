"""Weights from files that strangers made: tensors only, whatever the file is called, and no code is run."""

from __future__ import annotations

import io
import json
import pickletools
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.card import DetectorCard

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Where training programs keep the weights inside a checkpoint."""

_KNOWN_GLOBAL = re.compile(r"collections\.OrderedDict|torch\._utils\._rebuild\w+|torch\.\w+|torch\.storage\.\w+")
_SAFE_WAY = "Ask its author for the bare weights (a state dict or safetensors); a file with code is never loaded here."


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read what a checkpoint file holds; its kind is told from the content, not from the suffix.

    Args:
        path: Safetensors, or a PyTorch file (``.pt``, ``.pth``, ``.tar``), which is read with ``weights_only=True``.

    Returns:
        The top level of the checkpoint (names to tensors, or to nested dictionaries), and the safetensors header's
        metadata (empty for other kinds).

    Raises:
        UserError: Missing, empty, damaged, TorchScript, or a pickle with code in it (which
            is not run).
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if path.is_dir():
        raise UserError(f"{path} is a directory; a detector's file belongs here.")
    with path.open("rb") as stream:
        start = stream.read(16)
    if not start:
        raise UserError(f"{path} is empty.")
    if _looks_like_safetensors(start, path.stat().st_size):
        return read_safetensors(path)
    return _read_torch(path), {}


def _looks_like_safetensors(start: bytes, size: int) -> bool:
    if len(start) < 9:
        return False
    return start[8:9] == b"{" and 0 < struct.unpack("<Q", start[:8])[0] <= size - 8


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        UserError: It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error


def _read_torch(path: Path) -> dict[str, Any]:
    if zipfile.is_zipfile(path):
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols; what matters is whether it is refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        foreign = _foreign_globals(path)
        if foreign:
            names = ", ".join(foreign[:3])
            raise UserError(
                f"{path} is a pickle with more than tensors in it ({names}); it was refused and nothing in it was run.",
                _SAFE_WAY,
            ) from None
        raise UserError(f"{path} is damaged or not a PyTorch file.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not named weights.", _SAFE_WAY)
    return {str(key): value for key, value in content.items()}


def _check_archive(path: Path) -> None:
    """Refuse archives that grow when unpacked (PyTorch stores its tensors uncompressed)."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    if sum(member.file_size for member in members) > 2 * path.stat().st_size + (1 << 20):
        raise UserError(f"{path} unpacks to far more than its own size; it was refused.")


def _foreign_globals(path: Path) -> list[str]:
    """Names beyond tensors that a pickle asks for, read off its instructions without running any of them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            stream = io.BytesIO(archive.read(inner) if inner else b"")
    else:
        stream = io.BytesIO(path.read_bytes())
    found: list[str] = []
    try:
        while stream.tell() < len(stream.getbuffer()):  # PyTorch's old format is several pickles in a row
            strings: list[str] = []
            for code, argument, _ in pickletools.genops(stream):
                if code.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif code.name == "STACK_GLOBAL" and len(strings) >= 2:
                    found.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except Exception:  # noqa: S110  (not a pickle from here on)
        pass
    return [name for name in dict.fromkeys(found) if not _KNOWN_GLOBAL.fullmatch(name)]


def named_tensors(content: dict[str, Any], card: DetectorCard, path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint, as the card says: out of their wrapper and without their prefix.

    Raises:
        UserError: The wrapper is not there, or there are things beside tensors, or values that are not finite.
    """
    inner: Any = content
    for key in card.weights_key.split(".") if card.weights_key else ():
        if not isinstance(inner, dict) or key not in inner:
            raise UserError(f"{path} has no {card.weights_key!r} in it.", _seen(content))
        inner = inner[key]
    if not isinstance(inner, dict):
        raise UserError(f"{path}: {card.weights_key!r} holds no named weights.", _seen(content))
    others = [str(name) for name, value in inner.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise UserError(
            f"{path} holds more than weights at its top: {', '.join(others[:5])}.",
            f"Its card says where the weights are with weights_key. {_seen(content)}",
        )
    prefix = card.strip_prefix or ""
    tensors = {str(name).removeprefix(prefix): value for name, value in inner.items()}
    check_tensors(tensors, path)
    return tensors


def check_tensors(tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    """Refuse values that are not numbers, and tensors that claim more values than the file holds.

    A tensor that repeats one stored value a million million times costs a file nothing; touching it costs everything.

    Raises:
        UserError: There are such tensors; one is named.
    """
    for name, value in tensors.items():
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{path}: {name} is not a plain tensor of the shape it declares; the file was refused.")
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise UserError(f"{path}: {len(broken)} weights hold values that are not numbers, e.g. {broken[0]}.")


def _seen(content: dict[str, Any]) -> str:
    return f"At its top there are: {', '.join(list(content)[:8])}{', ...' if len(content) > 8 else ''}."


def load_into(module: nn.Module, tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    """Put weights into a network; every name and shape must fit.

    Raises:
        UserError: Names are missing or unexpected, or shapes differ; the first five are listed.
    """
    expected = module.state_dict()
    # Counters of batches seen are not weights: older PyTorch did not write them and no output depends on them.
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in tensors if name not in expected]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} in the file, {tuple(value.shape)} in the network"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if missing or unexpected or shapes:
        problems = [
            f"{len(found)} {what}: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
            for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if found
        ]
        raise UserError(
            f"The weights in {path} do not fit the card's architecture. " + "; ".join(problems) + ".",
            "Check architecture, output, weights_key and strip_prefix in its card.",
        )
    module.load_state_dict(tensors, strict=False)


def unwrapped(content: dict[str, Any]) -> tuple[str | None, dict[str, torch.Tensor]]:
    """The tensors of a checkpoint and the name they lie under, None when they are at its top."""
    key, inner = None, content
    if not any(isinstance(value, torch.Tensor) for value in content.values()):
        for name in (*WRAPPERS, *content):
            value = content.get(name)
            if isinstance(value, dict) and any(isinstance(item, torch.Tensor) for item in value.values()):
                key, inner = name, value
                break
    return key, {str(name): value for name, value in inner.items() if isinstance(value, torch.Tensor)}


def describe(content: dict[str, Any]) -> dict[str, Any]:
    """What a draft card can truthfully say of a checkpoint: where tensors are, their prefix, the last one's shape."""
    key, tensors = unwrapped(content)
    prefix = ""
    for candidate in ("module.backbone.", "module.", "backbone.", "model.", "net."):
        if tensors and all(name.startswith(candidate) for name in tensors):
            prefix = candidate
            break
    matrices = [(name, tuple(value.shape)) for name, value in tensors.items() if value.ndim >= 2]
    return {
        "weights_key": key,
        "strip_prefix": prefix or None,
        "tensors": len(tensors),
        "parameters": sum(value.numel() for value in tensors.values()),
        "first": json.dumps(matrices[0]) if matrices else None,
        "last": json.dumps(matrices[-1]) if matrices else None,
    }
