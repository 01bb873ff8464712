"""Supervised training of a detector, from nothing or from where it is: one loop for ``train`` and for fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL
from stress.detectors.card import DetectorCard
from stress.detectors.detector import Detector
from stress.evaluation.metrics import auc, curve, youden_threshold
from stress.training.augment import augment
from stress.training.batches import BalancedBatches, ReplayBatches
from stress.training.freezing import freeze
from stress.training.holdout import Held, hold_out
from stress.training.norms import refresh_norms

_MAX_VALIDATION_FRAMES = 1024
_FACES_FOR_NORMS = 128


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Args:
        epochs: Rounds in which each face of the larger class is seen about once; None trains for ``minutes``.
        minutes: Stop after this time, whichever comes first. With it, results depend on the machine's speed.
        batch: Faces a step, half of them fake.
        lr: Peak learning rate of AdamW; falls to zero along a cosine.
        weight_decay: Of AdamW.
        augment: Whether to vary the faces (:func:`stress.training.augment.augment`).
        layers: What is trained: ``"all"``, ``"last"``, or the number of last weight layers. What is not trained keeps
            its batch-norm statistics.
        validation: Share of the people held out to choose the best epoch and the threshold; 0 for none.
        patience: Epochs without improvement on the held-out people after which training stops.
        seed: Of the order, the augmentation, dropout and the choice of held-out people.

    Raises:
        ValueError: A value is outside its range.
    """

    epochs: int | None = 20
    minutes: float | None = None
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-2
    augment: bool = True
    layers: str | int = "all"
    validation: float = 0.2
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs is None or self.epochs >= 1,
            "minutes": (self.minutes is None and self.epochs is not None) or (self.minutes or 0) > 0,
            "batch": self.batch >= 2 and self.batch % 2 == 0,
            "lr": self.lr > 0,
            "weight_decay": self.weight_decay >= 0,
            "layers": self.layers in ("all", "last") or (isinstance(self.layers, int) and self.layers >= 1),
            "validation": 0 <= self.validation < 1,
            "patience": self.patience >= 1,
            "seed": self.seed >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not possible")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to.

    Args:
        epoch: Counted from 1.
        steps: Steps taken so far.
        seconds: Since the start.
        loss: Mean training loss.
        validation_loss: On the held-out people, or None.
        validation_auc: On the held-out people, by frame, or None.
    """

    epoch: int
    steps: int
    seconds: float
    loss: float
    validation_loss: float | None
    validation_auc: float | None


def train(
    detector: Detector,
    real: Sequence[Crops],
    fake: Sequence[Crops],
    settings: TrainSettings,
    *,
    replay: Sequence[Crops] = (),
    progress: Callable[..., None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Detector:
    """Train a copy of a detector; the one given is not changed.

    Batches are half real and half fake. Some people are held out (with every clip that shows one of them and someone
    else left aside): the weights of the epoch with the lowest loss on them are kept, and the threshold is the one with
    the highest Youden index (TPR - FPR) on their frames. With too few people for that, the last weights and the old
    threshold are kept, and the card says so. With ``replay``, half of each batch is old data, and people of the old
    data are held out too.

    Args:
        detector: Where to start.
        real: Faces of real clips, at the detector's input size.
        fake: Faces of fakes.
        settings: How to train.
        replay: Clips of the data the detector was made for, reals and fakes, to train on beside the new ones.
        progress: Called after every step, with ``note``.
        on_epoch: Called after every epoch.

    Returns:
        The trained detector, in evaluation mode, with threshold and training data in its card.

    Raises:
        ValueError: One of the classes is empty, or ``replay`` has one class only, or its batch is no multiple of 4.
    """
    if not real or not fake:
        raise ValueError(f"training needs reals and fakes, not {len(real)} and {len(fake)}")
    held = _hold_out([*real, *fake], list(replay), settings)
    module = copy.deepcopy(detector.module)
    trained = Detector(card=detector.card, module=module, name=detector.name)
    generator = np.random.default_rng([settings.seed, 1])
    parts = [_batches(part.train, settings.batch // len(held), generator) for part in held]
    batches = ReplayBatches(*parts) if replay else parts[0]
    seen = _frames([item for part in held for item in part.validation], _MAX_VALIDATION_FRAMES)
    with torch.random.fork_rng(devices=[trained.device] if trained.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        _run(trained, batches, seen, settings, generator, progress, on_epoch)
    module.requires_grad_(True).eval()
    trained.card = _card(trained, seen, held, settings)
    return trained


def _hold_out(new: list[Crops], old: list[Crops], settings: TrainSettings) -> list[Held]:
    """New and old data, each divided by the same people, so that nobody held out in one is learned from in the other.

    Where that leaves one of the two without reals or fakes to learn from, nobody is held out.
    """
    held = hold_out([*new, *old], settings.validation, settings.seed)
    if not old:
        return [held]
    found = []
    for part in (new, old):
        mine = {id(item) for item in part}
        split = [[item for item in side if id(item) in mine] for side in (held.train, held.validation, held.left_out)]
        if {item.clip.label for item in split[0]} != {0, 1}:
            return [Held(train=whole, validation=[], left_out=[], people=()) for whole in (new, old)]
        people = {person for item in split[1] for person in item.clip.people}
        found.append(Held(train=split[0], validation=split[1], left_out=split[2], people=tuple(sorted(people))))
    return found


def _batches(crops: Sequence[Crops], size: int, generator: np.random.Generator) -> BalancedBatches:
    reals, fakes = ([item for item in crops if item.clip.label == label] for label in (REAL, FAKE))
    return BalancedBatches(reals, fakes, size, generator)


def _run(
    trained: Detector,
    batches: BalancedBatches | ReplayBatches,
    seen: tuple[np.ndarray, np.ndarray],
    settings: TrainSettings,
    generator: np.random.Generator,
    progress: Callable[..., None] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> None:
    """The loop itself; leaves the best weights in ``trained.module``."""
    module = trained.module
    frozen = freeze(module, settings.layers)
    parameters = [value for value in module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    total = settings.epochs * batches.per_epoch if settings.epochs else math.inf
    started, step, best, best_epoch, best_state = time.monotonic(), 0, math.inf, 0, None
    epoch, running, note = 0, True, ""
    recent: deque[torch.Tensor] = deque(maxlen=math.ceil(_FACES_FOR_NORMS / settings.batch))
    while running:
        epoch += 1
        module.train()
        for part in frozen:
            part.eval()
        losses = []
        for _ in range(batches.per_epoch):
            share = _elapsed_share(step, total, time.monotonic() - started, settings.minutes)
            if share >= 1:
                running = False
                break
            _set_rate(optimizer, settings.lr, step, share)
            images, labels = batches.draw()
            if settings.augment:
                images = np.stack([augment(image, generator) for image in images])
            recent.append(trained.inputs(images))
            losses.append(_step(trained, optimizer, recent[-1], labels))
            step += 1
            if progress is not None:
                progress(note=f"loss {np.mean(losses[-20:]):.3f}{note}")
        if not losses:
            break
        refresh_norms(module, recent)
        loss, area = _validate(trained, *seen) if len(seen[1]) else (None, None)
        if on_epoch is not None:
            seconds = time.monotonic() - started
            mean = float(np.mean(losses))
            on_epoch(
                Epoch(epoch=epoch, steps=step, seconds=seconds, loss=mean, validation_loss=loss, validation_auc=area)
            )
        if loss is not None:
            note = f", held-out AUC {area:.3f}"
            if loss < best:
                best, best_epoch, best_state = loss, epoch, copy.deepcopy(module.state_dict())
            running = running and epoch - best_epoch < settings.patience
        running = running and step < total
    if best_state is not None:
        module.load_state_dict(best_state)


def _step(trained: Detector, optimizer: torch.optim.Optimizer, x: torch.Tensor, labels: np.ndarray) -> float:
    with _autocast(x.device):
        logit = trained.fake_logit(x)
    loss = functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(labels).to(x))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 5.0)
    optimizer.step()
    return float(loss.detach())


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Bfloat16 on CUDA; on CPUs without matrix units for it, it was slower."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def _elapsed_share(step: int, total: float, seconds: float, minutes: float | None) -> float:
    return max(step / total, seconds / (60 * minutes) if minutes else 0.0)


def _set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, share: float) -> None:
    """Ten steps of warm-up, then a cosine to zero at the end of the steps or the time."""
    rate = peak * min(1.0, (step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = rate


# ------------------------------------------------------------------------------------------- held-out people


def _frames(crops: Sequence[Crops], limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all frames, thinned evenly within every clip to at most about ``limit``."""
    if not crops:
        return np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64)
    every = max(1, math.ceil(sum(len(item.frames) for item in crops) / limit))
    images = [item.images[::every] for item in crops]
    labels = [np.full(len(part), item.clip.label) for part, item in zip(images, crops, strict=True)]
    return np.concatenate(images), np.concatenate(labels)


