"""Many detectors against many data sets, one experiment a cell; what a run that was cut off has done is kept."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from faceswap_hq.engines import Engine, LocalEngine, Tools
from faceswap_hq.errors import UserError
from faceswap_hq.files import read_json, write_bytes, write_json
from stress.data.footage import clips_of
from stress.data.frames import file_hash
from stress.evaluation.store import FoldStore
from stress.experiment import ExperimentSettings, run, save
from stress.gather import gather
from stress.records import hashes
from stress.report.tidy import unformulaic
from stress.results import as_record, json_safe, version_of

if TYPE_CHECKING:
    import pandas as pd

    from stress.data.footage import Faces
    from stress.detectors import Detector

FORMAT = "faceswap-hq stress matrix"
VERSION = 1
METRICS = ("auc", "ap", "eer", "balanced_accuracy", "detection_rate", "false_alarm_rate")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A column of the matrix.

    Args:
        name: In the table.
        fakes: As for :func:`stress.data.layouts.read_dataset`.
        reals: Likewise.
    """

    name: str
    fakes: Path
    reals: Path | None = None


def parse_dataset(text: str) -> DataSet:
    """``NAME=FAKES:REALS``; the name defaults to the folder's, the reals to those that come with the fakes.

    Either folder may carry the options of published layouts (``DIR@split=test,compression=c23``).

    >>> parse_dataset("dfdc=data/dfdc").name, parse_dataset("good/out").fakes.name, parse_dataset("ff@split=test").name
    ('dfdc', 'out', 'ff')
    """
    place, at, options = text.partition("@")
    name, equals, rest = place.rpartition("=")
    fakes, colon, reals = f"{rest}{at}{options}".partition(":")
    if not fakes or (colon and not reals) or (equals and not name):
        raise UserError(f"{text!r} names no data set.", "Write FOLDER, NAME=FOLDER or NAME=FAKES:REALS.")
    name = name or Path(fakes.partition("@")[0]).resolve().name
    return DataSet(name=name, fakes=Path(fakes), reals=Path(reals) if colon else None)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A detector on a data set, to be done here or in another process.

    Args:
        detector: Its name in the table.
        load: How to load it.
        dataset: What it is tested on.
        output: The matrix's folder.
        settings: Of the experiment.
        frames: To be looked at in each clip.
        base: The detectors' own kind of data.
        share: Which of how many parts of its fine-tunings; None for the whole cell.
    """

    detector: str
    load: Callable[[], Detector]
    dataset: DataSet
    output: Path
    settings: ExperimentSettings
    frames: int
    base: Path | None
    share: tuple[int, int] | None = None

    @property
    def folder(self) -> Path:
        """Where its results lie."""
        return self.output / "cells" / f"{_plain(self.detector)}--{_plain(self.dataset.name)}"


def run_matrix(
    detectors: Mapping[str, Callable[[], Detector]],
    datasets: Sequence[DataSet],
    output: Path,
    settings: ExperimentSettings,
    *,
    frames: int = 16,
    base: Path | None = None,
    warn: Callable[[str], None] = lambda text: None,
    say: Callable[[str], None] = lambda text: None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Run every detector on every data set and write the table.

    ``output/cells/DETECTOR--DATASET/`` holds each experiment's own results; a cell whose detector, clips and settings
    are those of the results that lie there is not run again, and fine-tunings that were done are not done again. A
    cell that fails is named with its reason, and the others go on.

    Args:
        detectors: Name -> how to load it.
        datasets: What they are tested on.
        output: Folder for everything.
        settings: Of each experiment; the gate applies to cells with ``base``.
        frames: To be looked at in each clip.
        base: The detectors' own kind of data; by default what each one's card names.
        warn: Told what the person should know.
        say: Told what is going on.
        engine: Where the cells are done; here by default. Elsewhere a detector is sent as the function that loads it,
            and where there is room for more tasks than cells, fine-tunings are done apart before the cells gather them.

    Returns:
        What ``matrix.json`` holds: ``cells``, one a detector and data set.

    Raises:
        UserError: Two detectors or data sets have one name.
    """
    for what, names in (("detectors", list(detectors)), ("data sets", [item.name for item in datasets])):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"Two {what} are called {twice[0]}.", "Give one another name: NAME=...")
    tools, engine = Tools(say=say, warn=warn), engine or LocalEngine()
    cells = [
        Cell(detector=name, load=load, dataset=dataset, output=output, settings=settings, frames=frames, base=base)
        for name, load in detectors.items()
        for dataset in datasets
    ]
    shares = min(settings.folds, engine.width // max(1, len(cells))) if settings.finetune else 0
    if shares > 1:
        parts = [replace(cell, share=(number, shares)) for cell in cells for number in range(shares)]
        for _ in engine.map(fine_tune_share, parts, tools, "finetune"):
            pass
    done: dict[int, dict[str, Any]] = {}
    for place, result in engine.map(do_cell, cells, tools, "cell"):
        done[place] = result
        known = [done[number] for number in sorted(done)]
        found = {"format": FORMAT, "version": VERSION, "settings": json_safe(as_record(settings)), "cells": known}
        write_json(output / "matrix.json", found)
        write_bytes(output / "matrix.csv", _csv(known).encode())
    return found


def do_cell(cell: Cell, tools: Tools) -> dict[str, Any]:
    """A cell of ``matrix.json``; with ``failed`` in it, the reason, where it could not be done."""
    found = {"detector": cell.detector, "dataset": cell.dataset.name}
    tools.say(f"{cell.detector} on {cell.dataset.name}")
    try:
        return found | _cell(cell, tools.warn)
    except (UserError, RuntimeError, MemoryError) as error:
        reason = error.message if isinstance(error, UserError) else (str(error).splitlines() or ["failed"])[0]
        tools.warn(f"{cell.detector} on {cell.dataset.name}: {reason}")
        return found | {"failed": reason}


def fine_tune_share(cell: Cell, tools: Tools) -> None:
    """Some of a cell's fine-tunings, for the store; what fails here fails in the cell again, and is named there."""
    with contextlib.suppress(UserError, RuntimeError, ValueError, MemoryError):
        _cell(cell, lambda text: None)


class _ShareStore(FoldStore):
    """A store that lets only every ``of``-th fine-tuning through, in the order in which an experiment comes to them."""

    def __init__(self, folder: Path, number: int, of: int) -> None:
        super().__init__(folder)
        self._number, self._of, self._asked = number, of, 0

    def get(self, key: str | None, *, detector: bool = False) -> tuple[pd.DataFrame, dict[str, Any]] | None:
        self._asked += 1
        if (self._asked - 1) % self._of != self._number:
            raise UserError("Another task does this fine-tuning.")
        return super().get(key, detector=detector)


def _cell(cell: Cell, warn: Callable[[str], None]) -> dict[str, Any]:
    """What a cell of the table holds; of a share nothing, its results being in the store."""
    detector, folder, settings = cell.load(), cell.folder, cell.settings
    found = gather(
        detector.card, cell.dataset.fakes, cell.dataset.reals, base=cell.base or detector.own_data, frames=cell.frames,
        keep=settings.finetune, warn=warn,
    )  # fmt: skip
    store = FoldStore(folder / "fine-tunings")
    faces = map(_facts, (found.fakes, found.reals, found.base, found.controls))
    facts = repr((settings, cell.frames, _versions(), *faces))
    key = store.key(detector, settings.training, facts, -1, [], {})
    known = _known(folder / "results.json", key)
    if known is None:
        if cell.share is not None:
            store, settings = _ShareStore(store.folder, *cell.share), replace(settings, resamples=100)
        outcome = run(
            detector, found.fakes, found.reals, found.base or None, settings, controls=found.controls, store=store
        )
        if cell.share is not None:
            return {}
        known = {**outcome.results, "key": key}
        save(type(outcome)(results=known, scores=outcome.scores), folder, crops=[*found.fakes, *found.reals])
    conditions = {name: known["conditions"][name] for name in ("before", "after") if name in known["conditions"]}
    return {
        "results": f"cells/{folder.name}/results.json",
        "n": conditions["before"]["n"],
        "suspect": bool(known["audit"]["suspect"]),
        **{
            name: {level: {metric: part[level][metric] for metric in METRICS} for level in ("video", "frame")}
            for name, part in conditions.items()
        },
    }


def _known(path: Path, key: str | None) -> dict[str, Any] | None:
    """Results that were written for the same detector, clips and settings."""
    if key is None or not path.is_file():
        return None
    try:
        results = read_json(path)
    except UserError:
        return None
    if not isinstance(results, dict) or results.get("key") != key or results.get("failures"):
        return None  # what failed for want of memory, say, is tried again
    whole = isinstance(results.get("conditions"), dict) and isinstance(results.get("audit"), dict)
    return results if whole and "before" in results["conditions"] else None


def _facts(faces: Faces) -> list[Any]:
    """All of some clips that results depend on; their faces follow from it, the card and the number of frames."""
    clips = clips_of(faces)
    told = [
        (clip.dataset, clip.id, clip.label, clip.people, clip.source_clip, clip.method, clip.matched)
        + (() if clip.mask is None else (file_hash(clip.mask),))
        for clip in clips
    ]
    return [told, hashes(None, clips)["clips"]]


def _versions() -> list[str]:
    """Of what cuts faces out."""
    return [cv2.__version__, *map(version_of, ("mediapipe", "av"))]


def _plain(name: str) -> str:
    """A name that any file system takes; names that differ stay different."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip("._") or "unnamed"
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _csv(cells: Sequence[Mapping[str, Any]]) -> str:
    """One row a cell, phase, level and metric."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["detector", "dataset", "phase", "level", "metric", "value", "low", "high", "note"])
    for cell in cells:
        names = [unformulaic(cell["detector"]), unformulaic(cell["dataset"])]
        if "failed" in cell:
            writer.writerow([*names, "", "", "", "", "", "", f"failed: {cell['failed']}"])
        for phase in ("before", "after"):
            for level, metrics in cell.get(phase, {}).items():
                for metric, figure in metrics.items():
                    ends = [figure[end] for end in ("value", "low", "high")]
                    writer.writerow([*names, phase, level, metric, *ends, figure.get("note", "")])
    return out.getvalue()


