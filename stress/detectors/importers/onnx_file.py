"""ONNX files, run by onnxruntime on the CPU: they are scored, and cannot be fine-tuned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors.card import DetectorCard
from stress.detectors.importers.checkpoint import Checkpoint

ARCHITECTURE = "onnx"
_TYPES = {1: np.float32, 10: np.float16}
_HEADS = {"Sigmoid": {1: "sigmoid"}, "Softmax": {2: "softmax"}, "Gemm": {1: "logit", 2: "two_logits"}}


def read(path: Path) -> Checkpoint:
    """Read an ONNX file: one picture in, one or two numbers out. Nothing is run before its network is asked for.

    Raises:
        UserError: onnx and onnxruntime are missing; the file is damaged, keeps weights outside its folder, has values
            that are not numbers or negative sizes, or is no classifier of pictures.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError(f"onnx and onnxruntime are needed for {path}.", "pip install faceswap-hq[onnx]") from None
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
        tensors = list(_tensors(model))
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise UserError(f"{path} is damaged or not ONNX.") from error
    outside = sorted({name for tensor in tensors for name in [_location(tensor)] if name is not None})
    files = (path, *(_inside(path, name) for name in outside))
    for tensor in tensors:
        _check(tensor, path)
    channels_last, shape, kind = _picture(model.graph, path)
    outputs = [output.name for output in model.graph.output]
    if len(outputs) != 1:
        raise UserError(f"{path} has {len(outputs)} outputs ({', '.join(outputs[:4])}); a detector has one.")

    def network(card: DetectorCard) -> nn.Module:
        if card.architecture != ARCHITECTURE:
            raise UserError(f"{path} is an ONNX file; its card says {card.architecture}.", "Write onnx in its card.")
        return _Session(path, channels_last=channels_last, batch=shape[0], kind=kind)

    facts: dict[str, tuple[Any, str]] = {"architecture": (ARCHITECTURE, "the file is ONNX")}
    side = shape[1] if channels_last else shape[2]
    if side:
        facts["input_size"] = (side, "the file's input has this size")
    head = _head(model.graph)
    if head:
        facts["output"] = (head[0], f"the file's last operation is {head[1]}")
    return Checkpoint(path=path, format="ONNX", network=network, files=files, facts=facts)


class _Session(nn.Module):
    """onnxruntime in the coat of a network without parameters; batches of a fixed size are filled up."""

    def __init__(self, path: Path, *, channels_last: bool, batch: int | None, kind: Any) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"{path} cannot be run by onnxruntime: {_first_line(error)}") from error
        self._path, self._channels_last, self._batch, self._kind = path, channels_last, batch, kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, S, S) on the CPU to what the file gives, (B, outputs)."""
        picture = x.permute(0, 2, 3, 1) if self._channels_last else x
        array = np.ascontiguousarray(picture.cpu().numpy(), self._kind)
        step = self._batch or max(len(array), 1)
        name = self._session.get_inputs()[0].name
        parts = []
        for start in range(0, len(array), step):
            part = array[start : start + step]
            filled = np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)]) if self._batch else part
            try:
                result = self._session.run(None, {name: filled})[0]
            except Exception as error:
                raise ValueError(_first_line(error)) from error
            parts.append(np.asarray(result, np.float32).reshape(len(filled), -1)[: len(part)])
        return torch.from_numpy(np.concatenate(parts))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# -------------------------------------------------------------------------------------------------- what is in it


def _tensors(message: Any) -> Iterator[Any]:
    """Every stored tensor of a model, those in subgraphs, functions and attributes included."""
    from onnx import TensorProto

    pending = [message]
    while pending:
        item = pending.pop()
        if isinstance(item, TensorProto):
            yield item
            continue
        for field, value in item.ListFields():
            if field.message_type is not None:
                repeated = not hasattr(value, "ListFields")
                pending += list(value) if repeated else [value]


def _location(tensor: Any) -> str | None:
    """Name of the file that has a tensor's values, None when it is this one."""
    if tensor.data_location != 1 and not tensor.external_data:
        return None
    return next((item.value for item in tensor.external_data if item.key == "location"), "")


def _inside(path: Path, name: str) -> Path:
    """The file beside an ONNX file that holds weights; a name that leads anywhere else is refused."""
    folder = path.parent.resolve()
    target = Path(os.path.normpath(folder / name))
    if not name or Path(name).is_absolute() or target.resolve() != target or not target.is_relative_to(folder):
        raise UserError(f"{path} keeps weights in {name!r}, outside its folder; it was refused.")
    if not target.is_file():
        raise UserError(f"{path} keeps weights in {name}, which is missing.", "Put the file beside it.")
    return target


def _check(tensor: Any, path: Path) -> None:
    if any(size < 0 for size in tensor.dims):
        raise UserError(f"{path}: {tensor.name or 'a tensor'} has a negative size: {list(tensor.dims)}.")
    if tensor.data_type not in (1, 10, 11):
        return
    import onnx

    try:
        values = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent))
    except Exception as error:
        raise UserError(f"{path}: {tensor.name or 'a tensor'} is damaged: {_first_line(error)}") from error
    if not np.isfinite(values).all():
        raise UserError(f"{path}: {tensor.name or 'a tensor'} holds values that are not numbers.")


def _picture(graph: Any, path: Path) -> tuple[bool, tuple[int | None, ...], Any]:
    """Whether channels come last, the four sizes of the input (None where free), and its type."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise UserError(f"{path} has {len(inputs)} inputs; a detector of pictures has one.")
    given = inputs[0].type.tensor_type
    shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in given.shape.dim)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or any(size is not None and size < 1 for size in shape):
        raise UserError(f"{path} takes {list(shape)}; a detector takes pictures: [n, 3, side, side].")
    if given.elem_type not in _TYPES:
        raise UserError(f"{path} takes ONNX type {given.elem_type}; read are 1 (float32) and 10 (float16).")
    return shape[1] != 3, shape, _TYPES[given.elem_type]


def _head(graph: Any) -> tuple[str, str] | None:
    """Kind of head from the last operation and the number of outputs, None where they leave doubt."""
    output = graph.output[0]
    last = next((node.op_type for node in graph.node if output.name in node.output), None)
    sizes = [size.dim_value for size in output.type.tensor_type.shape.dim]
    kind = _HEADS.get(str(last), {}).get(sizes[-1] if len(sizes) == 2 else 0)
    return (kind, str(last)) if kind else None
