"""Which networks' heat maps are compared, on which pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from stress.data.crops import Crops, evenly_spaced
from stress.data.layouts import FAKE
from stress.detectors import DetectorCard
from stress.evaluation.out_of_fold import key_of
from stress.evaluation.score_store import ScoreStore
from stress.study.architectures import published
from stress.study.grad_cam import grad_cam
from stress.study.heat_maps import agreement, finish
from stress.study.models import Model, Workshop
from stress.study.settings import StudySettings
from stress.study.trouble import reason_of

Fail = Callable[[str, str], None]


def agreements(
    shop: Workshop,
    models: Sequence[Model],
    augmented: Mapping[str, Mapping[str, Mapping[str, Path]]],
    tested: Callable[[DetectorCard], Mapping[str, Sequence[Crops]]],
    cache: ScoreStore,
    settings: StudySettings,
    *,
    fail: Fail,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Agreement of every two networks, of all together, and, as published, of each with what augmentation made of it.

    Networks that want faces cut out otherwise than the first see other pictures, so they are left out and named.

    Args:
        shop: Loads augmented networks.
        models: Networks before augmentation.
        augmented: Network -> new data set -> approach -> where the augmented network lies.
        tested: From a card to data set -> clips.
        cache: Keeps results.
        settings: Of the study.
        fail: Told what could not be compared, and why.
        say: Told what is going on.

    Returns:
        Rows: ``group``, ``networks``, ``dataset``, and what :func:`stress.study.heat_maps.agreement` gives.
    """
    alike = []
    for model in models:
        card, first = model.detector.card, models[0].detector.card
        if (card.crop_margin, card.alignment) == (first.crop_margin, first.alignment):
            alike.append(model)
        else:
            fail(f"heat maps of {model.name}", f"it wants faces cut out otherwise than {models[0].name}")
    groups: list[tuple[str, list[Model]]] = []
    if len(alike) > 2:
        groups.append(("all", alike))
    groups += [("pair", list(pair)) for pair in combinations(alike, 2)]
    for model in models:
        for new, ways in augmented.get(model.name, {}).items():
            later = [shop.load(path, f"{model.name}, {way} of {new}") for way, path in ways.items()]
            groups.append((f"augmented by {new}", [model, *later]))
    rows = []
    for dataset in dict.fromkeys(name for model in models for name in tested(model.detector.card)):
        say(f"heat maps: {dataset}")
        maps: dict[Any, np.ndarray] = {}
        for group, members in groups:
            names = [member.name for member in members]
            try:
                row = _compared(shop, members, dataset, tested, maps, cache, settings)
            except Exception as error:  # whatever a foreign network does
                fail(f"heat maps of {', '.join(names)} on {dataset}", reason_of(error))
                continue
            if row is not None:
                rows.append({"group": group, "networks": names, "dataset": dataset, **row})
    return rows


def _compared(
    shop: Workshop,
    members: Sequence[Model],
    dataset: str,
    tested: Callable[[DetectorCard], Mapping[str, Sequence[Crops]]],
    maps: dict[Any, np.ndarray],
    cache: ScoreStore,
    settings: StudySettings,
) -> dict[str, Any] | None:
    chosen = [_pictures(tested(member.detector.card).get(dataset, ()), settings.heat_frames) for member in members]
    common = [key for key in chosen[0] if all(key in other for other in chosen)]
    if not common:
        return None
    side = max(member.detector.card.input_size for member in members)
    crops = [tested(member.detector.card)[dataset] for member in members]
    facts = (settings.mode, settings.heat_frames, side, settings.bootstrap)
    keys = [
        shop.store.key(member.detector, repr(facts), "heat maps", -1, [], {dataset: mine})
        for member, mine in zip(members, crops, strict=True)
    ]
    key = " ".join(one or "" for one in keys)
    known: dict[str, Any] | None = cache.get(key) if all(keys) else None
    if known is not None:
        return known
    ready = {}
    for number, (member, pictures) in enumerate(zip(members, chosen, strict=True)):
        name = member.detector.card.sha256 or member.name, side, tuple(common)
        if name not in maps:
            raw = grad_cam(member.detector, np.stack([pictures[key][0] for key in common]))
            first = published(member.detector.card.architecture).real_first
            maps[name] = finish(raw, side, settings.mode, real_first=first).astype(np.float16)
        ready[f"{number}"] = maps[name].astype(np.float32)
    people = [chosen[0][key][1] for key in common]
    found = agreement(ready, people, [key[0] for key in common], settings.bootstrap, settings.mode)
    if all(keys):
        cache.put(key, found)
    return found


def _pictures(crops: Sequence[Crops], count: int) -> dict[tuple[Any, int], tuple[np.ndarray, tuple[str, ...]]]:
    """Some frames of every fake, evenly spaced: clip and frame number -> picture and people."""
    return {
        (key_of(item, ""), int(item.frames[i])): (item.images[i], item.clip.people)
        for item in crops
        if item.clip.label == FAKE
        for i in evenly_spaced(len(item.frames), count)
    }
