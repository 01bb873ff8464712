"""Do numbers tell fakes from the reals they were made from? A paired test that knows who is in which clip.

A row is a fake minus its matched real. A linear rule is fitted on rows of some people and asked about rows of others
(folds of :func:`stress.data.splits.split`); the score of a fake is half of what the rule makes of its row, that of its
real the same below zero, and their AUC is 0.5 where fakes and reals differ in nothing that generalises.

The rule is ridge regression of the rows, each column over its spread, on 1: w = (D'D / n + lambda)^-1 mean(D). That is
the direction of Fisher's discriminant of paired differences, in which a small difference that is always there weighs
more than a large one that is not; with many columns and few pairs it comes near to the diagonal rule (P. J. Bickel and
E. Levina, Bernoulli 10, 2004).

Two p-values guard the claim, and the larger one counts:

* of a permutation: within each source clip it is drawn anew which of its clips is the real, and everything is fitted
  again. Exact where fakes and reals of one clip are exchangeable, whatever else they share.
* of the interval over people: if all that differs is what single people bring along (a source whose model draws
  brighter), pairs are not independent and permutations find too much. So the AUC must also lie above 0.5 by the
  spread that :func:`stress.evaluation.statistics.intervals` gives it, by Student's t.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stress.data.layouts import Clip, reals_of
from stress.data.splits import split
from stress.evaluation.metrics import Array, auc, curve
from stress.evaluation.statistics import MIN_PEOPLE, intervals

Index = NDArray[np.int64]

RIDGE = 0.5  # of rows whose columns have a spread of 1
_SMALL = 0.02  # variance that no column is thought to be below, in units of its usual spread
_CUT = 4.0  # rows are cut there, so that one broken file does not rule the fit
_HELD = 4_000_000  # numbers held at once


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Fakes and their matched reals among clips, by position.

    Attributes:
        clips: All clips that are in a pair.
        fakes: (P,) position of each pair's fake.
        reals: (P,) position of its real; one real may have several fakes.
        blocks: (n,) number of each clip's source clip: those of one block show the same footage.
        folds: (rows to fit, rows to test), people-disjoint; no row is tested twice.
        reason: Why there are no folds; empty when there are.
        unmatched: Ids of fakes without a real.
    """

    clips: tuple[Clip, ...]
    fakes: Index
    reals: Index
    blocks: Index
    folds: tuple[tuple[Index, Index], ...]
    reason: str = ""
    unmatched: tuple[str, ...] = ()

    @property
    def people(self) -> list[tuple[str, ...]]:
        """Everyone in each pair."""
        return [self.clips[i].people for i in self.fakes]

    def arrangements(self) -> float:
        """Natural logarithm of how many ways there are to say which clip of each block is real."""
        real = np.zeros(len(self.clips), bool)
        real[self.reals] = True
        sizes, reals = np.bincount(self.blocks), np.bincount(self.blocks[real])
        return float(sum(log(comb(int(n), int(m))) for n, m in zip(sizes, reals, strict=True)))


