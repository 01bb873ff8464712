"""Which layers of a network are trained."""

from __future__ import annotations

import torch
from torch import nn


def freeze(module: nn.Module, layers: str | int) -> list[nn.Module]:
    """Leave only the last layers trainable.

    A weight layer is a module with a weight of two or more dimensions (a convolution or a dense layer); norms that come
    after the first trained one, in the order of registration, are trained with it.

    Args:
        module: Network; ``requires_grad`` of its parameters is set.
        layers: ``"all"``, ``"last"`` (one weight layer), or how many weight layers.

    Returns:
        The modules that are not trained and have parameters or statistics of their own; they belong in evaluation mode.
    """
    module.requires_grad_(layers == "all")
    if layers == "all":
        return []
    count = 1 if layers == "last" else int(layers)
    leaves = [part for part in module.modules() if not list(part.children())]
    weighted = [i for i, part in enumerate(leaves) if _is_weight_layer(part)]
    if count >= len(weighted):
        module.requires_grad_(True)
        return []
    first = weighted[-count]
    for part in leaves[first:]:
        for value in part.parameters():  # a part of TorchScript has no requires_grad_
            value.requires_grad_(True)
    return [part for part in leaves[:first] if part.state_dict()]


def _is_weight_layer(part: nn.Module) -> bool:
    weight = getattr(part, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim >= 2  # TorchScript's are not nn.Parameter
