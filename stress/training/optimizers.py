"""Optimizers and learning rates by name."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from stress.training.settings import TrainSettings


def make_optimizer(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name."""
    rate, decay = settings.lr, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
    if settings.optimizer == "radam":  # its authors' code shrinks the weights themselves, not through the gradient
        return torch.optim.RAdam(parameters, lr=rate, weight_decay=decay, decoupled_weight_decay=True)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[settings.optimizer](parameters, lr=rate, weight_decay=decay)


def learning_rate(settings: TrainSettings, step: int, epoch: int, share: float) -> float:
    """Learning rate of a step.

    Args:
        settings: Peak, warm-up and schedule.
        step: Counted from 0.
        epoch: Counted from 1.
        share: Of the training that is over, in [0, 1], by steps or by time.
    """
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    share = min(share, 1.0)
    if settings.schedule == "cosine":
        left = 0.5 * (1 + math.cos(math.pi * share))
    elif settings.schedule == "linear-tail":
        left = min(1.0, 4 * (1 - share))
    elif settings.schedule == "step":
        left = settings.step_factor ** ((epoch - 1) // settings.step_epochs)
    else:
        left = 1.0
    return settings.lr * warm * left


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of an optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
