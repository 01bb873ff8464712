"""Locate and Verify: learn whether a face is fake and where, from exact masks or, without them, from patches' likeness.

C. Shuai et al., "Locate and Verify: A Two-Stream Network for Improved Deepfake Detection", ACM MM 2023,
arXiv 2309.11131, after the authors' code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from faceswap_hq.errors import UserError
from stress.checks import require
from stress.data.crops import Crops
from stress.detectors.detector import Detector, fake_logit
from stress.detectors.locate_verify.blocks import pooled
from stress.detectors.maps import locates
from stress.training.batches import BalancedBatches, Batch, Draws
from stress.training.recipe import Learner, Recipe, autocast
from stress.training.recipes.face_parts import PARTS, part_region
from stress.training.settings import TrainSettings

MASKS = ("auto", "use", "ignore")


@dataclass(frozen=True, kw_only=True)
class LocateAndVerify(Recipe):
    """Cross entropy of the verdict plus cross entropy of the map's cells, over all cells of a batch.

    Where a fake's exact mask is known, its cells are labelled by it; where not, by semi-supervised patch similarity
    learning (:func:`pseudo_labels`). Cells of reals are untouched.

    Args:
        masks: ``auto`` takes the masks that there are, ``use`` asks for one of every fake, ``ignore`` does without.
        forged_above: Share of the fake above which a pixel counts as forged, in [0, 1); the authors' 0 counts the
            faintest edge of a mask. A cell is forged where any pixel of it is.
        mixup: Chance that a batch is mixed (Zhang et al., arXiv 1710.09412): pictures, labels and masks. Batches with
            fakes whose mask is not known are never mixed, as in the authors' code.
        mixup_alpha: Both parameters of the Beta distribution of the share.
        part: Of the face, surely forged in a fake: ``mouth``, ``nose`` or ``eyes``.
        real_epochs: First epochs in which cells of reals count twice, where a batch has fakes without a mask.

    Raises:
        ValueError: A value is outside its range.
    """

    name: ClassVar[str] = "locate-and-verify"
    trains_map: ClassVar[bool] = True
    masks: str = "auto"
    forged_above: float = 0.5
    mixup: float = 0.5
    mixup_alpha: float = 1.0
    part: str = "mouth"
    real_epochs: int = 2

    def __post_init__(self) -> None:
        checks = {
            "masks": self.masks in MASKS,
            "forged_above": 0 <= self.forged_above < 1,
            "mixup": 0 <= self.mixup <= 1,
            "mixup_alpha": self.mixup_alpha > 0,
            "part": self.part in PARTS,
            "real_epochs": self.real_epochs >= 0,
        }
        require(self, checks)

    def draws(self, real: Sequence[Crops], fake: Sequence[Crops], size: int, generator: np.random.Generator) -> Draws:
        """See :meth:`stress.training.recipe.Recipe.draws`.

        Raises:
            UserError: Every fake is to have a mask, and one has none.
        """
        without = [item.clip.id for item in fake if item.masks is None]
        if self.masks == "use" and without:
            raise UserError(
                f"{len(without)} of {len(fake)} fakes have no exact mask, e.g. {without[0]}.",
                "Render them again with faceswap-hq, or leave masks=use away.",
            )
        region = part_region(self.part)
        return BalancedBatches(real, fake, size, generator, masks=True, region=region)

    def change(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Forget the masks of fakes where they are to be ignored."""
        if self.masks != "ignore" or batch.masks is None:
            return batch
        unknown = np.where(batch.labels[:, None, None] == 1, np.nan, batch.masks).astype(np.float32)
        return dataclasses.replace(batch, masks=unknown)

    def learner(self, detector: Detector, settings: TrainSettings) -> Learner:
        """What takes the steps.

        Raises:
            UserError: The detector's network draws no map.
        """
        if not locates(detector):
            raise UserError(
                f"{detector.name} ({detector.card.architecture}) does not say where a forgery is, which {self.name} "
                "trains.",
                "Use --arch locate_verify_small or --arch locate_verify.",
            )
        return LocateLearner(detector, settings, self)


