"""DFDC preview: ``dataset.json`` beside ``original_videos``, ``method_A`` and ``method_B``.

Every entry names a file and its ``label`` (real or fake), ``set`` (train or test), ``target_id`` (who was filmed) and
``swapped_id`` (whose face was put in, null for a real).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from stress.data.layouts.checking import checked_name, inside, read_json, regular, shown
from stress.data.layouts.clip import FAKE, REAL, Clip
from stress.data.layouts.source import Source

NAME = "dfdc-preview"
OPTIONS = frozenset({"split", "methods"})


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this."""
    inner = ("original_videos", "method_A", "method_B")
    return (folder / "dataset.json").is_file() and any((folder / name).is_dir() for name in inner)


def read(source: Source) -> list[Clip]:
    """All clips wanted that are on the disk; what the list names and the disk lacks is passed over.

    Raises:
        UserError: The list is damaged or points outside the folder, or nothing of what it lists is there.
    """
    if source.split == "val":
        raise UserError("The DFDC preview publishes no validation split.", "It has split=train and split=test.")
    path = source.path / "dataset.json"
    table = read_json(path)
    if not isinstance(table, dict):
        raise UserError(f"{path} is not a table of clips.")
    originals = {Path(name).stem for name, record in table.items() if _label(record) == REAL}
    clips = []
    for name, record in table.items():
        label = _label(record)
        if label is None:
            raise UserError(f"{path} is damaged: {shown(name)} is neither real nor fake.")
        method = checked_name(name, path).split("/")[0]
        place = _place(source.path, name, path)
        if label == FAKE and source.methods and method not in source.methods:
            continue
        if source.split not in (None, record.get("set")) or place is None:
            continue
        people = _people(record, label, name, path)
        clips.append(
            Clip(
                id=name.rsplit(".", 1)[0],
                path=place,
                label=label,
                people=people,
                source_clip=_source_clip(Path(name).stem, label, people, originals),
                method=method if label == FAKE else "real",
                dataset="DFDC-preview",
            )
        )
    if not clips:
        raise UserError(f"{source.path} holds none of the clips wanted that its dataset.json lists.")
    return clips


def _label(record: Any) -> int | None:
    return {"real": REAL, "fake": FAKE}.get(str(record.get("label")).lower()) if isinstance(record, dict) else None


def _place(root: Path, name: str, listed_in: Path) -> Path | None:
    """The file itself, under ``videos``, or its frames: where people unpack it to."""
    first, _, rest = name.partition("/")
    stem = rest.rsplit(".", 1)[0]
    for candidate in (name, f"{first}/videos/{rest}", f"{first}/frames/{stem.rsplit('/', 1)[-1]}"):
        path = inside(root, candidate, listed_in)
        if regular(path) or path.is_dir():
            return path
    return None


def _people(record: dict[str, Any], label: int, name: str, path: Path) -> tuple[str, ...]:
    keys = ("swapped_id", "target_id") if label == FAKE else ("target_id",)
    people = tuple(str(record.get(key) if record.get(key) is not None else "") for key in keys)
    if not all(people):
        raise UserError(f"{path} is damaged: {shown(name)} does not say {' and '.join(keys)}.")
    return tuple(checked_name(person, path) for person in people)


def _source_clip(stem: str, label: int, people: tuple[str, ...], originals: set[str]) -> str:
    """The original that a fake's name ends in, where there is one; else all clips of the target count as one."""
    if label == REAL:
        return stem
    rest = stem.partition("_")[2]
    return rest if rest in originals else people[-1]
