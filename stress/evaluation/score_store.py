"""Scores that are kept between runs: a file of lines, to which each result is added as soon as it is there.

One JSON object a line, ``{"key": ..., "value": ...}``. A line that is not whole (the process was killed, the disk was
full) is ignored, and what it was to hold is computed again; the others stand. The key says everything the value depends
on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError


def key_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-able facts, whatever their order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class ScoreStore:
    """Values by key, in memory and in a file that only grows; without a path in memory only."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = Path(path) if path is not None else None
        self._values: dict[str, Any] = {}
        self.ignored = 0
        if self._path is None or not self._path.exists():
            return
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror}.") from error
        for line in data.split(b"\n"):
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            key, value = record["key"], record["value"]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.ignored += 1
            return
        if isinstance(key, str):
            self._values[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON-able value; on the disk before this returns."""
        self._values[key] = value
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "value": value}, allow_nan=False).encode() + b"\n"
        with self._path.open("ab+") as stream:
            if stream.tell():  # what a killed process left may end anywhere
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
