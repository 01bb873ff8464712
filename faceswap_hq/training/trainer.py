"""A run in memory, and one step of it."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.autograd.profiler import record_function

import blending
from faceswap_hq.errors import out_of_memory
from faceswap_hq.faces import expression
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.beckmann import EfficientEncoder
from faceswap_hq.training.augmentation import augment, central
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.data import PersonData, batch_indices, generator, outstanding, remembered, sampling_weights
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.losses import reconstruction_loss
from faceswap_hq.training.settings import TrainSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_CLEARLY = 2.5  # a precision whose steps are so much shorter need not be timed again
_JUDGED = 4  # of the remembered faces, every so many tell how wrong faces are usually drawn


class _Drawing(nn.Module):
    """A step's forward pass as one call: everybody's faces, one person after the other, each by their own decoder."""

    def __init__(self, model: SwapAutoencoder, first: int) -> None:
        super().__init__()
        self.model, self.first = model, first

    def forward(self, bent: torch.Tensor, measures: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(P·B, 3, S, S) and (P·B, F) ► face and mask logits of each person."""
        codes = self.model.encode(bent, measures).chunk(len(self.model.people) - self.first)
        return [self.model.decode(code, i) for i, code in enumerate(codes, self.first)]


class Trainer:
    """The state of a run in memory: model, optimiser, data, progress.

    Args:
        settings: Settings with a resolved precision.
        people: Data, one a decoder.
        fabric: Where and how to train (:func:`open_fabric`), launched.
        fresh: False where weights will be restored anyway: pretrained ones are not asked for.
        base: A trained model that ``people`` are added to; all but their decoders stay as they are.
        begin: A trained model whose weights are begun with (:meth:`SwapAutoencoder.begin_from`).
    """

    def __init__(
        self,
        settings: TrainSettings,
        people: list[PersonData],
        fabric: Fabric,
        fresh: bool = True,
        base: SwapAutoencoder | None = None,
        begin: SwapAutoencoder | None = None,
    ) -> None:
        self.settings, self.fabric, self.device = settings, fabric, fabric.device
        self.base, self.begin = base, begin
        self.people = [person.to(self.device) for person in people]
        self.weights = sampling_weights(people, settings.pose_matching)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            known = [] if base is None else list(base.people)
            model = self.built([*known, *(person.name for person in people)])
        self.first = len(known)
        if base is not None:
            model.grow_from(base)
            model.encoder.eval()
        elif begin is not None:
            model.begin_from(begin)
        elif isinstance(model.encoder, EfficientEncoder) and settings.pretrained and fresh:
            model.encoder.load_imagenet()
        if base is None:
            model.share(settings.shared)
        for number, person in enumerate(self.people, self.first):
            model.learn_habits(number, person.calibration, person.measures[remembered(person)])
            if settings.model.views and fresh and (begin is None or person.name not in begin.people):
                shown = central(person.images[outstanding(person, settings.model.views)], settings.model.resolution)
                model.show(number, shown)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=settings.learning_rate, betas=(0.9, settings.beta2), eps=settings.epsilon, fused=True,
        )  # fmt: skip
        self._drawing, self._optimizer = fabric.setup(_Drawing(self.model, self.first), self.optimizer)
        self.average = copy.deepcopy(self.model) if settings.ema else None
        self.progress = Progress()
        self.parts = 1
        """Turns in which a step's faces go through the model."""

    def built(self, people: list[str]) -> SwapAutoencoder:
        """The untrained model; what tries other layers overrides this."""
        return SwapAutoencoder(self.settings.model, people)

    def terms(
        self, face: torch.Tensor, mask: torch.Tensor, target: torch.Tensor, areas: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """One person's loss, see :func:`reconstruction_loss`; what tries other losses overrides this."""
        return reconstruction_loss(face, mask, target, areas, self.settings.loss)

    @property
    def shown(self) -> SwapAutoencoder:
        """What previews show and rendering gets: the running average of the weights, or the weights."""
        return self.model if self.average is None else self.average

    def remember(self) -> None:
        """Bring the codes that the shown model remembers up to date with its encoder."""
        resolution = self.settings.model.resolution
        for number, person in enumerate(self.people, self.first):
            picks, places = remembered(person).unique(return_inverse=True)  # of a short clip many times the same
            pieces = (central(person.images[piece], resolution) for piece in picks.split(16))
            self.shown.learn_codes(number, pieces, places)

    @torch.no_grad()
    def judge(self) -> None:
        """Let the shown model know by how much its decoders usually draw their own person wrong, place by place."""
        resolution, model = self.settings.model.resolution, self.shown
        for number, person in enumerate(self.people, self.first):
            parts: list[list[np.ndarray]] = [[], [], []]  # a few faces at a time on the device
            picks, places = remembered(person)[::_JUDGED].unique(return_inverse=True)
            with model.evaluating():
                for piece in picks.split(16):
                    images = central(person.images[piece], resolution)
                    face, mask = model(images, person.measures[piece], number)
                    for part, pictures in zip(parts, (images, face, mask), strict=True):
                        part.append(pictures.permute(0, 2, 3, 1).float().cpu().contiguous().numpy())
            seen, expected, masks = (np.concatenate(part)[places.cpu().numpy()] for part in parts)
            found = blending.usual_disagreement(seen, expected, masks[..., 0], blending.OcclusionSettings())
            model.usual[number] = torch.from_numpy(found)

    def rate(self, share: float) -> float:
        """Learning rate after ``share`` of the budget."""
        s = self.settings
        warm = min(1.0, (self.progress.step + 1) / max(1, s.warmup))
        peak = s.learning_rate * self.progress.slowdown
        return peak * warm * (s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * share)))

    def batch(self, step: int, share: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Input, target, areas (P·B, C, S, S) and expression (P·B, F) of a step for all people, one after the other."""
        s = self.settings
        bending = s.augment if share < s.warp_until else replace(s.augment, warp=0.0)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        mine = torch.arange(rank * s.batch, (rank + 1) * s.batch)
        picks = [batch_indices(w, s.batch * world, step, s.seed, i)[mine] for i, w in enumerate(self.weights)]
        rows = torch.cat([i * s.batch * world + mine for i in range(len(self.people))])
        images = torch.cat([p.images[k.to(self.device)] for p, k in zip(self.people, picks, strict=True)])
        weights = torch.cat([p.weights[k.to(self.device)] for p, k in zip(self.people, picks, strict=True)])
        measures = torch.cat([p.measures[k.to(self.device)] for p, k in zip(self.people, picks, strict=True)])
        random = generator(s.seed, step, 2)
        bent, target, areas, mirrored = augment(
            images, weights, s.model.resolution, bending, random, rows=rows, of=len(rows) * world
        )
        sign = torch.tensor(expression.MIRROR_SIGN, device=self.device)
        other = measures[:, list(expression.MIRROR_ORDER)] * sign
        return bent, target, areas, torch.where(mirrored[:, None], other, measures)

    def _losses(
        self, bent: torch.Tensor, target: torch.Tensor, areas: torch.Tensor, measures: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Forward pass of what :meth:`batch` returned: the terms of the loss, mean over people."""
        drawn = self._drawing(bent.contiguous(memory_format=torch.channels_last), measures)
        totals: dict[str, torch.Tensor] = {}
        for (face, mask), y, area in zip(drawn, target.chunk(len(drawn)), areas.chunk(len(drawn)), strict=True):
            for key, value in self.terms(face, mask, y, area).items():
                totals[key] = totals[key] + value if key in totals else value
        return {key: value / len(drawn) for key, value in totals.items()}

    @property
    def divisible(self) -> bool:
        """False where a step is a face a person already, or other processes would have to agree."""
        return self.parts < self.settings.batch and self.fabric.world_size == 1

    def halve(self) -> None:
        """Take half as many faces through the model at once from now on: less memory, longer steps, the same batch.

        The gradients of a step's parts are added up. Each part's loss is averaged by itself, so results differ a little
        from those of undivided steps, and with ``beckmann2023`` each part is normalised by itself.
        """
        self.parts = min(2 * self.parts, self.settings.batch)
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, state in list(self.optimizer.state.items()):
            if "exp_avg_sq" not in state:  # memory ended while Adam made its moments
                del self.optimizer.state[parameter]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _parts(self) -> Iterator[tuple[torch.Tensor, float]]:
        """Rows of the batch that go through the model together, and their share of it."""
        batch = self.settings.batch
        rows = torch.arange(batch * len(self.people)).view(-1, batch)
        for part in rows.tensor_split(self.parts, 1):
            yield part.flatten().to(self.device), part.shape[1] / batch

    @contextlib.contextmanager
    def _dice(self, step: int) -> Iterator[None]:
        """Layers that are left out at random (EfficientNet's) depend on the seed and the step alone, as batches do."""
        if self.settings.model.design == "compact":
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(generator(self.settings.seed, step, 3).initial_seed())
            yield

    def step(self, share: float) -> dict[str, float]:
        """One optimiser step; returns the terms of the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(share)
        self.optimizer.zero_grad(set_to_none=True)
        with record_function("batch"):
            batch = self.batch(self.progress.step, share)
        losses: dict[str, torch.Tensor] = {}
        with self._dice(self.progress.step):
            for rows, weight in self._parts():
                with record_function("forward"):
                    terms = self._losses(*(batch if self.parts == 1 else [x[rows] for x in batch]))
                with record_function("backward"):
                    self.fabric.backward(terms["total"] * weight)
                losses = {key: losses.get(key, 0) + weight * value.detach() for key, value in terms.items()}
        with record_function("update"):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            if math.isfinite(float(norm)):
                self._optimizer.step()
                self._average()
            else:
                losses["total"] = torch.full_like(losses["total"], math.nan)
        if self.fabric.world_size > 1:
            return {key: float(cast(torch.Tensor, self.fabric.all_reduce(v))) for key, v in losses.items()}
        return {key: float(value) for key, value in losses.items()}

    @torch.no_grad()
    def _average(self) -> None:
        """Draw the average a little towards the weights; more so at the start, when it has seen few of them."""
        if self.average is None:
            return
        n = self.progress.step
        share = 1 - min(self.settings.ema, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), share)
        for own, new in zip(self.average.encoder.buffers(), self.model.encoder.buffers(), strict=True):
            own.copy_(new)


def resolve_precision(settings: TrainSettings, people: list[PersonData], device: torch.device) -> TrainSettings:
    """Replace precision ``auto`` by whichever of float32 and bfloat16 takes the shorter step here.

    bfloat16 convolutions are faster on processors that have instructions for them and several times slower on those
    that have not, so it is measured: one step to warm up, then the better of two, for each; and all once more where
    that does not tell them apart clearly, since another program's busy second would decide. Where neither fits into
    memory it is bfloat16, which needs less.
    """
    if settings.precision != "auto":
        return settings
    candidates = [replace(settings, precision=precision) for precision in ("bfloat16", "float32")]
    times = [_step_time(candidate, people, device) for candidate in candidates]
    if max(times) < _CLEARLY * min(times):
        again = (_step_time(candidate, people, device) for candidate in candidates)
        times = [min(both) for both in zip(times, again, strict=True)]
    return candidates[times.index(min(times))]


def _step_time(settings: TrainSettings, people: list[PersonData], device: torch.device) -> float:
    """Seconds of a step; infinite where memory does not hold one. Nothing of the trainer is left behind."""
    taken = []
    try:
        trainer = Trainer(settings, people, open_fabric(device, settings.precision), fresh=False)
        for _ in range(3):
            started = time.perf_counter()
            trainer.step(0.0)
            taken.append(time.perf_counter() - started)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return math.inf
    return min(taken[1:])