def match(fakes: Sequence[Clip], reals: Sequence[Clip], *, folds: int = 6, seed: int = 0) -> Pairs:
    """Give each fake the real it was made from (:func:`stress.data.layouts.clip.reals_of`; of several the first)."""
    by_source: dict[str, list[Clip]] = defaultdict(list)
    for clip in reals:
        by_source[clip.source_clip].append(clip)
    matched = [clip for clip in fakes if by_source[clip.source_clip]]
    unmatched = tuple(clip.id for clip in fakes if not by_source[clip.source_clip])
    beside = [reals_of(clip, by_source[clip.source_clip])[0] for clip in matched]
    kept = list(dict.fromkeys(beside))
    clips = (*matched, *kept)
    number = {source: i for i, source in enumerate(sorted({clip.source_clip for clip in clips}))}
    found = split(clips, folds=folds, seed=seed)
    rows = len(matched)
    parts = []
    for fold in found.folds:
        # A real's person is its fakes' target, hence on the fakes' side of the fold.
        fit, test = (np.array([i for i in side if i < rows], np.int64) for side in (fold.train, fold.test))
        if len(fit) >= 2 and len(test):
            parts.append((fit, test))
    return Pairs(
        clips=clips,
        fakes=np.arange(rows),
        reals=np.array([rows + kept.index(real) for real in beside], np.int64),
        blocks=np.array([number[clip.source_clip] for clip in clips], np.int64),
        folds=tuple(parts) if len(parts) >= 2 else (),
        reason=found.reason if len(parts) >= 2 or found.reason else "too few pairs in the folds",
        unmatched=unmatched,
    )


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What :func:`paired_test` found.

    Attributes:
        auc: Of held-out fakes against their reals, each pair about its own mean; None where it cannot be had.
        low: Lower end of its 95 % interval over people.
        high: Upper end.
        p: The larger of the two p-values (see the module); 1 where nothing differs.
        alone: AUC of held-out clips without their partners, by a rule fitted for that: what a detector that sees one
            clip at a time could get.
        weights: (d,) of the rule fitted on all pairs, times how far apart the sides are: who contributes how much.
        tested: Pairs that were held out once.
        people: People in them.
        enough: Whether these clips could reach a given level at all.
        reason: Why not.
        varies: Whether any number differs within any block; where none does, there is nothing to test.
    """

    auc: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    alone: float | None = None
    weights: Array
    tested: int = 0
    people: int = 0
    enough: bool = False
    reason: str = ""
    varies: bool = True


def paired_test(
    values: Array, pairs: Pairs, *, level: float = 0.05, permutations: int = 999, resamples: int = 1000, seed: int = 0
) -> PairedTest:
    """Try numbers of clips as a detector of fakes, see the module.

    Args:
        values: (n, d) numbers of ``pairs.clips``; a pair with a row of NaN takes no part, nor does a column with NaN
            in other rows.
        pairs: From :func:`match`.
        level: A p-value that these clips must be able to reach, or the answer is "not enough".
        permutations: How often to permute.
        resamples: Of the people.
        seed: Of both.
    """
    values = np.asarray(values, np.float64)
    nothing = np.zeros(values.shape[1])
    missing = np.isnan(values).all(axis=1)
    rows = ~(missing[pairs.fakes] | missing[pairs.reals])
    place = np.cumsum(rows) - 1  # of a row among those that are left
    folds = [(place[fit[rows[fit]]], place[test[rows[test]]]) for fit, test in pairs.folds]
    folds = [(fit, test) for fit, test in folds if len(fit) >= 2 and len(test)]
    fake, real = pairs.fakes[rows], pairs.reals[rows]
    used = np.unique(np.concatenate([fake, real]))
    usable = ~np.isnan(values[used]).any(axis=0) if len(used) else np.zeros(values.shape[1], bool)
    if not usable.any():
        return PairedTest(weights=nothing, reason="nothing could be measured of both sides of a pair", varies=False)
    scaled, moving = _scaled(values, pairs.blocks, used, usable)
    if len(folds) < 2:
        reason = pairs.reason or "too few pairs with people of their own"
        return PairedTest(weights=nothing, reason=reason, varies=bool(moving.any()))
    held = np.concatenate([test for _, test in folds])
    count = len({person for i in fake[held] for person in pairs.clips[i].people})
    # A blatant difference is matched by all labels turned round, and by what passes for perfect by chance among so
    # few: with 10 pairs 6 of 1024 arrangements did. 32 leaves room.
    least = max(1 / (1 + permutations), float(np.exp(min(0.0, log(32) - pairs.arrangements()))))
    lacking = ""
    if least > level:
        lacking = f"{len(fake)} pairs can be told apart by chance too easily"
    elif _best(count) > level:
        lacking = f"{count} people are too few"
    if not moving.any():
        return PairedTest(
            auc=0.5, alone=0.5, weights=nothing, tested=len(held), people=count, enough=not lacking, varies=False,
            reason=lacking or "the same in every pair",
        )  # fmt: skip

    rng = np.random.default_rng(seed)
    scaled = scaled[:, moving]
    step = max(1, _HELD // ((len(fake) + scaled.shape[1]) * scaled.shape[1]))
    chance: list[Array] = []
    observed = _held_out(scaled[None, fake] - scaled[None, real], folds)
    for start in range(0, permutations, step):
        orders = _permuted(pairs.blocks, used, min(step, permutations - start), rng)
        chance.append(_area(_held_out(scaled[orders[:, fake]] - scaled[orders[:, real]], folds)))
    found = float(_area(observed)[0])
    p = (1 + int((np.concatenate(chance) >= found - 1e-9).sum())) / (1 + permutations)

    people = [pairs.clips[i].people for i in fake[held]]
    if not lacking and found > 1 - 1e-9 and p > level:
        lacking = f"{len(fake)} pairs are told apart without an error, and even that may be chance"
    low, high, p_people = _over_people(observed[0], people, resamples=resamples, seed=seed)
    rule = np.zeros(len(nothing))
    every = np.clip(scaled[fake] - scaled[real], -_CUT, _CUT)
    rule[moving] = _fit(every[None])[0] * every.mean(0)
    return PairedTest(
        auc=found, low=low, high=high, p=max(p, p_people), alone=_alone(values[:, moving], fake, real, folds),
        weights=rule, tested=len(held), people=count, enough=not lacking, reason=lacking,
    )  # fmt: skip


def _scaled(values: Array, blocks: Index, used: Index, usable: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """Columns in units of their usual spread within blocks, and which columns have any; labels play no part."""
    about = np.full(values.shape, np.nan)
    for block in np.unique(blocks[used]):
        inside = used[blocks[used] == block]
        about[inside] = values[inside] - values[inside].mean(axis=0)
    about = about[used]
    size = np.abs(values[used]).max(axis=0, initial=0)
    spread = np.sqrt((about**2).mean(axis=0))
    moving = usable & (np.nan_to_num(spread) > 1e-6 * np.maximum(np.nan_to_num(size), 1e-3))
    usual = 3 * np.median(np.abs(about), axis=0)
    scale = np.where(usual > 0.05 * spread, usual, spread)
    scaled = values / np.where(moving, scale, 1)
    return scaled, moving


def _permuted(blocks: Index, used: Index, count: int, rng: np.random.Generator) -> Index:
    """(count, n) positions: within each block, whose numbers a clip is given."""
    orders = np.tile(np.arange(len(blocks)), (count, 1))
    for block in np.unique(blocks[used]):
        inside = used[blocks[used] == block]
        orders[:, inside] = rng.permuted(np.tile(inside, (count, 1)), axis=1)
    return orders


def _fit(rows: Array) -> Array:
    """(B, n, d) rows to (B, d) weights; with fewer rows than columns by as many equations as there are rows.

    (X'X / n + r I) w = X'1 / n is solved by w = X'a with (XX' / n + r I) a = 1 / n.
    """
    n, d = rows.shape[1:]
    spread = np.sqrt(rows.var(axis=1) + _SMALL)
    ready = rows / spread[:, None]
    if n < d:
        inner = ready @ np.swapaxes(ready, 1, 2) / n + RIDGE * np.eye(n)
        shares = _solved(inner, np.full((len(rows), n), 1 / n))
        return np.einsum("bn,bnd->bd", shares, ready) / spread
    inner = np.swapaxes(ready, 1, 2) @ ready / n + RIDGE * np.eye(d)
    return _solved(inner, ready.mean(axis=1)) / spread


def _solved(inner: Array, right: Array) -> Array:
    """(B, d, d) positive definite and (B, d) to (B, d), by elimination of all B at once.

    LAPACK, asked B times about a small matrix each, lets its threads wait for each other: seconds became minutes on a
    busy machine.
    """
    a, b = (np.moveaxis(values, 0, -1).copy() for values in (inner, right))  # B last: numpy's inner loop is over all B
    d = len(b)
    for k in range(d - 1):
        factor = a[k + 1 :, k] / a[k, k]
        a[k + 1 :, k + 1 :] -= factor[:, None] * a[k, k + 1 :]
        b[k + 1 :] -= factor * b[k]
    for k in range(d - 1, -1, -1):
        b[k] = (b[k] - (a[k, k + 1 :] * b[k + 1 :]).sum(axis=0)) / a[k, k]
    solved: Array = b.T
    return solved


def _held_out(rows: Array, folds: Sequence[tuple[Index, Index]]) -> Array:
    """(B, P, d) rows to (B, tested) scores, each by a rule fitted on others, in the folds' order."""
    rows = np.clip(rows, -_CUT, _CUT)
    return np.concatenate([np.einsum("btd,bd->bt", rows[:, test], _fit(rows[:, fit])) for fit, test in folds], axis=1)


