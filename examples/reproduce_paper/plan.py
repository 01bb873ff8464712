"""Who is tested when, which swaps are made again, and all settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceswap_hq import fakes, files
from faceswap_hq.errors import UserError
from stress.checks import require
from stress.data.spread import spread
from stress.strategies import Strategy

COUNTS = (0, 5, 10, 20, 45)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the figures depend on, but for the fakes themselves.

    Args:
        folds: Groups of people that are tested in turn, at least 2.
        include_rejected: Whether fakes that curation rejected are used too.
        archs: Detectors trained here, by architecture.
        detectors: Published detectors, which are only tested and fine-tuned.
        size: Side of the faces that detectors trained here see, pixels; None for what is customary with each.
        frames: Of each clip.
        epochs: Of training a detector.
        batch: Faces a step, a multiple of 4.
        lr: Learning rate of that training.
        tune_steps: Steps of each fine-tuning, whatever the number of fakes.
        tune_lr: Learning rate of fine-tuning.
        strategy: Which layers are fine-tuned, and whether crude fakes are replayed.
        counts: Good fakes seen in fine-tuning; 0 is the detector before it.
        seeds: Trainings of each detector in each fold.
        seed: Of folds, trainings and resamples.
        ladder_pairs: Tested pairs of which every blending stage is made; None for all, 0 for none.
        transfer: Methods without learning that recovery is to carry over to.
        resamples: Of the people, behind every interval.
    """

    folds: int = 3
    include_rejected: bool = False
    archs: tuple[str, ...] = ("small_cnn", "mesoinception4")
    detectors: tuple[Path, ...] = ()
    size: int | None = None
    frames: int = 16
    epochs: int = 15
    batch: int = 32
    lr: float = 1e-3
    tune_steps: int = 200
    tune_lr: float = 3e-4
    strategy: Strategy = Strategy(replay=True)
    counts: tuple[int, ...] = COUNTS
    seeds: int = 3
    seed: int = 0
    ladder_pairs: int | None = None
    transfer: tuple[str, ...] = ("mesh", "expression")
    resamples: int = 1000

    def __post_init__(self) -> None:
        checks = {
            "folds": self.folds >= 2,
            "archs": len(self.archs) + len(self.detectors) > 0 and len(set(self.archs)) == len(self.archs),
            "detectors": len({path.stem for path in self.detectors} | set(self.archs))
            == len(self.detectors) + len(self.archs),
            "size": self.size is None or self.size >= 16,
            "frames": self.frames >= 1,
            "epochs": self.epochs >= 1,
            "batch": self.batch >= 4 and self.batch % 4 == 0,
            "lr": self.lr > 0,
            "tune_steps": self.tune_steps >= 1,
            "tune_lr": self.tune_lr > 0,
            "counts": all(count >= 0 for count in self.counts) and len(self.counts) > 0,
            "seeds": self.seeds >= 1,
            "seed": self.seed >= 0,
            "ladder_pairs": self.ladder_pairs is None or self.ladder_pairs >= 0,
            "transfer": set(self.transfer) <= {"mesh", "expression"},
            "resamples": self.resamples >= 100,
        }
        require(self, checks)


@dataclass(frozen=True, kw_only=True)
class Swap:
    """A good fake, and how it was made: the crude one and the others show the same people in the same frames."""

    entry: Mapping[str, Any]
    """The manifest's."""
    accepted: bool
    """Whether curation accepted it."""

    @property
    def people(self) -> tuple[str, str]:
        """Source and target."""
        return str(self.entry["source"]["person"]), str(self.entry["target"]["person"])

    @property
    def frames(self) -> tuple[int, int]:
        """First frame, and the one after the last."""
        start, stop = self.entry["frames"]
        return int(start), int(stop)


def read_swaps(good: Path) -> list[Swap]:
    """All fakes of a curation, accepted and rejected, in the order of their people.

    Raises:
        UserError: If the folder is no finished curation.
    """
    if not (good / "manifest.json").is_file() or not (good / "curation.yaml").is_file():
        raise UserError(
            f"{good} is no finished curation: manifest.json or curation.yaml is missing.",
            "faceswap-hq curate CAST_DIR -o DIR makes one; without --good it is made here.",
        )
    found = [Swap(entry=entry, accepted=True) for entry in fakes.Manifest(good).read()]
    if (good / "rejected").is_dir():
        found += [Swap(entry=entry, accepted=False) for entry in fakes.Manifest(good / "rejected").read()]
    if not found:
        raise UserError(f"{good} holds no fakes.")
    return sorted(found, key=lambda swap: (swap.people, swap.frames))


def curation_settings(good: Path) -> dict[str, Any]:
    """What the curation was asked for: ``blend``, ``backend``, ``seed``, ..."""
    value = files.read_yaml(good / "curation.yaml")
    settings = value.get("settings") if isinstance(value, dict) else None
    if not isinstance(settings, dict):
        raise UserError(f"{good / 'curation.yaml'} is damaged: it has no settings.")
    return settings


def deal(people: Sequence[str], folds: int, seed: int) -> list[frozenset[str]]:
    """Deal people into groups of sizes that differ by one at most.

    Args:
        people: Names.
        folds: How many groups.
        seed: Of the shuffle.

    Raises:
        UserError: If a group would have fewer than two people: no fake could be tested in it.
    """
    names = sorted(set(people))
    if len(names) < 2 * folds:
        raise UserError(
            f"{len(names)} people cannot be dealt into {folds} folds of two or more.",
            "Use fewer --folds or more clips.",
        )
    order = np.random.default_rng([seed, 7]).permutation(len(names))
    return [frozenset(names[i] for i in part) for part in np.array_split(order, folds)]


def both_tested(swaps: Sequence[Swap], folds: Sequence[frozenset[str]]) -> list[Swap]:
    """The swaps of which both people are tested in the same fold."""
    return [swap for swap in swaps if any(fold.issuperset(swap.people) for fold in folds)]


def some(swaps: Sequence[Swap], count: int | None, seed: int) -> list[Swap]:
    """``count`` of the swaps, spread over people; all for None."""
    chosen = set(spread([swap.people for swap in swaps], seed)[:count])
    return [swap for i, swap in enumerate(swaps) if i in chosen]


def named_counts(counts: Sequence[int], there: Sequence[int]) -> dict[str, int]:
    """Name of each number of fakes ► the number; what is more than any fold has becomes one ``all``.

    >>> named_counts((0, 5, 20, 45), there=(30, 42))
    {'0': 0, '5': 5, '20': 20, 'all': 42}

    Args:
        counts: As asked for.
        there: Good fakes to learn from, in each fold.
    """
    most = max(there)
    found = {str(count): count for count in sorted({0, *counts}) if count < most}
    return found | ({"all": most} if any(count >= most for count in counts) else {})
