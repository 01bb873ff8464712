"""What tests of engines share: tasks that any process finds by name, and engines that tell or prepare."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from faceswap_hq import files
from faceswap_hq.engines import Engine, LocalEngine, Tools
from faceswap_hq.errors import UserError


@dataclass(frozen=True)
class Prepared:
    """An engine whose every task is done by ``prepare(function, task, tools)``, wherever that is."""

    engine: Engine
    prepare: Callable[..., Any]

    @property
    def width(self) -> int:
        return self.engine.width

    def map(self, function: Any, tasks: Iterable[Any], tools: Tools, kind: str) -> Iterator[tuple[int, Any]]:
        return self.engine.map(partial(self.prepare, function), tasks, tools, kind)


class Wide(LocalEngine):
    """The local engine, as if it could do more at once; remembers what it was given."""

    def __init__(self, width: int) -> None:
        self.width = width  # type: ignore[misc]
        self.kinds: list[str] = []

    def map(self, function: Any, tasks: Iterable[Any], tools: Tools, kind: str) -> Iterator[tuple[int, Any]]:
        for item in super().map(function, tasks, tools, kind):
            self.kinds.append(kind)
            yield item


def doubled(task: int, tools: Tools) -> int:
    tools.say(f"doubling {task}")
    if task > 7:
        tools.warn(f"{task} is large")
    return 2 * task


def failing(task: int, tools: Tools) -> int:
    if task == 1:
        raise UserError("one is too few", "Take two.")
    if task == 2:
        raise OSError(errno.ENOSPC, "No space left on device")
    if task == 3:
        raise ZeroDivisionError("a bug")
    return task


def written(task: str, tools: Tools) -> int:
    """Write a file after a while, and remember every attempt at it."""
    target = Path(task)
    with target.with_suffix(".attempts").open("a") as attempts:
        attempts.write("x")
    time.sleep(1)
    files.write_bytes(target, b"whole")
    return os.getpid()


def patient(task: str, tools: Tools) -> str:
    """Say where that it has begun, wait to be cancelled, and tidy up."""
    begun = Path(task)
    begun.write_text("begun")
    try:
        for _ in range(3000):  # Ray's interruption waits for the next bytecode
            time.sleep(0.1)
    finally:
        begun.write_text("tidied up")
    return task


def first_time(mark: Path) -> bool:
    """Whether nobody has asked this before, in any process."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    try:
        mark.open("x").close()
    except FileExistsError:
        return False
    return True


def die() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
