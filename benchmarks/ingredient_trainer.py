"""A trainer with the ingredients that the product has not, for ``ingredients.py``."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from ingredient_layers import cheapen, draw_coarsely_first, halved, set_coarse
from ingredient_losses import Adversary, Perceptual, focal_frequency
from ingredient_rows import EARLY, LATE, Extras

from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.training.data import PersonData
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.losses import LossSettings, pixel_weights, reconstruction_loss
from faceswap_hq.training.settings import TrainSettings
from faceswap_hq.training.trainer import Trainer

HEAD_START = 0.05
"""Share of the budget that a discriminator learns for before it takes part."""
GIVEN_UP = 3
"""Steps in a row whose loss is no number."""


class IngredientTrainer(Trainer):
    """:class:`Trainer` with extras; without any it does exactly what that does.

    Args:
        settings: With a resolved precision.
        people: Data, one a decoder.
        extras: What is added.
        perceptual: The network of the perceptual loss, where ``extras`` ask for one.
    """

    def __init__(
        self, settings: TrainSettings, people: list[PersonData], extras: Extras, perceptual: Perceptual | None = None
    ) -> None:
        if extras.perceptual and perceptual is None:
            raise ValueError("The perceptual loss needs a network.")
        self.extras, self.perceptual = extras, perceptual
        self.share = 0.0
        self.adversary = Adversary(extras.adversary, settings.seed) if extras.adversarial else None
        self.drawn: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        super().__init__(settings, people, open_fabric(torch.device("cpu"), settings.precision))

    def built(self, people: list[str]) -> SwapAutoencoder:
        """See :meth:`Trainer.built`."""
        model = super().built(people)
        if self.extras.convolutions != "dense":
            cheapen(model, self.extras.convolutions)
        if self.extras.coarse == "drawing":
            draw_coarsely_first(model)
        return model

    def terms(
        self, face: torch.Tensor, mask: torch.Tensor, target: torch.Tensor, areas: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Trainer.terms`."""
        extras, loss = self.extras, self.settings.loss
        if self.coarse:
            face, mask, target, areas = halved(face, mask, target, areas)
        terms = super().terms(face, mask, target, areas)
        added: dict[str, torch.Tensor] = {}
        if extras.mse:
            weights = pixel_weights(areas, loss)
            squares = (face - target).square().mean(1, keepdim=True)
            added["mse"] = extras.mse * (squares * weights).sum() / weights.sum()
        if extras.dssim_quarter:
            alone = LossSettings(
                dssim=extras.dssim_quarter, dssim_coarse=0, l1=0, mask=0,
                background=loss.background, details=loss.details,
            )  # fmt: skip
            small = halved(*halved(face, mask, target, areas))
            added["dssim_quarter"] = reconstruction_loss(*small, alone)["dssim"]
        area = areas[:, :1]
        if extras.focal_frequency:
            added["focal_frequency"] = extras.focal_frequency * focal_frequency(face, target, area)
        if self.perceptual is not None and extras.perceptual:
            added["perceptual"] = extras.perceptual * self.perceptual(face, target, area)
        if self.adversary is not None and self.share >= LATE - HEAD_START:
            self.drawn.append((face.detach(), target, area))
            if self.share >= LATE:
                added["adversarial"] = extras.adversarial * self.adversary.fooled(face, area)
        if added:
            terms |= added
            terms["total"] = torch.stack([terms["total"], *added.values()]).sum()
        return terms

    @property
    def coarse(self) -> bool:
        """Whether pictures are compared at half the size now."""
        return self.extras.coarse != "never" and self.share < EARLY

    def step(self, share: float) -> dict[str, float]:
        """See :meth:`Trainer.step`; the discriminator's step follows the model's, on the same faces."""
        self.share = share
        set_coarse(self.model, self.coarse)
        losses = super().step(share)
        set_coarse(self.model, False)
        if self.adversary is not None and self.drawn:
            losses["discriminator"] = self.adversary.learn(*(torch.cat(part) for part in zip(*self.drawn, strict=True)))
            self.drawn.clear()
        return losses


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training went."""

    steps: int
    wall_seconds: float
    processor_seconds: float
    """Of all threads of this process."""
    losses: dict[str, float]
    """Mean of the last fifty steps, a term's over those that had it."""
    diverged: bool
    """Given up because its loss was no number several steps in a row."""


def train(trainer: Trainer, steps: int, report: Callable[[int], None] = lambda step: None) -> Trained:
    """Take so many steps, and let the model remember its people's faces, as rendering wants.

    There are no checkpoints, previews or rollbacks, which :func:`faceswap_hq.training.loop.train` has: a benchmark's
    training is minutes long, and one that diverges is a result.
    """
    wall, processor = time.perf_counter(), time.process_time()
    last: list[dict[str, float]] = []
    odd = done = 0
    while done < steps and odd < GIVEN_UP:
        losses = trainer.step(done / steps)
        done += 1
        trainer.progress = replace(trainer.progress, step=done)
        odd = 0 if math.isfinite(losses["total"]) else odd + 1
        last = [*last[-49:], losses]
        report(done)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    trainer.remember()
    means = {name: statistics.fmean(one[name] for one in last if name in one) for name in last[-1]}
    return Trained(
        steps=done, wall_seconds=wall, processor_seconds=processor, diverged=odd >= GIVEN_UP,
        losses={name: round(value, 5) for name, value in means.items() if math.isfinite(value)},
    )  # fmt: skip
