"""What data from elsewhere may not do: bombs, names that break out of a folder or a line, things that are no files."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from stress.data.layouts.clip import PICTURE_SUFFIXES, VIDEO_SUFFIXES

MAX_LIST_BYTES = 64 * 2**20
MAX_JSON_BYTES = 512 * 2**20
MAX_JSON_VALUES = 20_000_000  # the metadata of all of DFDC has 0.4 million, its DeepfakeBench JSON 4 million
MAX_NAME_BYTES = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def shown(name: object) -> str:
    """A name from elsewhere for a message: on one line and not too long."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def checked_name(name: object, where: Path) -> str:
    """``name`` when it can stand in a table: text on one line, of a sane length, that UTF-8 can write.

    Raises:
        UserError: It cannot; ``where`` is named as the place it came from.
    """
    problem = ""
    if not isinstance(name, str) or not name:
        problem = "is not a name"
    elif _CONTROL.search(name):
        problem = "has control characters"
    else:
        try:
            if len(name.encode()) > MAX_NAME_BYTES:
                problem = f"is longer than {MAX_NAME_BYTES} bytes"
        except UnicodeEncodeError:
            problem = "is not UTF-8"
    if problem:
        raise UserError(f"{shown_path(where)}: the name {shown(name)} {problem}.", "Rename it, or leave it out.")
    return str(name)


def shown_path(path: Path) -> str:
    """A path for a message; as it is, unless it would break the line."""
    text = str(path)
    return shown(text) if _CONTROL.search(text) or len(text) > 500 or not text.isprintable() else text


def read_json(path: Path, limit: int = MAX_LIST_BYTES) -> Any:
    """Read JSON that a stranger may have written.

    Raises:
        UserError: Missing, not a regular file, larger than ``limit`` bytes or than memory can be expected to hold when
            it is unpacked, not UTF-8, not JSON, with NaN, infinity or one key twice.
    """
    data = read_limited(path, limit)
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise UserError(f"{path} holds more than {MAX_JSON_VALUES:,} values; that many are not read.")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as JSON: {_line(error)}.") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        UserError: Missing, not a regular file, too large, not UTF-8.
    """
    try:
        text = read_limited(path, MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; a :class:`UserError` for anything else."""
    if not path.exists():
        raise UserError(f"{path} is missing.")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file.")
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > limit:
        raise UserError(f"{path} is larger than {limit // 2**20} MiB, the most that is read.")
    return data


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def inside(root: Path, name: object, listed_in: Path) -> Path:
    """``root/name`` where that stays inside ``root``, symbolic links followed; it need not exist.

    Raises:
        UserError: It does not, or the name is none (:func:`checked_name`).
    """
    text = checked_name(name, listed_in)
    path = root / text
    try:
        kept = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, a part that is too long
        kept = False
    if not kept:
        raise UserError(f"{listed_in} points outside its folder: {shown(text)}.", "Such a file is not read.")
    return path


def regular(path: Path) -> bool:
    """Whether something is there and is a regular file.

    Raises:
        UserError: It is a pipe, a socket or a device, which would hang or flood whoever reads it.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"{shown_path(path)} cannot be read: {error.strerror}.") from error
    if stat.S_ISREG(mode):
        return True
    if stat.S_ISDIR(mode):
        return False
    raise UserError(
        f"{shown_path(path)} is not a regular file.", "A clip is a video, a picture or a folder of pictures."
    )


def entries(folder: Path) -> list[Path]:
    """What a folder holds, by name, without what is hidden.

    Raises:
        UserError: It cannot be listed, or holds a name that could not be written down.
    """
    try:
        found = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    except OSError as error:
        raise UserError(f"{shown_path(folder)} cannot be listed: {error.strerror}.") from error
    for item in found:
        checked_name(item.name, folder)
    return found


def folders(folder: Path) -> list[Path]:
    """Subfolders, by name; none when there is no such folder."""
    return [item for item in entries(folder) if item.is_dir()] if folder.is_dir() else []


def media(folder: Path) -> Iterator[Path]:
    """Clips directly inside a folder: videos, and subfolders with pictures. None when there is no such folder."""
    for item in entries(folder) if folder.is_dir() else ():
        video = item.suffix.lower() in VIDEO_SUFFIXES and regular(item)
        if video or (item.is_dir() and _has_pictures(item)):
            yield item


def first_media(*places: Path) -> list[Path]:
    """:func:`media` of the first of several folders that has any."""
    return next((found for place in places if (found := list(media(place)))), [])


def _has_pictures(folder: Path) -> bool:
    try:
        with os.scandir(folder) as found:
            return any(os.path.splitext(item.name)[1].lower() in PICTURE_SUFFIXES for item in found)
    except OSError as error:
        raise UserError(f"{shown_path(folder)} cannot be listed: {error.strerror}.") from error


def stem(path: Path) -> str:
    """Name of a clip: a video's without its suffix, a folder's as it is."""
    return path.name if path.is_dir() else path.stem


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorting key under which frame_10 comes after frame_9."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))
