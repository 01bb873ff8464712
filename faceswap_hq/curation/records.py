"""What a task has found out, kept on disk under a key of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.provenance import SigningKey


def digest(value: Any) -> str:
    """A short name of plain data: the first 16 hex digits of the SHA-256 of its JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _silent(*_: Any) -> Iterator[Any]:
    yield lambda *args, **options: None


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a task may use that is no data: whom to tell how it goes, where to compute, whose signature."""

    frames: Callable[[str, int | None], AbstractContextManager[Callable[..., None]]] = _silent
    """Opens a progress display, given a description and a number of frames."""
    training: Callable[[Any], AbstractContextManager[Callable[..., None]]] = _silent
    """Opens a display of training, given its budget."""
    say: Callable[[str], None] = lambda message: None
    warn: Callable[[str], None] = lambda message: None
    device: str | None = None
    key: SigningKey | None = None


class Task(Protocol):
    """A piece of work: frozen plain data that says what to do, and can be sent to another process."""

    @property
    def record(self) -> str:
        """File that keeps the result."""
        ...

    def key(self) -> str:
        """A digest of all that the result depends on: contents and settings, no paths and no times."""
        ...

    def whole(self, result: dict[str, Any]) -> bool:
        """Whether the files that an earlier result speaks of are still there, unchanged."""
        ...

    def work(self, tools: Tools) -> dict[str, Any]:
        """Do it; returns plain data."""
        ...


def perform(task: Task, tools: Tools) -> dict[str, Any]:
    """The task's result: what is on record if nothing that it depends on has changed, else made anew and recorded.

    ``seconds``, the time that the work took, is added to it.
    """
    key = task.key()
    if (result := recall(Path(task.record), key)) is not None and task.whole(result):
        return result
    started = time.monotonic()
    result = task.work(tools)
    result["seconds"] = round(time.monotonic() - started, 3)
    files.write_json(task.record, {"key": key, "result": result})
    return result


def recall(path: Path, key: str) -> dict[str, Any] | None:
    """A recorded result, or None: not there, of another key, or damaged (it is ours, so it is made anew)."""
    try:
        value = files.read_json(path)
    except UserError:
        return None
    if not isinstance(value, dict) or value.get("key") != key or not isinstance(value.get("result"), dict):
        return None
    return dict(value["result"])