def _validate(trained: Detector, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Class-balanced log loss and AUC by frame."""
    scores = np.clip(trained.fake_probability(images), 1e-7, 1 - 1e-7)
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    balanced = (losses[labels == 1].mean() + losses[labels == 0].mean()) / 2
    return float(balanced), float(auc(curve(scores, labels))[0])


def _card(
    trained: Detector, seen: tuple[np.ndarray, np.ndarray], held: Sequence[Held], settings: TrainSettings
) -> DetectorCard:
    """The card with the threshold chosen on the held-out people and what was trained on."""
    images, labels = seen
    old = trained.card
    if len(labels):
        threshold = youden_threshold(trained.fake_probability(images), labels)
        source = (
            f"highest Youden index (TPR - FPR) on {len(labels)} frames of {sum(len(each.validation) for each in held)} "
            f"clips of {sum(len(each.people) for each in held)} people held out from training (seed {settings.seed})"
        )
    else:
        threshold = old.threshold
        source = f"{old.threshold_source.split('; kept')[0]}; kept, for want of people to hold out from training"
    return dataclasses.replace(
        old,
        threshold=threshold,
        threshold_source=source,
        training_data=_data(old, held),
        base_metrics=None,
        base_data=None,
        sha256=None,
    )


def _data(old: DetectorCard, held: Sequence[Held]) -> str:
    clips = [item.clip for item in held[0].train]
    fakes = sum(clip.label for clip in clips)
    names = ", ".join(sorted({clip.dataset for clip in clips}))
    people = len({person for clip in clips for person in clip.people})
    now = f"{fakes} fakes and {len(clips) - fakes} reals of {people} people ({names})"
    if len(held) > 1:
        now += f", beside {len(held[1].train)} clips of the old data"
    return now if old.training_data == "unknown" else f"{old.training_data}; then {now}"
