"""Batch norms of their own for adversarial pictures (AdvProp: Xie et al. 2020, arXiv 1911.09665)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class OwnNorms:
    """A second set of a network's batch norms, put in place of the first while adversarial pictures pass.

    Args:
        module: The network; between uses it has its own norms and nothing else.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._norms = {
            name: (part, copy.deepcopy(part)) for name, part in module.named_modules() if isinstance(part, _BatchNorm)
        }

    def parameters(self) -> list[nn.Parameter]:
        """Those of the second set that are trained."""
        return [value for _, own in self._norms.values() for value in own.parameters() if value.requires_grad]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Exchange the sets; each norm of the second is in training mode if the one it stands for is."""
        for name, (first, own) in self._norms.items():
            own.train(first.training)
            self._module.set_submodule(name, own)
        try:
            yield
        finally:
            for name, (first, _) in self._norms.items():
                self._module.set_submodule(name, first)
