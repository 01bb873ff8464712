"""Training of a detector, from nothing or from where it is: one loop for every recipe and for fine-tuning."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL
from stress.detectors.card import DetectorCard
from stress.detectors.detector import Detector
from stress.detectors.maps import locates
from stress.evaluation.metrics import auc, curve, youden_threshold
from stress.training.batches import AlternatingBatches, Draws, ReplayBatches, central
from stress.training.freezing import freeze
from stress.training.holdout import Held, hold_out
from stress.training.norms import refresh_norms
from stress.training.recipe import Learner, Recipe
from stress.training.settings import TrainSettings

_MAX_VALIDATION_FRAMES = 1024
_FACES_FOR_NORMS = 128


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
    recipe: Recipe | None = None,
    replay: Sequence[Crops] = (),
    progress: Callable[..., None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_pictures: Callable[[dict[str, np.ndarray]], None] | None = None,
) -> Detector:
    """Train a copy of a detector; the one given is not changed.

    Batches are half real and half fake. Some people are held out (with every clip that shows one of them and someone
    else left aside): the weights of the epoch with the lowest loss on them are kept, and the threshold is the one with
    the highest Youden index (TPR - FPR) on their frames. With too few people for that, the last weights and the old
    threshold are kept, and the card says so. With ``replay``, half of each batch or every other batch is old data, and
    people of the old data are held out too.

    Args:
        detector: Where to start.
        real: Faces of real clips, cut out as :meth:`stress.training.Recipe.crop_settings` says.
        fake: Faces of fakes; not looked at where the recipe makes its own.
        settings: How to train.
        recipe: What is done otherwise than in plain supervised training, if anything.
        replay: Clips of the data the detector was made for, reals and fakes, to train on beside the new ones.
        progress: Called after every step, with ``note``.
        on_epoch: Called after every epoch.
        on_pictures: Called at the end with what the recipe has to show (:meth:`Learner.pictures`), if anything.

    Returns:
        The trained detector, in evaluation mode, with threshold and training data in its card.

    Raises:
        ValueError: One of the classes is empty, or ``replay`` has one class only, or a batch mixed with it is no
            multiple of 4.
    """
    recipe = recipe or Recipe()
    if not real or (recipe.needs_fakes and not fake):
        raise ValueError(f"training needs reals and fakes, not {len(real)} and {len(fake)}")
    fake = fake if recipe.needs_fakes else ()
    held = _hold_out([*real, *fake], list(replay), settings, recipe)
    module = copy.deepcopy(detector.module)
    trained = Detector(card=detector.card, module=module, name=detector.name)
    generator = np.random.default_rng([settings.seed, 1])
    mixed = settings.replay == "mixed"
    size = settings.batch // len(held) if mixed else settings.batch
    parts = [_draws(recipe, part.train, size, generator) for part in held]
    batches = (ReplayBatches if mixed else AlternatingBatches)(*parts) if replay else parts[0]
    judged = [item for part in held for item in part.validation]
    faces, labels = recipe.judged(judged, _MAX_VALIDATION_FRAMES, settings.seed)
    seen = central(faces, detector.card.input_size), labels
    with torch.random.fork_rng(devices=[trained.device] if trained.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        examined = recipe.examined(seen[0], settings.seed), seen[1]
        learner = _run(trained, recipe, batches, examined, settings, generator, progress, on_epoch)
    module.requires_grad_(True).eval()
    trained.card = _card(trained, recipe, seen, held, settings)
    if on_pictures is not None and (pictures := learner.pictures()):
        on_pictures(pictures)
    return trained


def _hold_out(new: list[Crops], old: list[Crops], settings: TrainSettings, recipe: Recipe) -> list[Held]:
    """New and old data, each divided by the same people, so that nobody held out in one is learned from in the other.

    Where that leaves one of the two without reals or fakes to learn from, nobody is held out.
    """
    labels = frozenset({REAL, FAKE} if recipe.needs_fakes else {REAL})
    held = hold_out([*new, *old], settings.validation, settings.seed, labels)
    if not old:
        return [held]
    found = []
    for part in (new, old):
        mine = {id(item) for item in part}
        split = [[item for item in side if id(item) in mine] for side in (held.train, held.validation, held.left_out)]
        if not labels.issubset(item.clip.label for item in split[0]):
            return [Held(train=whole, validation=[], left_out=[], people=()) for whole in (new, old)]
        people = {person for item in split[1] for person in item.clip.people}
        found.append(Held(train=split[0], validation=split[1], left_out=split[2], people=tuple(sorted(people))))
    return found


def _draws(recipe: Recipe, crops: Sequence[Crops], size: int, generator: np.random.Generator) -> Draws:
    reals, fakes = ([item for item in crops if item.clip.label == label] for label in (REAL, FAKE))
    return recipe.draws(reals, fakes, size, generator)


def _run(
    trained: Detector,
    recipe: Recipe,
    batches: Draws,
    seen: tuple[np.ndarray, np.ndarray],
    settings: TrainSettings,
    generator: np.random.Generator,
    progress: Callable[..., None] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> Learner:
    """The loop itself; leaves the best weights in ``trained.module``."""
    module = trained.module
    frozen = freeze(module, settings.layers)
    learner = recipe.learner(trained, settings)
    total = settings.epochs * batches.per_epoch if settings.epochs else math.inf
    started, step, best, best_state = time.monotonic(), 0, math.inf, None
    waiting_since, drops = 0, settings.step_drops if settings.schedule == "plateau" else 0
    epoch, running, note = 0, True, ""
    shown = math.ceil(_FACES_FOR_NORMS / settings.batch)
    recent: deque[torch.Tensor] = deque(maxlen=max(shown, 2))  # two: old and new data may come in turn
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
            learner.set_rate(step, epoch, share)
            batch = recipe.change(batches.draw(), generator)
            if settings.augment:
                batch = recipe.vary(batch, generator)
            batch = batch.central(trained.card.input_size)
            x = trained.inputs(batch.images)
            losses.append(learner.step(x, batch))
            recent.append(learner.shown(x))
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
                best, waiting_since, best_state = loss, epoch, copy.deepcopy(module.state_dict())
            if epoch - waiting_since >= settings.patience:
                if drops == 0:
                    running = False
                else:
                    learner.lower_rate(settings.step_factor)
                    waiting_since, drops = epoch, drops - 1
        running = running and step < total
    if best_state is not None:
        module.load_state_dict(best_state)
    return learner


def _elapsed_share(step: int, total: float, seconds: float, minutes: float | None) -> float:
    return max(step / total, seconds / (60 * minutes) if minutes else 0.0)


# ------------------------------------------------------------------------------------------- held-out people


def _validate(trained: Detector, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Class-balanced log loss and AUC by frame."""
    scores = np.clip(trained.fake_probability(images), 1e-7, 1 - 1e-7)
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    balanced = (losses[labels == 1].mean() + losses[labels == 0].mean()) / 2
    return float(balanced), float(auc(curve(scores, labels))[0])


def _card(
    trained: Detector,
    recipe: Recipe,
    seen: tuple[np.ndarray, np.ndarray],
    held: Sequence[Held],
    settings: TrainSettings,
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
        training_data=_data(old, recipe, held),
        map_trained=recipe.trains_map if locates(trained) else None,
        base_metrics=None,
        base_data=None,
        sha256=None,
    )


def _data(old: DetectorCard, recipe: Recipe, held: Sequence[Held]) -> str:
    clips = [item.clip for item in held[0].train]
    fakes = sum(clip.label for clip in clips)
    names = ", ".join(sorted({clip.dataset for clip in clips}))
    people = len({person for clip in clips for person in clip.people})
    now = f"{fakes} fakes and {len(clips) - fakes} reals of {people} people ({names})"
    if len(held) > 1:
        now += f", beside {len(held[1].train)} clips of the old data"
    if recipe.name != Recipe.name:
        now += f", recipe {recipe.describe()}"
    return now if old.training_data == "unknown" else f"{old.training_data}; then {now}"
