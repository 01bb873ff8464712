"""What a task has found out, kept on disk under a key of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Protocol

from faceswap_hq import files
from faceswap_hq.engines import Tools
from faceswap_hq.errors import UserError


def digest(value: Any) -> str:
    """A short name of plain data: the first 16 hex digits of the SHA-256 of its JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def perform_alone(task: Task, tools: Tools) -> dict[str, Any]:
    """:func:`perform`, for tasks that write more than one file.

    Of two processes with the same task (a cluster gives it to a second one when it takes the first for dead) the later
    waits, and finds what the first has done.
    """
    with files.lock_beside(task.record):
        return perform(task, tools)


def perform_or_why(task: Task, tools: Tools) -> dict[str, Any] | str:
    """:func:`perform`, or in words why the person's input makes it impossible."""
    try:
        return perform(task, tools)
    except UserError as error:
        return str(error)


def recall(path: Path, key: str) -> dict[str, Any] | None:
    """A recorded result, or None: not there, of another key, or damaged (it is ours, so it is made anew)."""
    try:
        value = files.read_json(path)
    except UserError:
        return None
    if not isinstance(value, dict) or value.get("key") != key or not isinstance(value.get("result"), dict):
        return None
    return dict(value["result"])
