"""How sure a figure is: 95 % intervals by a bootstrap over people, paired across conditions.

Clips that share a person are not independent, and a face swap has two people, so neither frames nor clips can be
resampled as if they were. We resample people with replacement and give a clip the product of how often its people
were drawn: the pigeonhole bootstrap (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007) in
its form for pairs from one population (the node bootstrap of T. A. B. Snijders and S. P. Borgatti, Connections 22,
1999; consistency: L. Davezies, X. D'Haultfoeuille and Y. Guyonvarch, Annals of Statistics 49, 2021). All figures of
one call, hence both sides of every difference, see the same draws.

Two known faults of the plain percentile interval are mended, each by a factor on its distance from the estimate:

* With few pairs a person the product weights exaggerate the spread: noise of single clips counts three times, effects
  of people (v + 2) / v times, v being the fakes a person is in (Owen, theorem 3). So the distance is scaled by
  sqrt(V / V*), V* being the bootstrap's variance and V the variance from the clips' jackknife influences summed over
  all pairs of clips that share a person (P. M. Aronow, C. Samii and V. A. Assenova, Political Analysis 23, 2015), but
  never below sqrt(v / (v + 2)): with few people V itself is too small.
* With few people P the spread is underestimated: times sqrt(P / (P - 1)) and Student's t over the normal quantile.

A figure at its limit (12 of 12 fakes found), or the same in every resample, has no spread to resample. Its far end is
then the exact one-sided binomial limit for no failure in as many trials as there are people (the "rule of three"; half
of it for AUC, AP and EER, as if a fake that is outranked at all were outranked by half the reals), and differences
combine the ends of their two sides by square roots of sums of squares (G. Y. Zou and A. Donner, Statistics in Medicine
27, 2008).

Measured coverage of nominal 95 % intervals: see :func:`intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stress.evaluation.estimates import Estimate, Rule, as_wide_as
from stress.evaluation.metrics import Array

Statistic = Callable[[Array], Mapping[str, Array]]

#: With fewer people than this no interval is given.
MIN_PEOPLE = 4


def draw_people(strata: Sequence[Sequence[str]], resamples: int, rng: np.random.Generator) -> dict[str, Array]:
    """How often each person is drawn, with replacement and within strata: person -> (B,) counts."""
    counts: dict[str, Array] = {}
    for people in strata:
        drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), resamples).astype(np.float64)
        counts.update(zip(people, drawn.T, strict=True))
    return counts


def clip_weights(clips: Sequence[Sequence[str]], counts: Mapping[str, Array]) -> Array:
    """(B, C) weights: the product over a clip's distinct people of how often each was drawn."""
    return np.stack([np.prod([counts[person] for person in sorted(set(clip))], axis=0) for clip in clips], axis=1)


def strata_of(*tables: Sequence[Sequence[str]]) -> list[list[str]]:
    """People of the first table of clips, then those only in the second, and so on; each stratum is drawn by itself.

    Someone in two tables is drawn once and counts in both.
    """
    seen: set[str] = set()
    strata = []
    for table in tables:
        new = sorted({person for clip in table for person in clip} - seen)
        seen.update(new)
        if new:
            strata.append(new)
    return strata


