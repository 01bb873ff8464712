"""Which well-known networks a bare state dict could belong to: a remark for whoever fills in its card."""

from __future__ import annotations

import functools

import torch

from stress.detectors.zoo import build

_SHORT_LIST = {
    "conv_stem.weight": tuple(f"timm:{kind}efficientnet_b{n}" for n in (0, 4, 7) for kind in ("", "tf_")),
    "block12.skip.weight": ("timm:legacy_xception",),
    "layer4.0.conv1.weight": ("timm:resnet18", "timm:resnet34", "timm:resnet50", "timm:resnet101"),
    "blocks.11.attn.qkv.weight": ("timm:vit_base_patch16_224", "timm:vit_small_patch16_224"),
    "stages.3.blocks.0.conv_dw.weight": ("timm:convnext_tiny", "timm:convnext_base"),
    "layers.3.blocks.0.attn.qkv.weight": ("timm:swin_tiny_patch4_window7_224", "timm:swin_base_patch4_window7_224"),
    "inception1.point.weight": ("mesoinception4",),
    "fc1.weight": ("meso4", "shallownet"),
    "stages.4.first.0.weight": ("small_cnn",),
}
"""A name that only these networks have, to the networks to try; the full fit of names and shapes decides."""


def suggest(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Networks of a short list with exactly these names and shapes, the last layer's aside.

    Several may fit: ``efficientnet_b4`` and ``tf_efficientnet_b4`` differ in padding and in the epsilon of their batch
    norms, which no weight shows. So this is never filled in.

    Args:
        tensors: Weights without their prefix.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if not _counter(name)}
    tried = [name for key, names in _SHORT_LIST.items() if key in shapes for name in names]
    return [name for name in tried if _fits(shapes, _shapes(name))]


def _fits(found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> bool:
    differing = {name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)}
    head = list(expected)[-2:]  # weight and bias of the last layer: as many rows as there are outputs
    return differing <= set(head) and all(
        name in found and found[name][1:] == expected[name][1:] for name in head
    )


@functools.cache
def _shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        module = build(architecture, 2)
    return {name: tuple(value.shape) for name, value in module.state_dict().items() if not _counter(name)}


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
