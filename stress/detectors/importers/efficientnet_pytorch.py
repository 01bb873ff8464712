"""Weights with the names of the EfficientNet-PyTorch package, as Self-Blended Images publishes them, and timm's names.

timm's ``tf_efficientnet_*`` are the same networks: TensorFlow's "same" padding, batch norms with an epsilon of 1e-3.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from faceswap_hq.errors import UserError
from stress.detectors.importers.checkpoint import Checkpoint, from_tensors
from stress.detectors.zoo import build

_VARIANTS = {(16, 1280): "b0", (23, 1280): "b1", (23, 1408): "b2", (26, 1536): "b3", (32, 1792): "b4", (39, 2048): "b5",
             (45, 2304): "b6", (55, 2560): "b7"}  # fmt: skip
"""Number of blocks and width of the last convolution (Tan and Le 2019, table 1 and its scaling)."""

_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_WIDENING = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of a block, theirs to timm's; blocks of the first stage do not widen, and timm numbers their norms anew."""

_SBI = "Self-Blended Images"
_HINTS = {
    "_crop": "Self-Blended Images cuts out RetinaFace's box, widened by 12.5 % on each side, upright, and resizes it "
    "to a square. crop_margin is another measure: choose it to match.",
}


def recognise(path: Path, tensors: dict[str, torch.Tensor]) -> Checkpoint | None:
    """Weights named as EfficientNet-PyTorch names them, or None. Under ``net.`` they are Self-Blended Images'.

    Args:
        path: The file.
        tensors: What it holds, out of its wrapper.

    Raises:
        UserError: It is an EfficientNet of no published size.
    """
    inner = {name.removeprefix("module."): value for name, value in tensors.items()}
    sbi = bool(inner) and all(name.startswith("net.") for name in inner)
    if sbi:
        inner = {name.removeprefix("net."): value for name, value in inner.items()}
    if "_conv_stem.weight" not in inner or "_fc.weight" not in inner or "_conv_head.weight" not in inner:
        return None
    blocks = len({name.split(".")[1] for name in inner if name.startswith("_blocks.")})
    variant = _VARIANTS.get((blocks, len(inner["_conv_head.weight"])))
    if variant is None:
        raise UserError(f"{path} has an EfficientNet of {blocks} blocks, which none of B0 to B7 has.")
    facts: dict[str, tuple[Any, str]] = {}
    outputs = len(inner["_fc.weight"])
    if sbi and variant == "b4" and outputs == 2:
        code = "Self-Blended Images' inference code"
        facts = {
            "input_size": (380, code),
            "mean": ([0.0, 0.0, 0.0], f"{code} only divides by 255"),
            "std": ([1.0, 1.0, 1.0], f"{code} only divides by 255"),
            "color_order": ("RGB", code),
            "alignment": ("box", f"{code} does not turn faces"),
            "output": ("two_logits", f"{code} takes a softmax of two outputs"),
            "fake_index": (1, f"{code} reports the second output as fakeness"),
        }
    what = f"an EfficientNet-PyTorch checkpoint{f' ({_SBI})' if facts else ''}"
    more = {"remarks": _HINTS} if facts else {}
    return from_tensors(path, what, f"timm:tf_efficientnet_{variant}", to_timm(inner, variant), facts, **more)


def to_timm(tensors: dict[str, torch.Tensor], variant: str) -> dict[str, torch.Tensor]:
    """EfficientNet-PyTorch's names as those of timm's ``tf_efficientnet_VARIANT``; unknown names stay."""
    names = name_map(variant)
    return {names.get(name, name): value for name, value in tensors.items()}


@functools.cache
def name_map(variant: str) -> dict[str, str]:
    """Every name of EfficientNet-PyTorch's ``efficientnet-VARIANT`` with timm's; blocks are counted through there."""
    with torch.device("meta"):
        module = build(f"timm:tf_efficientnet_{variant}", 2)
    ours = list(module.state_dict())
    stages = sorted({tuple(int(part) for part in name.split(".")[1:3]) for name in ours if name.startswith("blocks.")})
    layers = dict(_OUTER)
    for number, (stage, block) in enumerate(stages):
        for theirs, name in ((_PLAIN if stage == 0 else _WIDENING) | _SQUEEZE).items():
            layers[f"_blocks.{number}.{theirs}"] = f"blocks.{stage}.{block}.{name}"
    back = {name: theirs for theirs, name in layers.items()}
    return {f"{back[layer]}.{value}": f"{layer}.{value}" for layer, _, value in (name.rpartition(".") for name in ours)}
