"""Processed-real controls of our own ``out/``: clips of a third kind that go into no training and no test."""

from __future__ import annotations

from pathlib import Path

from stress.data.layouts import MANIFEST, REAL, Clip, is_manifest_folder, read_manifest
from stress.data.layouts.checking import read_json
from stress.data.layouts.manifest import listed_file


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
                id=fake.id, path=listed_file(folder, entry["control"]), label=REAL, people=fake.people[1:],
                source_clip=fake.source_clip, method="control", dataset=fake.dataset,
            )
        )  # fmt: skip
    return found
