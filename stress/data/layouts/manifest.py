"""Our own ``out/``: ``manifest.json`` beside ``fakes/`` and ``reals/``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from stress.data.layouts.checking import checked_name, inside, read_json, regular, shown
from stress.data.layouts.clip import FAKE, REAL, Clip
from stress.data.layouts.source import Source

NAME = "manifest"
OPTIONS: frozenset[str] = frozenset()
MANIFEST = "manifest.json"
MANIFEST_FORMAT = "faceswap-hq manifest"
MANIFEST_VERSION = 1


def fits(folder: Path) -> bool:
    """Whether a folder is laid out like this."""
    return (folder / MANIFEST).is_file()


def read(source: Source) -> list[Clip]:
    """See :func:`read_manifest`."""
    clips = read_manifest(source.path)
    if not clips:
        raise UserError(f"{source.path / MANIFEST} lists no clips.", "Render some first: faceswap-hq render VIDEO.")
    return clips


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
        raise UserError(f"{path} is damaged: its version is {shown(version)}.")
    if version > MANIFEST_VERSION:
        raise UserError(
            f"{path} has version {version}; this toolkit reads up to version {MANIFEST_VERSION}.",
            "Update the toolkit: pip install -U faceswap-hq.",
        )
    listed = manifest.get("entries")
    if not isinstance(listed, list):
        raise UserError(f"{path} is damaged: it has no list of entries.")
    clips: dict[tuple[int, str], Clip] = {}
    for number, entry in enumerate(listed):
        try:
            fake, real, stretch = _entry(entry, folder)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is damaged: entry {number} lacks or misstates {error}.") from None
        if (FAKE, fake.id) in clips:
            raise UserError(f"{path} is damaged: the id {shown(fake.id)} occurs twice.")
        one = clips.setdefault((REAL, stretch), real)  # one target stretch under many fakes is one real, not many
        clips[FAKE, fake.id] = replace(fake, matched=one.id)
    return list(clips.values())


def read_people(folder: Path) -> list[dict[str, Any]]:
    """Who is in a folder's manifest, as it says: ``person`` and, where it was stated, ``consent``; each once.

    Args:
        folder: One that :func:`read_manifest` can read, or one without a manifest, in which nobody is stated.
    """
    if not fits(folder):
        return []
    found: dict[str, dict[str, Any]] = {}
    for entry in read_json(folder / MANIFEST)["entries"]:
        for side in (entry["source"], entry["target"]):
            stated = {key: side[key] for key in ("person", "consent") if side.get(key) is not None}
            found[json.dumps(stated, sort_keys=True)] = stated
    return list(found.values())


def _entry(entry: dict[str, Any], folder: Path) -> tuple[Clip, Clip, str]:
    source, target = entry["source"], entry["target"]
    path = folder / MANIFEST
    people = (_text(source, "person", path), _text(target, "person", path))
    start, stop = (int(number) for number in entry["frames"])
    content = target.get("sha256") or target["clip"]
    source_clip = f"{people[1]}/{checked_name(str(target['clip']), path)}"
    name, dataset = _text(entry, "id", path), folder.resolve().name
    method = checked_name(str(entry.get("method") or (entry.get("model") or {}).get("run") or "faceswap-hq"), path)
    common: dict[str, Any] = {"id": name, "source_clip": source_clip, "dataset": dataset}
    mask = listed_file(folder, entry["mask"]) if entry.get("mask") is not None else None
    fake = Clip(path=listed_file(folder, entry["fake"]), label=FAKE, people=people, method=method, mask=mask, **common)
    real = Clip(path=listed_file(folder, entry["real"]), label=REAL, people=people[1:], method="real", **common)
    return fake, real, f"{content}:{start}:{stop}"


def _text(record: dict[str, Any], key: str, path: Path) -> str:
    value = record[key]
    if not isinstance(value, str) or not value:
        raise ValueError(key)
    return checked_name(value, path)


def listed_file(folder: Path, name: object) -> Path:
    """``folder/name``, which the manifest in ``folder`` names, symbolic links followed.

    Raises:
        UserError: It is no regular file inside ``folder``, or the name is none.
    """
    path = inside(folder, name, folder / MANIFEST)
    if not regular(path):
        raise UserError(
            f"{folder / MANIFEST} names {str(name)[:80]}, which is missing.", "Render it again or remove the entry."
        )
    return path
