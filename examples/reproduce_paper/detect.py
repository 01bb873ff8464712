"""Detectors: trained on crude fakes, asked, fine-tuned on a few good ones, asked again."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reproduce_paper.data import EXTERNAL, REALS, Faces, within
from reproduce_paper.plan import Settings
from stress.data.crops import Crops
from stress.data.frames import content_hash
from stress.detectors import Detector, load_detector, require_trainable, save_detector
from stress.evaluation.metrics import youden_threshold
from stress.evaluation.out_of_fold import score_clips
from stress.evaluation.store import FoldStore
from stress.results import version_of
from stress.study.augmentation import StudyRecipe, choose
from stress.study.models import untrained
from stress.training.loop import train
from stress.training.settings import TrainSettings

Step = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A detector of the experiment: an architecture trained here, or a published file."""

    name: str
    file: Path | None = None

    @property
    def trained_here(self) -> bool:
        """Whether it learns the crude fakes here."""
        return self.file is None


def contenders(settings: Settings) -> list[Contender]:
    """All of them."""
    published = [Contender(name=path.stem, file=path) for path in settings.detectors]
    return [Contender(name=name) for name in settings.archs] + published


def check(found: Sequence[Contender], size: int | None = None) -> None:
    """Refuse, before any work is done, published files that cannot be read or fine-tuned, and unfit architectures.

    Args:
        found: All detectors.
        size: Side of the faces that architectures are to take.

    Raises:
        UserError: If there is one.
    """
    for contender in found:
        if contender.file is not None:
            require_trainable(load_detector(contender.file))
        else:
            untrained(contender.name, seed=0, device="cpu", input_size=size)


def calibrated(detector: Detector, learned: Sequence[Crops]) -> Detector:
    """The detector with the threshold of the highest Youden index on the videos of people that it learned from.

    Args:
        detector: Is not changed.
        learned: Fakes and reals; nobody of them is tested.
    """
    scores = [float(detector.fake_probability(item.images).mean()) for item in learned]
    threshold = youden_threshold(np.array(scores), np.array([item.clip.label for item in learned]))
    card = dataclasses.replace(
        detector.card, threshold=threshold, threshold_source="highest Youden index on the training people's videos"
    )
    return Detector(card=card, module=detector.module, name=detector.name)


