"""Checkpoints of DeepfakeBench (Yan et al. 2023): two logits, 1 = fake, the network under ``backbone.``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from faceswap_hq.errors import UserError
from stress.detectors.importers.checkpoint import Checkpoint, from_tensors
from stress.detectors.importers.efficientnet_pytorch import name_map

_PREFIX = "backbone."
_FORMAT = "a DeepfakeBench checkpoint"
_HINTS = {
    "_crop": "DeepfakeBench turns a face upright by five of dlib's landmarks and cuts it with a scale of 1.3 of its "
    "own template (preprocess.py). crop_margin is another measure: choose it to match.",
}


def recognise(path: Path, tensors: dict[str, torch.Tensor]) -> Checkpoint | None:
    """The Xception or EfficientNet-B4 of a DeepfakeBench checkpoint, or None when it is something else.

    The Xception is the FaceForensics++ authors' (``last_linear``, an unused ``adjust_channel``); timm's
    ``legacy_xception`` is the same network under other names. The EfficientNet-B4 pads in its own way, see
    :mod:`stress.detectors.efficientnet_b4_dfb`.

    Args:
        path: The file.
        tensors: What it holds, out of its wrapper.

    Raises:
        UserError: It is DeepfakeBench's MesoNet, which is another network than the authors'.
    """
    inner = {name.removeprefix("module."): value for name, value in tensors.items()}
    if not inner or not all(name.startswith(_PREFIX) for name in inner):
        return None
    inner = {name.removeprefix(_PREFIX): value for name, value in inner.items()}
    if "efficientnet._conv_stem.weight" in inner and "last_layer.weight" in inner:
        return _found(path, "efficientnet_b4_dfb", efficientnet_from(inner))
    if "block12.skip.weight" in inner and any(name.startswith("last_linear.") for name in inner):
        return _found(path, "timm:legacy_xception", xception_from(inner))
    if "fc1.weight" in inner and "bn1.weight" in inner and "conv1.bias" not in inner:
        raise UserError(
            f"{path} is DeepfakeBench's MesoNet, which shares batch norms between layers and has no biases; "
            "that network is not in the zoo.",
            "Give it as ONNX, or as a Python function to stress.evaluate.",
        )
    return None


def xception_from(inner: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DeepfakeBench's names of Xception as timm's; ``adjust_channel`` is left out, their forward pass skips it."""
    kept = {name: value for name, value in inner.items() if not name.startswith("adjust_channel.")}
    renamed = {}
    for name, value in kept.items():
        head, _, rest = name.partition(".")
        renamed[f"fc.{rest.removeprefix('1.')}" if head == "last_linear" else name] = value  # 1.: behind a dropout
    return renamed


def efficientnet_from(inner: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DeepfakeBench's names of EfficientNet-B4 as timm's."""
    ours = {theirs: name for theirs, name in name_map("b4").items() if not theirs.startswith("_fc.")}
    ours |= {"last_layer.weight": "classifier.weight", "last_layer.bias": "classifier.bias"}
    kept = {n.removeprefix("efficientnet."): v for n, v in inner.items() if not n.startswith("adjust_channel.")}
    return {ours.get(name, name): value for name, value in kept.items()}


def _found(path: Path, architecture: str, tensors: dict[str, torch.Tensor]) -> Checkpoint:
    config = "DeepfakeBench's configuration of its image detectors"
    facts: dict[str, tuple[Any, str]] = {
        "input_size": (256, config),
        "mean": ([0.5, 0.5, 0.5], config),
        "std": ([0.5, 0.5, 0.5], config),
        "color_order": ("RGB", "DeepfakeBench's data set turns pictures from BGR to RGB"),
        "alignment": ("aligned", "DeepfakeBench's preprocessing turns faces upright"),
        "output": ("two_logits", "DeepfakeBench trains two logits with cross-entropy"),
        "fake_index": (1, "DeepfakeBench's labels: 1 = fake"),
    }
    return from_tensors(path, _FORMAT, architecture, tensors, facts, remarks=_HINTS)
