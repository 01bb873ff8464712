"""Adversarial blur: the detector trains against a blur that is made to mislead it.

Wang, Guo, Zuo, "Deepfake Forensics via an Adversarial Game", IEEE TIP 31, 2022 (arXiv 2103.13567). What is marked
published is in the authors' code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stress.checks import require
from stress.detectors.detector import Detector
from stress.training.adversary.attacks import MODES, blur_by_gradient, signed_steps
from stress.training.adversary.diff_augment import diff_augment
from stress.training.adversary.generator import CONSTRAINTS, WidthGenerator
from stress.training.adversary.own_norms import OwnNorms
from stress.training.adversary.pixel_blur import pixel_blur, strength
from stress.training.adversary.sheet import sheet
from stress.training.batches import Batch
from stress.training.optimizers import learning_rate, make_optimizer, set_rate
from stress.training.recipe import Learner, Recipe, autocast
from stress.training.settings import TrainSettings

ATTACKS = ("generator", "gradient", "fgsm", "pgd")
_MAX_GRADIENT = 5.0


@dataclass(frozen=True, kw_only=True)
class AdversarialBlur(Recipe):
    """Train on every picture as it is and as an adversary has changed it.

    Args:
        attack: ``generator``: networks predict the width of a Gaussian blur at every pixel and learn to raise the
            detector's loss; ``gradient``: the widths are one gradient step away from uniform ones; ``fgsm``, ``pgd``:
            no blur but the sign of the gradient, one step or several.
        generators: One for each class (2), or one for both (1).
        constraint: On the widths that generators predict: see
            :func:`stress.training.adversary.generator.constrained`.
        norm: Of the maps of inverse variances; it is felt per picture, so smaller pictures want it smaller in
            proportion to their side. Also where ``gradient`` starts.
        learn_norm: Whether the generators learn it.
        window: Side of the blur's neighbourhood in pixels, odd.
        width: Channels of the generators at full resolution; published: 64.
        blocks: Residual blocks of the generators.
        generator_lr: Peak learning rate of the generators; optimizer and schedule are the detector's.
        g_per_d: Steps of the adversary before each step of the detector, on the same batch: of the generators, or of
            ``pgd``. What the detector is shown was blurred just before the generators' last step.
        adversarial_weight: Of the changed pictures' loss (the paper's lambda), beside 1 for the untouched ones'.
        epsilon: Of ``fgsm`` and ``pgd``: largest change of a picture in [-1, 1].
        step: Of ``gradient``: factor of the gradient (faithful; published: 10), or pixels (corrected; 1). Of ``pgd``,
            corrected: size of a step (half of ``epsilon``). None takes these values.
        mode: Of all attacks but ``generator``: see :mod:`stress.training.adversary.attacks`.
        own_norms: Whether changed pictures have batch norms of their own, which are thrown away at the end.
        diff_augment: Whether to change colour and place of what the detector sees and cut holes into it, after the
            adversary's turn: see :func:`stress.training.adversary.diff_augment.diff_augment`.

    Raises:
        ValueError: A value is outside its range.
    """

    name: ClassVar[str] = "adversarial-blur"
    leaves_pictures: ClassVar[bool] = True

    attack: str = "generator"
    generators: int = 2
    constraint: str = "clamp"
    norm: float = 100.0
    learn_norm: bool = False
    window: int = 3
    width: int = 8
    blocks: int = 3
    generator_lr: float = 2e-3
    g_per_d: int = 3
    adversarial_weight: float = 1.0
    epsilon: float = 1 / 255
    step: float | None = None
    mode: str = "faithful"
    own_norms: bool = False
    diff_augment: bool = False

    def __post_init__(self) -> None:
        checks = {
            "attack": self.attack in ATTACKS,
            "generators": self.generators in (1, 2),
            "constraint": self.constraint in CONSTRAINTS,
            "norm": self.norm > 0,
            "learn_norm": not self.learn_norm or self.constraint == "norm",
            "window": self.window >= 3 and self.window % 2 == 1,
            "width": self.width >= 1,
            "blocks": self.blocks >= 0,
            "generator_lr": self.generator_lr > 0,
            "g_per_d": self.g_per_d >= 1,
            "adversarial_weight": self.adversarial_weight >= 0,
            "epsilon": self.epsilon > 0,
            "step": self.step is None or self.step > 0,
            "mode": self.mode in MODES,
        }
        require(self, checks)

    def learner(self, detector: Detector, settings: TrainSettings) -> Learner:
        """What takes the steps."""
        return AdversarialLearner(detector, settings, self)


class AdversarialLearner(Learner):
    """Takes the adversary's turn, then the detector's.

    Args:
        detector: Its network is trained, those parameters of it that require a gradient.
        settings: Optimizer and learning rate.
        recipe: The adversary.
    """

    def __init__(self, detector: Detector, settings: TrainSettings, recipe: AdversarialBlur) -> None:
        super().__init__(detector, settings)
        self.recipe = recipe
        self.generators = [
            WidthGenerator(recipe.width, recipe.blocks, recipe.constraint, recipe.norm, recipe.learn_norm)
            for _ in range(recipe.generators if recipe.attack == "generator" else 0)
        ]
        self._rate_ratio = recipe.generator_lr / settings.lr
        self._generator_optimizers = []
        for generator in self.generators:
            generator.to(detector.device)
            trained = [value for value in generator.parameters() if value.requires_grad]
            self._generator_optimizers.append(make_optimizer(trained, replace(settings, lr=recipe.generator_lr)))
        self.own_norms = OwnNorms(detector.module) if recipe.own_norms else None
        if self.own_norms and (more := self.own_norms.parameters()):
            self.parameters += more
            self.optimizer.add_param_group({"params": more})
        card, device = detector.card, detector.device
        self._mean, self._std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (card.mean, card.std))
        self._shown: torch.Tensor | None = None
        self._last: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor] | None = None

    def set_rate(self, step: int, epoch: int, share: float) -> None:
        """Before each step; arguments as for :func:`stress.training.optimizers.learning_rate`."""
        super().set_rate(step, epoch, share)
        for optimizer in self._generator_optimizers:
            set_rate(optimizer, self._rate_ratio * learning_rate(self.settings, step, epoch, share))

    def step(self, x: torch.Tensor, batch: Batch) -> float:
        """A turn of each; returns the detector's loss before its own."""
        labels = torch.from_numpy(batch.labels).to(x)
        changed, s = self.play(x, labels)
        self._last = (x, changed, s, labels)
        both = torch.cat([x, changed])
        if self.recipe.diff_augment:
            both = self._augmented(both, labels.repeat(2))
        self._shown = both[: len(x)] if self.own_norms else both
        return super().step(both, batch)

    def loss(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean cross entropy over untouched and changed pictures, the latter's weighted.

        Args:
            x: The batch's pictures, then the same changed.
            batch: Labels of the former.
        """
        labels = torch.from_numpy(batch.labels).to(x)
        if self.own_norms:
            untouched, changed = x.chunk(2)
            each = [self._losses(labels, False, untouched), self._losses(labels, True, changed)]
        else:
            each = list(self._losses(labels.repeat(2), False, x).chunk(2))
        weight = self.recipe.adversarial_weight
        return (each[0].mean() + weight * each[1].mean()) / (1 + weight)

    def shown(self, x: torch.Tensor) -> torch.Tensor:
        """What passed the detector's own batch norms in the last step."""
        return x if self._shown is None else self._shown

    def play(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The adversary's turn. The detector's weights, gradients and statistics stay as they are.

        Args:
            x: (B, 3, H, W) pictures, ready for the network.
            labels: (B,), 1 = fake.

        Returns:
            The changed pictures, and the inverse variances where it was a blur.
        """
        recipe = self.recipe
        with self._judging():
            if recipe.attack == "generator":
                return self._train_generators(x, labels)
            if recipe.attack == "gradient":
                step = recipe.step or (10.0 if recipe.mode == "faithful" else 1.0)
                judge = partial(self._losses, labels, True)
                return blur_by_gradient(x, judge, window=recipe.window, norm=recipe.norm, step=step, mode=recipe.mode)
            steps = recipe.g_per_d if recipe.attack == "pgd" else 1
            step = recipe.epsilon if steps == 1 else recipe.step or recipe.epsilon / 2
            changed = signed_steps(
                self._signed(x),
                lambda pictures: self._losses(labels, True, self._normalised(pictures)),
                labels,
                epsilon=recipe.epsilon,
                step=step,
                steps=steps,
                mode=recipe.mode,
            )
            return self._normalised(changed), None

    def pictures(self) -> dict[str, np.ndarray]:
        """``blurred`` (``changed`` where nothing was): the last batch as it was and as the adversary changed it."""
        if self._last is None:
            return {}
        x, changed, s, labels = self._last
        before, after = self._bytes(x), self._bytes(changed)
        name, gain = ("changed", 64) if s is None else ("blurred", 8)
        difference = self._bytes(self._normalised(gain * (self._signed(changed) - self._signed(x)).abs() - 1))
        rows = []
        for kind, mine in (("real", (labels < 0.5).cpu().numpy()), ("fake", (labels > 0.5).cpu().numpy())):
            rows.append((kind, before[mine]))
            if s is not None:
                grey = (strength(s, self.recipe.window)[:, 0] * 255).round().byte().cpu().numpy()
                rows.append((f"{kind}: blur (black none, white plain mean)", grey[mine][..., None].repeat(3, -1)))
            rows += [(f"{kind}, {name}", after[mine]), (f"{kind}: change x {gain}", difference[mine])]
        return {name: sheet([row for row in rows if len(row[1])])}

    def _train_generators(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        groups = [labels < 0.5, labels > 0.5] if len(self.generators) == 2 else [labels > -1]
        changed, widths = torch.empty_like(x), torch.empty_like(x[:, :1])
        for _ in range(self.recipe.g_per_d):
            for mine, generator, optimizer in zip(groups, self.generators, self._generator_optimizers, strict=True):
                if not mine.any():
                    continue
                with autocast(x.device):
                    s = generator(x[mine])
                blurred = pixel_blur(x[mine], s, self.recipe.window)
                loss = -self._losses(labels[mine], True, blurred).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(generator.parameters(), _MAX_GRADIENT)
                optimizer.step()
                changed[mine], widths[mine] = blurred.detach(), s.detach()
        return changed, widths

    def _losses(self, labels: torch.Tensor, changed: bool, x: torch.Tensor) -> torch.Tensor:
        """Cross entropy of each picture; ``changed`` ones pass the norms that are theirs."""
        norms = self.own_norms.in_place() if changed and self.own_norms else contextlib.nullcontext()
        with norms, autocast(x.device):
            logit = self.detector.fake_logit(x)
        return functional.binary_cross_entropy_with_logits(logit, labels, reduction="none")

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        """The detector in evaluation mode, its parameters without gradient; then all as before."""
        module = self.detector.module
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        for value in self.parameters:
            value.requires_grad_(False)
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            for value in self.parameters:
                value.requires_grad_(True)

    def _augmented(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """DiffAugment of the four groups, one by one: reals and fakes, untouched and changed."""
        pictures, half = self._signed(x), len(x) // 2
        changed = torch.arange(len(x), device=x.device) >= half
        for part in (False, True):
            for label in (0, 1):
                group = (changed == part) & (labels == label)
                if group.any():
                    pictures[group] = diff_augment(pictures[group])
        return self._normalised(pictures)

    def _signed(self, x: torch.Tensor) -> torch.Tensor:
        """From what the network wants to [-1, 1]."""
        return (x * self._std + self._mean) * 2 - 1

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        """The way back."""
        return ((x + 1) / 2 - self._mean) / self._std

    def _bytes(self, x: torch.Tensor) -> np.ndarray:
        values = (self._signed(x) + 1) * 127.5
        images = values.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return images[..., ::-1] if self.detector.card.color_order == "BGR" else images
