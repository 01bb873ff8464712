"""The training loop: budget, schedule, steps, saving, stopping."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from faceswap_hq import files
from faceswap_hq.errors import UserError, out_of_memory
from faceswap_hq.faceset import Faceset
from faceswap_hq.training import checkpoints, preview
from faceswap_hq.training import run as runs
from faceswap_hq.training.checkpoints import Progress
from faceswap_hq.training.data import load_person
from faceswap_hq.training.devices import check_devices, choose_device, helped_facesets, launch, open_fabric
from faceswap_hq.training.profiling import StepProfile
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import TrainSettings
from faceswap_hq.training.trainer import Trainer, resolve_precision


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


_ANEW = "With another batch or preset it is another run: --model DIR."

Report = Callable[[Progress, float, dict[str, float], float], None]
"""Called after each step with progress, share of the budget, running losses and faces/s."""


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise UserError(
                "The GPU's memory is too small for this model, or something else holds it.",
                "See nvidia-smi; several GPUs (--devices) need a smaller `batch` in a YAML file of the preset; else a"
                f" smaller --preset, or --device cpu. {_ANEW}",
            ) from error
        if not out_of_memory(error):
            raise
        raise UserError(
            "The computer's memory is too small for this model.",
            "Close other programs and run the same command again, which goes on from what was saved; or take a smaller"
            f" `batch` in a YAML file of the preset, or a smaller --preset. {_ANEW}",
        ) from error


@_enough_memory()
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
    begin: Path | None = None,
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
        begin: A trained run whose weights the training begins with, everything going on to be trained: people added
            before, now together; a pair, begun from a cast; more footage of the same people.
        profiled: Write where a step goes to ``run/profile.txt`` (:mod:`faceswap_hq.training.profiling`).

    Raises:
        UserError: For a directory that is something else or in use, a damaged run, or a loss that is no number.
    """
    where = choose_device(device)
    check_devices(where, devices)
    helper = bool(helped_facesets())
    if helper:  # Ctrl-C reaches everybody; the first process decides
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    people = [load_person(faceset, settings.model.resolution, settings.coverage) for faceset in facesets]
    grown = None if base is None else load_model(base)[0]
    started = None if begin is None else load_model(begin)
    if started is not None and started[0].settings != settings.model:
        raise UserError(
            f"{begin} has a model of another shape (preset {started[1].preset}).",
            f"--preset {started[1].preset}, or the YAML file that it was trained with.",
        )
    if started is not None and not started[0].alike(settings.shared):
        settings = replace(settings, shared=0)  # somebody was added, whose first doublings are made for one face
    sources = {} if base is None else dict(runs.read_config(base)[1])
    known = len(sources)
    sources |= {faceset.name: str(faceset.path.name) for faceset in facesets}
    if len(sources) != known + len(facesets):
        raise UserError("Two people have the same name.", "Rename a clip or faceset: its name is the person's name.")
    with contextlib.nullcontext() if helper else files.lock_beside(run, wait=False):
        begun_from = "" if started is None else started[1].sha256
        settings = runs.prepare(run, settings, sources, known, begun_from)
        if settings.precision == "auto":
            if devices > 1:  # they must agree without having measured
                settings = replace(settings, precision="bfloat16" if where.type == "cuda" else "float32")
            else:
                settings = resolve_precision(settings, people, where)
            if not helper:
                runs.write_config(run, settings, sources, known, begun_from)
        faces = sum(len(person.images) for person in people)
        many = f" × {devices}" if devices > 1 else ""
        say(f"training on {where}{many}, {settings.precision}, {len(people)} people, {faces} faces")
        if not helper:
            checkpoints.clean(run)
        fabric = open_fabric(where, settings.precision, devices)
        launch(fabric, [faceset.path for faceset in facesets])
        fresh = not checkpoints.found(run)
        trainer = Trainer(
            settings, people, fabric, fresh=fresh, base=grown, begin=started[0] if started and fresh else None
        )
        resumed = _restored(run, trainer, warn)
        if resumed is not None:
            trainer.progress = resumed
            say(f"resuming at step {resumed.step} ({resumed.seconds / 60:.1f} minutes trained)")
        profile = StepProfile(run, where, say) if profiled and fabric.is_global_zero else None
        with contextlib.closing(profile) if profile else contextlib.nullcontext():
            return _train(run, trainer, budget, report, warn, profile or (lambda: None))


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
            losses: dict[str, float] | None = None
            try:
                losses = trainer.step(share)
            except torch.OutOfMemoryError:  # its traceback holds on to the step's memory, so on outside
                if not trainer.divisible:
                    raise
            if losses is None:
                trainer.halve()
                warn(
                    f"The GPU's memory does not hold {settings.batch} faces a person at once; going on in"
                    f" {trainer.parts} parts a step, which is slower."
                )
                continue
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
    _save(run, trainer, last=True)
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
    trainer.optimizer.zero_grad(set_to_none=True)  # what it holds need not be held twice
    trainer.optimizer.state.clear()
    fresh = Trainer(
        trainer.settings, trainer.people, trainer.fabric, fresh=not checkpoints.found(run),
        base=trainer.base, begin=trainer.begin,
    )  # fmt: skip
    good = _restored(run, fresh, warn) or Progress()
    fresh.parts = trainer.parts
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


def _save(run: Path, trainer: Trainer, last: bool = False) -> None:
    """Checkpoint and export; how wrong faces are usually drawn is measured for the ``last`` of a session alone."""
    if not trainer.fabric.is_global_zero:
        return
    trainer.remember()
    if last:
        trainer.judge()
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
