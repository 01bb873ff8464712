"""How a command ends: exit codes, messages, never a traceback for what a user can cause."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer
from rich.console import Console

from faceswap_hq import console
from faceswap_hq.console import guarded, progress, run_app, say, warn
from faceswap_hq.errors import UserError
from faceswap_hq.training.loop import Budget


def failing(error: BaseException):
    def command() -> None:
        raise error

    return command


CASES = [
    (UserError("clip.mp4 is empty.", "Copy it again."), 2, "error: clip.mp4 is empty.\n  Copy it again."),
    (UserError("[bold]no markup[/bold]"), 2, "error: [bold]no markup[/bold]"),
    (KeyboardInterrupt(), 130, "stopped."),
    (OSError(errno.ENOSPC, "No space left on device", "/disk/x.mp4"), 1, "error: the disk is full: /disk/x.mp4"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "error: the disk is full"),
    (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "error: no permission"),
    (OSError(errno.EROFS, "Read-only file system", "/cdrom/x"), 2, "error: no permission"),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.txt/x"), 2, "error: a.txt/x: a file stands where a dir"),
    (FileExistsError(errno.EEXIST, "File exists", "a.txt"), 2, "error: a.txt: a file stands where a directory is"),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "dir"), 2, "error: dir: Is a directory."),
    (OSError(errno.ENAMETOOLONG, "File name too long", "xxx"), 2, "error: xxx: File name too long."),
]


@pytest.mark.parametrize(("error", "code", "message"), CASES, ids=lambda value: str(value)[:30])
def test_what_a_user_can_cause(capfd, error, code, message):
    assert guarded(failing(error)) == code
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("error", [ValueError("oops"), OSError(errno.EIO, "Input/output error"), ZeroDivisionError()])
def test_a_failure_of_ours_shows_where(capfd, error):
    assert guarded(failing(error)) == 1
    printed = capfd.readouterr().err
    assert "Traceback" in printed
    assert type(error).__name__ in printed


def test_success():
    assert guarded(lambda: None) == 0


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def count(number: Annotated[int, typer.Argument(min=0)], leave: int = 0, stop: bool = False) -> None:
        say(f"counted {number}")
        if stop:
            raise KeyboardInterrupt
        if leave:
            raise typer.Exit(leave)

    @app.command()
    def nothing() -> None:
        raise UserError("nothing.")

    return app


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["count", "3"], 0, "counted 3", ""),
        (["count", "3", "--leave", "7"], 7, "counted 3", ""),
        (["count", "3", "--stop"], 130, "counted 3", "stopped."),
        (["count", "x"], 2, "", "valid integer"),
        (["count", "--", "-1"], 2, "", "Error"),
        (["count"], 2, "", "Missing argument"),
        (["count", "1", "--what"], 2, "", "--what"),
        (["what"], 2, "", "what"),
        (["nothing"], 2, "", "error: nothing."),
        (["count", "--help"], 0, "Usage", ""),
    ],
)
def test_run_app(app, capfd, arguments, code, out, err):
    assert run_app(app, arguments) == code
    printed = capfd.readouterr()
    assert out in printed.out
    assert err in printed.err
    assert "Traceback" not in printed.err


def test_a_request_to_end_is_taken_like_ctrl_c(capfd):
    app = typer.Typer()
    cleaned = []

    @app.command()
    def wait() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert run_app(app, []) == 130
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before
    assert "stopped." in capfd.readouterr().err


def test_say_and_warn(capfd):
    say("one [line] of text " * 20)
    warn("careful [red]")
    printed = capfd.readouterr()
    assert printed.out == "one [line] of text " * 20 + "\n"  # never wrapped, no markup
    assert printed.err == "warning: careful [red]\n"


class TestProgress:
    def test_a_line_every_ten_seconds_where_there_is_no_terminal(self, monkeypatch):
        clock = iter(range(0, 400, 4))
        printed = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=printed, force_terminal=False, soft_wrap=True))
        monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
        with progress("faces of a.mp4", 20, unit="frames") as advance:
            for _ in range(10):
                advance(2, note="note [x]")
        lines = printed.getvalue().splitlines()
        assert lines == [
            "faces of a.mp4: 6/20 frames in 12 s note [x]",
            "faces of a.mp4: 12/20 frames in 24 s note [x]",
            "faces of a.mp4: 18/20 frames in 36 s note [x]",
        ]

    def test_steps_of_a_training_are_whole(self, monkeypatch):
        clock = iter(range(0, 400, 20))
        printed = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=printed, force_terminal=False, soft_wrap=True))
        monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
        with console.training_progress(Budget(steps=9)) as report:
            report(SimpleNamespace(step=3, seconds=1.5), 0.0, {}, 7.0)
        assert printed.getvalue().startswith("training: 3/9 steps in ")

    def test_a_bar_on_a_terminal(self, monkeypatch):
        printed = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=printed, force_terminal=True, width=120))
        with progress("training", None, unit="steps") as advance:
            advance()
            advance(2, note="loss 0.5")
        with progress("rendering", 3) as advance:
            advance(3)
        assert "training" in printed.getvalue()
        assert "3/3" in printed.getvalue()

    def test_a_failure_inside_passes_through(self):
        with pytest.raises(ZeroDivisionError), progress("x", 1):
            raise ZeroDivisionError


def test_a_closed_pipe_ends_quietly(tmp_path):
    """`faceswap-hq ... | head` neither hangs nor ends in a traceback."""
    program = (
        "import sys; from faceswap_hq.console import guarded, say\n"
        "sys.exit(guarded(lambda: [say('x' * 99) for _ in range(9999)]))"
    )
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    os.close(write)
    os.read(read, 100)
    os.close(read)
    _, printed = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"Traceback" not in printed
