"""Processed-real controls of our own ``out/``: clips of a third kind that go into no training and no test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faceswap_hq.errors import UserError
from faceswap_hq.files import read_json
from stress.data.layouts import MANIFEST, REAL, Clip, is_manifest_folder, read_manifest


def read_controls(folder: str | Path) -> list[Clip]:
    """The controls that a manifest names; none if there is no manifest or it names none.

    A control shows nobody but the target, so its label is real; its ``method`` is ``"control"``, its id that of the
    fake whose mask it was made with.

    Raises:
        UserError: The manifest cannot be read, or names a control that is missing or lies outside its folder.
    """
    folder = Path(folder)
    if not is_manifest_folder(folder):
        return []
    fakes = {clip.id: clip for clip in read_manifest(folder) if clip.label != REAL}
    found = []
    for entry in read_json(folder / MANIFEST)["entries"]:
        if entry.get("control") is None:
            continue
        fake = fakes[entry["id"]]
        found.append(
            Clip(
                id=fake.id, path=_inside(folder, entry["control"]), label=REAL, people=fake.people[1:],
                source_clip=fake.source_clip, method="control", dataset=fake.dataset,
            )
        )  # fmt: skip
    return found


def _inside(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or "\0" in name or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder / MANIFEST} points outside its folder: {name!r}.", "Such a manifest is not read.")
    if not (folder / name).is_file():
        raise UserError(f"{folder / MANIFEST} names {name}, which is missing.", "Render it again or remove the entry.")
    return folder / name
