"""Batches with as many reals as fakes, often a fake beside the very frame it was made from, and old data among new."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stress.data.crops import Crops
from stress.data.layouts import FAKE, reals_of

Region = Callable[[np.ndarray | None, int], np.ndarray]
"""From a crop's landmarks, where they are known, and its side S to a part of it: (S, S) float32 in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Faces that are trained on together.

    Args:
        images: (n, S, S, 3) uint8 RGB.
        labels: (n,) float32, 1 = fake.
        masks: (n, S, S) float32 in [0, 1], where each picture is forged; NaN all over where that is not known. None
            where nobody asked.
        regions: (n, S, S) float32 in [0, 1], a part of each face that a recipe has asked for; None where none has.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    regions: np.ndarray | None = None

    def central(self, size: int) -> Batch:
        """The batch with the central ``size`` pixels of its pictures, masks and regions; see :func:`central`."""
        masks, regions = (None if each is None else central(each, size) for each in (self.masks, self.regions))
        return Batch(images=central(self.images, size), labels=self.labels, masks=masks, regions=regions)


def central(images: np.ndarray, size: int) -> np.ndarray:
    """The middle of pictures that were cut out wider than a detector wants them.

    Args:
        images: (n, S, S, ...).
        size: Side of what is wanted, in pixels; pictures that are no larger are given back whole.
    """
    start = max(0, images.shape[1] - size) // 2
    return images[:, start : start + size, start : start + size]


class BalancedBatches:
    """Draws batches that are half real and half fake.

    Clips take turns in random order within their class, so that a long list of fakes does not drown a short list of
    reals. Every other real is the matched one of the fake beside it (the same frame where both have it), which leaves
    the network nothing to go by but the forgery; the other ones make sure that every real is seen.

    Args:
        real: Faces of reals.
        fake: Faces of fakes.
        batch: Even number of faces.
        generator: Source of chance.
        masks: Whether batches come with masks.
        region: Which part of each face they come with, if any.
    """

    def __init__(
        self,
        real: Sequence[Crops],
        fake: Sequence[Crops],
        batch: int,
        generator: np.random.Generator,
        *,
        masks: bool = False,
        region: Region | None = None,
    ) -> None:
        if not real or not fake or batch % 2:
            raise ValueError(f"an even batch of reals and fakes, not {batch} of {len(real)} and {len(fake)} clips")
        self._generator = generator
        self._masks, self._region = masks, region
        self._pairs = batch // 2
        self._reals, self._fakes = self._turns(real), self._turns(fake)
        filmed: dict[str, list[Crops]] = {}
        for item in real:
            filmed.setdefault(item.clip.source_clip, []).append(item)
        self._partners: dict[int, list[Crops]] = {}
        for item in fake:
            beside = filmed.get(item.clip.source_clip, [])
            own = reals_of(item.clip, [each.clip for each in beside])
            self._partners[id(item)] = [each for each in beside if each.clip in own]
        larger = max(sum(len(item.frames) for item in group) for group in (real, fake))
        self.per_epoch = math.ceil(larger / self._pairs)

    def draw(self) -> Batch:
        """The next batch: fake and real in turn."""
        chosen: list[tuple[Crops, int]] = []
        for number in range(self._pairs):
            fake = next(self._fakes)
            i = int(self._generator.integers(len(fake.frames)))
            partners = self._partners[id(fake)]
            if partners and number % 2 == 0:
                real = partners[int(self._generator.integers(len(partners)))]
                j = int(np.argmin(np.abs(real.frames - fake.frames[i])))
            else:
                real = next(self._reals)
                j = int(self._generator.integers(len(real.frames)))
            chosen += [(fake, i), (real, j)]
        return Batch(
            images=np.stack([item.images[at] for item, at in chosen]),
            labels=np.tile(np.array([1, 0], np.float32), self._pairs),
            masks=np.stack([_mask(*one) for one in chosen]) if self._masks else None,
            regions=np.stack([_part(self._region, *one) for one in chosen]) if self._region else None,
        )

    def _turns(self, crops: Sequence[Crops]) -> Iterator[Crops]:
        while True:
            for index in self._generator.permutation(len(crops)):
                yield crops[index]


def _mask(item: Crops, at: int) -> np.ndarray:
    if item.masks is not None:
        return item.masks[at].astype(np.float32) / 255
    return np.full(item.images.shape[1:3], np.nan if item.clip.label == FAKE else 0, np.float32)


def _part(region: Region, item: Crops, at: int) -> np.ndarray:
    return region(None if item.landmarks is None else item.landmarks[at], item.images.shape[1])


class Draws(Protocol):
    """Where batches come from."""

    per_epoch: int

    def draw(self) -> Batch:
        """The next batch."""


class ReplayBatches:
    """Batches of which half is new and half is old data (rehearsal, against forgetting).

    Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection Science 7, 1995.

    Args:
        new: Draws what is to be learned.
        old: Draws what is not to be forgotten.
    """

    def __init__(self, new: Draws, old: Draws) -> None:
        self._new, self._old = new, old
        self.per_epoch = new.per_epoch

    def draw(self) -> Batch:
        """The next batch: new, then old."""
        new, old = self._new.draw(), self._old.draw()
        return Batch(
            images=np.concatenate([new.images, old.images]),
            labels=np.concatenate([new.labels, old.labels]),
            masks=_joined(new.masks, old.masks),
            regions=_joined(new.regions, old.regions),
        )


def _joined(new: np.ndarray | None, old: np.ndarray | None) -> np.ndarray | None:
    return None if new is None or old is None else np.concatenate([new, old])


class AlternatingBatches:
    """Batches of old and of new data in turn, as Li et al. (arXiv 2308.04177) augment a detector; old ones first.

    Args:
        new: Draws what is to be learned.
        old: Draws what is not to be forgotten.
    """

    def __init__(self, new: Draws, old: Draws) -> None:
        self._turns = itertools.cycle((old, new))
        self.per_epoch = 2 * new.per_epoch

    def draw(self) -> Batch:
        """The next batch: old and new in turn."""
        return next(self._turns).draw()