def _area(scores: Array) -> Array:
    """(B, t) AUC of +score (fakes) against -score (reals), ties counting half.

    A fake of score s outranks a real of score -r where s + r > 0, whose sign is that of the larger in magnitude: a
    score with rank k in magnitude decides 2 k - 1 of the t^2 comparisons.
    """
    rounded = np.round(scores, 12)
    ranks = stats.rankdata(np.abs(rounded), axis=1)
    area: Array = 0.5 + (np.sign(rounded) * (2 * ranks - 1)).sum(axis=1) / (2 * scores.shape[1] ** 2)
    return area


def _over_people(
    scores: Array, people: Sequence[Sequence[str]], *, resamples: int, seed: int
) -> tuple[float | None, float | None, float]:
    """Interval of the AUC over people, and the p-value of its lying above 0.5."""
    count = len({person for clip in people for person in clip})
    if count < MIN_PEOPLE:
        return None, None, 1.0
    both = np.round(np.concatenate([scores, -scores]), 12)
    labels = np.concatenate([np.ones(len(scores)), np.zeros(len(scores))])
    row = np.tile(np.arange(len(scores)), 2)
    estimates, _ = intervals(
        lambda weights: {"auc": auc(curve(both, labels, weights[:, row]))},
        people,
        usable=lambda weights: weights.sum(1) > 0,
        limit_share=lambda _: 0.5,
        resamples=resamples,
        seed=seed,
    )
    found = estimates["auc"]
    if found.low is None or found.value is None:
        return None, None, 1.0
    return found.low, found.high, _above_half(found.value, found.low, count)


