"""Before the long work: who is in the cast, on what basis, which pairs, and whether they can work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceswap_hq import facesets, files
from faceswap_hq.curation import estimate, publish, report
from faceswap_hq.curation.consent import Consent, read_consent
from faceswap_hq.curation.extraction import ExtractTask
from faceswap_hq.curation.plan import Pair, Person, chosen_pairs, examine
from faceswap_hq.curation.records import perform_or_why
from faceswap_hq.curation.settings import CurateSettings
from faceswap_hq.curation.thresholds import Thresholds
from faceswap_hq.engines import Engine, LocalEngine, Tools, in_order
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import read_faceset
from faceswap_hq.options import blend_settings
from faceswap_hq.training.run import load_model, read_config
from faceswap_hq.training.settings import TrainSettings, load_preset


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Everybody, extracted."""

    folder: Path
    consent: dict[str, Consent]
    sources: dict[str, Path]
    """Name ► clip, folder or faceset."""
    extracted: dict[str, dict[str, Any]]
    """Name ► the extraction's result."""

    def clip(self, name: str) -> Path:
        """The clip that somebody is rendered on."""
        path, file = self.sources[name], str(self.extracted[name]["clip"])
        return path / file if path.is_dir() else path


@dataclass(frozen=True, kw_only=True)
class Curation:
    """A curation under way.

    Args:
        cast: Everybody.
        out: The output directory.
        settings: What was asked for.
        thresholds: What a fake must reach.
        given: A trained model to render with; None to train one.
        identity: The recognition network's file.
        pairs: Those planned, in their order, with those that are left out.
    """

    cast: Cast
    out: Path
    settings: CurateSettings
    thresholds: Thresholds
    given: Path | None
    identity: Path | None
    pairs: tuple[Pair, ...]

    @property
    def work(self) -> Path:
        """Where everything lies until it is published."""
        return self.out / publish.WORK

    @property
    def wanted(self) -> list[Pair]:
        """The pairs that are rendered."""
        return [pair for pair in self.pairs if not pair.left_out]

    def frames(self, pair: Pair) -> tuple[int, int]:
        """The frames of the target's clip that a pair is rendered on."""
        start, stop = self.cast.extracted[pair.target]["held_out"]
        return int(start), int(stop)


def members(folder: Path) -> dict[str, Path]:
    """Name ► clip, folder or faceset of everybody in a cast's folder.

    Raises:
        UserError: If two have the same name, or there is only one.
    """
    people: dict[str, Path] = {}
    for path in facesets.members(folder):
        name = facesets.person_name(path)
        if name in people:
            raise UserError(f"{people[name]} and {path} are both called {name}.", "Rename one: the name is the person.")
        people[name] = path
    if len(people) < 2:
        raise UserError(f"{folder} shows {len(people)} person.", "A cast has two people or more.")
    return people


def extract_cast(
    folder: Path, sources: dict[str, Path], consent: dict[str, Consent], work: Path, settings: CurateSettings,
    tools: Tools, engine: Engine,
) -> Cast:  # fmt: skip
    """Everybody's faces; who can't be used is left out and named.

    Raises:
        UserError: If fewer than two people can be used.
    """
    tasks = [
        ExtractTask(
            name=name, person=str(path), backend=settings.backend, held_out=settings.held_out, work_dir=str(work)
        )
        for name, path in sources.items()
    ]
    extracted = {}
    for task, found in zip(tasks, in_order(engine.map(perform_or_why, tasks, tools, "extract")), strict=True):
        if isinstance(found, str):
            tools.warn(f"{task.name} is left out: {found}")
        else:
            extracted[task.name] = found
    if len(extracted) < 2:
        raise UserError(f"{folder} shows {len(extracted)} people with usable faces; a cast has two or more.")
    return Cast(folder=folder, consent=consent, sources=sources, extracted=extracted)


def make_plan(
    cast: Cast, work: Path, settings: CurateSettings, thresholds: Thresholds, known: Sequence[str]
) -> tuple[Pair, ...]:
    """Choose the pairs and say beforehand what can be said.

    Args:
        cast: Everybody.
        work: The work directory.
        settings: Which pairs are asked for.
        thresholds: What counts as impossible.
        known: Whose faces the model can draw: all, or those of the model given.

    Raises:
        UserError: For pairs that nobody can make.
    """
    people = {name: _person(name, found, work) for name, found in cast.extracted.items()}
    targets = [name for name, person in people.items() if person.frames is not None]
    if not targets:
        raise UserError(f"{cast.folder} holds no clip to render on.", "Give videos: pictures and facesets only train.")
    chosen = chosen_pairs(settings.pairs, list(people), targets, settings.seed)
    for source in sorted({source for source, _ in chosen} - set(known)):
        raise UserError(f"The model given knows no {source!r}.", f"Its people: {', '.join(known)}.")
    return tuple(examine(people[source], people[target], dict(thresholds.plan)) for source, target in chosen)


def _person(name: str, found: dict[str, Any], work: Path) -> Person:
    held = found["held_out"]
    rows = read_faceset(found["faceset"]).rows if held else ()
    return Person(
        name=name,
        training=read_faceset(work / found["training"]).rows,
        held_out=tuple(row for row in rows if row.source == found["clip"] and held[0] <= row.frame < held[1]),
        frames=(held[0], held[1]) if held else None,
    )


def open_curation(
    folder: Path,
    out: Path,
    settings: CurateSettings,
    thresholds: Thresholds,
    *,
    model: Path | None = None,
    identity: Path | None = None,
    tools: Tools | None = None,
    engine: Engine | None = None,
) -> Curation:
    """Everything up to the plan: consent, faces, pairs. The output directory must be locked by the caller.

    Raises:
        UserError: For a cast without consent, settings that cannot be, an output directory that is something else.
    """
    tools = tools or Tools()
    sources = members(folder)
    consent = read_consent(folder, list(sources))
    publish.check_folder(out)
    blend_settings(settings.blend)
    train_settings(settings, model)
    known = list(sources) if model is None else list(load_model(model)[1].people)
    work = out / publish.WORK
    publish.clean(out)
    files.write_yaml(work / publish.SETTINGS, report.settings_dict(folder, settings, thresholds, model, identity))
    cast = extract_cast(folder, sources, consent, work, settings, tools, engine or LocalEngine())
    pairs = make_plan(cast, work, settings, thresholds, known)
    return Curation(
        cast=cast, out=out, settings=settings, thresholds=thresholds, given=model, identity=identity, pairs=pairs
    )


def train_settings(settings: CurateSettings, model: Path | None) -> TrainSettings:
    """The given model's settings, or the preset's, with the curation's seed."""
    chosen = load_preset(settings.preset) if model is None else read_config(model)[0]
    return replace(chosen, seed=settings.seed)


def plan_lines(curation: Curation) -> list[str]:
    """What is to be done, what is doubtful, what is left out, and how long it may take."""
    settings, wanted = curation.settings, curation.wanted
    training = train_settings(settings, curation.given)
    frames = sum(stop - start for start, stop in map(curation.frames, wanted))
    minutes = settings.minutes if settings.steps or settings.minutes else training.minutes
    costs = estimate.observed(curation.work, training.batch)
    stages = estimate.seconds(
        costs, frames=frames, people=len(curation.cast.extracted), batch=training.batch,
        steps=None if curation.given else settings.steps, minutes=None if curation.given else minutes,
    )  # fmt: skip
    return report.plan_lines(curation.pairs, frames, stages)
