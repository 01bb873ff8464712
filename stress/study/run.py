"""The whole study: networks x data sets, few-shot augmentation, agreement of heat maps, contributions of units."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceswap_hq import __version__ as toolkit_version
from faceswap_hq.console import progress
from faceswap_hq.errors import UserError
from faceswap_hq.files import lock_beside
from stress.data.crops import Crops
from stress.data.layouts import FAKE, REAL, Clip, read_dataset
from stress.detectors import Detector, DetectorCard, require_savable, require_trainable
from stress.evaluation.score_store import ScoreStore
from stress.evaluation.store import FoldStore
from stress.gather import cut, warn_of_names
from stress.matrix import DataSet
from stress.results import as_record, environment, json_safe
from stress.study import tables
from stress.study.few_shot import few_shot
from stress.study.figures import compare, of, people_of
from stress.study.looking import agreements
from stress.study.models import Model, Workshop, describe, untrained
from stress.study.neurons import neuron_study
from stress.study.people import Division, divide
from stress.study.settings import StudySettings
from stress.study.trouble import reason_of

FORMAT = "faceswap-hq study"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class StudyInput:
    """What is studied.

    Args:
        datasets: Data sets, of the same people as far as can be.
        detectors: Name -> how to load a network that is there already.
        archs: Architectures to train on the base data set.
        base: Name of the data set that ``archs`` are trained on and augmentation replays; None for the first.
        new: Names of those that networks are augmented by; None for all but the base.
        seeds: Networks trained of each architecture.
        frames: Frames looked at in each clip.
        input_size: Side of the pictures of the networks that are trained; None for the customary one.
        device: Where networks run.

    Raises:
        ValueError: A number is too small.
        UserError: Names are missing, unknown, or there twice.
    """

    datasets: Sequence[DataSet]
    detectors: Mapping[str, Callable[[], Detector]] = field(default_factory=dict)
    archs: Sequence[str] = ()
    base: str | None = None
    new: Sequence[str] | None = None
    seeds: int = 1
    frames: int = 16
    input_size: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.frames < 1:
            raise ValueError(f"seeds {self.seeds} and frames {self.frames} are at least 1")
        names = [item.name for item in self.datasets]
        if not names or not (self.detectors or self.archs):
            raise UserError("A study needs data sets, and detectors or architectures.")
        for what, all_names in (("data sets", names), ("networks", [*self.detectors, *self.start_names()])):
            twice = sorted({name for name in all_names if all_names.count(name) > 1})
            if twice:
                raise UserError(f"Two {what} are called {twice[0]}.", "Give one another name: NAME=...")
        for name in [*([] if self.base is None else [self.base]), *(self.new or ())]:
            if name not in names:
                raise UserError(f"There is no data set {name!r}.", f"There are {', '.join(names)}.")
        if self.base_name in (self.new or ()):
            raise UserError(f"{self.base_name} is the base; networks are augmented by other data sets.")

    @property
    def base_name(self) -> str:
        """Name of the base data set."""
        return self.base or self.datasets[0].name

    @property
    def new_names(self) -> list[str]:
        """Names of the data sets that networks are augmented by."""
        wanted = self.new if self.new is not None else [item.name for item in self.datasets]
        return [name for name in wanted if name != self.base_name]

    def start_names(self) -> dict[str, tuple[str, int]]:
        """Name of each network that is trained -> its architecture and seed."""
        many = self.seeds > 1
        return {f"{arch} {seed}" if many else arch: (arch, seed) for arch in self.archs for seed in range(self.seeds)}


class Faces:
    """The faces of all clips, cut out once for each way of cutting."""

    def __init__(self, division: Division, frames: int, warn: Callable[[str], None]) -> None:
        self._division, self._frames, self._warn = division, frames, warn
        self._found: dict[Any, tuple[dict[str, list[Crops]], dict[str, list[Crops]]]] = {}
        self.excluded: dict[tuple[str, int, str], dict[str, Any]] = {}

    def get(self, card: DetectorCard) -> tuple[dict[str, list[Crops]], dict[str, list[Crops]]]:
        """Clips to learn from and clips to test, by data set; data sets without a face of one label are left out."""
        way = card.input_size, card.crop_margin, card.alignment
        if way not in self._found:
            sides = []
            for which, clips in (("learned from", self._division.train), ("tested", self._division.test)):
                used = {name: self._cut(items, card, f"faces {which}, {name}") for name, items in clips.items()}
                sides.append({name: crops for name, crops in used.items() if _both(crops)})
            self._found[way] = sides[0], sides[1]
        return self._found[way]

    def _cut(self, clips: Sequence[Clip], card: DetectorCard, what: str) -> list[Crops]:
        used, excluded = cut(clips, card, self._frames, what, self._warn)
        for item in excluded:
            facts = {"clip": item.clip.id, "label": item.clip.label, "dataset": item.clip.dataset}
            self.excluded[item.clip.dataset, item.clip.label, item.clip.id] = {**facts, "reason": item.reason}
        return used


def run_study(
    what: StudyInput,
    output: Path,
    settings: StudySettings,
    *,
    warn: Callable[[str], None] = lambda text: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Do the study, or what of it an earlier run in the same folder has not done, and write what was found.

    ``output/kept/`` holds networks and scores, ``output/study-cache.jsonl`` the rest; a part that fails is named with
    its reason, and the others go on.

    Args:
        what: Networks and data sets.
        output: Folder for everything.
        settings: How.
        warn: Told what the person should know.
        say: Told what is going on.

    Returns:
        What study.json holds.

    Raises:
        UserError: The people or the data sets do not do.
    """
    if "neurons" in settings.parts and len(what.datasets) < 2:
        raise UserError(
            "Contributions of units are compared between data sets; there is one only.",
            "Name another one, or leave that part out: --parts zero-shot,heat-maps.",
        )
    clips = {item.name: read_dataset(item.fakes, item.reals) for item in what.datasets}
    for item in what.datasets:
        for folder in (item.fakes, item.reals):
            warn_of_names(folder, clips[item.name], warn)
    learn = bool(what.archs) or ("few-shot" in settings.parts and bool(what.new_names))
    division = divide(clips, learn=learn, seed=settings.seed)
    say(f"{len(division.tested)} people are tested, {len(division.learned)} are learned from.")
    with lock_beside(output / "study.json", wait=False):
        study = _Study(what, output, settings, division, warn, say)
        study.start()
        for part in ("zero-shot", "few-shot", "heat-maps", "neurons"):
            if part in settings.parts:
                study.part(part)
        study.write(last=True)
    return study.found


