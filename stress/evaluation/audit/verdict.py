"""The whole audit: could something that has nothing to do with faces tell the fakes from the reals?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stress.data.crops import Crops
from stress.evaluation.audit import names
from stress.evaluation.audit.container import file_facts
from stress.evaluation.audit.features import UNSEEN, clip_facts, feature_rows
from stress.evaluation.audit.measure import FindFaces, codec_table, pixel_tables, rate_table
from stress.evaluation.audit.pairs import Pairs, holm, match
from stress.evaluation.audit.probes import ALONE, run_probes, sentence

LEVEL = 0.05  # chance that anything at all is flagged where nothing is to be found
_TESTS = 12  # features and probes: what a single p-value must be able to withstand
_ENOUGH = 7  # clips of each side with which a permutation test can reach LEVEL / _TESTS (2 of 3432 orders at most)
MOST_PAIRS = 200  # pairs whose pictures are measured; more would cost time and show no more


def audit(
    fakes: Sequence[Crops],
    reals: Sequence[Crops],
    base: Sequence[Crops] = (),
    *,
    limit: float = 0.8,
    find_faces: FindFaces | None = None,
    advance: Callable[..., None] = lambda *_, **__: None,
    seed: int = 0,
) -> dict[str, Any]:
    """Look for shortcuts between fakes and their matched reals, for missing reals, and for people in the base data.

    A probe is flagged where it tells pairs apart (p-value corrected by Holm for all features and probes, so that the
    whole audit raises a false alarm in at most 1 of 20) and single clips too (AUC of at least
    :data:`stress.evaluation.audit.probes.ALONE` without their partners). A difference that only partners show is a
    ``note``: encoders spend a few bits less on a drawn face, which no detector of one clip can use.

    Args:
        fakes: The stress fakes.
        reals: The reals beside them; matched by source clip where any match, otherwise all are used.
        base: The detector's own kind of data.
        limit: One-feature AUC from which a feature is flagged.
        find_faces: Finds the faces that the probes must not see; by default MediaPipe's landmarks.
        advance: Called after every clip whose pictures were measured.
        seed: Of permutations and resamples.

    Returns:
        JSON-able: ``features`` (name, label, medians, auc, p, p_corrected, flag, enough), ``probes`` (see
        :func:`stress.evaluation.audit.probes.run_probes`; with p_corrected, flag), ``codecs``, ``limit`` and ``level``
        (of p_corrected), ``unmatched_fakes``, ``people_in_base``, ``compared``, ``names`` (sentences or None),
        ``shuffled`` and ``processed_real`` (None until somebody measures them), ``suspect``, ``notes``, and
        ``warnings``, sentences for the person.
    """
    sources = {item.clip.source_clip for item in fakes}
    matched = [item for item in reals if item.clip.source_clip in sources]
    compared = matched or list(reals)
    every = match([item.clip for item in fakes], [item.clip for item in reals])
    facts = {item.clip: file_facts(item.clip.path) for item in (*fakes, *compared)}
    rows = tuple([clip_facts(item, facts[item.clip]) for item in side] for side in (fakes, compared))
    features = feature_rows(*rows, least=_ENOUGH)

    pairs = _at_most(every, MOST_PAIRS)
    known = [facts[clip] if clip in facts else file_facts(clip.path) for clip in pairs.clips]
    tables = [codec_table(known), rate_table(known)]
    tables += pixel_tables(pairs.clips, find_faces=find_faces, advance=advance)
    probes = run_probes(tables, pairs, level=LEVEL / _TESTS, seed=seed)
    decide(features, probes, limit=limit)

    codecs = [dict(sorted(Counter(str(row["codec"]) for row in side if row["codec"]).items())) for side in rows]
    overlap = sorted(_people(base) & _people([*fakes, *reals]))
    clips = [item.clip for item in (*fakes, *compared)]
    said = {
        "file_names": names.name_differences(clips),
        "metadata": names.metadata_differences([facts[clip] for clip in clips], [clip.label for clip in clips]),
        **names.pair_differences(known, pairs),
        "credentials": names.credentials_note(clips),
    }
    warnings = [_feature_sentence(row) for row in features if row["flag"]]
    warnings += [sentence(row) for row in probes if row["flag"]]
    if all(codecs) and not set(codecs[0]) & set(codecs[1]):
        warnings.append(f"Fakes and reals have no codec in common ({', '.join(codecs[0])}; {', '.join(codecs[1])}).")
    warnings += [text for key in ("resolution", "duration", "rate") if (text := said[key])]
    if every.unmatched:
        missing = len(every.unmatched)
        warnings.append(f"{missing} of {len(fakes)} fakes have no real of the same source clip beside them.")
    if overlap:
        warnings.append(f"{len(overlap)} people of the base data are in the stress data too.")
    notes = [sentence(row) for row in probes if row["faint"]]
    if lacking := [row["label"] for row in probes if not row["enough"]]:
        why = next(row["reason"] for row in probes if not row["enough"])
        notes.append(f"Not enough to say anything of: {'; '.join(lacking)} ({why}).")
    return {
        "features": features,
        "probes": probes,
        "codecs": {"fakes": codecs[0], "reals": codecs[1]},
        "limit": limit,
        "level": LEVEL,
        "compared": {"fakes": len(fakes), "reals": len(compared), "matched": bool(matched), "pairs": len(pairs.fakes)},
        "unmatched_fakes": list(every.unmatched),
        "people_in_base": overlap,
        "names": said,
        "shuffled": None,
        "processed_real": None,
        "suspect": any(row["flag"] for row in (*features, *probes)),
        "notes": notes,
        "warnings": warnings,
    }


def decide(features: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]], *, limit: float) -> None:
    """Set ``p_corrected`` and ``flag`` of each row (and ``faint`` of a probe's), and take ``varies`` away.

    What is the same in all clips cannot be flagged and does not count as a test.
    """
    tested = [row for row in (*features, *probes) if row["varies"] and row["auc"] is not None]
    for row in (*features, *probes):
        row["p_corrected"] = 1.0
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = p
    for row in features:
        row["flag"] = bool(row["enough"] and row["auc"] >= limit and row["p_corrected"] <= LEVEL)
    for row in probes:
        told = row["enough"] and row["varies"] and row["p_corrected"] <= LEVEL
        row["flag"] = bool(told and row["alone"] >= ALONE)
        row["faint"] = bool(told and not row["flag"])
    for row in (*features, *probes):
        del row["varies"]


def _at_most(pairs: Pairs, count: int) -> Pairs:
    """All pairs, or as many of them, evenly spaced."""
    if len(pairs.fakes) <= count:
        return pairs
    chosen = np.linspace(0, len(pairs.fakes) - 1, count).round().astype(int)
    real_of = dict(zip(pairs.fakes.tolist(), pairs.reals.tolist(), strict=True))
    return match(
        [pairs.clips[i] for i in chosen],
        list(dict.fromkeys(pairs.clips[real_of[i]] for i in chosen.tolist())),
    )


def _feature_sentence(row: dict[str, Any]) -> str:
    why = (
        "they may not be the same footage."
        if row["name"] in UNSEEN
        else "a detector can score well without looking at the face. Numbers after fine-tuning are suspect."
    )
    label = row["label"][0].upper() + row["label"][1:]
    return f"{label} alone tells fakes from reals with an AUC of {row['auc']:.2f}: {why}"


def _people(crops: Sequence[Crops]) -> set[str]:
    return {person for item in crops for person in item.clip.people}
