"""The long work: training, fakes, scores, and once more for those that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blending import settings_to_dict
from faceswap_hq import files
from faceswap_hq.curation import publish, report
from faceswap_hq.curation.opening import Curation, train_settings
from faceswap_hq.curation.pairs import Made, PairTask, make
from faceswap_hq.curation.plan import Pair
from faceswap_hq.curation.publish import Judged
from faceswap_hq.curation.records import perform_alone
from faceswap_hq.curation.review import Decision, kept_decisions
from faceswap_hq.curation.tasks import RenderTask, TrainTask
from faceswap_hq.curation.thresholds import judge
from faceswap_hq.engines import Engine, LocalEngine, Tools, in_order
from faceswap_hq.errors import UserError
from faceswap_hq.options import blend_settings
from faceswap_hq.training.run import load_model, read_config
from faceswap_hq.training.settings import TrainSettings, to_dict


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a round renders with."""

    path: Path
    sha256: str
    people: tuple[str, ...]
    step: int
    settings: TrainSettings


def run(curation: Curation, tools: Tools | None = None, engine: Engine | None = None) -> list[Judged]:
    """Train, render, score, curate, publish. What an earlier run has done and nothing has changed is used again.

    Args:
        curation: From :func:`faceswap_hq.curation.opening.open_curation`.
        tools: Displays, device, signing key.
        engine: Where it is done; here by default.

    Returns:
        The fakes, ranked.

    Raises:
        UserError: For what cannot be trained or rendered at all.
        KeyboardInterrupt: If training was stopped.
    """
    tools, engine = tools or Tools(), engine or LocalEngine()
    if not curation.wanted:
        raise UserError("No pair is left to be rendered.", "--plan says why.")
    kept = kept_decisions(curation.out)
    made: dict[str, list[Judged]] = {}
    failed: dict[tuple[str, str], str] = {}
    waiting = curation.wanted
    models: list[Model] = []
    for number in range(curation.settings.retrain_rounds + 1):
        model = _model(curation, number, waiting, models[-1] if models else None, tools, engine)
        models.append(model)
        tasks = [
            _task(curation, pair, number, model, f"round {number}, {place} of {len(waiting)}")
            for place, pair in enumerate(waiting, 1)
        ]
        for pair, task, done in zip(waiting, tasks, in_order(engine.map(make, tasks, tools, "render")), strict=True):
            if isinstance(done, str):
                failed[pair.source, pair.target] = done
                continue
            item = _judged(curation, task, done)
            made.setdefault(item.id, []).append(replace(item, review=kept.get(item.sha256)))
        order = publish.ranked([publish.preferred(versions) for versions in made.values()])
        publish.publish(curation.out, order)
        # A person's verdict changes nothing here: other training would make other fakes, which they have not seen
        rejected = {
            versions[0].people for versions in made.values() if not any(item.automatic.accepted for item in versions)
        }
        waiting = [pair for pair in waiting if (pair.source, pair.target) in rejected]
        tools.say(f"round {number}: {sum(i.verdict.accepted for i in order)} of {len(order)} fakes are accepted")
        publish.publish_settings(curation.out)
        if not waiting:
            break
    _warn_of_changed(order, kept, tools)
    _write(curation, order, models, failed)
    publish.clean(curation.out)  # what workers left that died
    return order


def _warn_of_changed(order: Sequence[Judged], kept: Mapping[str, Decision], tools: Tools) -> None:
    """Name the fakes of which a person judged another version only."""
    known = {decision.id for decision in kept.values()}
    if changed := [item.id for item in order if item.review is None and item.id in known]:
        tools.warn(f"changed since a person judged them, and to be judged again: {', '.join(changed)}")


def _model(
    curation: Curation, number: int, pairs: Sequence[Pair], before: Model | None, tools: Tools, engine: Engine
) -> Model:
    """The model of a round: the one given, one trained on everybody, or further on those who are in failed pairs."""
    settings, cast = curation.settings, curation.cast
    training = train_settings(settings, curation.given) if before is None else before.settings
    if before is None and curation.given is not None:
        card = load_model(curation.given)[1]
        return Model(
            path=curation.given, sha256=card.sha256, people=card.people, step=card.step, settings=training
        )
    involved = {name for pair in pairs for name in (pair.source, pair.target)}
    names = [name for name in cast.extracted if before is None or name in involved]
    if before is None:
        steps, minutes = settings.steps, settings.minutes
        if steps is None and minutes is None:
            minutes = training.minutes
    else:
        steps, minutes = settings.retrain_steps, None
        tools.say(f"training {', '.join(names)} further: {steps} steps")
    task = TrainTask(
        number=number, work_dir=str(curation.work),
        people=tuple(cast.extracted[name]["training"] for name in names),
        digests=tuple(cast.extracted[name]["training_digest"] for name in names),
        settings=to_dict(training), steps=steps, minutes=minutes,
        begin=None if before is None else str(before.path), begin_sha256="" if before is None else before.sha256,
    )  # fmt: skip
    (made,) = in_order(engine.map(perform_alone, [task], tools, "train"))
    return Model(
        path=Path(task.model), sha256=made["sha256"], people=tuple(names), step=made["step"],
        settings=read_config(Path(task.model))[0],  # with the precision that was found to be the fastest
    )  # fmt: skip


def _task(curation: Curation, pair: Pair, number: int, model: Model, place: str) -> PairTask:
    """What is to be done for one pair."""
    cast, network = curation.cast, curation.identity
    source, target = cast.extracted[pair.source], cast.extracted[pair.target]
    render = RenderTask(
        number=number, source=pair.source, target=pair.target,
        clip=str(cast.clip(pair.target)), clip_sha256=target["sha256"], frames=curation.frames(pair),
        model=str(model.path), model_sha256=model.sha256,
        blend=settings_to_dict(blend_settings(curation.settings.blend)),
        backend=curation.settings.backend, seed=curation.settings.seed,
        consent={name: cast.consent[name].facts() for name in (pair.source, pair.target)}, work_dir=str(curation.work),
        masks=curation.settings.masks,
    )  # fmt: skip
    return PairTask(
        place=place, render=render, source_faces=source["faceset"], source_digest=source["digest"],
        identity=None if network is None else str(network),
        identity_sha256="" if network is None else files.sha256_file(network),
    )  # fmt: skip


def _judged(curation: Curation, task: PairTask, made: Made) -> Judged:
    return Judged(
        entry=made.entry, folder=Path(task.render.out), number=task.render.number, values=made.values,
        quality=made.quality, automatic=judge(made.values, curation.thresholds),
    )  # fmt: skip


def _write(curation: Curation, order: list[Judged], models: list[Model], failed: dict[tuple[str, str], str]) -> None:
    """What is said of the curation: report, card, page, checksums."""
    rounds = [
        {"round": number, "model": model.path.name, "sha256": model.sha256, "step": model.step,
         "people": list(model.people), "given": number == 0 and curation.given is not None,
         "settings": to_dict(model.settings)}
        for number, model in enumerate(models)
    ]  # fmt: skip
    people = report.people(curation.cast.extracted, curation.cast.consent)
    value = report.report(people, curation.pairs, order, rounds, failed)
    report.write(curation.out, value, order)
