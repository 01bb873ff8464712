"""Facesets on demand: a person may be a faceset, a video or a folder; extractions are cached by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from faceswap_hq import extract, files, places
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import SUFFIX, Faceset, is_faceset, read_faceset


def cached_path(source: Path, settings: extract.ExtractSettings) -> Path:
    """Where the faceset of a clip or folder is kept: the cache directory, under its name and a hash of its content."""
    made_from = extract.fingerprint(extract.sources_of(source), settings)
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    return places.cache_dir() / "facesets" / digest / f"{person_name(source)}{SUFFIX}"


def person_name(source: Path) -> str:
    """The person's name: the file's or folder's, without its ending, in letters, digits, dots, dashes, underscores."""
    resolved = source.resolve()
    stem = resolved.stem if resolved.is_file() else resolved.name.removesuffix(SUFFIX)
    return re.sub(r"[^\w.-]+", "_", stem).strip("._") or "person"


def members(cast: Path) -> list[Path]:
    """What a folder holds of each person of a cast, by name: facesets, videos, and folders of videos or pictures.

    Raises:
        UserError: If it is no folder, or holds a faceset itself or nothing of the kind.
    """
    if not cast.is_dir():
        raise UserError(f"{cast} is not a folder.", "Give a folder with a clip of each person.")
    if is_faceset(cast):
        raise UserError(f"{cast} is one person's faceset.", "Give the folder that it lies in.")
    found = [
        path
        for path in sorted(cast.iterdir())
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in extract.VIDEO_SUFFIXES)
    ]
    if not found:
        raise UserError(f"{cast} holds no videos, facesets or folders.", "Give a folder with a clip of each person.")
    return found


def open_person(
    source: Path, settings: extract.ExtractSettings | None = None, progress: Any = None
) -> tuple[Faceset, extract.Report | None]:
    """The faceset of a person, extracted if it is not there yet.

    Args:
        source: A faceset, a video, or a folder of videos or pictures.
        settings: How to extract.
        progress: Opens a progress display, see :func:`faceswap_hq.extract.extract`.

    Returns:
        The faceset, and the extraction's report if one was made now.
    """
    if is_faceset(source):
        return read_faceset(source), None
    settings = settings or extract.ExtractSettings()
    path = cached_path(source, settings)
    with files.lock_beside(path):
        if is_faceset(path):
            with contextlib.suppress(UserError):  # a damaged one is made anew: it is the cache's, not the user's
                return read_faceset(path), None
        report = extract.extract(source, path, settings, progress)
    return read_faceset(path), report
