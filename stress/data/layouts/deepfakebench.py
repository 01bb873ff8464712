"""DeepfakeBench's JSON: data set, label, split, (compression,) video: ``{"label": ..., "frames": [...]}``.

The frames are pictures it has cut out; their paths are relative to the folder of its data sets (``root``), written
with slashes of either kind. It lists some clips under several splits; they are read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from stress.data.layouts import names
from stress.data.layouts.checking import MAX_JSON_BYTES, checked_name, inside, natural, read_json, regular, shown
from stress.data.layouts.clip import FAKE, PICTURE_SUFFIXES, REAL, Clip
from stress.data.layouts.source import SPLITS, Source

NAME = "deepfakebench"
OPTIONS = frozenset({"split", "compression", "methods", "root"})
PEOPLE = (
    "DeepfakeBench does not list people: they are read from the names of FaceForensics++, DFD, Celeb-DF and "
    "DeeperForensics-1.0; any other clip counts as a person of its own."
)
_METHODS = {
    "FF-DF": "Deepfakes",
    "FF-F2F": "Face2Face",
    "FF-FS": "FaceSwap",
    "FF-NT": "NeuralTextures",
    "FF-FH": "FaceShifter",
}


def fits(path: Path) -> bool:
    """Whether it is a JSON file: there is no other layout in one file."""
    return path.is_file() and path.suffix.lower() == ".json"


def read(source: Source) -> list[Clip]:
    """All clips wanted.

    Raises:
        UserError: The JSON is damaged, has a label that is neither real nor fake, or points outside ``root``; several
            compressions and none chosen; nothing left.
    """
    path = source.path
    if not fits(path):
        raise UserError(f"{path} is not a JSON of DeepfakeBench.", "Name the file, not its folder.")
    table = read_json(path, MAX_JSON_BYTES)
    root = source.root or path.parent
    clips: dict[tuple[str, int, str], Clip] = {}
    levels: set[str] = set()
    for dataset, group, split, level, video, record in _records(table, path):
        if source.split not in (None, split) or source.compression not in (None, "all", level or None):
            continue
        label = _label(record["label"], path)
        method = _METHODS.get(group, group)
        if label == FAKE and source.methods and not {group, method} & set(source.methods):
            continue
        levels.add(level)
        name = "/".join(part for part in (method, level, video) if part)
        if (dataset, label, name) not in clips:
            folder, frames = _frames(record["frames"], root, path)
            found = names.guessed(video, label)
            clips[dataset, label, name] = Clip(
                id=name,
                path=folder,
                label=label,
                people=found.people,
                source_clip=found.source_clip,
                method=method if label == FAKE else "real",
                dataset=dataset,
                compression=level,
                frames=frames,
            )
    if len(levels) > 1 and source.compression is None:
        there = ", ".join(sorted(levels))
        raise UserError(f"{path} holds the compressions {there}.", f"Choose one, e.g. {path}@compression=c23.")
    if not clips:
        raise UserError(f"{path} lists no clips" + (" of the kind wanted." if source.asked else "."))
    return list(clips.values())


def _records(table: Any, path: Path) -> Iterator[tuple[str, str, str, str, str, dict[str, Any]]]:
    """Data set, label's group, split, compression (or ""), name and record of every video."""
    for dataset, groups in _items(table, path):
        for group, splits in _items(groups, path):
            for split, videos in _items(splits, path):
                if split not in SPLITS:
                    raise UserError(f"{path} is damaged: {shown(split)} stands where train, val or test belongs.")
                for video, record in _videos(videos, path):
                    if _is_video(record):
                        yield dataset, group, split, "", video, record
                    else:
                        for inner, deep in _videos(record, path):
                            if not _is_video(deep):
                                raise UserError(f"{path} is damaged: {shown(inner)} has no list of frames.")
                            yield dataset, group, split, video, inner, deep


def _videos(videos: Any, path: Path) -> Iterator[tuple[str, Any]]:
    if _is_video(videos):  # DFDC's val of DeepfakeBench is a single video without its name
        first = videos["frames"][0] if videos["frames"] else ""
        yield _parts(checked_name(first, path))[-2:][0], videos
    else:
        yield from _items(videos, path)


def _is_video(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("frames"), list) and isinstance(record.get("label"), str)


def _items(table: Any, path: Path) -> Iterator[tuple[str, Any]]:
    if not isinstance(table, dict):
        raise UserError(f"{path} is damaged: {shown(table)} stands where a table of videos belongs.")
    for key, value in table.items():
        yield checked_name(key, path), value


def _label(label: str, path: Path) -> int:
    """0 or 1: the polarity stands in the label's name (``FF-real``, ``DFDC_Fake``), except for FF-DF and the like."""
    words = label.lower()
    real, fake = "real" in words, "fake" in words or label in _METHODS
    if real == fake:
        raise UserError(f"{path}: the label {shown(label)} is neither real nor fake.")
    return FAKE if fake else REAL


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]


def _frames(listed: list[Any], root: Path, path: Path) -> tuple[Path, tuple[str, ...]]:
    """Folder and names of a video's frames, in the order of their numbers."""
    if not listed:
        raise UserError(f"{path} is damaged: a video has no frames.")
    folders, found = set(), []
    for name in listed:
        text = checked_name(name, path)
        inner = Path(text.replace("\\", "/"))
        folders.add(inner.parent)
        found.append(inner.name)
        if inner.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"{path} is damaged: {shown(text)} is not a picture.")
    if len(folders) > 1:
        raise UserError(f"{path} is damaged: the frames of one video lie in several folders ({shown(listed[0])}).")
    folder = inside(root, str(folders.pop()), path)
    found.sort(key=natural)
    for name in found:
        picture = folder / name
        if picture.is_symlink():
            inside(root, str(picture.absolute()), path)
        if not regular(picture):
            raise UserError(
                f"{path} names {shown(str(picture))}, which is missing.",
                f"Say where its data sets lie: {path}@root=DIR.",
            )
    return folder, tuple(found)
