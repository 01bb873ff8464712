"""What a curation is told; written to ``out/curation.yaml``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from faceswap_hq.curation.plan import HeldOut
from faceswap_hq.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CurateSettings:
    """Everything that shapes a curation, besides the footage, the thresholds and a model given."""

    pairs: str = "all"
    """``all``, a number, or ``A:B,C:D``."""
    seed: int = 0
    """Of the choice of pairs, the training and the rendering's noise."""
    preset: str = "fast"
    """Training's preset or YAML file."""
    steps: int | None = None
    """Steps of the first training; without ``steps`` and ``minutes`` the preset's minutes."""
    minutes: float | None = None
    """Minutes of the first training."""
    retrain_rounds: int = 1
    """How often those who failed are trained further and rendered again."""
    retrain_steps: int = 500
    """Steps of each such training."""
    blend: str = "best"
    """Blending preset or YAML file."""
    backend: str = "mediapipe"
    """Landmark backend."""
    masks: bool = True
    """Write the exact mask of every fake beside it (:mod:`faceswap_hq.masks`)."""
    held_out: HeldOut = field(default_factory=HeldOut)

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise UserError("Give either --minutes or --steps.")
        if (self.steps is not None and self.steps < 1) or (
            self.minutes is not None and not 0 < self.minutes < math.inf
        ):
            raise UserError("The budget must be positive.")
        if self.seed < 0 or self.retrain_rounds < 0 or self.retrain_steps < 1:
            raise UserError("seed and retrain_rounds must not be negative, retrain_steps be at least 1.")

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML types."""
        return asdict(self)
