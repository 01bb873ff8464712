"""What an experiment is run on: folders read, everything sorted into its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from faceswap_hq.console import progress
from faceswap_hq.errors import UserError
from stress.data.controls import read_controls
from stress.data.layouts import FAKE, Clip, parse_source, people_note, read_clips, read_dataset

if TYPE_CHECKING:
    from stress.data.crops import Crops, CropSettings, Excluded
    from stress.data.footage import Faces

_ORDER = re.compile(r"\d+[-_. ]+")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Faces, cut out while they are scored.

    Args:
        fakes: Of the stress fakes.
        reals: Of their reals.
        base: Of the detector's own kind of data, both labels.
        rungs: Blending stage -> faces of the fakes made with it, from crude to best.
        controls: Of the processed-real controls, where ``out/`` has any.
    """

    fakes: Faces
    reals: Faces
    base: Faces = ()
    rungs: dict[str, Faces] = field(default_factory=dict)
    controls: Faces = ()


def gather(
    card: CropSettings,
    fakes: Path,
    reals: Path | None = None,
    *,
    base: Path | None = None,
    ladder: Path | None = None,
    frames: int,
    keep: bool,
    warn: Callable[[str], None],
) -> Gathered:
    """Read folders; faces are cut out of their clips by whoever goes over them first.

    Args:
        card: Size, margin and alignment of the crops.
        fakes: As for :func:`stress.data.layouts.read_dataset`.
        reals: Likewise.
        base: The detector's own kind of data, fakes and reals.
        ladder: Folder of folders of fakes, one a blending stage, ordered by name (``0-none``, ``1-mask``, ...).
        frames: To be looked at in each clip.
        keep: Keep the faces in memory, to be trained on; see :class:`stress.data.footage.Footage`.
        warn: Told what the person should know.

    Raises:
        UserError: A folder cannot be used.
    """
    from stress.data.footage import Footage

    clips = read_dataset(fakes, reals)
    base_clips = read_dataset(base) if base is not None else []
    stages = read_ladder(ladder) if ladder is not None else {}
    for folder in (fakes, reals, base):
        warn_of_names(folder, [*clips, *base_clips], warn)
    faces = partial(Footage, card=card, frames_per_clip=frames, keep=keep, warn=warn)
    return Gathered(
        fakes=faces([clip for clip in clips if clip.label == FAKE]),
        reals=faces([clip for clip in clips if clip.label != FAKE]),
        base=faces(base_clips),
        rungs={stage: faces(items) for stage, items in stages.items()},
        controls=faces(read_controls(parse_source(fakes).path)),
    )


def read_ladder(folder: Path) -> dict[str, list[Clip]]:
    """Fakes of every rung: blending stage -> clips, in the order of the folders' names.

    Raises:
        UserError: There are fewer than two rungs, or one cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of rungs.", "faceswap-hq render VIDEO --ladder makes one.")
    inside = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    if len(inside) < 2:
        raise UserError(
            f"{folder} holds {len(inside)} folders; a ladder has one for each of several blending stages.",
            "faceswap-hq render VIDEO --ladder makes one.",
        )
    return {_ORDER.sub("", item.name, count=1): read_clips(item, FAKE) for item in inside}


def cut(
    clips: Sequence[Clip], card: CropSettings, frames: int, what: str, warn: Callable[[str], None]
) -> tuple[list[Crops], list[Excluded]]:
    """Cut the faces out, with progress; the first clips that could not be used are named."""
    if not clips:
        return [], []
    from stress.data.crops import crop_clips
    from stress.data.footage import warn_of_excluded

    with progress(f"cutting out {what}", len(clips), unit="clips") as advance:
        used, excluded = crop_clips(clips, card, frames, advance)
    warn_of_excluded(excluded, warn)
    return used, excluded


def warn_of_names(folder: Path | None, clips: Sequence[Clip], warn: Callable[[str], None]) -> None:
    """Say where the identity keys come from when they are not published: everything claimed later rests on them."""
    note = people_note(folder) if folder is not None else None
    if folder is None or note is None:
        return
    place = parse_source(folder).path
    people = {name for clip in clips if clip.path.is_relative_to(place) for name in clip.people}
    warn(f"{place} ({len(people)} people): {note}")
