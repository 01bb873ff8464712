"""Clips whose faces are cut out while they are looked at, so that a detector need not wait for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from faceswap_hq.errors import UserError
from stress.data.crops import DEFAULT_FRAMES, Crops, CropSettings, Excluded, stream_crops
from stress.data.layouts.clip import Clip

_NAMED = 5  # clips that could not be used are told one by one up to here


class StoredCrops(Crops):
    """A clip's faces that stay in the cache: pictures, landmarks and masks are read anew each time they are asked for.

    Args:
        item: The faces.
        read: Gives the same faces again.
    """

    _read: Callable[[], Crops]

    def __init__(self, item: Crops, read: Callable[[], Crops]) -> None:
        facts = {"clip": item.clip, "frames": item.frames, "missed": item.missed, "several": item.several}
        for name, value in (facts | {"_read": read}).items():
            object.__setattr__(self, name, value)

    @property
    def images(self) -> np.ndarray:  # type: ignore[override]
        """See :class:`Crops`."""
        return self._read().images

    @property
    def landmarks(self) -> np.ndarray | None:  # type: ignore[override]
        """See :class:`Crops`."""
        return self._read().landmarks

    @property
    def masks(self) -> np.ndarray | None:  # type: ignore[override]
        """See :class:`Crops`."""
        return self._read().masks


class Footage:
    """The faces of clips, for going over them any number of times.

    The first pass cuts them out in the background, a few clips ahead of whoever takes them
    (:func:`stress.data.crops.stream_crops`). Later ones yield the same clips in the same order. A pass that is left
    before its end counts for nothing.

    Args:
        clips: Clips to read.
        card: As for :func:`stress.data.crops.crop_clips`.
        frames_per_clip: Frames to take from each clip, spread over its whole length.
        keep: Keep all faces in memory, to be trained on; otherwise a few clips' are there at a time, and after the
            first pass each is a :class:`StoredCrops`.
        workers: See :func:`stress.data.crops.stream_crops`.
        faces: Whose faces, see there.
        warn: Told of clips that could not be used, at the end of the first pass.

    Attributes:
        clips: Those given.
        keep: Whether faces stay in memory.
        excluded: Those that could not be used; known after the first pass.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        card: CropSettings,
        frames_per_clip: int = DEFAULT_FRAMES,
        *,
        keep: bool = False,
        workers: int | None = None,
        faces: str = "followed",
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.clips = list(clips)
        self.excluded: list[Excluded] = []
        self._cut = partial(
            stream_crops, card=card, frames_per_clip=frames_per_clip, workers=workers, faces=faces
        )
        self.keep, self._warn = keep, warn
        self._usable: list[Crops] | None = None

    def __len__(self) -> int:
        """How many clips there are; after the first pass, how many of them are usable."""
        return len(self.clips if self._usable is None else self._usable)

    def __iter__(self) -> Iterator[Crops]:
        if self._usable is not None:
            yield from self._usable
            return
        usable: list[Crops] = []
        excluded: list[Excluded] = []
        with contextlib.closing(self._cut(self.clips)) as stream:
            for item in stream:
                if isinstance(item, Excluded):
                    excluded.append(item)
                    continue
                usable.append(item if self.keep else StoredCrops(item, partial(self._again, item.clip)))
                yield item
        self._usable, self.excluded = usable, excluded
        warn_of_excluded(excluded, self._warn)

    def _again(self, clip: Clip) -> Crops:
        (item,) = self._cut([clip], workers=1)
        if isinstance(item, Excluded):
            raise UserError(item.reason, "It was there when the clips were scored; run it again.")
        return item


Faces = Sequence[Crops] | Footage
"""Faces of clips: cut out before, or while they are looked at."""


def clips_of(faces: Faces) -> list[Clip]:
    """The clips, whether they can be used or not."""
    return faces.clips if isinstance(faces, Footage) else [item.clip for item in faces]


def excluded_of(*groups: Faces) -> list[Excluded]:
    """Clips of footage that was gone over and that could not be used."""
    return [item for faces in groups if isinstance(faces, Footage) for item in faces.excluded]


def warn_of_excluded(excluded: Sequence[Excluded], warn: Callable[[str], None]) -> None:
    """Name the first clips that could not be used, and say how many more there are."""
    for item in excluded[:_NAMED]:
        warn(f"left out {item.clip.path}: {item.reason}")
    if len(excluded) > _NAMED:
        warn(f"left out {len(excluded) - _NAMED} more clips; results.json lists them")
