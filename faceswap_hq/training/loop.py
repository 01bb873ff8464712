"""The training loop: budget, schedule, steps, saving, stopping."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.autograd.profiler import record_function

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.faceset import Faceset
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.beckmann import EfficientEncoder
from faceswap_hq.training import checkpoints, preview
from faceswap_hq.training import run as runs
from faceswap_hq.training.augmentation import augment, central
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.data import PersonData, batch_indices, generator, load_person, remembered, sampling_weights
from faceswap_hq.training.losses import reconstruction_loss
from faceswap_hq.training.profiling import StepProfile
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a run is done: after so many steps, or so much time in training (earlier sessions count)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UserError("Give either steps or minutes.")
        if (self.steps is not None and self.steps < 1) or (
            self.minutes is not None and not 0 < self.minutes < math.inf
        ):
            raise UserError("The budget must be positive.")

    def share(self, progress: Progress) -> float:
        """How much of the budget is used, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        return min(1.0, progress.seconds / (60 * (self.minutes or 1)))

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.minutes:g} minutes"


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a training session ended."""

    run: Path
    progress: Progress
    losses: dict[str, float]
    """Mean of the last steps."""
    faces_per_second: float
    stopped: bool
    """True if it was interrupted before the budget was used."""
    preview: Path


Report = Callable[[Progress, float, dict[str, float], float], None]
"""Called after each step with progress, share of the budget, running losses and faces/s."""


class _Drawing(nn.Module):
    """A step's forward pass as one call: everybody's faces, one person after the other, each by their own decoder."""

    def __init__(self, model: SwapAutoencoder, first: int, batch: int) -> None:
        super().__init__()
        self.model, self.first, self.batch = model, first, batch

    def forward(self, bent: torch.Tensor, measures: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(P·B, 3, S, S) and (P·B, F) ► face and mask logits of each person."""
        codes = self.model.encode(bent, measures).split(self.batch)
        return [self.model.decode(code, i) for i, code in enumerate(codes, self.first)]


