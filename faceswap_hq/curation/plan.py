"""Which pairs are to be made, on which frames, and which of them cannot work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceswap_hq.curation.thresholds import DOUBTS, Limit
from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.faceset import FaceRow
from faceswap_hq.sampling import evenly

POSE_UNIT = 15.0
"""Degrees that count as one where poses are compared, as in training."""
POSE_REACH = 10.0
"""A pose this near to one of the source's, degrees, counts as seen."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Which part of a person's footage is kept from training, to be rendered on."""

    share: float = 0.3
    """The last so much of the clip; of a person with several clips the last clip instead."""
    gap: float = 0.5
    """Seconds before it that neither train nor are rendered: neighbouring frames are all but the same."""
    seconds: float = 10.0
    """Rendered at most."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError("The held-out share lies between 0 and 1.")
        if not (0 <= self.gap < math.inf and 0 < self.seconds < math.inf):
            raise UserError("gap must not be negative, seconds must be positive.")

    def split(self, frames: int, rate: float) -> tuple[int, int, int]:
        """Where a single clip is cut.

        Args:
            frames: Of the clip.
            rate: Frames per second.

        Returns:
            Frames below the first number train; those from the second up to the third (not included) are rendered.
        """
        start = min(max(round(frames * (1 - self.share)), 1), frames - 1)
        gap = min(round(self.gap * rate), start // 10)  # of a very short clip not all
        return start - gap, start, min(frames, start + max(1, round(self.seconds * rate)))


@dataclass(frozen=True, kw_only=True)
class Person:
    """What the plan knows of one person."""

    name: str
    training: tuple[FaceRow, ...]
    """Faces that the person's decoder learns from."""
    held_out: tuple[FaceRow, ...]
    """Usable faces in the frames to be rendered on."""
    frames: tuple[int, int] | None
    """Frames to be rendered on; None for somebody without a clip, who can only be a source."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One planned fake."""

    source: str
    target: str
    known: dict[str, float]
    """What can be said beforehand, by the names in :data:`~faceswap_hq.curation.thresholds.DOUBTS`."""
    doubts: tuple[str, ...]
    """Why it may turn out badly."""
    left_out: tuple[str, ...]
    """Why it is not rendered at all; empty if it is."""


def pose_coverage(target: np.ndarray, source: np.ndarray) -> float:
    """Share of the target's head poses near one that the source was seen in.

    The target's poses are first turned as rendering turns them (:func:`faceswap_hq.faces.expression.meeting_point`).

    Args:
        target: (N, 2) yaw and pitch, degrees.
        source: (M, 2) of the source's training faces.

    Returns:
        0 to 1; 0 where one of them has no faces.
    """
    if not len(target) or not len(source):
        return 0.0
    turned = target + POSE_UNIT * expression.meeting_point(target / POSE_UNIT, source / POSE_UNIT)
    some = source[evenly(len(source), 2000)]
    nearest = np.sqrt(((turned[:, None] - some[None]) ** 2).sum(2)).min(1)
    return float(np.mean(nearest <= POSE_REACH))


def _poses(rows: Sequence[FaceRow]) -> np.ndarray:
    return np.array([(row.yaw, row.pitch) for row in rows], np.float64).reshape(-1, 2)


def _height(rows: Sequence[FaceRow]) -> float:
    return float(np.median([row.size for row in rows])) if rows else 0.0


def examine(source: Person, target: Person, limits: dict[str, Limit]) -> Pair:
    """What can be said of a pair before anything is trained.

    Glasses, beards and hair are not looked for: nothing here tells them reliably. The scores of the finished fake do.

    Args:
        source: Whose face is put in.
        target: Onto whom; has ``frames``.
        limits: What counts as too little.
    """
    if target.frames is None:
        raise ValueError(f"{target.name} has no frames to be rendered on.")
    count = target.frames[1] - target.frames[0]
    height = _height(target.held_out)
    known = {
        "poses": pose_coverage(_poses(target.held_out), _poses(source.training)),
        "seen": len(target.held_out) / count,
        "detail": _height(source.training) / height if height else 0.0,
        "faces": float(len(source.training)),
    }
    doubts, impossible = [], []
    for name, limit in limits.items():
        if known[name] < limit.leave_out:
            impossible.append(f"{DOUBTS[name]}: {known[name]:.3g}, below {limit.leave_out:g}")
        elif known[name] < limit.doubt:
            doubts.append(f"{DOUBTS[name]}: {known[name]:.3g}, below {limit.doubt:g}")
    return Pair(
        source=source.name, target=target.name, known={key: round(value, 4) for key, value in known.items()},
        doubts=tuple(doubts), left_out=tuple(impossible),
    )  # fmt: skip


def ordered_pairs(names: Sequence[str], targets: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """All (source, target), :func:`around` a circle onto which the people are shuffled.

    Args:
        names: Everybody.
        targets: Those who can be targets.
        seed: Of the shuffle.
    """
    circle = [sorted(names)[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return [(source, target) for source, target in around(circle) if target in targets]


def around(circle: Sequence[str]) -> list[tuple[str, str]]:
    """All (source, target), in an order of which every beginning treats everybody alike.

    First everybody is put onto their neighbour, then onto the next but one, ...

    Args:
        circle: Everybody.
    """
    steps = range(1, len(circle))
    return [(person, circle[(i + step) % len(circle)]) for step in steps for i, person in enumerate(circle)]


def chosen_pairs(wanted: str, names: Sequence[str], targets: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """The pairs that ``--pairs`` asks for.

    Args:
        wanted: ``all``, a number, or ``A:B,C:D`` (A's face onto B).
        names: Everybody.
        targets: Those who can be targets.
        seed: Says which pairs a number means.

    Raises:
        UserError: If it is none of these, or names somebody unknown or without a clip.
    """
    everything = ordered_pairs(names, targets, seed)
    if wanted == "all":
        return everything
    if wanted.isdecimal():
        if int(wanted) < 1:
            raise UserError("--pairs counts from 1.")
        return everything[: int(wanted)]
    asked = [tuple(part.strip() for part in item.split(":")) for item in wanted.split(",")]
    for item in asked:
        if len(item) != 2:
            raise UserError(f"--pairs {wanted} is no choice of pairs.", "all, a number, or A:B,C:D (A's face onto B).")
        if item not in everything:
            known = ", ".join(sorted(names))
            raise UserError(f"--pairs: {item[0]} cannot be put onto {item[1]}.", f"People with a clip: {known}.")
    return list(dict.fromkeys((item[0], item[1]) for item in asked))
