"""What a way of training may change of the loop: batches, pictures, step, and what is validated on.

:class:`Recipe` itself is plain supervised training; the papers' methods (:mod:`stress.training.recipes`) override what
they do otherwise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stress.data.crops import Crops, CropSettings
from stress.detectors.detector import Detector
from stress.training.augment import augment_with
from stress.training.batches import BalancedBatches, Batch, Draws
from stress.training.optimizers import learning_rate, make_optimizer, set_rate
from stress.training.settings import TrainSettings


class Learner:
    """Takes the steps of plain supervised training: cross entropy of the fake logit.

    Args:
        detector: Its network is trained, those parameters of it that require a gradient.
        settings: Optimizer and learning rate.
    """

    def __init__(self, detector: Detector, settings: TrainSettings) -> None:
        self.detector = detector
        self.settings = settings
        self.parameters = [value for value in detector.module.parameters() if value.requires_grad]
        self.optimizer = make_optimizer(self.parameters, settings)

    def set_rate(self, step: int, epoch: int, share: float) -> None:
        """Before each step; arguments as for :func:`stress.training.optimizers.learning_rate`."""
        set_rate(self.optimizer, learning_rate(self.settings, step, epoch, share))

    def lower_rate(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come (schedule ``plateau``)."""
        self.settings = dataclasses.replace(self.settings, lr=self.settings.lr * factor)

    def loss(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What a step makes smaller.

        Args:
            x: The batch's pictures, ready for the network (:meth:`stress.detectors.Detector.inputs`).
            batch: Its labels, and masks where they are known.
        """
        with autocast(x.device):
            logit = self.detector.fake_logit(x)
        return functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(batch.labels).to(x))

    def step(self, x: torch.Tensor, batch: Batch) -> float:
        """One step; returns the loss before it."""
        loss = self.loss(x, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def shown(self, x: torch.Tensor) -> torch.Tensor:
        """What the network saw in the last step, by which its batch norms are measured anew.

        Args:
            x: The pictures of the last step.
        """
        return x

    def pictures(self) -> dict[str, np.ndarray]:
        """What there is to look at when training is over: by name, (H, W, 3) uint8 RGB."""
        return {}


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Bfloat16 on CUDA; on CPUs without matrix units for it, it was slower."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Plain supervised training, and the ground that other recipes stand on."""

    name: ClassVar[str] = "plain"
    needs_fakes: ClassVar[bool] = True
    """Whether fakes are trained on; a recipe that makes its own does without."""
    trains_map: ClassVar[bool] = False
    """Whether a network that draws a map of the forgery learns it."""
    leaves_pictures: ClassVar[bool] = False
    """Whether there is something to look at when training is over (:meth:`Learner.pictures`)."""

    def crop_settings(self, card: CropSettings) -> CropSettings:
        """How the faces to train on are cut out.

        Args:
            card: Of the detector to be trained.

        Returns:
            The card, or a wider crop in as many more pixels: the loop cuts pictures to their middle when they have been
            changed and varied.
        """
        return card

    def draws(self, real: Sequence[Crops], fake: Sequence[Crops], size: int, generator: np.random.Generator) -> Draws:
        """Batches to train on.

        Args:
            real: Faces of reals.
            fake: Faces of fakes; empty where none are needed.
            size: Even number of faces a batch.
            generator: Source of chance.
        """
        return BalancedBatches(real, fake, size, generator)

    def vary(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Change the pictures of a batch (and masks and regions with them) so that more is learned from them."""
        known = {name: getattr(batch, name) for name in ("masks", "regions") if getattr(batch, name) is not None}
        varied = [
            augment_with(image, [values[i] for values in known.values()], generator)
            for i, image in enumerate(batch.images)
        ]
        moved: dict[str, np.ndarray] = {
            name: np.stack([maps[at] for _, maps in varied]) for at, name in enumerate(known)
        }
        return dataclasses.replace(batch, images=np.stack([image for image, _ in varied]), **moved)

    def change(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """What the method itself does to the pictures, before they are varied and whether or not they are."""
        return batch

    def learner(self, detector: Detector, settings: TrainSettings) -> Learner:
        """What takes the steps."""
        return Learner(detector, settings)

    def judged(self, crops: Sequence[Crops], limit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Faces of held-out people by which the best epoch and the threshold are chosen.

        Args:
            crops: Clips of held-out people.
            limit: About how many frames at most.
            seed: Of anything left to chance.

        Returns:
            (n, S, S, 3) uint8 RGB and (n,) labels; n may be 0.
        """
        return frames_of(crops, limit)

    def examined(self, images: np.ndarray, seed: int) -> np.ndarray:
        """What is done to the faces of :meth:`judged` before the epoch is chosen by them; the threshold never sees it.

        Args:
            images: (n, S, S, 3) uint8 RGB.
            seed: Of anything left to chance.

        Returns:
            (n, S, S, 3) uint8 RGB.
        """
        return images

    def describe(self) -> str:
        """For the card: the name, and what of the options is not as it is by default."""
        changed = [
            f"{item.name} {getattr(self, item.name)}"
            for item in dataclasses.fields(self)
            if getattr(self, item.name) != item.default
        ]
        return f"{self.name} ({', '.join(changed)})" if changed else self.name


def frames_of(crops: Sequence[Crops], limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all frames, thinned evenly within every clip to at most about ``limit``."""
    if not crops:
        return np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64)
    every = max(1, math.ceil(sum(len(item.frames) for item in crops) / limit))
    images = [item.images[::every] for item in crops]
    labels = [np.full(len(part), item.clip.label) for part, item in zip(images, crops, strict=True)]
    return np.concatenate(images), np.concatenate(labels)
