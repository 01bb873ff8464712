"""Sharpness-aware minimisation: steps along the gradient found a little uphill (Foret et al., ICLR 2021)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stress.detectors.detector import Detector
from stress.training.batches import Batch
from stress.training.recipe import Learner
from stress.training.settings import TrainSettings


class SharpnessAwareLearner(Learner):
    """Takes the settings' optimizer's steps with the gradient at ``w + rho g / ||g||``, g being the gradient at ``w``.

    Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", arXiv 2010.01412, equation 2
    with p = 2, one norm over all parameters. A step costs two passes. The batch norms' running statistics are measured
    in the first one alone, at the weights that are kept. Gradients are not clipped.

    Args:
        detector: Its network is trained, those parameters of it that require a gradient.
        settings: Optimizer and learning rate.
        rho: Length of the way uphill.
    """

    def __init__(self, detector: Detector, settings: TrainSettings, rho: float = 0.05) -> None:
        super().__init__(detector, settings)
        self.rho = rho

    def step(self, x: torch.Tensor, batch: Batch) -> float:
        """One step; returns the loss before it."""
        loss = self._gradient(x, batch)
        trained = [value for value in self.parameters if value.grad is not None]
        kept = [value.detach().clone() for value in trained]
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value.grad) for value in trained]))
            for value in trained:
                value.add_(value.grad * (self.rho / (norm + 1e-12)))
        with statistics_kept(self.detector.module):
            self._gradient(x, batch)
        with torch.no_grad():
            for value, before in zip(trained, kept, strict=True):
                value.copy_(before)
        self.optimizer.step()
        return loss

    def _gradient(self, x: torch.Tensor, batch: Batch) -> float:
        loss = self.loss(x, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return float(loss.detach())


@contextlib.contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let batch norms in training mode normalise by the batch without noting its mean and variance.

    Args:
        module: Network.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm, before in zip(norms, tracked, strict=True):
            norm.track_running_stats = before