class Trainer:
    """The state of a run in memory: model, optimiser, data, progress.

    Args:
        settings: Settings with a resolved precision.
        people: Data, one a decoder.
        fabric: Where and how to train (:func:`open_fabric`), launched.
        fresh: False where weights will be restored anyway: pretrained ones are not asked for.
        base: A trained model that ``people`` are added to; all but their decoders stay as they are.
    """

    def __init__(
        self,
        settings: TrainSettings,
        people: list[PersonData],
        fabric: Fabric,
        fresh: bool = True,
        base: SwapAutoencoder | None = None,
    ) -> None:
        self.settings, self.fabric, self.device, self.base = settings, fabric, fabric.device, base
        self.people = [person.to(self.device) for person in people]
        self.weights = sampling_weights(people, settings.pose_matching)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            known = [] if base is None else list(base.people)
            model = SwapAutoencoder(settings.model, [*known, *(person.name for person in people)])
        self.first = len(known)
        if base is not None:
            model.grow_from(base)
            model.encoder.eval()
        elif isinstance(model.encoder, EfficientEncoder) and settings.pretrained and fresh:
            model.encoder.load_imagenet()
        for number, person in enumerate(self.people, self.first):
            model.learn_habits(number, person.calibration, person.measures[remembered(person)])
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=settings.learning_rate, betas=(0.9, settings.beta2), eps=settings.epsilon, fused=True,
        )  # fmt: skip
        self._drawing, self._optimizer = fabric.setup(_Drawing(self.model, self.first, settings.batch), self.optimizer)
        self.average = copy.deepcopy(self.model) if settings.ema else None
        self.progress = Progress()

    @property
    def shown(self) -> SwapAutoencoder:
        """What previews show and rendering gets: the running average of the weights, or the weights."""
        return self.model if self.average is None else self.average

    def remember(self) -> None:
        """Bring the codes that the shown model remembers up to date with its encoder."""
        resolution = self.settings.model.resolution
        for number, person in enumerate(self.people, self.first):
            self.shown.learn_codes(number, central(person.images[remembered(person)], resolution))

    def rate(self, share: float) -> float:
        """Learning rate after ``share`` of the budget."""
        s = self.settings
        warm = min(1.0, (self.progress.step + 1) / max(1, s.warmup))
        peak = s.learning_rate * self.progress.slowdown
        return peak * warm * (s.final_rate + (1 - s.final_rate) * 0.5 * (1 + math.cos(math.pi * share)))

    def batch(
        self, step: int, share: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
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

    def losses(self, step: int, share: float = 0.0) -> dict[str, torch.Tensor]:
        """Forward pass of a step: the terms of the loss, summed over people."""
        s = self.settings
        with record_function("batch"):
            bent, target, areas, measures = self.batch(step, share)
        bent = bent.contiguous(memory_format=torch.channels_last)
        with self._dice(step):
            drawn = self._drawing(bent, measures)
        totals: dict[str, torch.Tensor] = {}
        for (face, mask), y, area in zip(drawn, target.split(s.batch), areas.split(s.batch), strict=True):
            for key, value in reconstruction_loss(face, mask, y, area, s.loss).items():
                totals[key] = totals[key] + value if key in totals else value
        return {key: value / len(self.people) for key, value in totals.items()}

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
        with record_function("forward"):
            losses = self.losses(self.progress.step, share)
        with record_function("backward"):
            self.fabric.backward(losses["total"])
        with record_function("update"):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            if math.isfinite(float(norm)):
                self._optimizer.step()
                self._average()
            else:
                losses["total"] = torch.full_like(losses["total"], math.nan)
        if self.fabric.world_size > 1:
            return {key: float(cast(torch.Tensor, self.fabric.all_reduce(v.detach()))) for key, v in losses.items()}
        return {key: float(value.detach()) for key, value in losses.items()}

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


def open_fabric(device: torch.device, precision: str, devices: int = 1) -> Fabric:
    """Device, precision and processes of a training, not launched yet.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``float32`` or ``bfloat16`` (autocast).
        devices: Processes; each has a device of its own, or the CPU. More than one train together (DDP; gloo on CPUs).
    """
    chosen: int | list[int] = devices
    if devices == 1 and device.type == "cuda" and device.index is not None:
        chosen = [device.index]
    return Fabric(
        accelerator=device.type,
        devices=chosen,
        strategy="ddp" if devices > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )


_HELPER = "FACESWAP_HQ_HELPER"


def helped_facesets() -> list[Path]:
    """The facesets to train on, in a process that another of the same training started to share its work; or none."""
    given = os.environ.get(_HELPER)
    return [Path(part) for part in given.split(os.pathsep)] if given else []


def _check_devices(device: torch.device, devices: int) -> None:
    """Raise a UserError for processes that cannot be had."""
    if devices == 1:
        return
    if device.type not in ("cpu", "cuda") or device.index is not None:
        raise UserError(f"--devices {devices} goes with --device cuda or cpu, not {device}.")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UserError(f"There are {torch.cuda.device_count()} GPUs here, not {devices}.")
    if not helped_facesets() and "LOCAL_RANK" in os.environ:
        raise UserError(
            "This process is part of a distributed job already (LOCAL_RANK is set).",
            "Start the plain command once, without torchrun: --devices starts the other processes.",
        )


def _launch(fabric: Fabric, facesets: list[Faceset]) -> None:
    """Start the other processes; they run this very program again and are told the facesets that were found."""
    if helped_facesets():
        fabric.launch()
        return
    os.environ[_HELPER] = os.pathsep.join(str(faceset.path.resolve()) for faceset in facesets)
    try:
        fabric.launch()
    finally:
        del os.environ[_HELPER]


def resolve_precision(settings: TrainSettings, people: list[PersonData], device: torch.device) -> TrainSettings:
    """Replace precision ``auto`` by whichever of float32 and bfloat16 takes the shorter step here.

    bfloat16 convolutions are faster on processors that have instructions for them and several times slower on those
    that have not, so it is measured: one step to warm up, then the better of two, for each.
    """
    if settings.precision != "auto":
        return settings
    times = {}
    for precision in ("float32", "bfloat16"):
        fabric = open_fabric(device, precision)
        trainer = Trainer(replace(settings, precision=precision), people, fabric, fresh=False)
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            trainer.step(0.0)
            taken.append(time.perf_counter() - started)
        times[precision] = min(taken[1:])
    return replace(settings, precision=min(times, key=lambda key: times[key]))


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or CUDA, Apple's GPU or the CPU, whichever is there first.

    Raises:
        UserError: If the named device is not there: there is no silent falling back.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"The device {name!r} cannot be used: {str(error).splitlines()[0]}", "See: faceswap-hq doctor"
        ) from None
    return device


