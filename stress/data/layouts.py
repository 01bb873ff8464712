"""Which clips a folder holds, which of them are fake, and whose faces are in them.

Three layouts are read: our own ``out/`` (``manifest.json`` beside ``fakes/`` and ``reals/``), a folder with one
subfolder of reals and one of fakes, and a plain folder of videos or pictures. Nothing is opened but the manifest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from faceswap_hq.files import read_json

MANIFEST = "manifest.json"
MANIFEST_FORMAT = "faceswap-hq manifest"
MANIFEST_VERSION = 1
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
FAKE, REAL = 1, 0

_TARGET_SOURCE = re.compile(r"(\d{1,6})_(\d{1,6})")  # FaceForensics++: 000_003 shows person 003's face on clip 000
_SUBFOLDERS = {REAL: ("reals", "real"), FAKE: ("fakes", "fake")}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video, picture, or folder of pictures, with its label and the people whose faces it carries.

    Args:
        id: Name of the clip, unique within its data set and label.
        path: A video, a picture, or a folder whose pictures are the frames in the order of their names.
        label: 1 = fake, 0 = real.
        people: Identity keys: a fake's source person and target person, a real's own person.
        source_clip: Key of the underlying target clip; a fake and its matched real share it.
        method: How the fake was made (``"real"`` for a real).
        dataset: Name of the data set.
    """

    id: str
    path: Path
    label: int
    people: tuple[str, ...]
    source_clip: str
    method: str
    dataset: str

    def __post_init__(self) -> None:
        if self.label not in (FAKE, REAL):
            raise ValueError(f"label is 0 (real) or 1 (fake), not {self.label!r}")
        if not self.people or not all(self.people):
            raise ValueError(f"clip {self.id!r} names no person")


def read_dataset(fakes_dir: str | Path | None, reals_dir: str | Path | None = None) -> list[Clip]:
    """Read the clips of a data set, sorted by label and name.

    Args:
        fakes_dir: Where the fakes are: our ``out/`` (its manifest names the matched reals too), a folder with
            subfolders ``fakes/`` and ``reals/`` (or ``fake/`` and ``real/``), or a plain folder, whose clips are then
            all fakes. None reads reals only.
        reals_dir: Where the reals are, in any of the same layouts (of an ``out/`` only its reals are taken). Given,
            it replaces the reals that ``fakes_dir`` brings. None takes those.

    Returns:
        All clips; both labels are present, except when one of the two folders was not asked for.

    Raises:
        UserError: A folder is missing or empty, the manifest is damaged or of a newer version or names a missing file
            or one outside its folder, or there are fakes and no reals.
    """
    fakes = read_clips(fakes_dir, FAKE) if fakes_dir is not None else []
    if reals_dir is not None:
        reals = read_clips(reals_dir, REAL)
    elif fakes_dir is not None:
        reals = _accompanying_reals(Path(fakes_dir))
    else:
        raise UserError("Neither a folder of fakes nor one of reals was given.")
    return sorted(fakes + reals, key=lambda clip: (clip.label, clip.id))


def read_clips(folder: str | Path, label: int) -> list[Clip]:
    """Read the clips of one label from a folder in any of the layouts :func:`read_dataset` knows.

    Raises:
        UserError: As :func:`read_dataset`.
    """
    folder = Path(folder)
    _check_folder(folder)
    dataset = folder.resolve().name
    if (folder / MANIFEST).is_file():
        clips = [clip for clip in read_manifest(folder) if clip.label == label]
        if not clips:
            raise UserError(f"{folder / MANIFEST} lists no clips.", "Render some first: faceswap-hq render VIDEO.")
        return clips
    inner = _subfolder(folder, label)
    return _plain(inner or folder, label, dataset)


def is_manifest_folder(folder: str | Path) -> bool:
    """Whether the people of this folder's clips are known from a manifest rather than from file names."""
    return (Path(folder) / MANIFEST).is_file()


def _accompanying_reals(folder: Path) -> list[Clip]:
    if (folder / MANIFEST).is_file():
        return [clip for clip in read_manifest(folder) if clip.label == REAL]
    inner = _subfolder(folder, REAL)
    if inner is None:
        raise UserError(
            f"There are no real clips: {folder} has neither a {MANIFEST} nor a subfolder reals/.",
            "Name a folder of real clips of the same kind with --reals DIR.",
        )
    return _plain(inner, REAL, folder.resolve().name)


def _subfolder(folder: Path, label: int) -> Path | None:
    """The subfolder of one label, when the folder has one for each."""
    found = {}
    for key, names in _SUBFOLDERS.items():
        found[key] = next((folder / name for name in names if (folder / name).is_dir()), None)
    return found[label] if all(found.values()) else None


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise UserError(f"{folder} does not exist.")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a folder of clips belongs here.")


# ------------------------------------------------------------------------------------------------------ manifest


