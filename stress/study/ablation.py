"""What is lost when only the universal units are kept, or they are taken away: AUC on every data set.

A unit is taken away by setting it to its mean over all data sets. Fewer units tell less, so each figure stands beside
the same number of units drawn at random; and, since universal units are large ones by their making, beside as many
units of the largest mean contribution: only where universal ones do better than those is it universality that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from stress.study.contributions import Head
from stress.study.figures import compare, of
from stress.study.overlap import Bools, top
from stress.study.settings import StudySettings

if TYPE_CHECKING:
    from stress.study.neurons import Samples

_BATCH = 4096
_CHANGES = {
    "kept - random": ("kept", "random kept"),
    "kept - largest": ("kept", "largest kept"),
    "removed - random": ("removed", "random removed"),
    "removed - largest": ("removed", "largest removed"),
}


@torch.inference_mode()
def with_units(head: Head, hidden: torch.Tensor, kept: Bools) -> np.ndarray:
    """Fake probabilities while only some units answer, (n,).

    Args:
        head: Behind the units.
        hidden: (n, units); the other units are set to their mean over these.
        kept: (units,).
    """
    mean = hidden.mean(0)
    mask = torch.from_numpy(kept).to(hidden.device)
    parts = [head.logit(torch.where(mask, part, mean)).double() for part in hidden.split(_BATCH)]
    return torch.sigmoid(torch.cat(parts)).cpu().numpy()


def ablation(found: Samples, each: np.ndarray, universal: Bools, settings: StudySettings) -> dict[str, Any]:
    """AUC by video on every data set, with all units, and with some kept or removed.

    Args:
        found: Units' values on all data sets.
        each: (data sets, units) contributions.
        universal: (units,) which units are universal.
        settings: Of the study.

    Returns:
        ``units`` (how many are universal), ``among_largest`` (how many of them are among as many of the largest mean
        contribution), ``note`` where there is nothing to compare, and ``rows``, one a data set: ``n``, an estimate for
        each way, and differences of the ways with their intervals.
    """
    n, count = len(universal), int(universal.sum())
    if count in (0, n):
        which = "no unit is" if count == 0 else "all units are"
        return {"units": count, "among_largest": count, "rows": [], "note": f"{which} universal: nothing to compare"}
    generator = np.random.default_rng([settings.seed, 6])
    largest = top(each.mean(0), count, generator.permutation(n))
    drawn = [top(np.zeros(n), count, generator.permutation(n)) for _ in range(settings.random_sets)]
    ways = {"all": [np.ones(n, bool)]}
    for name, chosen in (("", [universal]), ("random ", drawn), ("largest ", [largest])):
        ways[f"{name}kept"] = list(chosen)
        ways[f"{name}removed"] = [~one for one in chosen]
    table = _table(found)
    tables = {
        way: [table.assign(score=with_units(found.head, found.hidden, one)) for one in masks]
        for way, masks in ways.items()
    }
    people = {
        (found.names[found.dataset[i]], item.clip.dataset, item.clip.label, item.clip.id): item.clip.people
        for i, item in enumerate(found.clips)
    }
    rows = []
    for name in found.names:
        here = {way: [of(part, name) for part in parts] for way, parts in tables.items()}
        figures = compare(here, people, settings.bootstrap, changes=_CHANGES, metrics=("auc",))
        if figures:
            counted = figures["all"]["n"]
            rows.append({"dataset": name, "n": counted, **{way: figures[way]["auc"] for way in (*ways, *_CHANGES)}})
    return {"units": count, "among_largest": int((largest & universal).sum()), "rows": rows}


def _table(found: Samples) -> pd.DataFrame:
    """One row a frame, without a score."""
    clips = [found.clips[i].clip for i in found.clip]
    return pd.DataFrame(
        {
            "group": [found.names[found.dataset[i]] for i in found.clip],
            "dataset": [clip.dataset for clip in clips],
            "label": [clip.label for clip in clips],
            "clip": [clip.id for clip in clips],
            "fold": -1,
            "frame": found.frame,
            "threshold": 0.5,
        }
    )
