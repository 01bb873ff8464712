"""Plain folders: one of reals and one of fakes, or a folder of clips of one kind."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from faceswap_hq.errors import UserError
from stress.data.layouts import names
from stress.data.layouts.checking import checked_name, read_lines, regular, shown, stem
from stress.data.layouts.clip import FAKE, PICTURE_SUFFIXES, REAL, VIDEO_SUFFIXES, Clip

NAME = "folders"
OPTIONS: frozenset[str] = frozenset()
PEOPLE_TABLE = "people.csv"
_SUBFOLDERS = {REAL: ("reals", "real"), FAKE: ("fakes", "fake")}


def subfolder(folder: Path, label: int) -> Path | None:
    """The subfolder of one label, when the folder has one for each."""
    found = {}
    for key, candidates in _SUBFOLDERS.items():
        found[key] = next((folder / name for name in candidates if (folder / name).is_dir()), None)
    return found[label] if all(found.values()) else None


def read_folder(folder: Path, label: int, dataset: str) -> list[Clip]:
    """Clips of a folder; people come from published schemes of names, or the names themselves, or ``people.csv``.

    Raises:
        UserError: There are none, or two of one name, or people.csv is damaged or names a clip that is missing.
    """
    named = people_table(folder)
    clips = []
    for path in _media(folder):
        relative = path.relative_to(folder).as_posix()
        people, source_clip = names.guessed(stem(path), label)
        if relative in named:
            people = named[relative]
            source_clip = source_clip if label == FAKE else stem(path)
        clips.append(
            Clip(
                id=relative.rsplit(".", 1)[0] if path.is_file() else relative,
                path=path,
                label=label,
                people=people,
                source_clip=source_clip,
                method="real" if label == REAL else dataset,
                dataset=dataset,
            )
        )
    if not clips:
        kinds = " ".join(sorted(VIDEO_SUFFIXES | PICTURE_SUFFIXES))
        raise UserError(f"{folder} holds no clips ({kinds}).")
    missing = sorted(set(named) - {clip.path.relative_to(folder).as_posix() for clip in clips})
    if missing:
        raise UserError(f"{folder / PEOPLE_TABLE} names {missing[0]}, which is missing.")
    twice = next((name for name, count in Counter(clip.id for clip in clips).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{folder} holds two clips of the name {twice}, of different kinds.", "Rename one of them.")
    return clips


def _media(folder: Path) -> Iterator[Path]:
    """Videos anywhere below, pictures directly inside, and subfolders of pictures (each one clip), by name."""
    found: set[Path] = set()
    for place, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith(".") or suffix not in VIDEO_SUFFIXES | PICTURE_SUFFIXES:
                continue
            path = Path(place) / checked_name(name, Path(place))
            checked_name(path.relative_to(folder).as_posix(), folder)
            if regular(path):
                found.add(path.parent if suffix in PICTURE_SUFFIXES and path.parent != folder else path)
    return iter(sorted(found))


def people_table(folder: Path) -> dict[str, tuple[str, ...]]:
    """``people.csv``: columns ``file`` (relative to the folder) and ``person`` (``source|target`` for a fake).

    Raises:
        UserError: It is damaged, too large, or not a regular file.
    """
    path = folder / PEOPLE_TABLE
    if not path.exists():
        return {}
    try:
        rows = list(csv.DictReader(read_lines(path)))
    except csv.Error as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    table = {}
    for number, row in enumerate(rows, start=2):
        file, person = (row.get("file") or "").strip(), (row.get("person") or "").strip()
        people = tuple(part.strip() for part in person.split("|"))
        if not file or not all(people):
            raise UserError(f"{path}, line {number}: a row needs the columns file and person.")
        table[file] = tuple(checked_name(name, path) for name in people)
        if len(file) > 4096:
            raise UserError(f"{path}, line {number}: {shown(file)} is not the name of a clip.")
    return table
