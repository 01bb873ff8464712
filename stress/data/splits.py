"""Folds for fine-tuning in which no person and no source clip is ever on both sides.

Fakes are edges of a graph whose nodes are people. The people are divided into groups; a fold holds some out and tests
fakes whose people are all held out, by a detector fine-tuned on clips whose people all lie outside.

* ``separate``: the graph falls apart by itself (FaceForensics++ swaps in couples). A group a fold, no fake is lost.
* ``groups``: a group a fold, chosen so that few fakes run between groups. Those few are neither tested nor hidden: they
  are counted and named.
* ``pairs``: where everybody is swapped with everybody, each fold holds out two of K groups and tests what runs between
  them, K (K - 1) / 2 folds in all (each group's own fakes are tested in one of them). No fake is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class HasPeople(Protocol):
    """What a clip needs for a split (:class:`stress.data.layouts.Clip` has it)."""

    @property
    def id(self) -> str:
        """Name of the clip."""

    @property
    def label(self) -> int:
        """1 = fake, 0 = real."""

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone whose face is in it, source and target of a fake."""

    @property
    def source_clip(self) -> str:
        """Key of the footage it was made from."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fine-tuning and its test; clips by their position in the list that was split.

    Attributes:
        people: The people held out.
        test: Clips whose people are all held out; no clip is in two folds' tests.
        train: Clips none of whose people, nor whose source clip, is in ``test``.
        barred: Clips of other people kept out of ``train`` because they share a source clip with ``test``.
    """

    people: frozenset[str]
    test: tuple[int, ...]
    train: tuple[int, ...]
    barred: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds, and what they leave out.

    Attributes:
        folds: At least two, or none with a ``reason``.
        left_out: Fakes tested in no fold, because their people are in different groups or their fold was unusable.
        scheme: ``"separate"``, ``"groups"`` or ``"pairs"``, see the module; empty without folds.
        reason: Why there are no folds, for the person; empty when there are.
    """

    folds: tuple[Fold, ...] = ()
    left_out: tuple[int, ...] = ()
    scheme: str = ""
    reason: str = ""


@dataclass
class DisjointSets:
    """Sets of names that share none (union-find): what is joined, directly or through others, is one set."""

    parent: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> str:
        """The name that stands for this one's set; a new name is a set of its own."""
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, names: Iterable[str]) -> None:
        """Make one set of the sets of these names, at least one."""
        first, *rest = names
        root = self.find(first)
        for name in rest:
            self.parent[self.find(name)] = root

    def sets(self) -> list[list[str]]:
        """All sets, and the names in each, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.parent):
            found[self.find(name)].append(name)
        return list(found.values())


def split(clips: Sequence[HasPeople], *, folds: int = 6, seed: int = 0) -> Split:
    """Divide clips into folds disjoint in people and source clips.

    Groups that share no fake are used as they are (up to ``folds`` of them, evened out by number of fakes) unless one
    holds more than three quarters of the fakes. Otherwise every number of groups from 2 to ``folds`` is tried, and from
    4 groups on (so that half of the people are left to train on) every two of them while that takes no more than
    ``folds`` folds. What tests most fakes is kept; among equals the fewest fine-tunings in pairs, the most in groups.

    Args:
        clips: Fakes and reals.
        folds: Highest number of folds, at least 2.
        seed: Of the search's restarts; the same clips and seed give the same folds.

    Returns:
        Folds in which every fake is tested at most once. Each has at least one fake to test, and a fake, a real and
        two people to train on; with fewer than two such folds the split is empty and says why.
    """
    if folds < 2:
        raise ValueError(f"at least 2 folds are needed, not {folds}")
    fakes = [clip for clip in clips if clip.label == 1]
    people = {person for clip in fakes for person in clip.people}
    if len(people) < 4:
        return _none(
            clips,
            f"the fakes show {len(people)} people; at least 4 are needed, so that two can be held out and two trained "
            "on",
        )
    units = _units(clips)
    groups = _natural(clips, units, folds)
    if groups is not None:
        found = _build(clips, groups, "separate")
        if found.folds:
            return found
    rng = np.random.default_rng(seed)
    tried = []
    for count in range(2, folds + 1):
        groups = _partition(clips, units, count, rng)
        tried.append(_build(clips, groups, "groups"))
        if count >= 4 and count * (count - 1) // 2 <= folds:
            tried.append(_build(clips, groups, "pairs"))
    best = max(tried, key=lambda each: _worth(clips, each))
    if not best.folds:
        return _none(
            clips,
            f"{len(fakes)} fakes of {len(people)} people cannot be divided so that at least two groups have a fake of "
            "their own and the rest has a fake, a real and two people to train on",
        )
    return best


def _none(clips: Sequence[HasPeople], reason: str) -> Split:
    return Split(left_out=tuple(i for i, clip in enumerate(clips) if clip.label == 1), reason=reason)


def _worth(clips: Sequence[HasPeople], found: Split) -> tuple[int, bool, int]:
    tested = sum(clips[i].label for fold in found.folds for i in fold.test)
    return tested, found.scheme == "groups", len(found.folds) if found.scheme == "groups" else -len(found.folds)


def _units(clips: Sequence[HasPeople]) -> list[list[str]]:
    """People who must stay together: those in one real, and those filmed in one source clip."""
    union = DisjointSets()
    filmed: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        for person in clip.people:
            union.find(person)
        if clip.label == 0:
            filmed[clip.source_clip].extend(clip.people)
    for together in filmed.values():
        union.join(together)
    return union.sets()


def _natural(clips: Sequence[HasPeople], units: Sequence[Sequence[str]], folds: int) -> list[set[str]] | None:
    """Connected components packed into at most ``folds`` groups, or None where they do not separate well."""
    union = DisjointSets()
    for unit in units:
        union.join(unit)
    for clip in clips:
        union.join(clip.people)
    components = [set(names) for names in union.sets()]
    load = [sum(clip.label for clip in clips if clip.people[0] in component) for component in components]
    with_fakes = sum(count > 0 for count in load)
    total = sum(load)
    if with_fakes < 2 or max(load) > 0.75 * total:
        return None
    count = min(folds, with_fakes)
    groups: list[set[str]] = [set() for _ in range(count)]
    fakes = [0] * count
    for i in sorted(range(len(components)), key=lambda i: (-load[i], min(components[i]))):
        lightest = min(range(count), key=lambda g: (fakes[g], len(groups[g])))
        groups[lightest] |= components[i]
        fakes[lightest] += load[i]
    return groups


def _partition(
    clips: Sequence[HasPeople], units: Sequence[Sequence[str]], count: int, rng: np.random.Generator
) -> list[set[str]]:
    """People in ``count`` groups of similar size with few fakes between them: restarted local search."""
    unit_of = {person: i for i, unit in enumerate(units) for person in unit}
    links = np.zeros((len(units), len(units)))
    for clip in clips:
        inside = sorted({unit_of[person] for person in clip.people})
        if clip.label == 1 and len(inside) == 2:
            links[inside[0], inside[1]] += 1
            links[inside[1], inside[0]] += 1
    size = np.array([len(unit) for unit in units])
    # People in no fake are put where there is room; groups are evened out over the others.
    swapped = {person for clip in clips if clip.label == 1 for person in clip.people}
    active = np.array([not swapped.isdisjoint(unit) for unit in units])
    size = np.where(active, size, 0)
    restarts = 8 if len(units) <= 100 else 2
    found = [_descend(links, size, count, rng) for _ in range(restarts)]
    groups = min(found, key=lambda each: each[0])[1]
    return [{person for i, unit in enumerate(units) if groups[i] == g for person in unit} for g in range(count)]


def _descend(
    links: NDArray[np.float64], size: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[float, NDArray[np.int64]]:
    """A balanced random start, then the best move or exchange of two units until none helps."""
    n = len(size)
    group = np.zeros(n, np.int64)
    room = np.zeros(count)
    order = rng.permutation(n)
    for i in order[np.argsort(-size[order], kind="stable")]:
        group[i] = int(np.argmin(room))
        room[group[i]] += size[i]
    high = np.ceil(size.sum() / count) + max(int(size.max(initial=1)) - 1, int(0.25 * size.sum() / count))
    low = max(1, np.floor(size.sum() / count) - int(0.25 * size.sum() / count))
    rows = np.arange(n)
    for _ in range(10 * n):
        toward = links @ np.eye(count)[group]  # fakes between each unit and each group
        gain = toward - toward[rows, group][:, None]
        filled = np.bincount(group, size, count)
        allowed = (filled[None, :] + size[:, None] <= high) & (filled[group][:, None] - size[:, None] >= low)
        moves = np.where(allowed, gain, -np.inf)
        swaps = gain[:, group] + gain[:, group].T - 2 * links
        change = size[None, :] - size[:, None]  # what the first one's group gains in people
        ok = (filled[group][:, None] + change <= high) & (filled[group][:, None] + change >= low)
        ok &= ok.T & (group[:, None] != group[None, :])
        swaps = np.where(ok, swaps, -np.inf)
        if max(moves.max(), swaps.max()) <= 1e-9:
            break
        if moves.max() >= swaps.max():
            i, g = np.unravel_index(int(np.argmax(moves)), moves.shape)
            group[i] = g
        else:
            i, j = np.unravel_index(int(np.argmax(swaps)), swaps.shape)
            group[i], group[j] = group[j], group[i]
    cut = float(links[group[:, None] != group[None, :]].sum() / 2)
    return cut, group


def _build(clips: Sequence[HasPeople], groups: Sequence[set[str]], scheme: str) -> Split:
    """The folds of groups of people; unusable ones are dropped."""
    group_of = {person: g for g, group in enumerate(groups) for person in group}
    inside = [frozenset(group_of[person] for person in clip.people) for clip in clips]
    count = len(groups)
    if scheme == "pairs":
        held = [frozenset(two) for two in combinations(range(count), 2)]
        # A group's own clips are tested with the next group, so that each clip has one place.
        place = [cell | {(min(cell) + 1) % count} if len(cell) == 1 else cell for cell in inside]
    else:
        held = [frozenset([g]) for g in range(count)]
        place = inside
    folds = []
    for out in held:
        test = tuple(i for i, cell in enumerate(place) if cell == out)
        outside = [i for i, cell in enumerate(inside) if out.isdisjoint(cell)]
        seen = {clips[i].source_clip for i in test}
        train = tuple(i for i in outside if clips[i].source_clip not in seen)
        barred = tuple(i for i in outside if clips[i].source_clip in seen)
        trainers = {person for i in train for person in clips[i].people}
        labels = {clips[i].label for i in train}
        if any(clips[i].label == 1 for i in test) and labels == {0, 1} and len(trainers) >= 2:
            people = frozenset(person for g in out for person in groups[g])
            folds.append(Fold(people=people, test=test, train=train, barred=barred))
    if len(folds) < 2:
        return Split()
    tested = {i for fold in folds for i in fold.test}
    left_out = tuple(i for i, clip in enumerate(clips) if clip.label == 1 and i not in tested)
    return Split(folds=tuple(folds), left_out=left_out, scheme=scheme)