def read_manifest(folder: Path) -> list[Clip]:
    """Read ``folder/manifest.json``: every fake and, once for each stretch of a target clip, its matched real.

    Raises:
        UserError: The manifest is damaged, of a newer version, or names a missing file or one outside ``folder``.
    """
    path = folder / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        raise UserError(f"{path} is not a {MANIFEST_FORMAT}.")
    version = manifest.get("version")
    if not isinstance(version, int) or version < 1:
        raise UserError(f"{path} is damaged: its version is {version!r}.")
    if version > MANIFEST_VERSION:
        raise UserError(
            f"{path} has version {version}; this toolkit reads up to version {MANIFEST_VERSION}.",
            "Update the toolkit: pip install -U faceswap-hq.",
        )
    entries = manifest.get("entries")
    if not isinstance(entries, list):
        raise UserError(f"{path} is damaged: it has no list of entries.")
    clips: dict[tuple[int, str], Clip] = {}
    for number, entry in enumerate(entries):
        try:
            fake, real, stretch = _entry(entry, folder)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged: entry {number} lacks or misstates {error}.") from None
        if (FAKE, fake.id) in clips:
            raise UserError(f"{path} is damaged: the id {fake.id!r} occurs twice.")
        clips[FAKE, fake.id] = fake
        clips.setdefault((REAL, stretch), real)  # one target stretch under many fakes is one real, not many
    return list(clips.values())


def _entry(entry: dict[str, Any], folder: Path) -> tuple[Clip, Clip, str]:
    source, target = entry["source"], entry["target"]
    people = (_text(source, "person"), _text(target, "person"))
    start, stop = (int(number) for number in entry["frames"])
    content = target.get("sha256") or target["clip"]
    source_clip = f"{people[1]}/{target['clip']}"
    name, dataset = _text(entry, "id"), folder.resolve().name
    method = str(entry.get("method") or (entry.get("model") or {}).get("run") or "faceswap-hq")
    common: dict[str, Any] = {"id": name, "source_clip": source_clip, "dataset": dataset}
    fake = Clip(path=_inside(folder, entry["fake"]), label=FAKE, people=people, method=method, **common)
    real = Clip(path=_inside(folder, entry["real"]), label=REAL, people=people[1:], method="real", **common)
    return fake, real, f"{content}:{start}:{stop}"


def _text(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str) or not value:
        raise ValueError(key)
    return value


def _inside(folder: Path, name: object) -> Path:
    """``folder/name`` when that is an existing file inside ``folder`` (symbolic links followed)."""
    if not isinstance(name, str):
        raise TypeError("a file name")
    path, root = (folder / name).resolve(), folder.resolve()
    if not path.is_relative_to(root):
        raise UserError(f"{folder / MANIFEST} points outside its folder: {name!r}.", "Such a manifest is not read.")
    if not path.is_file():
        raise UserError(f"{folder / MANIFEST} names {name}, which is missing.", "Render it again or remove the entry.")
    return folder / name


# --------------------------------------------------------------------------------------------------- plain folders


def _plain(folder: Path, label: int, dataset: str) -> list[Clip]:
    """Clips of a folder without a manifest; people come from file names or ``people.csv``."""
    named = _people_table(folder)
    clips = []
    for path in _media(folder):
        relative = path.relative_to(folder).as_posix()
        stem = path.stem if path.is_file() else path.name
        people, source_clip = _people_of(stem, label)
        if relative in named:
            people = named[relative]
            source_clip = source_clip if label == FAKE else stem
        method = "real" if label == REAL else dataset
        clips.append(
            Clip(
                id=relative.rsplit(".", 1)[0] if path.is_file() else relative,
                path=path,
                label=label,
                people=people,
                source_clip=source_clip,
                method=method,
                dataset=dataset,
            )
        )
    if not clips:
        kinds = " ".join(sorted(VIDEO_SUFFIXES | PICTURE_SUFFIXES))
        raise UserError(f"{folder} holds no clips ({kinds}).")
    missing = sorted(set(named) - {clip.path.relative_to(folder).as_posix() for clip in clips})
    if missing:
        raise UserError(f"{folder / 'people.csv'} names {missing[0]}, which is missing.")
    counts: dict[str, int] = {}
    for clip in clips:
        counts[clip.id] = counts.get(clip.id, 0) + 1
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{folder} holds two clips of the name {twice}, of different kinds.", "Rename one of them.")
    return clips


def _people_of(stem: str, label: int) -> tuple[tuple[str, ...], str]:
    match = _TARGET_SOURCE.fullmatch(stem)
    if label == FAKE and match:
        target, source = match.groups()
        return (source, target), target
    return (stem,), stem


def _media(folder: Path) -> Iterator[Path]:
    """Videos anywhere below, pictures directly inside, and subfolders of pictures (each one clip), by name."""
    picture_folders = set()
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES or (suffix in PICTURE_SUFFIXES and path.parent == folder):
            yield path
        elif suffix in PICTURE_SUFFIXES and path.parent not in picture_folders:
            picture_folders.add(path.parent)
            yield path.parent


def _people_table(folder: Path) -> dict[str, tuple[str, ...]]:
    """``people.csv``: columns ``file`` (relative to the folder) and ``person`` (``source|target`` for a fake)."""
    path = folder / "people.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    table = {}
    for number, row in enumerate(rows, start=2):
        file, person = (row.get("file") or "").strip(), (row.get("person") or "").strip()
        people = tuple(part.strip() for part in person.split("|"))
        if not file or not all(people):
            raise UserError(f"{path}, line {number}: a row needs the columns file and person.")
        table[file] = people
    return table
