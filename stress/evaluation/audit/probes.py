"""Probes that see no face: container and codec, bit rate, and three kinds of pixels outside the faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stress.evaluation.audit.measure import Table
from stress.evaluation.audit.pairs import PairedTest, Pairs, paired_test

_BITS = (
    "Bits count the face's own too, and a smoother face costs fewer: where no probe of pixels is flagged, that may be "
    "all."
)
ALONE = 0.6  # AUC without partners from which a probe that tells pairs apart could carry a detector


def run_probes(tables: Sequence[Table], pairs: Pairs, *, level: float, seed: int = 0) -> list[dict[str, Any]]:
    """Test each table; rows for the audit, without ``flag``, which depends on how many tests there are.

    Args:
        tables: Numbers of ``pairs.clips``.
        pairs: From :func:`stress.evaluation.audit.pairs.match`.
        level: p-value that the clips must be able to reach to be enough.
        seed: Of permutations and resamples.

    Returns:
        JSON-able rows: name, label, auc, low, high, p, alone, enough, reason, varies, fakes, reals, people, and
        ``leading``: the column that says most (label, means of both sides).
    """
    return [_row(table, pairs, paired_test(table.values, pairs, level=level, seed=seed)) for table in tables]


def _row(table: Table, pairs: Pairs, found: PairedTest) -> dict[str, Any]:
    leading = None
    if found.weights.any():
        k = _leading(table, pairs, found)
        sides = (table.raw[np.unique(index), k] for index in (pairs.fakes, pairs.reals))
        fakes, reals = (float(np.nanmean(side)) for side in sides)
        leading = {"label": table.labels[k], "fakes": fakes, "reals": reals}
    return {
        "name": table.name,
        "label": table.label,
        "auc": found.auc,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "alone": found.alone,
        "enough": found.enough,
        "reason": found.reason or None,
        "varies": found.varies,
        "leading": leading,
        "fakes": found.tested,
        "reals": len(set(pairs.reals.tolist())),
        "people": found.people,
    }


def _leading(table: Table, pairs: Pairs, found: PairedTest) -> int:
    """Of the columns that carry the rule (a fifth of the heaviest at least) the one whose sides lie furthest apart.

    Many columns see the same thing, a border in DCT bands as well: the heaviest alone may be the least telling.
    """
    carrying = np.flatnonzero(found.weights >= found.weights.max() / 5)
    fakes, reals = (table.values[index][:, carrying] for index in (pairs.fakes, pairs.reals))
    apart = np.abs(np.nanmean(fakes - reals, axis=0))
    within = np.sqrt(np.nanvar(fakes, axis=0) + np.nanvar(reals, axis=0))
    return int(carrying[np.argmax(apart / np.maximum(within, 1e-9))])


def sentence(row: dict[str, Any]) -> str:
    """What a flagged or faint difference means, for the person."""
    text = f"Without seeing a face, {row['label']} tells fakes from their matched reals with an AUC of {row['auc']:.2f}"
    if row["low"] is not None:
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    if row["leading"]:
        lead = row["leading"]
        text += f", most of all {lead['label']}: fakes {lead['fakes']:.3g}, reals {lead['reals']:.3g}"
    if row["flag"]:
        text += ". A detector could learn that instead of the swap: numbers after fine-tuning are suspect."
        return f"{text} {_BITS}" if row["name"] == "bit_rate" else text
    return (
        f"{text}. Next to how clips differ anyway it is little: without the partner to compare with, the AUC is "
        f"{row['alone']:.2f}."
    )
