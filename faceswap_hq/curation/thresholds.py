"""What a fake must reach, why one is rejected, and the score by which fakes are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError

VERSION = 1
WORDS = {
    "swapped": "share of frames swapped",
    "tracked": "share of the target's faces found again in the fake",
    "identity": "likeness to the source, of the source's own",
    "nearer": "share of frames nearer to the source than to the target",
    "features": "likeness of eyes and brows to the source's own",
    "mouth": "agreement of the mouth with the target's",
    "eyes": "agreement of the eyes with the target's",
    "pose": "head movement unlike the target's, degrees",
    "turn": "head turned away from the target's pose, degrees",
    "seam": "seam round the face, gray levels",
    "sharpness": "sharpness, of the target's",
    "flicker": "flicker, of the target's",
    "jitter": "jitter, of the target's",
}
"""What is measured of a fake, in words."""
DOUBTS = {
    "poses": "share of the target's head poses that the source was seen in",
    "seen": "share of the target's frames that show a usable face",
    "detail": "height of the source's face in its footage, of the target's",
    "faces": "faces of the source to train with",
}
"""What is known of a pair before it is rendered, in words."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """Bounds of one number, and what is best."""

    best: float
    min: float | None = None
    max: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        numbers = [value for value in (self.best, self.min, self.max, self.weight) if value is not None]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            raise ValueError("min, max, best and weight are numbers")
        if self.min is None and self.max is None:
            raise ValueError("it needs min, max or both")
        if self.weight < 0:
            raise ValueError("weight must not be negative")
        low, high = -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max
        if not low < self.best < high:
            raise ValueError("best must lie between min and max")

    def quality(self, value: float) -> float:
        """1 at ``best`` and beyond what no bound limits, 0 at a bound, negative past it, at least -1."""
        bound = self.min if value < self.best else self.max
        if bound is None:
            return 1.0
        return max(-1.0, (value - bound) / (self.best - bound))

    def failure(self, value: float) -> str | None:
        """``below 0.65`` or ``above 2.5``, or None within the bounds."""
        if self.min is not None and value < self.min:
            return f"below {self.min:g}"
        if self.max is not None and value > self.max:
            return f"above {self.max:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a number known of a pair beforehand must reach: below ``leave_out`` the pair is not rendered."""

    leave_out: float
    doubt: float

    def __post_init__(self) -> None:
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in (self.leave_out, self.doubt)):
            raise ValueError("leave_out and doubt are numbers")
        if self.leave_out > self.doubt:
            raise ValueError("leave_out must not lie above doubt")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """All criteria: of finished fakes, and of pairs beforehand."""

    fake: Mapping[str, Criterion]
    plan: Mapping[str, Limit]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as in the YAML file."""
        fake = {name: _without_none(asdict(value)) for name, value in self.fake.items()}
        return {"version": VERSION, "fake": fake, "plan": {name: asdict(value) for name, value in self.plan.items()}}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def read_thresholds(path: Path | None = None) -> Thresholds:
    """Read a thresholds file, or the one that comes with the package.

    Raises:
        UserError: If it cannot be read, is of a newer version, or holds something that is no criterion.
    """
    if path is None:
        text = (resources.files("faceswap_hq.curation") / "thresholds.yaml").read_text(encoding="utf-8")
        return _thresholds(yaml.safe_load(text), "thresholds.yaml")
    return _thresholds(files.read_yaml(path), str(path))


def _thresholds(values: Any, where: str) -> Thresholds:
    if not isinstance(values, dict) or not set(values) <= {"version", "fake", "plan"}:
        raise UserError(f"{where}: expected version, fake and plan.", "Begin with a copy of the package's own.")
    if (version := values.get("version")) != VERSION:
        raise UserError(f"{where} has version {version!r}; this toolkit reads version {VERSION}.")
    return Thresholds(
        fake=_section(values.get("fake") or {}, Criterion, WORDS, f"{where}: fake"),
        plan=_section(values.get("plan") or {}, Limit, DOUBTS, f"{where}: plan"),
    )


def _section(values: Any, kind: Any, known: Mapping[str, str], where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise UserError(f"{where} is no table.")
    out = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{where}: there is no {name!r} to test.", f"Known: {', '.join(known)}.")
        try:
            out[name] = kind(**value)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: {name}: {error}.") from None
    return out


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the thresholds say of one fake."""

    accepted: bool
    reasons: tuple[str, ...]
    """Why not: a sentence for every criterion that is not met."""
    score: float | None
    """Weighted mean of :meth:`Criterion.quality` over what was measured, -1 to 1; None where nothing was."""
    unmeasured: tuple[str, ...]
    """Criteria that could not be tested."""


def judge(values: Mapping[str, float | None], thresholds: Thresholds) -> Verdict:
    """Hold a fake's numbers against the thresholds.

    Args:
        values: Name of a criterion ► number, or None where it could not be measured. Such a criterion rejects nobody;
            ``swapped`` and ``tracked`` always can be.
        thresholds: What is wanted.
    """
    reasons, missing = [], []
    total = weights = 0.0
    for name, criterion in thresholds.fake.items():
        value = values.get(name)
        if value is None:
            missing.append(name)
            continue
        if (failure := criterion.failure(value)) is not None:
            reasons.append(f"{WORDS[name]}: {value:.3g}, {failure}")
        total += criterion.weight * criterion.quality(value)
        weights += criterion.weight
    score = round(total / weights, 4) if weights else None
    return Verdict(accepted=not reasons, reasons=tuple(reasons), score=score, unmeasured=tuple(missing))