def _above_half(area: float, low: float, people: int) -> float:
    """p-value of an AUC's lying above 0.5, from the lower end of its 95 % interval."""
    t = stats.t(people - 1)
    return float(t.sf((area - 0.5) * t.ppf(0.975) / max(area - low, 1e-9)))


def _best(people: int) -> float:
    """The p-value of an AUC of 1, whose lower end is the exact limit: no failure in as many trials."""
    return _above_half(1.0, 1 - 0.5 * (1 - 0.05 ** (1 / people)), people) if people >= MIN_PEOPLE else 1.0


def _alone(values: Array, fake: Index, real: Index, folds: Sequence[tuple[Index, Index]]) -> float:
    """AUC of held-out clips by Fisher's discriminant of clips, not of pairs, as :func:`_fit` regularises it."""
    both = values[np.concatenate([fake, real])]
    x = np.clip((values - np.median(both, axis=0)) / np.maximum(both.std(axis=0), 1e-12), -_CUT, _CUT)
    scores, labels = [], []
    for fit, test in folds:
        sides = x[fake[fit]], x[real[fit]]
        middle = (sides[0].mean(0) + sides[1].mean(0)) / 2
        within = np.concatenate([side - side.mean(0) for side in sides])
        spread = np.sqrt(within.var(axis=0) + _SMALL)
        within = within / spread
        inner = np.einsum("ni,nj->ij", within, within) / len(within) + RIDGE * np.eye(x.shape[1])
        rule = _solved(inner[None], ((sides[0].mean(0) - sides[1].mean(0)) / spread)[None])[0] / spread
        scores += [(x[fake[test]] - middle) @ rule, (x[real[test]] - middle) @ rule]
        labels += [np.ones(len(test)), np.zeros(len(test))]
    return float(auc(curve(np.round(np.concatenate(scores), 12), np.concatenate(labels)))[0])


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    found, running = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        found[i] = running
    return found
