"""The one command: its stages, in order, each going on where it was."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from faceswap_hq import console, facesets, files
from faceswap_hq.curation.consent import read_consent
from faceswap_hq.curation.records import digest, recall
from faceswap_hq.errors import UserError
from reproduce_paper import make, measure, report
from reproduce_paper.data import REALS, Faces, read_clips
from reproduce_paper.detect import Bench, check, contenders
from reproduce_paper.options import curate_options, parse, settings_of
from reproduce_paper.plan import Settings, Swap, both_tested, curation_settings, deal, named_counts, read_swaps, some
from stress.data.frames import content_hash
from stress.evaluation.audit import audit
from stress.evaluation.comparison import Bootstrap
from stress.results import json_safe

ENDS = ("none", "temporal")
"""The ladder's first and last rung, which are the crude and the good fakes."""


class Clock:
    """What each stage took, in this run and in earlier ones, kept in ``work/costs.json``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = files.read_json(path) if path.exists() else {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage, and say what it took."""
        console.say(f"\n{stage}")
        started = time.monotonic()
        try:
            yield
        finally:
            taken = time.monotonic() - started
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + taken, 1)
            files.write_json(self._path, self.seconds)
            console.say(f"{stage}: {taken:.0f} s, {self.seconds[stage]:.0f} s with earlier runs")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    return console.guarded(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """All stages.

    Raises:
        UserError: For a cast, a curation or settings that cannot be used.
    """
    settings = settings_of(options)
    check(contenders(settings), settings.size)
    out: Path = options.out
    cast = out / "cast" if str(options.cast) == "actors" else options.cast
    if cast == options.cast:
        read_consent(cast, [facesets.person_name(path) for path in facesets.members(cast)])
    with files.lock_beside(out, wait=False):
        clock = Clock(out / "work" / "costs.json")
        if cast != options.cast:
            with clock("virtual actors"):
                make.film_actors(cast, options.actors, options.actor_seconds, options.actor_size, settings.seed)
        good = options.good or out / "good"
        if options.good is None:
            with clock("good fakes"):
                make.curate(cast, good, curate_options(options))
        _experiment(cast, good, out, options, settings, clock)


def _experiment(
    cast: Path, good: Path, out: Path, options: argparse.Namespace, settings: Settings, clock: Clock
) -> None:
    failures: list[dict[str, str]] = []
    every = read_swaps(good)
    swaps = [swap for swap in every if swap.accepted or settings.include_rejected]
    people = sorted({name for swap in every for name in swap.people})
    folds = deal(people, settings.folds, settings.seed)
    test = both_tested(swaps, folds)
    _say_plan(every, swaps, test, folds)
    ladder = some(test, settings.ladder_pairs, settings.seed)
    studio = make.Studio(
        out=out / "sets", clips=make.clips_of(cast, swaps),
        members={facesets.person_name(path): path for path in facesets.members(cast)},
        models=make.models_of(good, options.model, swaps), settings=curation_settings(good), failures=failures,
    )  # fmt: skip
    sets = studio.everything(swaps, ladder, settings.transfer, test, clock)
    faces = Faces(clips=read_clips(good, sets, swaps, test, options.external), frames=settings.frames)
    counts = _counts(settings, swaps, folds)
    found = {}
    scores = []
    with clock("detectors"):
        for name, table, rows in _contend(faces, folds, settings, counts, out, failures):
            found[name] = rows
            scores.append(table.assign(contender=name))
    with clock("audit"):
        audited = _audit(faces, settings, out / "work" / "audit.json")
    result = report.result(
        every=every, swaps=swaps, test=test, ladder=ladder, folds=folds, counts=counts, settings=settings,
        options=options, good=good, faces=faces, detectors=found, audit=audited, seconds=clock.seconds,
        failures=failures, models=sorted({str(swap.entry["model"]["sha256"]) for swap in swaps}),
    )  # fmt: skip
    with files.atomic_path(out / "scores.parquet") as temporary:
        pd.concat(scores, ignore_index=True).to_parquet(temporary, index=False)
    files.write_bytes(out / "report.html", report.page(result).encode())
    files.write_json(out / "result.json", result)
    for line in report.lines(result):
        console.say(line)
    console.say(f"Open {out / 'report.html'}")


def _counts(settings: Settings, swaps: list[Swap], folds: list[frozenset[str]]) -> dict[str, int]:
    there = [sum(fold.isdisjoint(swap.people) for swap in swaps) for fold in folds]
    if min(there) == 0:
        raise UserError(
            "A fold has no good fake to learn from: all show people who are tested in it.",
            "Use fewer --folds or --include-rejected.",
        )
    return named_counts(settings.counts, there)


def _contend(
    faces: Faces, folds: list[frozenset[str]], settings: Settings, counts: dict[str, int], out: Path,
    failures: list[dict[str, str]],
) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:  # fmt: skip
    """Name, scores and figures of every detector."""
    bootstrap = Bootstrap(resamples=settings.resamples, confidence=0.95, seed=settings.seed)
    bench = Bench(
        faces=faces, folds=folds, settings=settings, counts=counts, work=out / "work", failures=failures
    )
    for contender in contenders(settings):
        with console.progress(contender.name, bench.jobs(contender), unit="trainings") as advance:
            scores = pd.concat(list(bench.run(contender, advance)), ignore_index=True)
        console.say(f"{contender.name}: figures")
        cut = next(iter(faces.known.values()))
        whole = measure.with_ends(scores, ENDS)
        rows = measure.figures(whole, measure.people_of(_all(faces, cut), ENDS), bootstrap)
        rows["trained_here"] = contender.trained_here
        rows["controls"] = {
            count: measure.controls(scores, count, bootstrap) for count in (next(iter(counts)), list(counts)[-1])
        }
        yield contender.name, scores, rows


def _all(faces: Faces, first: dict[str, Any]) -> dict[str, list[Any]]:
    """Every clip that any detector has a face of."""
    return {name: [item for known in faces.known.values() for item in known[name]] for name in first}


def _audit(faces: Faces, settings: Settings, record: Path) -> dict[str, Any]:
    """The shortcuts between the good fakes and their reals, for eyes that see no face; kept for the same clips."""
    cut = next(iter(faces.known.values()))
    key = digest([settings.seed, [content_hash(item.clip) for item in [*cut["good"], *cut[REALS]]]])
    if (kept := recall(record, key)) is not None:
        return kept
    with console.progress("auditing", None, unit="clips") as advance:
        found = json_safe(audit(cut["good"], cut[REALS], advance=advance, seed=settings.seed))
    files.write_json(record, {"key": key, "result": found})
    return dict(found)


def _say_plan(every: list[Swap], swaps: list[Swap], test: list[Swap], folds: list[frozenset[str]]) -> None:
    accepted = sum(swap.accepted for swap in every)
    used = "all are used" if len(swaps) == len(every) else "these are not used (--include-rejected)"
    console.say(f"{len(every)} good fakes: curation accepted {accepted}, rejected {len(every) - accepted}; {used}")
    for number, fold in enumerate(folds, 1):
        there = sum(fold.issuperset(swap.people) for swap in swaps)
        console.say(f"fold {number} tests {there} fakes of {', '.join(sorted(fold))}")
    if not test:
        raise UserError(
            "No good fake shows two people of one fold: there is nothing to test.",
            "Use fewer --folds, or --include-rejected.",
        )

