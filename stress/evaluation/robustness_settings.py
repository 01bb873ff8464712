"""How robustness is measured."""

from __future__ import annotations

from dataclasses import dataclass

from stress.checks import require
from stress.evaluation.metrics import VIDEO_SCORES
from stress.evaluation.perturbations import MODES
from stress.evaluation.perturbed_crops import FACES


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings:
    """How robustness is measured.

    Args:
        mode: ``"faithful"`` or ``"corrected"``, the form of the published perturbations; for the record, the
            perturbations themselves are given.
        faces: ``"clean"``: where the untouched clip has them; ``"again"``: looked for in the perturbed frames.
        frames_per_clip: Frames looked at, spread over each clip, at least 1.
        video_score: How a video's score is made of its frames', see :data:`stress.evaluation.metrics.VIDEO_SCORES`.
        resamples: Resamples of the people behind every interval, at least 100.
        confidence: Nominal coverage, in (0, 1).
        seed: Of the perturbations and the intervals, at least 0.
    """

    mode: str = "corrected"
    faces: str = "clean"
    frames_per_clip: int = 16
    video_score: str = "mean"
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "mode": self.mode in MODES,
            "faces": self.faces in FACES,
            "frames_per_clip": self.frames_per_clip >= 1,
            "video_score": self.video_score in VIDEO_SCORES,
            "resamples": self.resamples >= 100,
            "confidence": 0 < self.confidence < 1,
            "seed": self.seed >= 0,
        }
        known = {"mode": MODES, "faces": FACES, "video_score": VIDEO_SCORES}
        require(self, checks, otherwise="is out of range", known=known)
