"""What the commands share in speaking to a person: messages, progress, and how an error ends a program."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

# MediaPipe's and TensorFlow Lite's start-up chatter would bury our own messages.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from faceswap_hq import files
from faceswap_hq.errors import UserError

_NO_DIRECTORY = "a file stands where a directory is needed."
_WRONG_PATH = {
    errno.ENOTDIR: _NO_DIRECTORY, errno.EEXIST: _NO_DIRECTORY, errno.EISDIR: None, errno.ENAMETOOLONG: None,
    errno.ELOOP: None, errno.EBUSY: None,
}  # fmt: skip
"""Errors of the system that come from a path that someone gave, and what to say; None for the system's own words."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print one line for the person (standard output, no markup)."""
    out.print(message, markup=False)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    err.print(f"warning: {message}", markup=False, style="yellow")


Advance = Callable[..., None]


@contextlib.contextmanager
def progress(description: str, total: int | None = None, *, unit: str = "") -> Iterator[Advance]:
    """Show progress on standard error: a bar on a terminal, a line every ten seconds elsewhere.

    Args:
        description: What is going on.
        total: How many units there are, or None when unknown.
        unit: Name of the unit, e.g. ``"frames"``.

    Yields:
        ``advance(n=1, note="")``, to be called after every ``n`` units; ``note`` is shown behind the bar.
    """
    if err.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=err) as bar:
            task = bar.add_task(description, total=total, note="")
            yield lambda n=1, note="": bar.update(task, advance=n, note=note)
        return
    started = shown = time.monotonic()
    done = 0

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, shown
        done += n
        now = time.monotonic()
        if now - shown >= 10:
            shown = now
            of = f"/{total}" if total else ""
            err.print(f"{description}: {done}{of} {unit} in {now - started:.0f} s {note}".rstrip(), markup=False)

    yield advance


@contextlib.contextmanager
def training_progress(budget: Any) -> Iterator[Callable[..., None]]:
    """Show a training's progress in steps or seconds.

    Args:
        budget: :class:`faceswap_hq.training.loop.Budget`.

    Yields:
        What :func:`faceswap_hq.training.loop.train` takes as ``report``.
    """
    total = budget.steps or round(60 * budget.minutes)
    with progress("training", total, unit="steps" if budget.steps else "seconds") as advance:
        done = 0

        def report(now: Any, share: float, losses: dict[str, float], speed: float) -> None:
            nonlocal done
            amount = min(total, now.step if budget.steps else int(now.seconds))
            terms = " ".join(f"{key} {value:.4f}" for key, value in losses.items())
            advance(amount - done, f"step {now.step}  {terms}  {speed:.0f} faces/s")
            done = amount

        yield report


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Around work of which finished parts are kept: whoever stops it is told how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("What is finished is kept: run the same command again to go on.", markup=False)
        raise


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; turn what a user can cause into a message and an exit code, never a traceback.

    Returns:
        0 on success, 2 for bad input, 130 for Ctrl-C, 1 for a full disk or a failure of ours.
    """
    try:
        command()
    except UserError as error:
        err.print(f"error: {error}", markup=False, style="red")
        return 2
    except KeyboardInterrupt:
        err.print("stopped.", markup=False)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno in files.FULL:
            err.print(f"error: the disk is full: {error.filename or error.strerror}", markup=False, style="red")
            err.print("  Nothing was left half-written. Free some space and run the same command again.", markup=False)
            return 1
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            err.print(f"error: no permission: {error}", markup=False, style="red")
            return 2
        if error.errno in _WRONG_PATH:
            what = _WRONG_PATH[error.errno] or f"{error.strerror}."
            err.print(f"error: {error.filename or 'a path'}: {what}", markup=False, style="red")
            return 2
        traceback.print_exc()
        return 1
    except Exception:  # a bug of ours: the traceback is the report
        traceback.print_exc()
        err.print("This is a failure of faceswap-hq, not of your input. Please report the lines above.", markup=False)
        return 1
    return 0


def run_app(app: Any, arguments: list[str] | None = None) -> int:
    """Run a typer application; returns the exit code (wrong usage: 2, otherwise as :func:`guarded`).

    A request to end (SIGTERM, as a cluster sends it) is taken like Ctrl-C, so that nothing half-written is left behind.
    """
    import typer

    # typer carries its own copy of click from 0.29 on; this finds the base class of usage errors in either.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    code = 0

    def command() -> None:
        nonlocal code
        try:
            code = app(arguments, standalone_mode=False) or 0
        except usage_error as error:
            error.show()
            code = 2
        except typer.Exit as leave:
            code = leave.exit_code
        except typer.Abort:
            raise KeyboardInterrupt from None

    with _ending_cleanly():
        status = guarded(command)
    if code == 130:  # some versions of typer turn Ctrl-C into this code themselves, without a word
        err.print("stopped.", markup=False)
    return status or code


@contextlib.contextmanager
def _ending_cleanly() -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread: signals are not ours to catch
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