class LocateLearner(Learner):
    """Takes the steps of :class:`LocateAndVerify`.

    Args:
        detector: Its network is a :class:`stress.detectors.locate_verify.LocateVerify`.
        settings: Optimizer and learning rate.
        recipe: What to do.
    """

    def __init__(self, detector: Detector, settings: TrainSettings, recipe: LocateAndVerify) -> None:
        super().__init__(detector, settings)
        self.recipe = recipe
        self.epoch = 1

    def set_rate(self, step: int, epoch: int, share: float) -> None:
        """Before each step."""
        self.epoch = epoch
        super().set_rate(step, epoch, share)

    def loss(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Of the verdict and of the cells, one to one."""
        if batch.masks is None or batch.regions is None:
            raise ValueError("a batch for locate-and-verify comes with masks and regions")
        labels, masks, regions = (
            torch.from_numpy(values).to(x) for values in (batch.labels, batch.masks, batch.regions)
        )
        known = ~masks.isnan().flatten(1).any(1)
        share, order = self._mixture(len(x), bool(known.all()))
        order = order.to(x.device)
        net: Any = self.detector.module
        with autocast(x.device):
            found = net.both(mixed(x, share, order))
        logit = fake_logit(found.verdict.float(), self.detector.card)
        verdict = F.binary_cross_entropy_with_logits(logit, mixed(labels, share, order))
        cells, grid = found.cells.float(), found.cells.shape[-1]
        target = cells_of(torch.nan_to_num(masks), grid, self.recipe.forged_above)
        if known.all():
            first, second = F.cross_entropy(cells, target), F.cross_entropy(cells, target[order])
            return verdict + share * first + (1 - share) * second
        part = cells_of(regions, grid, 0.0)
        forged = torch.where(known[:, None, None], target, part * (labels == 1).long()[:, None, None])
        pseudo = pseudo_labels(found.patches.float(), labels == 1, forged)
        loss = verdict + F.cross_entropy(cells, torch.where(known[:, None, None], target, pseudo))
        reals = labels == 0
        if self.epoch <= self.recipe.real_epochs and reals.any():
            loss = loss + F.cross_entropy(cells[reals], target[reals])
        return loss

    def _mixture(self, count: int, possible: bool) -> tuple[float, torch.Tensor]:
        """The share that a picture keeps, and who gives it the rest."""
        if not possible or float(torch.rand(())) >= self.recipe.mixup:
            return 1.0, torch.arange(count)
        alpha = self.recipe.mixup_alpha
        return float(torch.distributions.Beta(alpha, alpha).sample()), torch.randperm(count)


def mixed(values: torch.Tensor, share: float, order: torch.Tensor) -> torch.Tensor:
    """``share`` of each row and the rest of another."""
    return values if share == 1 else share * values + (1 - share) * values[order]


def cells_of(masks: torch.Tensor, grid: int, above: float) -> torch.Tensor:
    """Which cells hold a pixel above a value: (B, S, S) in [0, 1] to (B, grid, grid) int64, 1 or 0."""
    return (pooled(masks[:, None], grid)[:, 0] > above).long()


@torch.no_grad()
def pseudo_labels(patches: torch.Tensor, fake: torch.Tensor, forged: torch.Tensor) -> torch.Tensor:
    """Semi-supervised patch similarity learning: which cells of fakes are forged, without masks.

    A cell of a fake counts as forged where its patch is nearer, by cosine, to the mean of patches that surely are
    forged than to the mean of all patches of reals. Cells of reals never are. The labels carry no gradient, so the
    projection behind the patches stays as it was drawn, as in the authors' code.

    Args:
        patches: (B, C, g, g) of length 1 at every place.
        fake: (B,) bool.
        forged: (B, g, g) 1 where a cell of a fake surely is forged.

    Returns:
        (B, g, g) int64.
    """
    if fake.all() or not fake.any():
        return forged * fake.long()[:, None, None]
    every = patches.permute(0, 2, 3, 1)
    surely = forged.bool() & fake[:, None, None]
    false, true = every[surely].sum(0), every[~fake].flatten(0, 2).mean(0)
    nearer = F.cosine_similarity(every, false, dim=-1) > F.cosine_similarity(every, true, dim=-1)
    return (nearer & fake[:, None, None]).long()
