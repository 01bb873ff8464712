"""Which units contribute most on every data set, and how many would without there being anything to find.

Published (Li et al., arXiv 2308.04177): the top half of the units by contribution, a list a data set; a unit in all
lists is "universal". Beside that count belong several levels:

* independent lists: n (k / n)^D on average, its exact distribution here. It is the wrong null: the lists come from one
  network, a unit with a large outgoing weight or a wide range contributes much whatever it is shown, so the count is
  above this level on any data, forged or not;
* data sets exchanged: the same clips, the names of the data sets dealt anew among clips of the same people and label.
  Every unit keeps its general size. A count as high as this says that the lists do not depend on the data set at all;
  one below it, that they do;
* halves of one data set against halves of two, in lists of the same sizes and without a clip in common;
* lists on fakes against lists on reals and on noise, and lists of an untrained network: does it take forgeries to make
  units "universal"?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

Bools = NDArray[np.bool_]


def top(contributions: np.ndarray, count: int, order: np.ndarray) -> Bools:
    """The units that contribute most.

    Args:
        contributions: (..., n).
        count: How many are taken, at most n.
        order: (n,) all units in an order of chance, by which equal contributions (of dead units, say) are told apart;
            lists that are to be independent need their own.

    Returns:
        (..., n), true for exactly ``count``.
    """
    ranked = order[np.argsort(-contributions[..., order], axis=-1, kind="stable")]
    found = np.zeros(contributions.shape, bool)
    np.put_along_axis(found, ranked[..., :count], True, axis=-1)
    return found


def chance(n: int, count: int, lists: int) -> np.ndarray:
    """Distribution of how many of ``n`` units are in all of several independent lists of ``count`` each.

    Drawing list after list, what is left after each is hypergeometric; exact, and what a permutation test that shuffles
    the units of each list would converge to.

    Returns:
        (count + 1,) probabilities of 0, 1, ..., ``count`` units.
    """
    left = np.zeros(count + 1)
    left[count] = 1.0
    hits = np.arange(count + 1)
    for _ in range(lists - 1):
        left = sum((left[m] * hypergeom.pmf(hits, n, m, count) for m in range(count + 1) if left[m] > 1e-300), 0 * left)
    return left


def against_chance(observed: int, n: int, count: int, lists: int, confidence: float = 0.95) -> dict[str, float]:
    """The level of independent lists beside what was observed.

    Returns:
        ``expected``; ``low`` and ``high``, between which it mostly lies; ``p``, the chance of at least ``observed``.
    """
    found = chance(n, count, lists)
    below = np.cumsum(found)
    tail = (1 - confidence) / 2
    return {
        "expected": n * (count / n) ** lists,
        "low": int(np.searchsorted(below, tail)),
        "high": int(np.searchsorted(below, 1 - tail)),
        "p": float(min(1.0, found[observed:].sum())),
    }


def shared(one: Bools, other: Bools) -> NDArray[np.float64]:
    """Share of the units of a list that are in the other, too; lists (..., n) of equal length."""
    return np.asarray((one & other).sum(-1) / np.maximum(1, one.sum(-1)), np.float64)


def mean_shared(lists: Sequence[Bools], others: Sequence[Bools] | None = None) -> NDArray[np.float64]:
    """Mean of :func:`shared` over all pairs of lists, or over all pairs of a list and one of ``others``."""
    pairs = list(combinations(lists, 2)) if others is None else [(a, b) for a in lists for b in others]
    return np.asarray(np.mean([shared(a, b) for a, b in pairs], axis=0), np.float64)


ListsOf = Callable[[Sequence[NDArray[np.int64]]], Bools]
"""From sets of clips (numbers) to a list for each, (sets, n)."""


def exchanged(
    lists_of: ListsOf,
    dataset: NDArray[np.int64],
    cells: Sequence[object],
    *,
    draws: int,
    generator: np.random.Generator,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> dict[str, Any]:
    """How many units are universal where the names of the data sets mean nothing.

    Args:
        lists_of: Makes lists.
        dataset: (clips,) number of each clip's data set, from 0.
        cells: (clips,) what is exchanged: clips with equal cells (the same people and label).
        draws: How often.
        generator: Source of chance.
        advance: Called after each draw.

    Returns:
        ``observed``, ``mean``, ``low`` and ``high`` (2.5 and 97.5 % of the draws), ``p`` (the chance of as few as
        observed; 1 where nothing can be exchanged), ``draws``, and ``exchangeable``, the clips that share their cell
        with one of another data set.
    """
    number = int(dataset.max()) + 1
    observed = int(lists_of([np.flatnonzero(dataset == d) for d in range(number)]).all(0).sum())
    members: dict[object, list[int]] = {}
    for clip, cell in enumerate(cells):
        members.setdefault(cell, []).append(clip)
    groups = [np.array(clips) for clips in members.values() if len(set(dataset[clips].tolist())) > 1]
    counts = []
    for _ in range(draws):
        dealt = dataset.copy()
        for clips in groups:
            dealt[clips] = generator.permutation(dataset[clips])
        counts.append(int(lists_of([np.flatnonzero(dealt == d) for d in range(number)]).all(0).sum()))
        advance()
    return {
        "observed": observed,
        **spread(counts),
        "p": (1 + sum(count <= observed for count in counts)) / (1 + draws),
        "draws": draws,
        "exchangeable": int(sum(map(len, groups))),
    }


def halves(
    lists_of: ListsOf,
    dataset: NDArray[np.int64],
    cells: Sequence[object],
    *,
    draws: int,
    generator: np.random.Generator,
) -> dict[str, Any] | None:
    """Lists of two halves of one data set, and of halves of two data sets: how much they share.

    Clips of one cell (the same people and label) go into the same half whatever their data set, so that the two halves
    compared have no cell in common, within a data set as between two.

    Args:
        lists_of: Makes lists.
        dataset: (clips,) number of each clip's data set, from 0.
        cells: (clips,) as for :func:`exchanged`.
        draws: How many halvings.
        generator: Source of chance.

    Returns:
        ``within``, ``between`` and ``difference``, each ``mean``, ``low``, ``high`` over the halvings; ``draws``. None
        where there are too few cells.
    """
    number = int(dataset.max()) + 1
    names = list(dict.fromkeys(cells))
    cell = np.array([names.index(one) for one in cells])
    within, between = [], []
    for _ in range(draws):
        first = generator.permutation(len(names)) < len(names) // 2
        sets = [np.flatnonzero((dataset == d) & (first[cell] == half)) for half in (True, False) for d in range(number)]
        if min(map(len, sets)) == 0:
            continue
        lists = lists_of(sets)
        share = shared(lists[:number, None], lists[None, number:])
        within.append(float(np.diag(share).mean()))
        between.append(float(share[~np.eye(number, dtype=bool)].mean()))
    if not within:
        return None
    return {
        "within": spread(within),
        "between": spread(between),
        "difference": spread(np.subtract(within, between).tolist()),
        "draws": len(within),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and where 95 % of the values lie."""
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}
