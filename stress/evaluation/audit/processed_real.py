"""The processed-real control: has the detector learnt the swap, or what a swap is delivered in?

A control is the target's clip sent through the whole pipeline with the target's own face put back: same warp, mask,
blending and codec, nobody's face but their own. A detector of swaps calls it real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stress.evaluation.metrics import auc, curve
from stress.evaluation.statistics import intervals

People = Sequence[Sequence[str]]


def processed_real(
    scores: Mapping[str, np.ndarray],
    people: Mapping[str, People],
    thresholds: Mapping[str, np.ndarray],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge one detector (or one per fold) by its scores of controls, fakes and reals.

    Controls are called fake about as often as fakes, and clearly more often than reals: then it is the processing that
    gives fakes away. "About as often" is: of what the fakes' rate is above the reals', the controls have more than half
    and their AUC against untouched reals lies surely above 0.5.

    Args:
        scores: ``"control"``, ``"fake"`` and ``"real"`` -> (n,) fake probabilities of clips.
        people: The same keys -> the people of each clip.
        thresholds: The same keys -> (n,) threshold of the detector that gave each score.
        resamples: Of the people.
        seed: Of the resamples.

    Returns:
        JSON-able, the results' ``processed_real``: ``n`` (clips of each kind, people), ``rate``, ``fakes_rate``,
        ``reals_rate`` (shares called fake), ``auc`` (controls against untouched reals), ``excess`` (``rate`` minus
        ``reals_rate``), each with value, low, high; ``flag`` and ``sentence``.

    Raises:
        ValueError: One of the kinds is missing.
    """
    kinds = ("control", "fake", "real")
    if any(len(scores[kind]) == 0 for kind in kinds):
        raise ValueError("controls, fakes and reals are all needed")
    clips = [who for kind in kinds for who in people[kind]]
    ends = np.cumsum([0, *(len(scores[kind]) for kind in kinds)])
    span = {kind: slice(ends[i], ends[i + 1]) for i, kind in enumerate(kinds)}
    called = {kind: np.asarray(scores[kind]) >= np.asarray(thresholds[kind]) for kind in kinds}
    both = np.concatenate([scores["control"], scores["real"]])
    labels = np.concatenate([np.ones(len(scores["control"])), np.zeros(len(scores["real"]))])

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        share = {k: (weights[:, span[k]] * called[k]).sum(1) / weights[:, span[k]].sum(1) for k in kinds}
        two = np.concatenate([weights[:, span["control"]], weights[:, span["real"]]], axis=1)
        return {
            "rate": share["control"], "fakes_rate": share["fake"], "reals_rate": share["real"],
            "auc": auc(curve(both, labels, two)),
        }  # fmt: skip

    found, counts = intervals(
        figures,
        clips,
        usable=lambda weights: np.all([weights[:, span[kind]].sum(1) > 0 for kind in kinds], axis=0),
        differences={"excess": ("rate", "reals_rate")},
        limit_share=lambda name: 0.5 if name == "auc" else 1.0,
        resamples=resamples,
        seed=seed,
    )
    values = {name: float(estimate.value or 0) for name, estimate in found.items()}
    gap = values["fakes_rate"] - values["reals_rate"]
    surely = found["auc"].low is not None and found["auc"].low > 0.5
    flag = bool(surely and gap > 0 and values["excess"] > gap / 2)
    n = {f"{kind}s": len(scores[kind]) for kind in kinds}
    return {
        "n": n | {"people": counts["people"]},
        **{name: estimate.as_dict() for name, estimate in found.items()},
        "flag": flag,
        "sentence": _sentence(values, n, flag),
    }


def _sentence(values: Mapping[str, float], n: Mapping[str, int], flag: bool) -> str:
    text = (
        f"Of {n['controls']} controls (the target's own face sent through the whole pipeline) {values['rate']:.0%} are "
        f"called fake, of the fakes {values['fakes_rate']:.0%}, of untouched reals {values['reals_rate']:.0%}."
    )
    if flag:
        return f"{text} The detector has learnt the pipeline (codec, warp, paste) rather than the swap."
    return text


def from_videos(
    controls: pd.DataFrame, stress: pd.DataFrame, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """:func:`processed_real` from tables of videos, one phase of each.

    After fine-tuning, controls are to be scored by detectors that saw neither their people nor their footage, as
    :attr:`stress.evaluation.out_of_fold.Material.others` are.

    Args:
        controls: :func:`stress.evaluation.metrics.to_videos` of the controls' scores.
        stress: The same of the stress clips.
        resamples: Of the people.
        seed: Of the resamples.
    """
    kinds = {"control": controls, "fake": stress[stress.label == 1], "real": stress[stress.label == 0]}
    return processed_real(
        {kind: table["score"].to_numpy(np.float64) for kind, table in kinds.items()},
        {kind: [who.split("|") for who in table["people"]] for kind, table in kinds.items()},
        {kind: table["threshold"].to_numpy(np.float64) for kind, table in kinds.items()},
        resamples=resamples,
        seed=seed,
    )