def train(
    run: Path,
    facesets: list[Faceset],
    settings: TrainSettings,
    budget: Budget,
    *,
    device: str | None = None,
    report: Report | None = None,
    say: Callable[[str], None] = lambda message: None,
    warn: Callable[[str], None] = lambda message: None,
    profiled: bool = False,
    base: Path | None = None,
    devices: int = 1,
) -> Result:
    """Train a run until its budget is used, or resume it.

    Ctrl-C or SIGTERM ends the step in hand, saves, and returns with ``stopped``.

    Args:
        run: The run's directory; made if absent, resumed if it is this very run.
        facesets: One a person, in the decoders' order.
        settings: What to train and how.
        budget: When to stop; earlier sessions of the run count.
        device: ``cpu``, ``cuda``, ...; None chooses.
        report: Told of every step.
        say: Told what goes on.
        warn: Told of damage that was worked around.
        devices: Processes that train together, each with a batch of its own. They run this very program again, up to
            here; what they would say, show and write is left to the first.
        base: A trained run whose encoder and decoders are taken over as they are; only the new people's decoders are
            trained. ``settings`` must have its model's shape.
        profiled: Write where a step goes to ``run/profile.txt`` (:mod:`faceswap_hq.training.profiling`).

    Raises:
        UserError: For a directory that is something else or in use, a damaged run, or a loss that is no number.
    """
    where = choose_device(device)
    _check_devices(where, devices)
    helper = bool(helped_facesets())
    if helper:  # Ctrl-C reaches everybody; the first process decides
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    people = [load_person(faceset, settings.model.resolution, settings.coverage) for faceset in facesets]
    grown = None if base is None else load_model(base)[0]
    sources = {} if base is None else dict(runs.read_config(base)[1])
    known = len(sources)
    sources |= {faceset.name: str(faceset.path.name) for faceset in facesets}
    if len(sources) != known + len(facesets):
        raise UserError("Two people have the same name.", "Rename a clip or faceset: its name is the person's name.")
    with contextlib.nullcontext() if helper else files.lock_beside(run, wait=False), _enough_memory(settings):
        settings = runs.prepare(run, settings, sources, known)
        if settings.precision == "auto":
            if devices > 1:  # they must agree without having measured
                settings = replace(settings, precision="bfloat16" if where.type == "cuda" else "float32")
            else:
                settings = resolve_precision(settings, people, where)
            if not helper:
                runs.write_config(run, settings, sources, known)
        faces = sum(len(person.images) for person in people)
        many = f" × {devices}" if devices > 1 else ""
        say(f"training on {where}{many}, {settings.precision}, {len(people)} people, {faces} faces")
        if not helper:
            checkpoints.clean(run)
        fabric = open_fabric(where, settings.precision, devices)
        _launch(fabric, facesets)
        trainer = Trainer(settings, people, fabric, fresh=not checkpoints.found(run), base=grown)
        resumed = _restored(run, trainer, warn)
        if resumed is not None:
            trainer.progress = resumed
            say(f"resuming at step {resumed.step} ({resumed.seconds / 60:.1f} minutes trained)")
        profile = StepProfile(run, where, say) if profiled and fabric.is_global_zero else None
        with contextlib.closing(profile) if profile else contextlib.nullcontext():
            return _train(run, trainer, budget, report, warn, profile or (lambda: None))


