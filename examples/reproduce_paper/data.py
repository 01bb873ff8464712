"""The clips of every set, and their faces, cut out once for all detectors that want them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceswap_hq.console import warn
from faceswap_hq.errors import UserError
from reproduce_paper.plan import Swap
from stress.data.controls import read_controls
from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL, Clip, read_dataset, read_manifest
from stress.gather import cut

REALS, EXTERNAL, CONTROLS = "reals", "external", "controls"


def read_clips(
    good: Path, sets: Mapping[str, Path], swaps: Sequence[Swap], test: Sequence[Swap], external: Path | None
) -> dict[str, list[Clip]]:
    """Name of a group ► its clips.

    The matched reals of the good fakes serve all sets, since these show the same frames; each counts once, whether its
    fakes were accepted or rejected.

    Args:
        good: The curation.
        sets: Name ► folder of further fakes of the same swaps.
        swaps: Good fakes that are used.
        test: Those that are tested; only their controls are looked at.
        external: Another team's fakes and reals.
    """
    folders = [good] + ([good / "rejected"] if (good / "rejected" / "manifest.json").is_file() else [])
    used, asked = ({swap.entry["id"] for swap in part} for part in (swaps, test))
    every = [clip for folder in folders for clip in read_manifest(folder)]
    reals: dict[str, Clip] = {}
    for clip in every:
        if clip.label == REAL:
            reals.setdefault(clip.source_clip, clip)
    found = {REALS: list(reals.values()), "good": [clip for clip in every if clip.label == FAKE and clip.id in used]}
    found |= {name: [clip for clip in read_manifest(folder) if clip.label == FAKE] for name, folder in sets.items()}
    found[CONTROLS] = [clip for folder in folders for clip in read_controls(folder) if clip.id in asked]
    if external is not None:
        found[EXTERNAL] = read_dataset(external)
    return found


def within(items: Sequence[Crops], people: frozenset[str]) -> list[Crops]:
    """The clips that show nobody else."""
    return [item for item in items if people.issuperset(item.clip.people)]


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Faces of all groups as a detector's card asks for them.

    Args:
        clips: Name of a group ► clips.
        frames: Of each clip.
        excluded: Gets the clips that could not be used.
        known: What is cut out already.
    """

    clips: Mapping[str, Sequence[Clip]]
    frames: int
    excluded: list[dict[str, str]] = field(default_factory=list)
    known: dict[tuple[Any, ...], dict[str, list[Crops]]] = field(default_factory=dict)

    def of(self, card: Any) -> dict[str, list[Crops]]:
        """Name of a group ► faces.

        Raises:
            UserError: If no clip of the good, the crude or the reals can be used.
        """
        key = (card.input_size, card.crop_margin, card.alignment)
        if key not in self.known:
            found = {}
            for name, clips in self.clips.items():
                found[name], excluded = cut(clips, card, self.frames, f"faces of {name}", warn)
                reasons = [{"what": f"{name}: {item.clip.id}", "reason": item.reason} for item in excluded]
                self.excluded.extend(row for row in reasons if row not in self.excluded)
            for name in (REALS, "good", "crude"):
                if not found[name]:
                    raise UserError(f"No face was found in any clip of {name}.")
            self.known[key] = found
        return self.known[key]
