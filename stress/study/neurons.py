"""The neuron study of one network: contributions on every data set, what the lists share, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from faceswap_hq.errors import UserError
from stress.data.crops import Crops, evenly_spaced
from stress.data.layouts import FAKE, REAL
from stress.detectors.detector import Detector
from stress.evaluation.metrics import Array
from stress.evaluation.statistics import intervals
from stress.study import overlap
from stress.study.ablation import ablation
from stress.study.contributions import Head, contributions
from stress.study.models import untrained
from stress.study.resampled import Resampled, room
from stress.study.settings import StudySettings
from stress.study.units import CutNetwork

_NOISE = 256  # pictures
_AT_ONCE = 20  # resamples


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Units' values on frames of clips of several data sets.

    Args:
        head: Behind the units.
        hidden: (n, units).
        clip: (n,) number of each frame's clip, counted from 0 without gaps, rising.
        frame: (n,) frame numbers.
        clips: The clips.
        dataset: (clips,) number of each clip's data set.
        names: Of the data sets.
    """

    head: Head
    hidden: torch.Tensor
    clip: NDArray[np.int64]
    frame: NDArray[np.int64]
    clips: Sequence[Crops]
    dataset: NDArray[np.int64]
    names: Sequence[str]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(clips,) 1 = fake."""
        return np.array([item.clip.label for item in self.clips])

    @property
    def cells(self) -> list[tuple[int, tuple[str, ...]]]:
        """(clips,) label and people of each clip."""
        return [(item.clip.label, item.clip.people) for item in self.clips]

    def rows(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the frames of some clips."""
        return np.flatnonzero(np.isin(self.clip, clips))


