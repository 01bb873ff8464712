"""Scores of untouched and perturbed clips, one clip at one level at a time, by every detector that may score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from faceswap_hq.errors import UserError
from stress.data.crops import Excluded
from stress.data.frames import content_hash
from stress.data.layouts import Clip
from stress.evaluation.panel import Panel, fingerprint
from stress.evaluation.perturbations import ClipKey, Perturbation
from stress.evaluation.perturbed_crops import AFTER, BEFORE, Detect, Looked, look, perturbed_crops
from stress.evaluation.robustness_figures import Scored
from stress.evaluation.robustness_settings import RobustnessSettings
from stress.evaluation.score_store import ScoreStore, key_of
from stress.results import version_of

_VERSION = 1  # of what is kept between runs


class _Asked(NamedTuple):
    """A score that is wanted: its key, where it is kept, and who gives it."""

    key: str
    store: ScoreStore
    panel: int
    detector: int


class PerturbedScores:
    """The scores so far, and how a clip's are added."""

    def __init__(
        self,
        panels: Sequence[Panel],
        perturbations: Sequence[Perturbation],
        settings: RobustnessSettings,
        store: ScoreStore,
    ) -> None:
        self.panels, self.settings, self.store = panels, settings, store
        self.jobs: list[Perturbation | None] = [None, *perturbations]
        self.scored: list[Scored] = []
        self.excluded: list[Excluded] = []
        self.failures: list[dict[str, str]] = []
        self.computed = 0
        self._this_run = ScoreStore()
        self._hashes = [panel.hashes or [fingerprint(detector) for detector in panel.detectors] for panel in panels]
        self._versions = {name: version_of(name) for name in ("av", "mediapipe", "numpy")} | {"cv2": cv2.__version__}

    def score(self, clip: Clip, detect: Detect, advance: Callable[..., None]) -> None:
        """Score a clip untouched and perturbed, as far as an earlier run has not."""
        looked: Looked | None = None
        askers = list(self._askers(clip))
        done = 0
        try:
            content = content_hash(clip)
            for job in self.jobs if askers else ():
                facts = self._facts(clip, content, job)
                asked = [_Asked(key_of(facts | known), store, *place) for place, known, store in askers]
                missing = [each for each in asked if each.key not in each.store]
                if missing:
                    looked = looked or look(clip, self.settings.frames_per_clip, detect)
                    self._ask(looked, job, missing, detect)
                values = [each.store.get(each.key) for each in asked]
                if job is None and all(value is not None and not value["frames"] for value in values):
                    raise UserError("no face found in the frames looked at")
                for each, value in zip(asked, values, strict=True):
                    if value is not None:
                        self._note(clip, each, job, value)
                done += 1
                advance()
        except (UserError, FileNotFoundError, PermissionError) as error:
            self.scored = [item for item in self.scored if item.clip is not clip]
            self.excluded.append(Excluded(clip=clip, reason=str(error).splitlines()[0]))
        advance(len(self.jobs) - done)

    def _askers(self, clip: Clip) -> Iterator[tuple[tuple[int, int], dict[str, Any], ScoreStore]]:
        """Number of panel and detector, what of them the score depends on, and where it is kept.

        Scores of a detector without a hash are kept for this run only.
        """
        for number, (panel, hashes) in enumerate(zip(self.panels, self._hashes, strict=True)):
            which = panel.of(clip)
            if which is not None:
                card = panel.detectors[which].card
                crop = [card.input_size, card.crop_margin, card.alignment]
                name = hashes[which]
                store = self._this_run if name is None else self.store
                yield (number, which), {"detector": name or [number, which], "crop": crop}, store

    def _facts(self, clip: Clip, content: str, job: Perturbation | None) -> dict[str, Any]:
        settings = self.settings
        what = None
        if job is not None:
            published = settings.mode if job.family.startswith("Deeper") else ""
            what = [job.family, job.name, job.level, job.setting, published, settings.faces]
            what += [settings.seed, clip.dataset, clip.label, clip.id, clip.source_clip, BEFORE, AFTER]
        return {
            "version": _VERSION,
            "libraries": self._versions,
            "content": content,
            "frames_per_clip": settings.frames_per_clip,
            "perturbation": what,
        }

    def _ask(
        self,
        looked: Looked,
        job: Perturbation | None,
        asked: Sequence[_Asked],
        detect: Detect,
    ) -> None:
        clip, settings = looked.clip, self.settings
        draws = ClipKey(clip=f"{clip.dataset}/{clip.label}/{clip.id}", source=clip.source_clip, seed=settings.seed)
        detectors = [self.panels[each.panel].detectors[each.detector] for each in asked]
        cards: dict[tuple[Any, ...], Any] = {_shape(each.card): each.card for each in detectors}
        again = detect if settings.faces == "again" else None
        try:
            cut = perturbed_crops(looked, job, draws, list(cards.values()), detect=again)
        except ValueError as error:  # e.g. frames of several sizes before a codec
            self._fail(clip, job, "perturbing", error)
            return
        crops = dict(zip(cards, cut, strict=True))
        for detector, each in zip(detectors, asked, strict=True):
            found = crops[_shape(detector.card)]
            value: dict[str, Any] = {"looked": len(looked.frames), "frames": [], "scores": []}
            if found is not None:
                try:
                    scores = np.asarray(detector.fake_probability(found.images), np.float64)
                    if scores.shape != (len(found.frames),) or not np.isfinite(scores).all():
                        raise ValueError("the detector did not give one finite probability a face")
                except ValueError as error:
                    self._fail(clip, job, "scoring", error)
                    continue
                value |= {"frames": found.frames.tolist(), "scores": scores.tolist()}
            each.store.put(each.key, value)
            self.computed += 1

    def _fail(self, clip: Clip, job: Perturbation | None, doing: str, error: Exception) -> None:
        what = "untouched" if job is None else f"{job.name} level {job.level}"
        self.failures.append({"what": f"{doing} {clip.id} ({what})", "reason": str(error)})

    def _note(self, clip: Clip, asked: _Asked, job: Perturbation | None, value: Any) -> None:
        panel = self.panels[asked.panel]
        self.scored.append(
            Scored(
                clip=clip,
                phase=panel.phase,
                fold=-1 if panel.fold_of is None else asked.detector,
                threshold=float(panel.detectors[asked.detector].card.threshold),
                perturbation=job,
                looked=value["looked"],
                frames=value["frames"],
                scores=value["scores"],
            )
        )


def _shape(card: Any) -> tuple[Any, ...]:
    return card.input_size, card.crop_margin, card.alignment
