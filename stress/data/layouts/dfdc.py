"""DFDC: folders of videos, each with its table.

That is a ``metadata.json`` (``label`` FAKE or REAL, ``split``, ``original``) or, for the test set, a ``labels.csv``
(``filename,label``, 1 = fake).

Who is in a clip is not published: a fake shares a key with its original, and that is all that is known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from stress.data.layouts.checking import checked_name, first_media, folders, read_json, read_lines, shown, stem
from stress.data.layouts.clip import FAKE, REAL, VIDEO_SUFFIXES, Clip
from stress.data.layouts.source import Source

NAME = "dfdc"
OPTIONS = frozenset({"split"})
PEOPLE = (
    "DFDC does not publish who is in a clip: an original and its fakes share a key, but one actor in two originals "
    "counts as two people, so folds and intervals may be too good."
)
_TABLES = ("metadata.json", "labels.csv")
_MAX_PARTS = 200


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this; a metadata.json of some other kind does not count."""
    for path in _tables(folder):
        if path.name == "labels.csv":
            if "".join(read_lines(path)[:1]).replace(" ", "") == "filename,label":
                return True
            continue
        table = read_json(path)
        first = next(iter(table.values()), None) if isinstance(table, dict) else None
        if isinstance(first, dict) and ("is_fake" in first or str(first.get("label")) in ("FAKE", "REAL")):
            return True
    return False


def _tables(folder: Path) -> list[Path]:
    """Tables in a folder or up to three levels below: train, its parts, and the folder that an archive unpacks into."""
    level, found = [folder], []
    for _ in range(4):
        found += [place / name for place in level for name in _TABLES if (place / name).is_file()]
        if found or len(level) > _MAX_PARTS:  # a large tree is not searched: it is something else
            break
        level = [inner for place in level for inner in folders(place)]
    return found


def read(source: Source) -> list[Clip]:
    """All clips wanted that are on the disk; what a table lists and the disk lacks is passed over.

    Raises:
        UserError: A table is damaged, or nothing of what the tables list is there.
    """
    clips: dict[tuple[int, str], Clip] = {}
    for table in _tables(source.path):
        there = _there(table.parent)
        for name, label, split, original in _rows(table):
            if name in there and source.split in (None, split):
                key = original or name
                clip = Clip(
                    id=name,
                    path=there[name],
                    label=label,
                    people=(key,),
                    source_clip=key,
                    method="DFDC" if label == FAKE else "real",
                    dataset="DFDC",
                )
                if clips.setdefault((label, name), clip) is not clip:
                    raise UserError(f"{source.path} holds two clips of the name {shown(name)}.", "Remove one of them.")
    if not clips:
        what = f" of the split {source.split}" if source.split else ""
        raise UserError(f"{source.path} holds none of the clips{what} that its tables list.")
    return list(clips.values())


def _there(folder: Path) -> dict[str, Path]:
    return {stem(path): path for path in first_media(folder, folder / "videos", folder / "frames")}


def _rows(path: Path) -> Iterator[tuple[str, int, str, str]]:
    """Name, label, split and original (or "") of every clip that a table lists."""
    if path.name == "labels.csv":
        for number, row in enumerate(csv.DictReader(read_lines(path)), start=2):
            label = {"0": REAL, "1": FAKE}.get((row.get("label") or "").strip())
            if label is None:
                raise UserError(f"{path}, line {number}: the label is 0 (real) or 1 (fake).")
            yield _stem(row.get("filename"), path), label, "test", ""
        return
    table = read_json(path)
    if not isinstance(table, dict):
        raise UserError(f"{path} is not a table of clips.")
    for name, record in table.items():
        label = _label(record)
        if label is None:
            raise UserError(f"{path} is damaged: {shown(name)} is neither FAKE nor REAL.")
        original = record.get("original") if label == FAKE else None
        yield _stem(name, path), label, str(record.get("split", "")), _stem(original, path) if original else ""


def _label(record: Any) -> int | None:
    if not isinstance(record, dict):
        return None
    if "is_fake" in record:
        return {0: REAL, 1: FAKE}.get(record["is_fake"]) if isinstance(record["is_fake"], int) else None
    return {"REAL": REAL, "FAKE": FAKE}.get(str(record.get("label")))


def _stem(name: object, path: Path) -> str:
    text = checked_name(name, path)
    if "/" in text or "\\" in text or text.startswith("."):
        raise UserError(f"{path} points outside its folder: {shown(text)}.", "Such a file is not read.")
    base, dot, suffix = text.rpartition(".")
    return base if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES else text