def sample(cut: CutNetwork, asked: Mapping[str, Sequence[Crops]], limit: int, values: int) -> Samples:
    """Run the first part of a network on the frames of every data set, thinned evenly.

    Memory is bounded. Units' values are ``limit`` x units float32 numbers a data set at most. Clips of a data set are
    ``limit`` at most, and no more than :func:`stress.study.resampled.room` has place for, each being in two groups
    (all, and fakes or reals): with 2048 units, 4 values and five data sets, 689. What is left out is spread evenly over
    people and labels, alike in data sets of the same clips; but one fake and one real stay, whatever the bounds.

    Args:
        cut: The network.
        asked: Data set -> clips.
        limit: Most frames of a data set.
        values: That each unit is to be set to.
    """
    units = cut.hidden(next(item for crops in asked.values() for item in crops).images[:1]).shape[1]
    most = min(limit, room(units, values) // (2 * len(asked)))
    hidden: list[torch.Tensor] = []
    clips: list[Crops] = []
    clip, frame, dataset = [], [], []
    for number, crops in enumerate(asked.values()):
        kept = _thinned(crops, most)
        most_frames = max(limit, len(kept))
        every = next(k for k in count_from(1) if sum(-(-len(item.frames) // k) for item in kept) <= most_frames)
        for item in kept:
            hidden.append(cut.hidden(item.images[::every]))
            clip += [len(clips)] * len(hidden[-1])
            frame += item.frames[::every].tolist()
            clips.append(item)
            dataset.append(number)
    joined = torch.cat(hidden)
    head = Head(logit=cut.logit, affine=cut.affine(joined))
    return Samples(
        head=head, hidden=joined, clip=np.array(clip), frame=np.array(frame), clips=clips, dataset=np.array(dataset),
        names=list(asked),
    )  # fmt: skip


def _thinned(crops: Sequence[Crops], most: int) -> list[Crops]:
    """At most so many clips (but one of each label), of each label evenly spaced by people, in the order given."""
    kept: list[int] = []
    for label in (FAKE, REAL):
        mine = [i for i, item in enumerate(crops) if item.clip.label == label]
        mine.sort(key=lambda i: crops[i].clip.people)
        share = max(1, most * len(mine) // len(crops))
        kept += [mine[j] for j in evenly_spaced(len(mine), share)]
    return [crops[i] for i in sorted(kept)]


def neuron_study(
    detector: Detector,
    asked: Mapping[str, Sequence[Crops]],
    settings: StudySettings,
    units_into: str | None,
    advance: Callable[..., None] = lambda *_, **__: None,
) -> dict[str, Any]:
    """Everything about the units of one network.

    Args:
        detector: The network.
        asked: Data set -> clips of people it did not learn from; two or more data sets.
        settings: Of the study.
        units_into: Module whose input are the units; None for the last dense layer.
        advance: Called as the work goes on.

    Returns:
        JSON-able; docs/formats.md describes it.

    Raises:
        UserError: The network cannot be cut in two, or there is one data set only.
    """
    if len(asked) < 2:
        raise UserError("Contributions of units are compared between data sets; there is one only.")
    cut = CutNetwork(detector, units_into)
    found = sample(cut, asked, settings.samples, settings.values)
    n, count = found.hidden.shape[1], found.hidden.shape[1] // 2
    generator = np.random.default_rng([settings.seed, 4])
    number = len(asked)
    if count == 0:
        raise UserError(f"{detector.name} has {n} unit; contributions are compared between units.")
    orders = [generator.permutation(n) for _ in range(3 * number + 1)]

    def amounts(clips: NDArray[np.int64]) -> np.ndarray:
        return contributions(
            found.head, found.hidden[found.rows(clips)], values=settings.values, mode=settings.mode
        )

    def lists_of(sets: Sequence[NDArray[np.int64]]) -> overlap.Bools:
        return np.stack([overlap.top(amounts(one), count, orders[i]) for i, one in enumerate(sets)])

    sets = [np.flatnonzero(found.dataset == d) for d in range(number)]
    each = np.stack([amounts(one) for one in sets])
    lists = np.stack([overlap.top(one, count, orders[d]) for d, one in enumerate(each)])
    advance()
    universal = lists.all(0)
    times = np.bincount(lists.sum(0), minlength=number + 1)
    groups = _groups(found)
    noise = overlap.top(_noise(cut, found.head, settings), count, orders[-1])
    pairs, drawn = _intervals(found, groups, noise, count, orders, settings)
    advance()
    exchange = overlap.exchanged(
        lists_of, found.dataset, found.cells, draws=settings.permutations, generator=generator, advance=advance
    )
    halved = overlap.halves(
        lists_of, found.dataset, found.cells, draws=max(1, settings.permutations // 5), generator=generator
    )
    return {
        "units_into": cut.units_into,
        "units": n,
        "listed": count,
        "weighted_sum": found.head.affine is not None,
        "datasets": list(asked),
        "n": [_counts(found, one) for one in sets],
        "silent": [int((one <= 0).sum()) for one in each],
        "contributions": each.round(9).tolist(),
        "times_listed": times.tolist(),
        "universal": {"count": int(universal.sum()), "share": pairs.pop("universal")},
        "chance": overlap.against_chance(int(universal.sum()), n, count, number, settings.confidence),
        "exchanged": exchange,
        "halves": halved,
        "shared": pairs,
        "resampling": drawn,
        "untrained": _untrained(detector, asked, settings, cut.units_into, count, orders),
        "general": _general(found, each, universal, count, orders[-1]),
        "matrix": _matrix(found, groups, noise, count, orders, amounts),
        "ablation": ablation(found, each, universal, settings),
    }


def _groups(found: Samples) -> dict[tuple[str, int], NDArray[np.int64]]:
    """All clips, fakes, and reals of every data set."""
    label = found.labels
    kinds = {"all": label >= 0, "fakes": label == FAKE, "reals": label == REAL}
    return {
        (kind, d): np.flatnonzero(chosen & (found.dataset == d))
        for kind, chosen in kinds.items()
        for d in range(len(found.names))
    }


def _noise(cut: CutNetwork, head: Head, settings: StudySettings) -> np.ndarray:
    """Contributions on pictures of noise, in which there is neither face nor forgery."""
    side = cut.detector.card.input_size
    pictures = np.random.default_rng([settings.seed, 5]).integers(0, 256, (_NOISE, side, side, 3), np.uint8)
    return contributions(head, cut.hidden(pictures), values=settings.values, mode=settings.mode)


def _intervals(
    found: Samples,
    groups: Mapping[tuple[str, int], NDArray[np.int64]],
    noise: overlap.Bools,
    count: int,
    orders: Sequence[np.ndarray],
    settings: StudySettings,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Share of units that are universal, and what lists share, with intervals over people.

    A resample shows fewer different people, which makes lists noisier: the intervals lean towards less overlap.
    """
    parts = {
        name: Resampled(
            found.head, found.hidden[rows], np.searchsorted(clips, found.clip[rows]),
            values=settings.values, mode=settings.mode,
        )
        for name, clips in groups.items()
        for rows in (found.rows(clips),)
    }  # fmt: skip
    number = len(found.names)

    def lists(weights: Array) -> dict[tuple[str, int], overlap.Bools]:
        return {
            name: overlap.top(parts[name].amounts(weights[:, clips]), count, orders[i])
            for i, (name, clips) in enumerate(groups.items())
        }

    def statistic(weights: Array) -> dict[str, Array]:
        rows = []
        for i in range(0, len(weights), _AT_ONCE):
            made = lists(weights[i : i + _AT_ONCE])
            whole, fakes, reals = ([made[kind, d] for d in range(number)] for kind in ("all", "fakes", "reals"))
            rows.append(
                {
                    "universal": np.mean(np.logical_and.reduce(whole), axis=1),
                    "datasets": overlap.mean_shared(whole),
                    "fakes": overlap.mean_shared(fakes),
                    "fakes_and_reals": overlap.mean_shared(fakes, reals),
                    "fakes_and_noise": overlap.mean_shared(fakes, [np.broadcast_to(noise, fakes[0].shape)]),
                }
            )
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def usable(weights: Array) -> Any:
        return np.logical_and.reduce([weights[:, clips].sum(1) > 0 for clips in groups.values()])

    estimates, drawn = intervals(
        statistic, [item.clip.people for item in found.clips], usable=usable, resamples=settings.resamples,
        confidence=settings.confidence, seed=settings.seed,
    )  # fmt: skip
    return {name: estimate.as_dict() for name, estimate in estimates.items()}, drawn


def _untrained(
    detector: Detector,
    asked: Mapping[str, Sequence[Crops]],
    settings: StudySettings,
    units_into: str,
    count: int,
    orders: Sequence[np.ndarray],
) -> int | None:
    """Universal units of the same architecture with random weights; None where it cannot be made."""
    try:
        start = untrained(detector.card.architecture, seed=settings.seed, device=str(detector.device),
                          input_size=detector.card.input_size)  # fmt: skip
        found = sample(CutNetwork(start, units_into), asked, settings.samples, settings.values)
    except UserError:
        return None
    if found.hidden.shape[1] < count:
        return None
    lists = [
        overlap.top(
            contributions(found.head, found.hidden[found.rows(np.flatnonzero(found.dataset == d))],
                          values=settings.values, mode=settings.mode),
            count, orders[d],
        )
        for d in range(len(asked))
    ]  # fmt: skip
    return int(np.logical_and.reduce(lists).sum())


def _general(
    found: Samples, each: np.ndarray, universal: overlap.Bools, count: int, order: np.ndarray
) -> dict[str, float] | None:
    """How well a unit's outgoing weight and its range over all data say what it contributes, without any data set."""
    if found.head.affine is None:
        return None
    size = found.head.affine[0].abs().cpu().numpy() * np.ptp(found.hidden.cpu().numpy(), axis=0)
    largest = overlap.top(size, count, order)
    known = bool(np.ptp(size) > 0 and np.ptp(each.mean(0)) > 0)
    return {
        "rank_correlation": float(spearmanr(size, each.mean(0)).statistic) if known else 0.0,
        "universal_among_largest": float((largest & universal).sum() / max(1, universal.sum())),
    }


def _matrix(
    found: Samples,
    groups: Mapping[tuple[str, int], NDArray[np.int64]],
    noise: overlap.Bools,
    count: int,
    orders: Sequence[np.ndarray],
    amounts: Callable[[NDArray[np.int64]], np.ndarray],
) -> dict[str, Any]:
    """Share that the lists on fakes, on reals and on noise have in common, each with each."""
    names = [f"{kind} of {found.names[d]}" for kind, d in groups if kind != "all"]
    order = dict(zip(groups, orders, strict=False))
    lists = [overlap.top(amounts(clips), count, order[key]) for key, clips in groups.items() if key[0] != "all"]
    table = [[round(float(overlap.shared(a, b)), 4) for b in (*lists, noise)] for a in (*lists, noise)]
    return {"names": [*names, "noise"], "shared": table}


def _counts(found: Samples, clips: NDArray[np.int64]) -> dict[str, int]:
    people = {person for i in clips for person in found.clips[i].clip.people}
    return {"clips": len(clips), "frames": len(found.rows(clips)), "people": len(people)}
