"""Checkpoints that are whole or not there: safetensors in a directory that is renamed into place."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from faceswap_hq import files
from faceswap_hq.errors import UserError, out_of_memory

VERSION = 1
_WEIGHTS, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_AVERAGE = "average.safetensors"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    """Optimiser steps taken."""
    seconds: float = 0.0
    """Time spent in training, over all sessions, s."""
    slowdown: float = 1.0
    """Factor of the learning rate: halved each time the loss ran away."""
    loss: float | None = None
    """Running mean of the loss; None before the first step of the run."""


def save(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int,
    average: nn.Module | None = None,
) -> Path:
    """Write ``run/checkpoints/step-NNNNNNN/``, then remove all but the newest ``keep`` and the one of lowest loss.

    Args:
        run: The run's directory.
        model: Its weights.
        optimizer: Its state.
        progress: How far the run has come.
        keep: How many of the newest to keep.
        average: The running average of the weights, where there is one.
    """
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{progress.step:07d}"
    part = folder / f".{final.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        save_tensors(model.state_dict(), part / _WEIGHTS)
        save_tensors(_optimizer_tensors(optimizer), part / _OPTIMIZER)
        if average is not None:
            save_tensors(average.state_dict(), part / _AVERAGE)
        names = [_WEIGHTS, _OPTIMIZER] + [_AVERAGE] * (average is not None)
        state = {
            "version": VERSION,
            **asdict(progress),
            "sha256": {name: files.sha256_file(part / name) for name in names},
        }
        files.write_json(part / _STATE, state)
        for name in names:
            files.fsync(part / name)
        if final.exists():
            shutil.rmtree(final)
        part.rename(final)
        files.fsync(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    best = min(found(run), key=_loss_of, default=None)  # the newest of equals
    for old in found(run)[keep:]:
        if old != best:
            shutil.rmtree(old, ignore_errors=True)
    return final


def _loss_of(path: Path) -> float:
    progress = progress_of(path)
    return math.inf if progress is None or progress.loss is None else progress.loss


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file that holds each tensor by itself, also where several are one in memory, as shared weights are.

    Safetensors reports a full disk in words; it leaves here as the OSError that it is.
    """
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        apart[key] = plain.clone() if plain.data_ptr() in taken else plain
        taken.add(plain.data_ptr())
    try:
        save_file(apart, path)
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(28, "No space left on device", str(path)) from error
        raise


def found(run: Path) -> list[Path]:
    """The run's checkpoints, newest first."""
    return sorted((run / "checkpoints").glob("step-*"), key=lambda path: path.name, reverse=True)


def restore(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
    average: nn.Module | None = None,
) -> Progress | None:
    """Load the newest checkpoint that is whole.

    Args:
        run: The run's directory.
        model: Gets the weights.
        optimizer: Gets its state.
        warn: Told of every damaged checkpoint that was passed over (and renamed to ``damaged-...``).
        average: Gets the running average of the weights.

    Returns:
        How far the run had come, or None if it has no checkpoint yet.

    Raises:
        UserError: If there are checkpoints and all are damaged (a run is never started over silently), or one is of a
            newer version.
    """
    damaged: list[Path] = []
    for path in found(run):
        try:
            progress = _read(path)
            model.load_state_dict(load_file(path / _WEIGHTS))
            _load_optimizer(optimizer, load_file(path / _OPTIMIZER))
            if average is not None:
                average.load_state_dict(load_file(path / _AVERAGE))
        except _DAMAGE as error:
            if out_of_memory(error):
                raise
            warn(f"{path} is damaged ({(str(error) or type(error).__name__).splitlines()[0]}); trying the one before.")
            damaged.append(path)
            continue
        for old in damaged:  # out of the way of those to come, but not gone
            old.rename(old.with_name(f"damaged-{old.name}-{time.time_ns():x}"))
        return progress
    if damaged:
        raise UserError(
            f"All checkpoints in {run / 'checkpoints'} are damaged.",
            "Restore them from a backup, or train into another directory with --model.",
        )
    return None


class _DamagedError(Exception):
    """What was read is not what was written."""


_DAMAGE = (_DamagedError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError)


def _read(path: Path) -> Progress:
    try:
        state = files.read_json(path / _STATE)
    except UserError as error:
        raise _DamagedError(error.message) from error
    if int(state["version"]) > VERSION:
        raise UserError(f"{path} was written by a newer version of faceswap-hq.", "pip install -U faceswap-hq")
    for name in (_WEIGHTS, _OPTIMIZER, *(state["sha256"].keys() & {_AVERAGE})):
        if files.sha256_file(path / name) != state["sha256"][name]:
            raise _DamagedError(f"{name} does not match its checksum")
    return _progress(state)


def progress_of(path: Path) -> Progress | None:
    """How far a checkpoint says the run had come; None if it can't be read. Nothing is checked."""
    try:
        return _progress(files.read_json(path / _STATE))
    except (UserError, KeyError, TypeError, ValueError):
        return None


def _progress(state: dict[str, Any]) -> Progress:
    loss = state.get("loss")
    return Progress(
        step=int(state["step"]),
        seconds=float(state["seconds"]),
        slowdown=float(state.get("slowdown", 1.0)),
        loss=None if loss is None else float(loss),
    )


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer its moments back, laid out in memory like their parameters.

    Files hold plain row-major tensors, while the weights of convolutions lie channels-last; a fused optimizer walks
    both by address and would pair each weight with another's moments.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def clean(run: Path) -> None:
    """Remove what an interrupted write left behind."""
    for part in (run / "checkpoints").glob(".*.part"):
        shutil.rmtree(part, ignore_errors=True)
    for part in run.rglob(".*.part*"):
        if part.is_file():
            part.unlink(missing_ok=True)


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line, flushed."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(value) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
