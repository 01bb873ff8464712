"""Few-shot curves: what a network gains, and loses, for every number of clips of a new data set that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceswap_hq.console import progress
from stress.data.crops import Crops
from stress.data.layouts import FAKE
from stress.study.augmentation import augmenting, choose
from stress.study.figures import compare, of, people_of
from stress.study.models import Model, Workshop
from stress.study.settings import StudySettings


def few_shot(
    shop: Workshop,
    model: Model,
    learned: Mapping[str, Sequence[Crops]],
    asked: Mapping[str, Sequence[Crops]],
    *,
    base: str,
    new: Sequence[str],
    settings: StudySettings,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Path]]]:
    """Augment one network by each new data set, both ways, with rising numbers of clips.

    Args:
        shop: Trains and asks.
        model: Where every training starts.
        learned: Data set -> clips to learn from.
        asked: Data set -> clips that every augmented network is asked about.
        base: The old data.
        new: The new data sets.
        settings: Of the study.
        say: Told what is going on.

    Returns:
        Rows, one a way, number of clips, and data set asked about: ``after`` and ``gain`` (after minus before, on the
        same clips; below 0 on the old data it is forgetting), estimates; and new data set -> approach -> where the
        network augmented by most clips lies.
    """
    rows: list[dict[str, Any]] = []
    kept: dict[str, dict[str, Path]] = {}
    if base not in learned:
        return rows, kept
    before = shop.scores(model, asked, lambda *_, **__: None)
    people = people_of(asked)
    keep = "heat-maps" in settings.parts
    for name in new:
        if name not in learned:
            continue
        there = sum(item.clip.label == FAKE for item in learned[name])
        shots = sorted({min(count, there) for count in settings.shots})
        for approach in settings.approaches:
            for count in shots:
                say(f"{model.name}: {approach}, {count} fakes of {name}")
                after, seen = [], []
                with progress("few-shot training", None, unit="steps") as advance:
                    for repeat in range(settings.repeats):
                        chosen = choose(learned[name], count, settings.seed + repeat)
                        scores, path = shop.augmented(
                            model, approach, chosen, learned[base], asked, repeat=repeat,
                            keep=keep and count == shots[-1] and repeat == 0, advance=advance,
                        )  # fmt: skip
                        after.append(scores)
                        seen.append(chosen)
                        if path is not None:
                            kept.setdefault(name, {})[approach] = path
                tables = {f"after {item}": [of(scores, item) for scores in after] for item in asked}
                tables |= {f"before {item}": [of(before, item)] for item in asked}
                changes = {f"gain {item}": (f"after {item}", f"before {item}") for item in asked}
                figures = compare(tables, people, settings.bootstrap, changes=changes, metrics=("auc",))
                how, _ = augmenting(model.detector.card.architecture, settings, approach, 0)
                facts = {
                    "network": model.name, "new": name, "approach": approach, "shots": count, "layers": how.layers,
                    "repeats": settings.repeats, "learned": _seen(seen),
                }  # fmt: skip
                for item in asked:
                    if f"gain {item}" in figures:
                        part = {"n": figures[f"after {item}"]["n"], "after": figures[f"after {item}"]["auc"]}
                        rows.append({**facts, "dataset": item, **part, "gain": figures[f"gain {item}"]["auc"]})
    return rows, kept


def _seen(chosen: Sequence[Sequence[Crops]]) -> dict[str, int]:
    """New clips and people that one training saw, the most over repeats."""
    return {
        "fakes": max(sum(item.clip.label == FAKE for item in one) for one in chosen),
        "reals": max(sum(item.clip.label != FAKE for item in one) for one in chosen),
        "people": max(len({person for item in one for person in item.clip.people}) for one in chosen),
    }
