"""Choices of few clips that show everybody."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest

from stress.data.spread import spread
from stress.study.augmentation import choose
from tests.stress.synthetic import crops

PAIRS = list(permutations("abcdef", 2))


@pytest.mark.parametrize("seed", range(5))
def test_everybody_is_seen_once_before_anybody_is_seen_twice(seed):
    order = spread(PAIRS, seed)
    assert sorted(order) == list(range(len(PAIRS)))
    for rounds in (1, 2):
        seen = Counter(name for i in order[: 3 * rounds] for name in PAIRS[i])
        assert max(seen.values()) <= rounds + (rounds > 1)
    assert len({name for i in order[:3] for name in PAIRS[i]}) == 6


def test_another_seed_is_another_order_and_the_same_seed_the_same():
    assert spread(PAIRS, 1) == spread(PAIRS, 1)
    assert spread(PAIRS, 1) != spread(PAIRS, 2)


def test_few_clips_are_among_more_and_each_fake_brings_its_real():
    clips = crops(6, artefact=0, size=4, frames=1)
    before: set[tuple[int, str]] = set()
    for count in (1, 2, 4, 6):
        chosen = choose(clips, count, 3, even=True)
        names = {(item.clip.label, item.clip.id) for item in chosen}
        assert before <= names
        assert {name for label, name in names if label} == {name for label, name in names if not label}
        assert len(names) == 2 * count
        before = names