class _Study:
    """The state of one run."""

    def __init__(
        self, what: StudyInput, output: Path, settings: StudySettings, division: Division,
        warn: Callable[[str], None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._what, self._output, self._settings, self._say, self._warn = what, output, settings, say, warn
        self._faces = Faces(division, what.frames, warn)
        self._failures: list[dict[str, str]] = []
        self._shop = Workshop(FoldStore(output / "kept"), settings, what.device, self._failures)
        self._cache = ScoreStore(output / "study-cache.jsonl")
        self._models: list[Model] = []
        self._augmented: dict[str, dict[str, dict[str, Path]]] = {}
        self._units: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "toolkit": toolkit_version,
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "environment": environment(),
            "settings": json_safe(as_record(settings)),
            "base": what.base_name,
            "new": what.new_names,
            "people": {"tested": list(division.tested), "learned": list(division.learned)},
            "datasets": [
                {
                    "name": name,
                    **{
                        side: _count(getattr(division, side)[name]) for side in ("train", "test", "left_out")
                    },
                }
                for name in division.test
            ],
            "networks": [],
            "zero_shot": [],
            "few_shot": [],
            "heat_maps": [],
            "neurons": [],
        }

    def start(self) -> None:
        """Load the networks that are there and train the others."""
        for name, load in self._what.detectors.items():
            with self._guarded(f"loading {name}"):
                self._models.append(Model(name=name, detector=load(), given=True))
        for name, (arch, seed) in self._what.start_names().items():
            with self._guarded(f"training {name}"):
                first = untrained(arch, seed=seed, device=self._what.device, input_size=self._what.input_size)
                learned = self._faces.get(first.card)[0]
                if self._what.base_name not in learned:
                    raise UserError(f"{self._what.base_name} has no faces of both labels to learn from.")
                with progress(f"training {name}", None, unit="steps") as advance:
                    self._models.append(self._shop.first(first, name, learned[self._what.base_name], seed, advance))
        if not self._models:
            reasons = "; ".join(f"{item['what']}: {item['reason']}" for item in self._failures)
            raise UserError("There is no network to study.", reasons)
        self.found["networks"] = [describe(model) for model in self._models]
        for model in self._models:
            missing = set(self._faces.get(model.detector.card)[1]) ^ {item.name for item in self._what.datasets}
            for name in sorted(missing):
                self._fail(f"{model.name} on {name}", "no face of a fake or none of a real could be cut out")

    def part(self, name: str) -> None:
        """Do one of the four parts and write what there is."""
        do = {
            "zero-shot": self._zero_shot, "few-shot": self._few_shot, "heat-maps": self._heat_maps,
            "neurons": self._neurons,
        }  # fmt: skip
        do[name]()
        self.write()

    def _zero_shot(self) -> None:
        for model in self._models:
            with self._guarded(f"{model.name}, zero-shot"):
                asked = self._faces.get(model.detector.card)[1]
                with progress(f"asking {model.name}", sum(map(len, asked.values())), unit="clips") as advance:
                    scores = self._shop.scores(model, asked, advance)
                base = self._what.base_name
                figures = compare(
                    {name: [of(scores, name)] for name in asked},
                    people_of(asked),
                    self._settings.bootstrap,
                    changes={f"{base} - {name}": (base, name) for name in asked if name != base},
                )
                for name in asked:
                    row = {"network": model.name, "dataset": name, **figures[name]}
                    self.found["zero_shot"].append(row | {"drop": figures.get(f"{base} - {name}")})

    def _few_shot(self) -> None:
        for model in self._models:
            with self._guarded(f"{model.name}, few-shot"):
                require_trainable(model.detector)
                require_savable(model.detector)
                rows, kept = few_shot(
                    self._shop, model, *self._faces.get(model.detector.card), base=self._what.base_name,
                    new=self._what.new_names, settings=self._settings, say=self._say,
                )  # fmt: skip
                self.found["few_shot"] += rows
                self._augmented[model.name] = kept

    def _heat_maps(self) -> None:
        with self._guarded("heat maps"):
            self.found["heat_maps"] = agreements(
                self._shop, self._models, self._augmented, lambda card: self._faces.get(card)[1], self._cache,
                self._settings, fail=self._fail, say=self._say,
            )  # fmt: skip

    def _neurons(self) -> None:
        from stress.study.architectures import published

        for model in self._models:
            with self._guarded(f"units of {model.name}"):
                asked = self._faces.get(model.detector.card)[1]
                into = self._settings.units_into or published(model.detector.card.architecture).units_into
                how = {
                    name: getattr(self._settings, name)
                    for name in ("mode", "samples", "values", "permutations", "random_sets", "video_score", "resamples",
                                 "confidence", "seed")
                }  # fmt: skip
                key = self._shop.store.key(model.detector, repr((how, into)), "neurons", -1, [], asked)
                known = self._cache.get(key) if key else None
                if known is None:
                    with progress(f"units of {model.name}", self._settings.permutations + 2, unit="steps") as advance:
                        known = json_safe(neuron_study(model.detector, asked, self._settings, into, advance))
                    if key:
                        self._cache.put(key, known)
                amounts = known["contributions"]
                self._units += tables.unit_rows(model.name, known["datasets"], amounts)
                kept = {name: value for name, value in known.items() if name != "contributions"}
                self.found["neurons"].append({"network": model.name, **kept})

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """A part that fails is named with its reason; a full disk ends the study."""
        try:
            yield
        except Exception as error:  # whatever a foreign network does
            self._fail(what, reason_of(error))

    def _fail(self, what: str, reason: str) -> None:
        self._failures.append({"what": what, "reason": reason})
        self._warn(f"{what}: {reason}")

    def write(self, *, last: bool = False) -> None:
        """Write what there is so far."""
        self.found |= {
            "complete": last, "excluded": list(self._faces.excluded.values()), "failures": list(self._failures),
        }  # fmt: skip
        tables.write(self.found, self._units, self._output, page=last)


def _both(crops: Sequence[Crops]) -> bool:
    return {item.clip.label for item in crops} == {FAKE, REAL}


def _count(clips: Sequence[Clip]) -> dict[str, int]:
    fakes = sum(clip.label == FAKE for clip in clips)
    return {"fakes": fakes, "reals": len(clips) - fakes}
