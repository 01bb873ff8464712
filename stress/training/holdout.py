"""Setting some people aside, so that choices made in training rest on faces that training never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL

_DRAWS = 100
_FEWEST_TO_LEARN_FROM = 4


@dataclass(frozen=True, kw_only=True)
class Held:
    """A division into two groups without a person in common.

    Args:
        train: To learn from.
        validation: To choose by; empty when there are too few people.
        left_out: Clips that show people of both groups and so belong in neither.
        people: The held-out people.
    """

    train: list[Crops]
    validation: list[Crops]
    left_out: list[Crops]
    people: tuple[str, ...]


def hold_out(
    crops: Sequence[Crops], share: float, seed: int, labels: frozenset[int] = frozenset({REAL, FAKE})
) -> Held:
    """Hold out about ``share`` of the people, at least two, so that at least four remain to learn from.

    Of many random choices the one that leaves the fewest clips out is taken; both groups keep clips of all ``labels``.
    Where no choice allows that, nothing is held out.

    Args:
        crops: Clips.
        share: Of the people, in [0, 1).
        seed: Of the choice.
        labels: Those that both groups need.
    """
    people = sorted({person for item in crops for person in item.clip.people})
    generator = np.random.default_rng([seed, 0])
    most = min(len(people) // 2, len(people) - _FEWEST_TO_LEARN_FROM)
    for count in range(max(2, round(share * len(people))), most + 1) if share > 0 else ():
        choices = [frozenset(generator.choice(people, count, replace=False).tolist()) for _ in range(_DRAWS)]
        divided = [_divide(crops, chosen) for chosen in choices]
        usable = [held for held in divided if _has(held.train, labels) and _has(held.validation, labels)]
        if usable:
            return min(usable, key=lambda held: len(held.left_out))
    return Held(train=list(crops), validation=[], left_out=[], people=())


def _divide(crops: Iterable[Crops], chosen: frozenset[str]) -> Held:
    train: list[Crops] = []
    validation: list[Crops] = []
    left_out: list[Crops] = []
    for item in crops:
        inside = chosen.issuperset(item.clip.people)
        (validation if inside else train if chosen.isdisjoint(item.clip.people) else left_out).append(item)
    return Held(train=train, validation=validation, left_out=left_out, people=tuple(sorted(chosen)))


def _has(crops: Iterable[Crops], labels: frozenset[int]) -> bool:
    return labels.issubset(item.clip.label for item in crops)