@contextlib.contextmanager
def _enough_memory(settings: TrainSettings) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        less = max(1, settings.batch // 2)
        raise UserError(
            f"The GPU's memory does not hold a step of {settings.batch} faces a person.",
            f"Train into a new directory with a smaller batch: a YAML file of the preset with `batch: {less}`.",
        ) from error


def _restored(run: Path, trainer: Trainer, warn: Callable[[str], None]) -> Progress | None:
    """Load the newest whole checkpoint in every process: the first puts damaged ones aside before the others look."""
    first = trainer.fabric.is_global_zero
    if not first:
        trainer.fabric.barrier()
    progress = checkpoints.restore(run, trainer.model, trainer.optimizer, warn, trainer.average)
    if first:
        trainer.fabric.barrier()
    return progress


def _train(
    run: Path,
    trainer: Trainer,
    budget: Budget,
    report: Report | None,
    warn: Callable[[str], None],
    stepped: Callable[[], None],
) -> Result:
    settings = trainer.settings
    running = _running(trainer)
    odd = 0
    speed = 0.0
    saved = shown = logged = trainer.progress.seconds
    _preview(run, trainer)
    with _stop_requests() as stop:
        clock = time.perf_counter()
        while (share := _agreed(trainer, budget, stop)) < 1:
            losses = trainer.step(share)
            now = time.perf_counter()
            taken, clock = now - clock, now
            usual = losses["total"] < _RUNAWAY * running.get("total", math.inf)
            odd = 0 if usual else odd + 1
            if odd == _IN_A_ROW or not math.isfinite(losses["total"]):
                trainer, odd = _rolled_back(run, trainer, losses["total"], taken, warn), 0
                running = _running(trainer)
                continue
            if usual:
                running = {key: 0.95 * running.get(key, value) + 0.05 * value for key, value in losses.items()}
            trainer.progress = replace(
                trainer.progress,
                step=trainer.progress.step + 1,
                seconds=trainer.progress.seconds + taken,
                slowdown=min(1.0, trainer.progress.slowdown * 2 ** (1 / _RECOVERY)),
                loss=running["total"],
            )
            rate = settings.batch * len(trainer.people) * trainer.fabric.world_size / taken
            speed = rate if speed == 0 else 0.95 * speed + 0.05 * rate
            stepped()
            if report is not None:
                report(trainer.progress, budget.share(trainer.progress), running, speed)
            seconds = trainer.progress.seconds
            if seconds - logged >= 5:
                logged = seconds
                _log(run, trainer, running, speed)
            if seconds - shown >= 60 * settings.preview_minutes:
                shown = seconds
                _preview(run, trainer)
            if seconds - saved >= 60 * settings.save_minutes:
                saved = seconds
                _save(run, trainer)
    _log(run, trainer, running, speed)
    _save(run, trainer)
    sheet = _preview(run, trainer)
    return Result(
        run=run, progress=trainer.progress, losses=running, faces_per_second=speed,
        stopped=budget.share(trainer.progress) < 1, preview=sheet,
    )  # fmt: skip


def _running(trainer: Trainer) -> dict[str, float]:
    """Running means of the losses where a session begins."""
    return {} if trainer.progress.loss is None else {"total": trainer.progress.loss}


_RUNAWAY = 3.0  # a step's loss over its running mean that is odd; an odd batch comes, but
_IN_A_ROW = 3  # as many odd steps one after the other mean that training has left its way
_SLOWEST = 1 / 16
_RECOVERY = 1000  # good steps after which the learning rate has doubled again


def _rolled_back(
    run: Path, trainer: Trainer, loss: float, taken: float, warn: Callable[[str], None]
) -> Trainer:
    """The trainer of the last good checkpoint (or of the start), with half the learning rate.

    Raises:
        UserError: If that has been tried so often that something else must be wrong.
    """
    step, slowdown = trainer.progress.step, trainer.progress.slowdown / 2
    seconds = trainer.progress.seconds + taken  # a budget in minutes is used up all the same
    if slowdown < _SLOWEST:
        raise UserError(
            f"The loss became {loss:.3g} at step {step}, with a learning rate {1 / _SLOWEST:.0f} times smaller too.",
            f"The last good checkpoint is kept in {run}. Look at the faces: one of them may be no face.",
        )
    fresh = Trainer(
        trainer.settings, trainer.people, trainer.fabric, fresh=not checkpoints.found(run), base=trainer.base
    )
    good = _restored(run, fresh, warn) or Progress()
    fresh.progress = replace(good, slowdown=slowdown, seconds=seconds)
    warn(f"The loss became {loss:.3g} at step {step}: back to step {good.step} with half the learning rate.")
    return fresh


def _agreed(trainer: Trainer, budget: Budget, stop: list[int]) -> float:
    """Share of the budget that is used, as the first process sees it; 2 to stop."""
    share = 2.0 if stop else budget.share(trainer.progress)
    if trainer.fabric.world_size == 1:
        return share
    return float(trainer.fabric.broadcast(torch.tensor(share, dtype=torch.float64)))


def _preview(run: Path, trainer: Trainer) -> Path:
    """Bring the remembered codes up to date and write the sheet; the first process does."""
    if not trainer.fabric.is_global_zero:
        return run / "previews" / "latest.png"
    trainer.remember()
    return preview.write_sheet(trainer.shown, trainer.people, run / "previews", trainer.progress.step, trainer.first)


def _save(run: Path, trainer: Trainer) -> None:
    if not trainer.fabric.is_global_zero:
        return
    trainer.remember()
    newest = next(iter(checkpoints.found(run)), None)
    if newest is None or checkpoints.progress_of(newest) != trainer.progress:
        checkpoints.save(
            run, trainer.model, trainer.optimizer, trainer.progress, trainer.settings.keep, trainer.average
        )
    runs.export(run, trainer.shown, trainer.settings, trainer.progress)


def _log(run: Path, trainer: Trainer, losses: dict[str, float], speed: float) -> None:
    if not trainer.fabric.is_global_zero:
        return
    line: dict[str, Any] = {"step": trainer.progress.step, "seconds": round(trainer.progress.seconds, 2)}
    line |= {key: round(value, 6) for key, value in losses.items()}
    checkpoints.append_line(run / "log.jsonl", {**line, "faces_per_second": round(speed, 1)})


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of letting them break into a step; a second Ctrl-C breaks in."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if helped_facesets():  # the first process decides
        yield received
        return
    try:
        before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are not ours to catch
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
