"""Who is learned from and who is tested, the same people in every data set of the study.

The data sets hold the same people, swapped by different methods: whoever is tested in one must not have been learned
from in any. So all clips of all data sets are divided together, by :func:`stress.data.splits.split` into two groups of
people that share as few fakes as possible; the first is tested. Fakes of two people of different groups are neither
tested nor learned from. People are known by their keys: two keys for one person would hide a leak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceswap_hq.errors import UserError
from stress.data.layouts import FAKE, REAL, Clip
from stress.data.splits import split


@dataclass(frozen=True, kw_only=True)
class Division:
    """The clips of every data set, by its name, in their two places.

    Attributes:
        train: Clips to learn from.
        test: Clips to test.
        left_out: Fakes of people of both groups, and clips that share a source clip with the other group's.
        tested: People tested.
        learned: People learned from; empty where nothing is learned and everybody is tested.
    """

    train: Mapping[str, list[Clip]]
    test: Mapping[str, list[Clip]]
    left_out: Mapping[str, list[Clip]]
    tested: tuple[str, ...]
    learned: tuple[str, ...]


def divide(datasets: Mapping[str, Sequence[Clip]], *, learn: bool = True, seed: int = 0) -> Division:
    """Divide the people of all data sets into those tested and those learned from, about half each.

    Args:
        datasets: Name -> clips.
        learn: Whether anything is to be learned; if not, all clips are tested.
        seed: Of the search for groups.

    Raises:
        UserError: The people cannot be divided, or a data set is left without fakes or reals on one of the sides.
    """
    everyone = tuple(sorted({person for clips in datasets.values() for clip in clips for person in clip.people}))
    if not learn:
        whole = {name: list(clips) for name, clips in datasets.items()}
        none: dict[str, list[Clip]] = {name: [] for name in datasets}
        return Division(train=none, test=whole, left_out=none, tested=everyone, learned=())
    where = [(name, clip) for name, clips in datasets.items() for clip in clips]
    found = split([clip for _, clip in where], folds=2, seed=seed)
    if not found.folds:
        raise UserError(
            f"The people cannot be divided into those learned from and those tested: {found.reason}.",
            "Use data sets of more people; without --archs and few-shot training everybody is tested.",
        )
    fold = found.folds[0]
    parts: dict[str, dict[str, list[Clip]]] = {side: {name: [] for name in datasets} for side in ("train", "test", "")}
    test, train = set(fold.test), set(fold.train)
    for number, (name, clip) in enumerate(where):
        parts["test" if number in test else "train" if number in train else ""][name].append(clip)
    for side, what in (("test", "tested"), ("train", "learned from")):
        for name, clips in parts[side].items():
            for label, kind in ((FAKE, "fake"), (REAL, "real")):
                if not any(clip.label == label for clip in clips):
                    raise UserError(
                        f"No {kind} of the data set {name} shows only people who are {what}.",
                        "The data sets have to hold fakes and reals of the same people, four or more.",
                    )
    learned = {person for clips in parts["train"].values() for clip in clips for person in clip.people}
    return Division(
        train=parts["train"], test=parts["test"], left_out=parts[""], tested=tuple(sorted(fold.people)),
        learned=tuple(sorted(learned)),
    )  # fmt: skip
