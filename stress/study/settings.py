"""How the study is done."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from faceswap_hq import files
from faceswap_hq.errors import UserError
from faceswap_hq.training.settings import from_dict
from stress.checks import require
from stress.evaluation.comparison import Bootstrap
from stress.evaluation.metrics import VIDEO_SCORES
from stress.training.settings import TrainSettings

PARTS = ("zero-shot", "few-shot", "heat-maps", "neurons")
APPROACHES = ("transfer", "merge")
MODES = ("faithful", "corrected")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """How the study is done; the training of :attr:`training` and :attr:`augmenting` is for two cores and minutes.

    Args:
        parts: Which of :data:`PARTS` are done.
        mode: ``"faithful"`` keeps what is odd in the published code, see :mod:`stress.study.units` and
            :mod:`stress.study.heat_maps`; ``"corrected"`` does not.
        as_published: Whether optimiser, learning rate and loss are each architecture's published ones
            (:data:`stress.study.architectures.PUBLISHED`), instead of those of ``training`` and ``augmenting`` with
            cross entropy.
        training: Of the detectors that are trained from nothing.
        augmenting: Of few-shot training. Its ``validation`` is 0: exactly the clips counted are learned from, and the
            last weights are kept. Mixed batches are multiples of 4.
        steps: Batches of new data (and as many of old) in an epoch of few-shot training, whatever the number of clips.
        approaches: ``transfer`` (the last layers are trained), ``merge`` (all).
        last: Weight layers that ``transfer`` trains, or None for those of each architecture.
        shots: Numbers of new fakes that are learned from, each with as many reals, rising.
        repeats: Few-shot trainings of each kind, each on clips chosen anew.
        heat_frames: Frames of each fake clip that heat maps are made of.
        samples: Most frames of a data set by which contributions of units are measured.
        values: Values that a unit is set to, at least 2.
        units_into: Module whose input are the units; None for each architecture's own.
        permutations: Exchanges of the data sets' names, and a fifth as many halvings, in the neuron study.
        random_sets: Sets of units drawn by chance for comparison.
        video_score: How a video's score is made of its frames', see :data:`stress.evaluation.metrics.VIDEO_SCORES`.
        resamples: Resamples of the people behind every interval, at least 100.
        confidence: Nominal coverage, in (0, 1).
        seed: Of the groups of people, the clips chosen, and everything drawn; trainings have seeds of their own.

    Raises:
        ValueError: A value is outside its range.
    """

    parts: tuple[str, ...] = PARTS
    mode: str = "corrected"
    as_published: bool = False
    training: TrainSettings = TrainSettings()
    augmenting: TrainSettings = TrainSettings(epochs=4, lr=3e-4, replay="alternating", validation=0.0)
    steps: int = 16
    approaches: tuple[str, ...] = APPROACHES
    last: int | None = None
    shots: tuple[int, ...] = (1, 2, 4, 8)
    repeats: int = 1
    heat_frames: int = 4
    samples: int = 1920
    values: int = 4
    units_into: str | None = None
    permutations: int = 100
    random_sets: int = 20
    video_score: str = "mean"
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "parts": len(self.parts) > 0 and set(self.parts) <= set(PARTS),
            "mode": self.mode in MODES,
            "augmenting": self.augmenting.validation == 0 and (
                self.augmenting.replay == "alternating" or self.augmenting.batch % 4 == 0
            ),
            "steps": self.steps >= 1,
            "approaches": len(self.approaches) > 0 and set(self.approaches) <= set(APPROACHES),
            "last": self.last is None or self.last >= 1,
            "shots": len(self.shots) > 0 and min(self.shots) >= 1 and list(self.shots) == sorted(set(self.shots)),
            "repeats": self.repeats >= 1,
            "heat_frames": self.heat_frames >= 1,
            "samples": self.samples >= 1,
            "values": self.values >= 2,
            "permutations": self.permutations >= 5,
            "random_sets": self.random_sets >= 1,
            "video_score": self.video_score in VIDEO_SCORES,
            "resamples": self.resamples >= 100,
            "confidence": 0 < self.confidence < 1,
            "seed": self.seed >= 0,
        }
        known = {"parts": PARTS, "mode": MODES, "approaches": APPROACHES, "video_score": VIDEO_SCORES}
        require(self, checks, known=known)

    @property
    def bootstrap(self) -> Bootstrap:
        """How intervals are made."""
        return Bootstrap(
            resamples=self.resamples, confidence=self.confidence, seed=self.seed, video_score=self.video_score
        )


def load_settings(name: str) -> StudySettings:
    """``reduced`` (the defaults), ``published``, or a YAML file, by path.

    Raises:
        UserError: There is none of this name, or the file is wrong.
    """
    if name == "reduced":
        return StudySettings()
    if name == "published":
        text = (resources.files("stress") / "study" / "published.yaml").read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    elif name.endswith((".yaml", ".yml")):
        values = files.read_yaml(Path(name))
    else:
        raise UserError(f"There are no settings {name!r}.", "Known: reduced, published, or a YAML file.")
    try:
        return from_dict(StudySettings, values, name)
    except ValueError as error:
        raise UserError(f"{name}: {error}.") from error
