"""The study's networks: those given, those trained from nothing, and those augmented; each is made once and kept."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from faceswap_hq.console import Advance
from faceswap_hq.errors import UserError
from stress.data.crops import Crops
from stress.data.layouts import FAKE
from stress.detectors import Detector, load_detector, new_detector
from stress.evaluation.out_of_fold import score_clips
from stress.evaluation.score_store import key_of
from stress.evaluation.store import FoldStore
from stress.study.augmentation import augmenting, first_training
from stress.study.settings import StudySettings
from stress.training.loop import train


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network of the study.

    Args:
        name: In the tables.
        detector: With the checksum of its file in its card.
        given: Whether it came ready, trained nobody knows here on whom.
    """

    name: str
    detector: Detector
    given: bool


class Workshop:
    """Trains networks and asks them; what an earlier run in the same folder did is taken from there.

    Scores in which a clip is missing because it could not be scored are not kept: the next run tries again, and names
    the clip again where that fails.

    Args:
        store: Keeps networks and scores.
        settings: Of the study.
        device: Where networks run.
        failures: Gets ``what`` and ``reason`` of each clip that could not be scored.
    """

    def __init__(self, store: FoldStore, settings: StudySettings, device: str, failures: list[dict[str, str]]) -> None:
        self.store = store
        self._settings = settings
        self._device = device
        self._failures = failures
        self._asked: dict[str, pd.DataFrame] = {}

    def first(self, start: Detector, name: str, crops: Sequence[Crops], seed: int, advance: Advance) -> Model:
        """A network trained from ``start``, which :func:`untrained` made, on all of ``crops``."""
        how, recipe = first_training(start.card.architecture, self._settings, seed)
        unnamed = types.SimpleNamespace(card=dataclasses.replace(start.card, sha256=key_of({"untrained": seed})))
        key = self.store.key(unnamed, how, repr(recipe), seed, crops, {})
        kept = self._kept(key)
        if kept is None:
            trained = train(start, *_sides(crops), how, recipe=recipe, progress=advance)
            self._keep(key, trained)
            kept = self._kept(key)
            assert kept is not None
        return Model(name=name, detector=dataclasses.replace(kept, name=name), given=False)

    def scores(self, model: Model, asked: Mapping[str, Sequence[Crops]], advance: Advance) -> pd.DataFrame:
        """What a network says of the clips of every data set, one row a frame; ``group`` is the data set.

        It is asked once in a run, so that a clip that fails is named once.
        """
        key = self.store.key(model.detector, "asked", "zero-shot", -1, [], asked)
        if key in self._asked:
            return self._asked[key]
        known = self.store.get(key)
        if known is not None:
            return known[0]
        failed = len(self._failures)
        found = self._ask(model.detector, asked, advance)
        if len(self._failures) == failed:
            self.store.put(key, found, {"fold": -1, "seed": -1, "threshold": model.detector.card.threshold})
        elif key is not None:
            self._asked[key] = found
        return found

    def augmented(
        self,
        model: Model,
        approach: str,
        new: Sequence[Crops],
        old: Sequence[Crops],
        asked: Mapping[str, Sequence[Crops]],
        *,
        repeat: int,
        keep: bool,
        advance: Advance,
    ) -> tuple[pd.DataFrame, Path | None]:
        """What a network says after it was augmented, and where it lies, if it was to be kept."""
        how, recipe = augmenting(model.detector.card.architecture, self._settings, approach, repeat)
        key = self.store.key(model.detector, how, f"{approach} {recipe!r}", repeat, [*new, *old], asked)
        known = self.store.get(key, detector=keep)
        if known is None:
            trained = train(model.detector, *_sides(new), how, recipe=recipe, replay=old, progress=advance)
            failed = len(self._failures)
            scores = self._ask(trained, asked, lambda *_, **__: None)
            report = {"fold": -1, "seed": repeat, "threshold": trained.card.threshold}
            if len(self._failures) == failed:
                self.store.put(key, scores, report, detector=trained if keep else None)
            elif keep and key is not None:
                self._keep(key, trained)  # heat maps are made of it all the same
            known = scores, report
        return known[0], self.store.detector(key) if keep else None

    def load(self, path: Path, name: str) -> Model:
        """A network that was kept."""
        found = load_detector(path, device=self._device)
        return Model(name=name, detector=dataclasses.replace(found, name=name), given=False)

    def _ask(self, detector: Detector, asked: Mapping[str, Sequence[Crops]], advance: Advance) -> pd.DataFrame:
        parts = [
            score_clips(detector, crops, group=name, failures=self._failures, advance=advance)
            for name, crops in asked.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def _kept(self, key: str | None) -> Detector | None:
        path = self.store.detector(key)
        if path is None or not path.is_file():
            return None
        try:
            return load_detector(path, device=self._device)
        except UserError:
            return None  # damaged: it is made anew

    def _keep(self, key: str | None, detector: Detector) -> None:
        from stress.detectors import save_detector

        path = self.store.detector(key)
        assert path is not None
        save_detector(detector, path)


def untrained(architecture: str, *, seed: int, device: str, input_size: int | None = None) -> Detector:
    """A network of random weights that has been tried out on one empty picture.

    Raises:
        UserError: The architecture is unknown or does not take such pictures.
    """
    import numpy as np

    found = new_detector(architecture, seed=seed, device=device, input_size=input_size)
    side = found.card.input_size
    try:
        found.fake_probability(np.full((1, side, side, 3), 127, np.uint8))
    except RuntimeError as error:
        raise UserError(
            f"{architecture} does not take pictures of {side} px: {str(error).splitlines()[0]}.",
            "Leave --input-size away, or choose another architecture.",
        ) from error
    return found


def loaders(
    texts: Sequence[str], load: Callable[[str], Detector]
) -> dict[str, Callable[[], Detector]]:
    """``NAME=FILE`` or ``FILE`` -> how to load it, by name.

    Raises:
        UserError: Two have one name.
    """
    from functools import partial

    found: dict[str, Callable[[], Detector]] = {}
    for text in texts:
        name, _, path = text.rpartition("=")
        name = name or path.removeprefix("hf:").rstrip("/").rpartition("/")[2].removesuffix(Path(path).suffix)
        if name in found:
            raise UserError(f"Two detectors are called {name}.", "Give one another name: NAME=FILE")
        found[name] = partial(load, path)
    return found


def _sides(crops: Sequence[Crops]) -> tuple[list[Crops], list[Crops]]:
    """Reals and fakes."""
    return (
        [item for item in crops if item.clip.label != FAKE],
        [item for item in crops if item.clip.label == FAKE],
    )


def describe(model: Model) -> dict[str, Any]:
    """For the record: what a network is."""
    card = model.detector.card
    return {
        "name": model.name,
        "architecture": card.architecture,
        "given": model.given,
        "sha256": card.sha256,
        "input_size": card.input_size,
        "parameters": sum(value.numel() for value in model.detector.module.parameters()),
        "training_data": card.training_data,
    }
