"""Which clips a data set holds, which of them are fake, and whose faces are in them.

Each published layout has a module; :func:`read_dataset` recognises them. No clip is opened, only lists and tables.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from types import ModuleType

from faceswap_hq.errors import UserError
from stress.data.layouts import (
    celeb_df,
    deeperforensics,
    deepfakebench,
    dfdc,
    dfdc_preview,
    faceforensics,
    folders,
    manifest,
)
from stress.data.layouts.checking import shown, shown_path
from stress.data.layouts.clip import FAKE, PICTURE_SUFFIXES, REAL, Clip, reals_of
from stress.data.layouts.manifest import MANIFEST, read_manifest
from stress.data.layouts.source import Source, parse_source

__all__ = [
    "FAKE",
    "LAYOUTS",
    "MANIFEST",
    "PICTURE_SUFFIXES",
    "REAL",
    "Clip",
    "Source",
    "is_manifest_folder",
    "layout_of",
    "parse_source",
    "people_note",
    "read_clips",
    "read_dataset",
    "read_manifest",
    "reals_of",
]

_PUBLISHED: dict[str, ModuleType] = {
    module.NAME: module
    for module in (manifest, faceforensics, celeb_df, dfdc, dfdc_preview, deeperforensics, deepfakebench)
}
LAYOUTS = (*_PUBLISHED, folders.NAME)
"""Names that ``layout=`` takes."""


def read_dataset(
    fakes_dir: str | Path | Source | None, reals_dir: str | Path | Source | None = None
) -> list[Clip]:
    """Read the clips of a data set, sorted by label and name.

    Args:
        fakes_dir: Where the fakes are: a data set in a layout of :data:`LAYOUTS`, which it recognises, or a folder of
            videos or pictures, whose clips are then all fakes. Options stand behind an @
            (``ff@split=test,compression=c23,methods=Deepfakes+FaceSwap``), see :class:`Source`. None reads reals only.
        reals_dir: Where the reals are, in any of the same layouts (of a data set only its reals are taken). Given, it
            replaces the reals that ``fakes_dir`` brings. None takes those.

    Returns:
        All clips wanted; both labels are present, except when one of the two folders was not asked for.

    Raises:
        UserError: A folder is missing or empty, fits two layouts, or is damaged; an option does not apply; a list
            names what is missing or lies outside its folder; or there are fakes and no reals.
    """
    clips: list[Clip] = []
    if fakes_dir is not None:
        source = parse_source(fakes_dir)
        clips += _both(source) if reals_dir is None else read_clips(source, FAKE)
    if reals_dir is not None:
        clips += read_clips(reals_dir, REAL)
    if fakes_dir is None and reals_dir is None:
        raise UserError("Neither a folder of fakes nor one of reals was given.")
    return sorted(clips, key=lambda clip: (clip.label, clip.dataset, clip.id))


def read_clips(folder: str | Path | Source, label: int) -> list[Clip]:
    """Read the clips of one label from a folder in any of the layouts :func:`read_dataset` knows.

    Raises:
        UserError: As :func:`read_dataset`.
    """
    source = parse_source(folder)
    layout = layout_of(source)
    if layout == folders.NAME:
        return folders.read_folder(folders.subfolder(source.path, label) or source.path, label, _name(source.path))
    clips = [clip for clip in _read(source, layout) if clip.label == label]
    if not clips:
        raise UserError(f"{source.path} holds no {'fakes' if label else 'reals'}.", _reals_hint(layout, label))
    return clips


def layout_of(source: str | Path | Source) -> str:
    """Name of the layout of a folder: the one asked for, or the one it is recognised as.

    Raises:
        UserError: It does not exist, fits two layouts, or an option does not apply to its layout.
    """
    source = parse_source(source)
    if source.layout == "auto":
        _check(source.path)
        found = [name for name, module in _PUBLISHED.items() if module.fits(source.path)]
        if len(found) > 1:
            raise UserError(
                f"{source.path} fits two layouts: {' and '.join(found[:2])}.",
                f"Say which: {source.path}@layout={found[0]}.",
            )
        layout = found[0] if found else folders.NAME
    elif source.layout in LAYOUTS:
        layout = source.layout
        _check(source.path)
    else:
        raise UserError(f"There is no layout {shown(source.layout)}.", f"Layouts: {', '.join(LAYOUTS)}.")
    if source.path.is_file() and layout != deepfakebench.NAME:
        raise UserError(f"{source.path} is a file; a folder of clips belongs here.")
    excess = sorted(source.asked - (_PUBLISHED[layout].OPTIONS if layout in _PUBLISHED else folders.OPTIONS))
    if excess:
        raise UserError(f"{source.path} is read as {layout}, which has no {excess[0]} to choose.")
    return layout


def is_manifest_folder(folder: str | Path) -> bool:
    """Whether the people of this folder's clips are known from a manifest rather than from file names."""
    return (parse_source(folder).path / MANIFEST).is_file()


