"""One clip of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
FAKE, REAL = 1, 0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video, picture, or folder of pictures, with its label and the people whose faces it carries.

    Args:
        id: Name of the clip, unique within its data set and label. Published data sets hold clips of one name under
            several methods and compressions, so theirs is ``method/compression/name``.
        path: A video, a picture, or a folder whose pictures are the frames in the order of their names.
        label: 1 = fake, 0 = real.
        people: Identity keys: a fake's source person and target person, a real's own person.
        source_clip: Key of the underlying target clip; a fake and its matched real share it.
        method: How the fake was made (``"real"`` for a real).
        dataset: Name of the data set.
        compression: As the data set names it (``"c23"``), or ``""``.
        frames: Names of the pictures inside ``path`` that are the clip's frames, in order; empty for all of them.
        mask: Archive of a fake's exact masks (:mod:`stress.data.masks`), where they are known.
        matched: Id of the real that a fake was made from, where the data set says so; "" elsewhere.
    """

    id: str
    path: Path
    label: int
    people: tuple[str, ...]
    source_clip: str
    method: str
    dataset: str
    compression: str = ""
    frames: tuple[str, ...] = ()
    mask: Path | None = None
    matched: str = ""

    def __post_init__(self) -> None:
        if self.label not in (FAKE, REAL):
            raise ValueError(f"label is 0 (real) or 1 (fake), not {self.label!r}")
        if not self.people or not all(self.people):
            raise ValueError(f"clip {self.id!r} names no person")
