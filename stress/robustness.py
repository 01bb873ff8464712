"""How a detector holds up when clips are perturbed: every perturbation at every level against the untouched clips.

Face positions come from the untouched frames, so that a face finder's failures are not mixed in; with
``faces="again"`` they are looked for in the perturbed frames, and frames and clips without one are counted and left
out. Fakes and reals are perturbed alike. Only the crops of one clip at one level are in memory.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faceswap_hq import __version__ as toolkit_version
from faceswap_hq.console import progress as show_progress
from faceswap_hq.errors import UserError
from faceswap_hq.files import lock_beside, write_bytes, write_json
from stress.data.crops import Finders
from stress.data.layouts import Clip
from stress.evaluation.codecs import check_encoder
from stress.evaluation.comparison import keys_of
from stress.evaluation.out_of_fold import Progress
from stress.evaluation.panel import Panel, clip_key
from stress.evaluation.perturbations import Perturbation
from stress.evaluation.perturbed_crops import Detect
from stress.evaluation.perturbed_scores import PerturbedScores
from stress.evaluation.robustness_figures import as_csv, robustness_rows
from stress.evaluation.robustness_settings import RobustnessSettings
from stress.evaluation.score_store import ScoreStore
from stress.results import Outcome, as_record, environment, json_safe

FORMAT = "faceswap-hq robustness"
VERSION = 1


@dataclass(kw_only=True)
class Robustness:
    """What was found.

    Attributes:
        results: The ``robustness`` part of results.json: ``mode``, ``faces``, ``rows``, ``excluded``, ``failures``.
        computed: How many scorings of a clip were computed, the others being taken from earlier runs.
    """

    results: dict[str, Any] = field(default_factory=dict)
    computed: int = 0

    def lines(self) -> list[str]:
        """Video AUC of every perturbation from level 0 on, a line each."""
        curves: dict[tuple[str, str], list[str]] = {}
        labels: dict[tuple[str, str], str] = {}
        for row in self.results["rows"]:
            value = row["video"].get("auc", {}).get("value")
            key = row["name"], row["phase"]
            curves.setdefault(key, []).append(f"{row['level']}: {value:.3f}" if value is not None else "-")
            labels[key] = row["label"]
        return [f"{name} ({labels[name, phase]}), {phase}: video AUC {'  '.join(curve)}" for (name, phase), curve in
                curves.items()]


def measure_robustness(
    panels: Sequence[Panel],
    clips: Sequence[Clip],
    perturbations: Sequence[Perturbation],
    settings: RobustnessSettings | None = None,
    *,
    store: ScoreStore | None = None,
    detect: Detect | None = None,
    progress: Progress = show_progress,
) -> Robustness:
    """Score clips untouched and perturbed, and say what that changes.

    Args:
        panels: Who scores; one a phase.
        clips: Fakes and reals.
        perturbations: What is done to them, from :func:`stress.evaluation.perturbations.select`.
        settings: How to measure; defaults if None.
        store: Keeps scores between runs.
        detect: Finds faces: from uint8 (H, W, 3) RGB to landmarks (points, 3) of each face. MediaPipe if None.
        progress: Shows progress.

    Returns:
        Rows as the contract of results.json has them, in the order of the perturbations, phases and levels.

    Raises:
        UserError: No fake or no real can be scored, or an encoder is missing.
    """
    settings = settings or RobustnessSettings()
    for codec in {codec for item in perturbations for codec in item.codecs}:
        check_encoder(codec)
    work = PerturbedScores(panels, perturbations, settings, ScoreStore() if store is None else store)
    with (
        contextlib.closing(Finders()) as finders,
        progress("scoring perturbed clips", len(clips) * len(work.jobs), unit="clips x levels") as advance,
    ):
        for clip in clips:
            work.score(clip, detect or finders.detect, advance)
    usable = {clip_key(clip) for clip in clips} - {clip_key(item.clip) for item in work.excluded}
    if {key[2] for key in usable} != {0, 1}:
        reasons = "; ".join(sorted({item.reason for item in work.excluded})[:3])
        raise UserError("There is nothing to compare: fakes and reals with a face are needed.", reasons or None)
    people = {clip_key(clip): clip.people for clip in clips}
    with progress("intervals", None, unit="rows") as advance:
        rows = robustness_rows(work.scored, work.jobs, people, settings, advance=advance)
    results = {
        "mode": settings.mode,
        "faces": settings.faces,
        "settings": as_record(settings),
        "rows": rows,
        "excluded": [{"clip": item.clip.id, "label": item.clip.label, "reason": item.reason} for item in work.excluded],
        "failures": work.failures,
    }
    return Robustness(results=json_safe(results), computed=work.computed)


def run_robustness(
    detector: Any,
    clips: Sequence[Clip],
    perturbations: Sequence[Perturbation],
    directory: str | Path,
    settings: RobustnessSettings | None = None,
) -> tuple[Robustness, list[Path]]:
    """Measure one detector and write what was found; what an earlier run in the same folder computed is taken over.

    Args:
        detector: Has ``card`` and ``fake_probability``.
        clips: Fakes and reals.
        perturbations: What is done to them.
        directory: Gets robustness.json, robustness.csv, and robustness-scores.jsonl, in which scores are kept.
        settings: How to measure.

    Returns:
        What was found, and the first two files.
    """
    kept = Path(directory) / "robustness-scores.jsonl"
    with lock_beside(kept, wait=False):
        panel = Panel(detectors=(detector,))
        found = measure_robustness([panel], clips, perturbations, settings, store=ScoreStore(kept))
        about = {"detector": {**as_record(detector.card), "name": str(getattr(detector, "name", "detector"))}}
        return found, save_robustness(found, directory, **about)


def add_robustness(
    outcome: Outcome,
    detector: Any,
    clips: Sequence[Clip],
    perturbations: Sequence[Perturbation],
    directory: Path,
    settings: RobustnessSettings,
    *,
    device: str = "auto",
) -> Outcome:
    """Measure the untouched detector and, where an experiment kept them, its fine-tuned ones, each on whom it may test.

    Args:
        outcome: Of an experiment on the same clips, with ``keep_detectors``.
        detector: The untouched detector.
        clips: Fakes and reals.
        perturbations: What is done to them.
        directory: Scores are kept there.
        settings: How to measure.
        device: Where the fine-tuned detectors run.

    Returns:
        The outcome with ``robustness`` in its results.
    """
    from stress.detectors import load_detector

    panels = [Panel(detectors=(detector,))]
    if outcome.detectors:
        after = outcome.scores[(outcome.scores.phase == "after") & (outcome.scores.group == "stress")]
        after = after[(after.strategy == outcome.results["finetune"]["strategy"]) & (after.seed == 0)]
        numbers = {fold: number for number, fold in enumerate(sorted(outcome.detectors))}
        fold_of = {
            key: numbers[fold] for key, fold in zip(keys_of(after), after.fold, strict=True) if fold in numbers
        }
        tuned = [load_detector(outcome.detectors[fold], device=device) for fold in sorted(outcome.detectors)]
        panels.append(Panel(phase="after", detectors=tuned, fold_of=fold_of))
    with lock_beside(directory / "robustness-scores.jsonl", wait=False):
        store = ScoreStore(directory / "robustness-scores.jsonl")
        found = measure_robustness(panels, clips, perturbations, settings, store=store)
    about = f"{outcome.results['finetune']['strategy']}, seed 0" if outcome.detectors else None
    return replace(outcome, results={**outcome.results, "robustness": {**found.results, "after": about}})


def save_robustness(found: Robustness, directory: str | Path, **about: Any) -> list[Path]:
    """Write robustness.json and robustness.csv, each whole or not at all.

    Args:
        found: From :func:`measure_robustness`.
        directory: Made if missing.
        about: JSON-able facts for the head of the JSON: detector, hashes.

    Returns:
        The two files.
    """
    paths = [Path(directory) / name for name in ("robustness.json", "robustness.csv")]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "toolkit": toolkit_version,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "environment": environment(),
    }
    write_json(paths[0], {**head, **json_safe(about), "robustness": found.results})
    write_bytes(paths[1], as_csv(found.results["rows"]).encode())
    return paths
