"""What an experiment is run on: folders read, faces cut out, everything sorted into its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from faceswap_hq.console import progress
from faceswap_hq.errors import UserError
from stress.data.controls import read_controls
from stress.data.layouts import FAKE, Clip, parse_source, people_note, read_clips, read_dataset

if TYPE_CHECKING:
    from stress.data.crops import Crops, CropSettings, Excluded

_ORDER = re.compile(r"\d+[-_. ]+")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Faces, ready to be scored.

    Args:
        fakes: Of the stress fakes.
        reals: Of their reals.
        base: Of the detector's own kind of data, both labels.
        rungs: Blending stage -> faces of the fakes made with it, from crude to best.
        controls: Of the processed-real controls, where ``out/`` has any.
        excluded: Clips that could not be used.
    """

    fakes: Sequence[Crops]
    reals: Sequence[Crops]
    base: Sequence[Crops] = ()
    rungs: dict[str, Sequence[Crops]] = field(default_factory=dict)
    controls: Sequence[Crops] = ()
    excluded: Sequence[Excluded] = ()


def gather(
    card: CropSettings,
    fakes: Path,
    reals: Path | None = None,
    *,
    base: Path | None = None,
    ladder: Path | None = None,
    frames: int,
    warn: Callable[[str], None],
) -> Gathered:
    """Read folders and cut the faces out of their clips.

    Args:
        card: Size, margin and alignment of the crops.
        fakes: As for :func:`stress.data.layouts.read_dataset`.
        reals: Likewise.
        base: The detector's own kind of data, fakes and reals.
        ladder: Folder of folders of fakes, one a blending stage, ordered by name (``0-none``, ``1-mask``, ...).
        frames: To be looked at in each clip.
        warn: Told what the person should know.

    Raises:
        UserError: A folder cannot be used.
    """
    clips = read_dataset(fakes, reals)
    base_clips = read_dataset(base) if base is not None else []
    stages = read_ladder(ladder) if ladder is not None else {}
    for folder in (fakes, reals, base):
        warn_of_names(folder, [*clips, *base_clips], warn)
    used, excluded = cut(clips, card, frames, "faces", warn)
    base_used, base_excluded = cut(base_clips, card, frames, "faces of the base data", warn)
    rungs: dict[str, Sequence[Crops]] = {}
    for stage, items in stages.items():
        rungs[stage], left_out = cut(items, card, frames, f"faces of the ladder ({stage})", warn)
        excluded += left_out
    controls, left_out = cut(read_controls(parse_source(fakes).path), card, frames, "faces of the controls", warn)
    excluded += left_out
    return Gathered(
        fakes=[item for item in used if item.clip.label == FAKE],
        reals=[item for item in used if item.clip.label != FAKE],
        base=base_used,
        rungs=rungs,
        controls=controls,
        excluded=[*excluded, *base_excluded],
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

    with progress(f"cutting out {what}", len(clips), unit="clips") as advance:
        used, excluded = crop_clips(clips, card, frames, advance)
    for item in excluded[:5]:
        warn(f"left out {item.clip.path}: {item.reason}")
    if len(excluded) > 5:
        warn(f"left out {len(excluded) - 5} more clips; results.json lists them")
    return used, excluded


def warn_of_names(folder: Path | None, clips: Sequence[Clip], warn: Callable[[str], None]) -> None:
    """Say where the identity keys come from when they are not published: everything claimed later rests on them."""
    note = people_note(folder) if folder is not None else None
    if folder is None or note is None:
        return
    place = parse_source(folder).path
    people = {name for clip in clips if clip.path.is_relative_to(place) for name in clip.people}
    warn(f"{place} ({len(people)} people): {note}")
