"""The MesoNet authors' weights: Keras HDF5 files of Meso-4 and MesoInception-4 (Afchar et al. 2018)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file
from stress.detectors.importers.checkpoint import Checkpoint, from_tensors

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FORMAT = "the MesoNet authors' Keras file"
_SIDE, _CHANNELS = 8, 16  # of the last feature map, which Keras flattens as (row, column, channel)

_MESO4 = {"conv2d": ["conv1", "conv2", "conv3", "conv4"]}
_INCEPTION = {
    "conv2d": [
        f"inception{block}.{part}"
        for block in (1, 2)
        for part in ("point", *(f"{kind}.{branch}" for branch in range(3) for kind in ("reduce", "spread")))
    ]
    + ["conv3", "conv4"]
}
_REST = {"batch_normalization": ["bn1", "bn2", "bn3", "bn4"], "dense": ["fc1", "fc2"]}
_LAYERS = {"meso4": _MESO4 | _REST, "mesoinception4": _INCEPTION | _REST}
"""Our names in the order in which the authors' code makes the layers, which is the order of Keras' numbers."""

_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}

_DF = "the authors' deepfakes from online videos: 5111 forged and 7250 real faces (their README)"
_F2F = "Face2Face forgeries and their originals (their README)"
PUBLISHED = {
    "036ed30d04ffd9c7506f825b97c86aa64915f5818931da96817b169aad790af5": _DF,  # Meso4_DF.h5
    "bcfda015d217b9f8d6557693edbdf9f4e79cfd22672541968dd0e2954462b5d7": _F2F,  # Meso4_F2F.h5
    "234586d40058e76ef8b6f27ca4b63c06e31c2a5a69c0d8ba6f30b1468ab7bafa": _DF,  # MesoInception_DF.h5
    "d4533ac8a3197dc35c47405d23d99e888c1d0135e267e03540c7451feaccff3f": _F2F,  # MesoInception_F2F.h5
}
"""SHA-256 of the files in the authors' repository, and what they were trained on."""

_HINTS = {
    "_crop": "The authors cut out a square 2.86 times (1.3 x 2.2) the larger of the distances eye to eye and eyes to "
    "mouth, centred on the nose and turned upright (pipeline.py). crop_margin is another measure: "
    "on one frame each of eight clips theirs came to 1.08 to 1.35, 1.2 in the mean.",
}


def read(path: Path) -> Checkpoint:
    """Read one of the authors' files, or one that their code wrote.

    Args:
        path: HDF5 file as Keras 2 writes it, of weights or of a whole model.

    Raises:
        UserError: h5py is missing; the file is damaged, points outside itself, declares more than it holds, or is of
            another network.
    """
    groups = _layers(path)
    architecture = next((name for name, layers in _LAYERS.items() if _counts(layers) == _counts(groups)), None)
    if architecture is None:
        found = ", ".join(f"{len(group)} {kind}" for kind, group in groups.items()) or "no layers with weights"
        raise UserError(
            f"{path} is a Keras file of a network that is not known here ({found}).",
            "Read are Meso-4 and MesoInception-4; convert others to safetensors or ONNX.",
        )
    tensors: dict[str, torch.Tensor] = {}
    for kind, names in _LAYERS[architecture].items():
        for name, values in zip(names, groups[kind], strict=True):
            tensors |= {f"{name}.{key}": value for key, value in _converted(kind, name, values, path).items()}
    return from_tensors(path, _FORMAT, architecture, tensors, _facts(sha256_file(path)), remarks=_HINTS)


def _facts(digest: str) -> dict[str, tuple[Any, str]]:
    code = "the authors' code (classifiers.py, example.py)"
    facts: dict[str, tuple[Any, str]] = {
        "input_size": (256, f"{code} has no other input, and the dense layer fits no other"),
        "mean": ([0.0, 0.0, 0.0], f"{code} only divides by 255"),
        "std": ([1.0, 1.0, 1.0], f"{code} only divides by 255"),
        "color_order": ("RGB", f"{code} reads pictures with Keras, which gives RGB"),
        "output": ("logit", "one sigmoid; the network built here leaves it to the card, which is the same function"),
        "fake_index": (0, "the authors' sigmoid is high for real faces: 1 = real"),
        "alignment": ("aligned", "the authors turn faces upright (pipeline.py)"),
        "threshold": (0.5, "the authors call a face real above 0.5 (pipeline.py)"),
        "threshold_source": ("the authors' code: 0.5", "pipeline.py"),
    }
    if digest in PUBLISHED:
        data = PUBLISHED[digest]
        because = "the file's SHA-256 is that of the file in the authors' repository"
        facts["training_data"] = (data, because)
        facts["licence"] = ("Apache-2.0", f"{because}, whose licence is Apache-2.0")
    return facts


