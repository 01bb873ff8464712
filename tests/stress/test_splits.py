from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stress.data.splits import Split, split


@dataclass(frozen=True)
class Item:
    id: str
    label: int
    people: tuple[str, ...]
    source_clip: str


def fake(source: str, target: str, take: str = "") -> Item:
    return Item(f"{source}>{target}{take}", 1, (source, target), f"{target}{take}")


def real(person: str, take: str = "") -> Item:
    return Item(f"{person}{take}", 0, (person,), f"{person}{take}")


def check(clips: list[Item], result: Split) -> None:
    """What must hold of every split, whatever the clips."""
    tested: list[int] = []
    for fold in result.folds:
        for fold_test in fold.test:
            assert set(clips[fold_test].people) <= fold.people
        test_people = {person for i in fold.test for person in clips[i].people}
        train_people = {person for i in fold.train for person in clips[i].people}
        assert not train_people & fold.people
        assert not train_people & test_people
        assert not {clips[i].source_clip for i in fold.test} & {clips[i].source_clip for i in fold.train}
        assert not set(fold.test) & set(fold.train)
        assert {clips[i].label for i in fold.train} == {0, 1}
        assert len(train_people) >= 2
        assert any(clips[i].label == 1 for i in fold.test)
        tested += fold.test
    assert len(tested) == len(set(tested))  # at most once, reals too
    fakes = {i for i, clip in enumerate(clips) if clip.label == 1}
    assert set(result.left_out) == fakes - set(tested)
    assert bool(result.folds) != bool(result.reason)
    assert len(result.folds) != 1
    if result.scheme == "separate":
        groups = [fold.people for fold in result.folds]
        for i in result.left_out:  # only a dropped group may lose fakes, never a cut between two
            assert not any(set(clips[i].people) & group for group in groups)


names = st.sampled_from([f"p{i}" for i in range(9)])


@st.composite
def collections(draw) -> list[Item]:
    pairs = draw(st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]), max_size=25))
    takes = st.sampled_from(["", "x", "y"])
    clips = [fake(a, b, draw(takes)) for a, b in pairs]
    clips += [real(person, draw(takes)) for person in draw(st.lists(names, max_size=12))]
    if draw(st.booleans()):  # two people filmed together, once as two reals and once as one
        clips += [Item("duo1", 0, ("p0",), "duo"), Item("duo2", 0, ("p3",), "duo"), Item("trio", 0, ("p4", "p5"), "t")]
    if draw(st.booleans()):  # footage with a wrong name: a fake whose source clip belongs to somebody else
        clips.append(Item("odd", 1, ("p1", "p2"), "p6"))
    return clips


@settings(max_examples=50, deadline=None)
@given(collections(), st.integers(2, 7), st.integers(0, 3))
def test_no_person_and_no_source_clip_is_on_both_sides(clips: list[Item], folds: int, seed: int) -> None:
    result = split(clips, folds=folds, seed=seed)
    check(clips, result)
    assert len(result.folds) <= folds
    assert result == split(clips, folds=folds, seed=seed)


def test_couples_lose_no_fake() -> None:
    clips = [real(f"{i:03d}") for i in range(40)]
    clips += [fake(f"{i:03d}", f"{i ^ 1:03d}") for i in range(40)]
    result = split(clips, folds=4)
    check(clips, result)
    assert result.scheme == "separate"
    assert result.left_out == ()
    assert sorted(len(fold.test) for fold in result.folds) == [20, 20, 20, 20]


def test_two_circles_of_friends_with_one_bridge_lose_only_the_bridge() -> None:
    left, right = [f"l{i}" for i in range(5)], [f"r{i}" for i in range(5)]
    clips = [real(person) for person in left + right]
    clips += [fake(a, b) for side in (left, right) for a in side for b in side if a != b]
    clips.append(fake("l0", "r0"))
    result = split(clips, folds=4)
    check(clips, result)
    assert [clips[i].id for i in result.left_out] == ["l0>r0"]
    assert {fold.people for fold in result.folds} == {frozenset(left), frozenset(right)}


@pytest.mark.parametrize("people", [4, 6, 10])
def test_everybody_onto_everybody_tests_what_two_halves_hold(people: int) -> None:
    everybody = [f"p{i}" for i in range(people)]
    clips = [real(p) for p in everybody] + [fake(a, b) for a in everybody for b in everybody if a != b]
    result = split(clips, folds=5)
    check(clips, result)
    assert result.scheme == "groups"
    assert len(result.folds) == 2
    within = sum(len(fold.people) * (len(fold.people) - 1) for fold in result.folds)
    assert len(result.left_out) == people * (people - 1) - within
    assert within >= 2 * (people // 2) * (people // 2 - 1)


@pytest.mark.parametrize("people", [4, 6, 8, 11])
def test_everybody_onto_everybody_loses_nothing_in_pairs_of_groups(people: int) -> None:
    everybody = [f"p{i}" for i in range(people)]
    clips = [real(p) for p in everybody] + [fake(a, b) for a in everybody for b in everybody if a != b]
    result = split(clips, folds=6)
    check(clips, result)
    assert result.scheme == "pairs"
    assert len(result.folds) == 6
    assert result.left_out == ()
    assert sum(len(fold.test) for fold in result.folds) == len(clips)  # the reals once too
    for fold in result.folds:
        assert people - len(fold.people) >= people // 2 - 1


def test_search_is_as_good_as_trying_every_division() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        pairs = [(a, b) for a in range(8) for b in range(8) if a != b and rng.random() < 0.3]
        clips = [real(str(i)) for i in range(8)] + [fake(str(a), str(b)) for a, b in pairs]
        result = split(clips, folds=2)
        check(clips, result)
        if result.scheme != "groups":
            continue
        best = 99
        for code in range(1, 128):
            side = [(code >> i) & 1 for i in range(8)]
            if 3 <= sum(side) <= 5:
                best = min(best, sum(side[a] != side[b] for a, b in pairs))
        assert len(result.left_out) <= best


def test_too_few_people_says_so() -> None:
    clips = [real("a"), real("b"), real("c"), fake("a", "b"), fake("b", "c")]
    result = split(clips)
    assert result.folds == ()
    assert "3 people" in result.reason
    assert result.left_out == (3, 4)


def test_one_hub_cannot_be_divided() -> None:
    clips = [real(p) for p in "hxyzw"] + [fake("h", p) for p in "xyzw"]
    result = split(clips)
    assert result.folds == ()
    assert "cannot be divided" in result.reason


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        split([], folds=1)
