"""What an experiment leaves behind: results.json, scores.parquet, report.html and its numbers as tables.

results.json (``format`` "faceswap-hq stress results", ``version`` 1; UTF-8, no NaN: what is undefined is null):

* ``toolkit``, ``created`` (UTC), ``detector`` (its card and name), ``settings``, ``environment`` (versions);
* ``definitions`` and ``metrics`` (name, meaning, ``better``: 1 or -1): what the words and figures mean;
* ``conditions``: ``before``; with fine-tuning ``before_tested``, ``before_calibrated``, ``after``,
  ``after_old_threshold``; with base data ``reference``, ``base_before``, ``base_after``. Each has ``n`` (``fakes``,
  ``reals``, ``all``: clips, frames, people) and ``video`` and ``frame``: metric -> ``value``, ``low``, ``high``, and
  ``note`` where there is something to say;
* ``changes``: ``drop``, ``recovery``, ``recovery_share``, ``forgetting``, as far as they can be given, by level and
  metric in the same way; positive means worse for drop and forgetting, better for recovery, whatever the metric;
* ``resampling``: by level and data drawn (``stress``, ``base``, ``both``): people, resamples, redrawn;
* ``claims``: what the card claims beside what was found;
* ``finetune``: ``done``, ``reason`` (why not), ``scheme`` (see :mod:`stress.data.splits`), ``folds`` (people held out,
  what was tested and trained on, ``threshold`` and those of all seeds), ``strategy``, ``seeds``, ``left_out`` (fakes
  that were not tested);
* ``clips``: one row a stress clip: people, frames (scored; ``frames_missed`` without a face, ``frames_several_faces``),
  compression, score and call before and after (mean of the seeds, and ``after_by_seed``), fold, matched real;
* ``audit``: shortcuts, see :func:`stress.evaluation.audit.audit`; ``warnings``: what to read before quoting a figure;
* ``excluded`` (clip, label, path, reason) and ``failures`` (what, reason).

Some results have more; a reader does without. An estimate is ``value``, ``low``, ``high`` and perhaps ``note``,
``metrics`` are estimates by level and metric as above:

* ``gate``: ``asked``, ``passed`` (or null), ``tolerance``, ``reason``, ``rows`` (level, metric, claimed, found, low,
  high, fine): whether the detector reaches on its own kind of data what its card claims;
* ``strategies``: for each way of fine-tuning ``name``, ``label``, ``layers``, ``replay``, ``seeds``, ``main``,
  ``conditions`` (``after``, ``base_after``), ``changes`` (``recovery``, ``recovery_share``, ``forgetting``), ``p``
  (exchange tests of recovery and forgetting, :mod:`stress.evaluation.exchange`), ``by_seed`` (seed, after_auc,
  base_after_auc). The main one is also what stands in ``conditions`` and ``changes`` above;
* ``ladder``: from crude to best ``stage``, ``n``, ``before``, ``after`` and ``step`` (metrics or null; step: before
  minus the stage before it);
* ``robustness``: ``mode`` (faithful, corrected), ``faces`` (clean, again), ``rows`` (family, name, label, level with
  0 for untouched, setting, phase, n, and ``video``: estimates);
* in ``audit``: ``probes``, ``shuffled``, ``processed_real`` (after fine-tuning where there is an after) and
  ``processed_real_before``, ``names``, ``notes``, ``suspect``;
* ``localisation``: where the detector's map and the exact masks say a fake is forged, before fine-tuning
  (:func:`stress.evaluation.localisation.figures`), or null;
* ``hashes``: sha256 of the ``detector`` and of every one of the ``clips`` (data set, label and id).
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from faceswap_hq.files import atomic_path, write_json

if TYPE_CHECKING:
    from stress.data.crops import Crops

FORMAT = "faceswap-hq stress results"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment found.

    Attributes:
        results: JSON-able; the module describes it.
        scores: One row a frame and scoring: ``group`` (stress, base, controls: processed reals of the
            audit, which are in no figure, or a rung of the ladder), ``phase`` (before or after fine-tuning),
            ``fold`` (-1 before), ``dataset``, ``label``, ``clip``, ``frame``, ``score``, ``threshold`` (of the detector
            that scored), ``people``, ``source_clip``, ``method``, ``strategy`` and ``seed`` (of the fine-tuning),
            ``calibrated`` (the untouched detector's threshold, chosen on what the fold was fine-tuned on).
        detectors: Where the fine-tuned detectors of the main strategy's first seed lie, by fold, if they were kept.
    """

    results: dict[str, Any]
    scores: pd.DataFrame
    detectors: dict[int, Path] = field(default_factory=dict)


def save(outcome: Outcome, directory: str | Path, crops: Sequence[Crops] = ()) -> list[Path]:
    """Write results.json, scores.parquet, report.html, tables.csv and tables.parquet, each whole or not at all.

    Args:
        outcome: From :func:`stress.experiment.run`.
        directory: Made if missing.
        crops: Faces to show in the report; without them it shows none.

    Returns:
        The five files.
    """
    from stress.report import write_report, write_tables

    directory = Path(directory)
    paths = [directory / name for name in ("results.json", "scores.parquet", "report.html")]
    with atomic_path(paths[1]) as temporary:
        outcome.scores.to_parquet(temporary, index=False)
    write_report(outcome.results, outcome.scores, paths[2], crops=crops)
    tables = write_tables(outcome.results, outcome.scores, directory)
    write_json(paths[0], outcome.results)  # last: where it is, the others are too
    return paths + tables


def environment() -> dict[str, str]:
    """Versions of what the figures depend on."""
    names = ("numpy", "pandas", "torch", "torchvision", "timm", "mediapipe", "av")
    versions = {name: version_of(name) for name in names}
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}


def version_of(name: str) -> str:
    """Version of an installed distribution, or "not installed"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def as_record(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, or the attributes of another plain object."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return dict(vars(value)) if hasattr(value, "__dict__") else {}


def json_safe(value: Any) -> Any:
    """The same in JSON's types; numbers that are not finite become None, anything unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [json_safe(item) for item in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        return json_safe(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    return str(value)