def _converted(kind: str, name: str, values: dict[str, np.ndarray], path: Path) -> dict[str, torch.Tensor]:
    """One layer's weights in PyTorch's names and order of dimensions."""
    if kind == "batch_normalization":
        named = {_NORM.get(key, key): value for key, value in values.items()}
    else:
        named = {{"kernel": "weight"}.get(key, key): value for key, value in values.items()}
        weight = named.get("weight")
        if weight is None or weight.ndim != (4 if kind == "conv2d" else 2):
            raise UserError(f"{path} is damaged: {name} has no fitting kernel.")
        if kind == "conv2d":
            named["weight"] = weight.transpose(3, 2, 0, 1)  # from (rows, columns, inputs, outputs)
        elif name == "fc1":
            if len(weight) != _SIDE * _SIDE * _CHANNELS:
                raise UserError(f"{path} is damaged: its first dense layer has {len(weight)} inputs, not 1024.")
            outputs = weight.shape[1]
            weight = weight.reshape(_SIDE, _SIDE, _CHANNELS, outputs).transpose(3, 2, 0, 1)
            named["weight"] = weight.reshape(outputs, -1)
        else:
            named["weight"] = weight.T
    return {key: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for key, value in named.items()}


# ------------------------------------------------------------------------------------------------------- the file


def _layers(path: Path) -> dict[str, list[dict[str, np.ndarray]]]:
    """Weights by kind of layer, each kind in the order of Keras' numbers: ``conv2d_5`` comes before ``conv2d_12``."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path} is a Keras file, for which h5py is needed.", "pip install h5py") from None
    found: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    try:
        with h5py.File(path, "r") as file:
            allowed = path.stat().st_size
            top = _child(file, "model_weights", path) if "model_weights" in file.keys() else file  # noqa: SIM118
            for layer in _texts(top.attrs.get("layer_names"), path):
                kind, number = re.fullmatch(r"(.*?)_?(\d*)", layer).groups()  # type: ignore[union-attr]
                group = _child(top, layer, path)
                weights = _texts(group.attrs.get("weight_names"), path)
                for name in weights:
                    value, allowed = _dataset(group, name, path, allowed)
                    key = name.rpartition("/")[2].partition(":")[0]
                    found.setdefault(kind, {}).setdefault(int(number or 0), {})[key] = value
    except UserError:
        raise
    except Exception as error:  # HDF5 fails in as many ways as there are bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is damaged or not Keras 2's HDF5: {reason}.") from error
    return {kind: [layers[number] for number in sorted(layers)] for kind, layers in found.items()}


def _texts(value: Any, path: Path) -> list[str]:
    if value is None:
        raise UserError(f"{path} is an HDF5 file without Keras' list of layers.", "Read are files of Keras 2.")
    return [item.decode() if isinstance(item, bytes) else str(item) for item in np.atleast_1d(value)]


def _child(group: Any, name: str, path: Path) -> Any:
    """What lies under a name, if it lies in this file: soft and external links are not followed."""
    import h5py

    for part in name.split("/"):
        link = group.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{path}: {name} is a link to elsewhere ({type(link).__name__}); it was not followed.")
        group = group[part]
    return group


def _dataset(group: Any, name: str, path: Path, allowed: int) -> tuple[np.ndarray, int]:
    """An array and what is left of the bytes that the file can hold: one that declares more is refused unread."""
    import h5py

    data = _child(group, name, path)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind != "f" or data.shape is None:
        raise UserError(f"{path}: {name} is not an array of numbers.")
    if data.external or data.is_virtual:
        raise UserError(f"{path}: {name} keeps its numbers in another file, which was not opened.")
    size = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
    if size > allowed:
        raise UserError(f"{path}: {name} declares shape {data.shape}, more than the file can hold; it was refused.")
    return data[()], allowed - size


def _counts(groups: dict[str, Any]) -> dict[str, int]:
    return {kind: len(group) for kind, group in groups.items() if group}