def people_note(folder: str | Path | Source) -> str | None:
    """What to know about the identity keys of a data set before believing its folds; None where they are published."""
    source = parse_source(folder)
    layout = layout_of(source)
    path = source.path
    if path.is_dir() and ((path / folders.PEOPLE_TABLE).is_file() or any(path.glob(f"*/{folders.PEOPLE_TABLE}"))):
        return None
    if layout == folders.NAME:
        return (
            "there is no manifest.json, so people are taken from the file names. Name them in people.csv (file,person) "
            "if someone occurs under two names."
        )
    return getattr(_PUBLISHED[layout], "PEOPLE", None)


def _both(source: Source) -> list[Clip]:
    layout = layout_of(source)
    if layout == folders.NAME:
        reals = folders.subfolder(source.path, REAL)
        clips = read_clips(source, FAKE)
        if reals is None:
            raise UserError(
                f"There are no real clips: {source.path} has neither a {MANIFEST} nor a subfolder reals/.",
                "Name a folder of real clips of the same kind with --reals DIR.",
            )
        return clips + folders.read_folder(reals, REAL, _name(source.path))
    clips = _read(source, layout)
    for label in (FAKE, REAL):
        if not any(clip.label == label for clip in clips):
            what = "fakes" if label else "real clips"
            raise UserError(f"There are no {what} in {source.path}.", _reals_hint(layout, label))
    return clips


def _reals_hint(layout: str, label: int) -> str | None:
    if label == FAKE:
        return None
    module = _PUBLISHED[layout]
    return getattr(module, "REALS", "Name a folder of real clips of the same kind with --reals DIR.")


def _read(source: Source, layout: str) -> list[Clip]:
    clips: list[Clip] = _PUBLISHED[layout].read(source)
    counts = Counter((clip.dataset, clip.label, clip.id) for clip in clips)
    twice = next((name for (_, _, name), count in counts.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{source.path} holds two clips of the name {twice}.", "Remove or rename one of them.")
    if layout == manifest.NAME or not source.path.is_dir():
        return clips
    named = folders.people_table(source.path)
    where = {clip.path.relative_to(source.path).as_posix(): i for i, clip in enumerate(clips) if named}
    missing = sorted(set(named) - set(where))
    if missing:
        raise UserError(f"{source.path / folders.PEOPLE_TABLE} names {missing[0]}, which is missing or not wanted.")
    for name, people in named.items():
        clips[where[name]] = dataclasses.replace(clips[where[name]], people=people)
    return clips


def _check(path: Path) -> None:
    try:
        exists, usable = path.exists(), path.is_dir() or path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise UserError(f"{shown_path(path)} cannot be read: {error.strerror}.") from None
    if not exists:
        raise UserError(f"{shown_path(path)} does not exist.")
    if not usable:
        raise UserError(f"{shown_path(path)} is neither a folder nor a regular file.")


def _name(folder: Path) -> str:
    return folder.resolve().name