def asked(faces: Mapping[str, Sequence[Crops]], people: frozenset[str]) -> dict[str, list[Crops]]:
    """What a fold's detectors are asked about: every group's clips of people tested, and all of another team's."""
    return {name: list(items) if name == EXTERNAL else within(items, people) for name, items in faces.items()}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where detectors are made and asked; whatever was made before is used again.

    Args:
        faces: Of all groups.
        folds: People tested in turn.
        settings: Of everything.
        counts: Name ► good fakes to learn from.
        work: Folder of detectors and scores.
        failures: Gets ``what`` and ``reason`` of what went wrong.
    """

    faces: Faces
    folds: Sequence[frozenset[str]]
    settings: Settings
    counts: Mapping[str, int]
    work: Path
    failures: list[dict[str, str]]

    def run(self, contender: Contender, advance: Step) -> Iterator[pd.DataFrame]:
        """Scores of one contender in all folds, with all seeds and counts: columns of :func:`score_clips`, ``count``.

        A published detector is the same with all seeds before fine-tuning and is asked once.
        """
        for number, people in enumerate(self.folds):
            for seed in range(self.settings.seeds):
                base, learned = self._base(contender, number, people, seed, advance)
                for name, count in self.counts.items():
                    if count == 0 and seed and not contender.trained_here:
                        continue
                    yield self._scores(base, learned, people, number, seed, count, advance).assign(
                        seed=seed, count=name
                    )

    @functools.cached_property
    def _store(self) -> FoldStore:
        return FoldStore(self.work / "scores")

    def jobs(self, contender: Contender) -> int:
        """How many trainings and fine-tunings :meth:`run` takes."""
        each = sum(count > 0 for count in self.counts.values()) + contender.trained_here
        return len(self.folds) * self.settings.seeds * each

    def _others(self, people: frozenset[str]) -> frozenset[str]:
        return frozenset().union(*self.folds) - people

    def _base(
        self, contender: Contender, number: int, people: frozenset[str], seed: int, advance: Step
    ) -> tuple[Detector, list[Crops]]:
        """The detector that knows crude fakes of people who are not tested, and what it learned, or would have."""
        settings = self.settings
        if contender.file is not None:
            detector = load_detector(contender.file)
            faces = self.faces.of(detector.card)
            learned = within([*faces[REALS], *faces["crude"]], self._others(people))
            return calibrated(detector, learned), learned
        fresh = untrained(contender.name, seed=settings.seed + seed, device="auto", input_size=settings.size)
        faces = self.faces.of(fresh.card)
        learned = within([*faces[REALS], *faces["crude"]], self._others(people))
        how = TrainSettings(
            epochs=settings.epochs, batch=settings.batch, lr=settings.lr, validation=0.0, seed=settings.seed + seed
        )
        told = [repr(how), repr(fresh.card), self.faces.frames, version_of("torch"), version_of("timm")]
        hashes = sorted(content_hash(item.clip) for item in learned)
        digest = hashlib.sha256(json.dumps([told, hashes]).encode()).hexdigest()[:12]
        path = self.work / "detectors" / f"{contender.name}-fold{number}-seed{seed}-{digest}.safetensors"
        note = f"{contender.name}, fold {number + 1}, seed {seed}"
        if not path.exists():
            reals, fakes = ([item for item in learned if item.clip.label == label] for label in (0, 1))
            save_detector(
                train(fresh, reals, fakes, how, progress=lambda **_: advance(0, note=note)), path
            )
        advance(1, note=note)
        return calibrated(load_detector(path), learned), learned

    def _scores(
        self, base: Detector, learned: Sequence[Crops], people: frozenset[str], number: int, seed: int, count: int,
        advance: Step,
    ) -> pd.DataFrame:  # fmt: skip
        """Scores of the base detector, or of it fine-tuned on ``count`` good fakes."""
        settings, faces = self.settings, self.faces.of(base.card)
        questions = asked(faces, people)
        new = within([*faces[REALS], *faces["good"]], self._others(people))
        chosen = choose(new, count, settings.seed + seed, even=True) if count else []
        how = TrainSettings(
            epochs=1, batch=settings.batch, lr=settings.tune_lr, layers=settings.strategy.layers, validation=0.0,
            seed=settings.seed + seed,
        )  # fmt: skip
        recipe = StudyRecipe(steps=settings.tune_steps)
        replay = list(learned) if settings.strategy.replay else []
        store = self._store
        name = f"{settings.strategy.name} {recipe.describe()}" if count else "before"
        key = store.key(base, how if count else None, name, number, [*chosen, *replay] if count else learned, questions)
        kept = store.get(key)
        if kept is None:
            detector = base
            if count:
                reals, fakes = ([item for item in chosen if item.clip.label == label] for label in (0, 1))
                note = f"fold {number + 1}, seed {seed}, {len(fakes)} good fakes"
                detector = train(
                    base, reals, fakes, how, recipe=recipe, replay=replay,
                    progress=lambda **_: advance(0, note=note),
                )  # fmt: skip
                detector = calibrated(detector, [*chosen, *learned])
            failed = len(self.failures)
            tables = [
                score_clips(detector, items, group=group, fold=number, failures=self.failures)
                for group, items in questions.items()
            ]
            table = pd.concat([part for part in tables if len(part)], ignore_index=True)
            report = {"fold": number, "seed": seed, "threshold": detector.card.threshold}
            if len(self.failures) == failed:
                store.put(key, table, report)
            kept = table, report
        if count:
            advance(1)
        return kept[0]