def intervals(
    statistic: Statistic,
    clips: Sequence[Sequence[str]],
    *,
    usable: Callable[[Array], NDArray[np.bool_]],
    differences: Mapping[str, tuple[str, str]] | None = None,
    mixtures: Mapping[str, Mapping[str, float]] | None = None,
    ratios: Mapping[str, tuple[str, str]] | None = None,
    strata: Sequence[Sequence[str]] | None = None,
    units: Callable[[str], int] | None = None,
    limit_share: Callable[[str], float] = lambda name: 1.0,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[dict[str, Estimate], dict[str, int]]:
    r"""Estimates with intervals for everything a statistic returns, and for differences of them.

    Coverage of nominal 95 % intervals in 3600 simulated studies (200 for each of 18 designs: every ordered pair of 6, 8
    or 12 people, a ring of 12, 6 or 12 couples swapped both ways; weak to strong effects of source and target, which
    the reals share; ``pytest -m slow tests/stress/test_statistics.py`` repeats it), mean and range over designs:

    =================  ===================  ===================  =====================
    \                  before               after                difference
    =================  ===================  ===================  =====================
    AUC                0.966 (0.920-0.995)  0.946 (0.865-0.980)  0.986 (0.960-1.000)
    detection rate     0.968 (0.915-1.000)  0.985 (0.940-1.000)  0.987 (0.945-1.000)
    balanced accuracy  0.961 (0.920-0.990)  0.967 (0.940-1.000)  0.979 (0.945-1.000)
    =================  ===================  ===================  =====================

    For comparison, detection rate before: resampling clips covers 0.54-0.96, resampling people without the two
    corrections 0.89-1.00. EER is wider than need be (0.92-1.00); of AP and calibration error no coverage is claimed.

    Args:
        statistic: From clip weights (B, C) to figures in [0, 1], name -> (B,).
        clips: The people of each of the C clips.
        usable: From weights (B, C) to (B,): False where the statistic is undefined (one class only). Such resamples
            are drawn again and counted.
        differences: Name -> (minuend, subtrahend), names the statistic returns.
        mixtures: Name -> its parts and their factors, for figures such as accuracy that average others: one whose part
            is at its limit is as wide as its parts are.
        ratios: Name -> (numerator, denominator), names of differences. Given only where the denominator's interval lies
            above 0, with an interval only where no figure involved is at its limit.
        strata: Groups of people that are drawn by themselves; by default all people are one.
        units: From a figure's name to how many people (or clips, where those are fewer) it rests on: sets the
            correction for few people and the exact limit. By default the people of the smallest stratum. A figure that
            rests on fewer than :data:`MIN_PEOPLE` gets no interval.
        limit_share: From a figure's name to the share of the exact limit that is its far end at 0 or 1.
        resamples: How many resamples to use.
        confidence: Nominal coverage, in (0, 1).
        seed: Of the random draws.

    Returns:
        Name -> :class:`Estimate`, and counts: ``people``, ``resamples``, ``redrawn``.
    """
    groups = list(strata) if strata is not None else strata_of(clips)
    people = min(len(group) for group in groups)
    ones = np.ones((1, len(clips)))
    value = {name: float(figure[0]) for name, figure in statistic(ones).items()}
    minus = dict(differences or {})
    counts = {"people": sum(map(len, groups)), "resamples": 0, "redrawn": 0}
    if people < MIN_PEOPLE:
        note = f"no interval: {people} people, at least {MIN_PEOPLE} are needed"
        return _points(value, minus, note), counts

    weights, counts["redrawn"] = _draw(clips, groups, usable, resamples, np.random.default_rng(seed))
    counts["resamples"] = len(weights)
    if len(weights) < resamples:
        note = "no interval: hardly any resample of the people keeps fakes and reals"
        return _points(value, minus, note), counts

    drawn = dict(statistic(weights))
    influence = _influences(statistic, usable, value, len(clips))
    shares = _sharing(clips)
    floor = _floor(clips)

    def rule(name: str) -> Rule:
        n = max(2, units(name)) if units else people
        return Rule(shares=shares, floor=floor, units=n, confidence=confidence)

    found = {name: rule(name).share(value[name], drawn[name], influence[name], limit_share(name)) for name in value}
    for name, (a, b) in minus.items():
        found[name] = rule(name).difference(found[a], found[b], drawn[a] - drawn[b], influence[a] - influence[b])
        drawn[name], influence[name] = drawn[a] - drawn[b], influence[a] - influence[b]
    for name, (a, b) in (ratios or {}).items():
        found[name] = rule(name).ratio(found[a], found[b], (drawn[a], drawn[b]), (influence[a], influence[b]))
    for name, parts in (mixtures or {}).items():
        found[name] = as_wide_as(found[name], [(found[part], factor) for part, factor in parts.items()])
    for name, estimate in found.items():
        if units and units(name) < MIN_PEOPLE and estimate.low is not None:
            note = f"no interval: rests on {units(name)} people or clips, at least {MIN_PEOPLE} are needed"
            found[name] = Estimate(value=estimate.value, note=note)
    return found, counts


def _points(value: Mapping[str, float], minus: Mapping[str, tuple[str, str]], note: str) -> dict[str, Estimate]:
    figures = dict(value) | {name: value[a] - value[b] for name, (a, b) in minus.items()}
    return {name: Estimate(value=figure, note=note) for name, figure in figures.items()}


def _draw(
    clips: Sequence[Sequence[str]],
    groups: Sequence[Sequence[str]],
    usable: Callable[[Array], NDArray[np.bool_]],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Array, int]:
    """Usable clip weights (resamples, C), and how many draws were not usable; gives up after 20 rounds."""
    kept: list[Array] = []
    count = redrawn = 0
    for _ in range(20):
        weights = clip_weights(clips, draw_people(groups, resamples, rng))
        good = usable(weights)
        redrawn += int((~good).sum())
        kept.append(weights[good][: resamples - count])
        count += len(kept[-1])
        if count == resamples:
            break
    return np.concatenate(kept), redrawn


def _influences(
    statistic: Statistic, usable: Callable[[Array], NDArray[np.bool_]], value: Mapping[str, float], n: int
) -> dict[str, Array]:
    """Jackknife influence of every clip, name -> (n,): the figure with it minus the figure without."""
    without = 1 - np.eye(n)
    good = usable(without)
    found = {name: np.full(n, np.nan) for name in value}
    if good.any():
        for name, figure in statistic(without[good]).items():
            found[name][good] = value[name] - figure
    return found


def _sharing(clips: Sequence[Sequence[str]]) -> Array:
    """(C, C) 1 where two clips share a person."""
    names = {person: i for i, person in enumerate(sorted({person for clip in clips for person in clip}))}
    member = np.zeros((len(clips), len(names)))
    for row, clip in enumerate(clips):
        member[row, [names[person] for person in clip]] = 1
    return (member @ member.T > 0).astype(np.float64)


def _floor(clips: Sequence[Sequence[str]]) -> float:
    """sqrt(v / (v + 2)), v being the mean number of pairs (clips of two people) that someone in a pair is in."""
    pairs = [set(clip) for clip in clips if len(set(clip)) > 1]
    if not pairs:
        return 1.0
    v = sum(map(len, pairs)) / len(set().union(*pairs))
    return float(np.sqrt(v / (v + 2)))
