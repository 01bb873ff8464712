"""Ways to fine-tune: which layers, replay, several seeds, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stress.evaluation.store import FoldStore
from stress.experiment import Outcome, run
from stress.strategies import parse
from stress.training import TrainSettings
from tests.stress.experiments import ALL, QUICK, go
from tests.stress.standin import Card, StandIn, crops, finetune, quiet, study


def varied(detector, reals, fakes, settings, progress, replay=()):
    """Fine-tuning whose success depends on the seed, and which forgets unless it replays."""
    green = {"last": 0.05, 3: 0.6}.get(settings.layers, 0.9) - 0.02 * settings.seed
    tuned = finetune(detector, reals, fakes, settings, progress)
    tuned.green = green * (0.9 if replay else 1)
    detector.trained_on[-1].extend(item.clip for item in replay)
    return tuned


def test_every_strategy_with_every_seed() -> None:
    fakes, reals, own = study(12)
    settings = replace(QUICK, strategies=tuple(map(parse, ("all", "all+replay", "last-3", "last"))), seeds=2)
    outcome = go(fakes, reals, own, settings=settings, tune=varied)
    rows = {row["name"]: row for row in outcome.results["strategies"]}
    assert list(rows) == ["all", "all+replay", "last-3", "last"]
    assert [row["main"] for row in rows.values()] == [True, False, False, False]
    after = {name: row["conditions"]["after"]["video"]["auc"]["value"] for name, row in rows.items()}
    assert after["all"] > after["last"]
    assert outcome.results["conditions"]["after"] == rows["all"]["conditions"]["after"]
    for row in rows.values():
        assert row["seeds"] == [0, 1]
        by_seed = [each["after_auc"] for each in row["by_seed"]]
        assert row["conditions"]["after"]["video"]["auc"]["value"] == pytest.approx(np.mean(by_seed), abs=1e-6)
        assert 0 < row["p"]["recovery"]["video"]["auc"] <= 1
        assert row["conditions"]["after"]["n"] == rows["all"]["conditions"]["after"]["n"]
    tested = outcome.scores[(outcome.scores.phase == "after") & (outcome.scores.group == "stress")]
    assert set(tested.strategy) == set(rows)
    assert set(tested.seed) == {0, 1}
    clips = [row for row in outcome.results["clips"] if row["after"] is not None]
    assert all(row["after"] == pytest.approx(np.mean(row["after_by_seed"])) for row in clips)
    assert all(len(row["after_by_seed"]) == 2 for row in clips)


def test_replay_never_tests_whom_it_replays() -> None:
    """Base people of the stress data and strangers alike; each base clip is asked about where nobody in it was seen."""
    fakes, reals, own = study(8)
    shared = [crops(f"s{i}", 0, [f"p{i}"], f"own{i}", 0.1, 0.2, dataset="base") for i in range(8)]
    detector = StandIn()
    settings = replace(QUICK, strategies=(parse("all+replay"),))
    outcome = go(fakes, reals, [*own, *shared], detector=detector, settings=settings, tune=varied)
    people = {item.clip.id: set(item.clip.people) for item in [*own, *shared]}
    after = outcome.scores[(outcome.scores.phase == "after") & (outcome.scores.group == "base")]
    replayed = 0
    for fold, trained in enumerate(detector.trained_on):
        seen = {person for clip in trained for person in clip.people}
        replayed += sum(clip.dataset == "base" for clip in trained)
        for row in after[after.fold == fold].drop_duplicates("clip").itertuples():
            assert not people[row.clip] & seen
            assert row.source_clip not in {clip.source_clip for clip in trained}
    assert replayed > 0
    assert {name[0] for name in set(after["clip"])} == {"b", "s"}
    assert "forgetting" in outcome.results["strategies"][0]["changes"]


def unchanged(detector, reals, fakes, settings, progress, replay=()):
    return StandIn(card=detector.card, green=detector.green)


@pytest.mark.parametrize("strategy", ["all", "all+replay"])
def test_a_detector_that_is_not_changed_forgets_nothing(strategy: str) -> None:
    """Base clips of stress people are asked about once, strangers by every fold: before and after weigh them alike."""
    fakes, reals, own = study(8)
    rng = np.random.default_rng(3)
    for item in [*fakes, *reals]:
        clip, red = item.clip, rng.uniform(0.3, 0.7)
        own.append(crops(clip.id, clip.label, clip.people, f"own {clip.source_clip}", red, red, dataset="base"))
    results = go(fakes, reals, own, settings=replace(QUICK, strategies=(parse(strategy),)), tune=unchanged).results
    for name in ("recovery", "forgetting"):
        for metric in ("auc", "detection_rate", "eer"):
            assert results["changes"][name]["video"][metric]["value"] == pytest.approx(0, abs=1e-9), (name, metric)
    assert results["strategies"][0]["p"]["recovery"]["video"]["auc"] is None  # four couples are too few


def test_replay_is_left_out_without_base_data() -> None:
    fakes, reals, _ = study(8)
    settings = replace(QUICK, strategies=(parse("all+replay"), ALL))
    rows = go(fakes, reals, settings=settings, tune=varied).results["strategies"]
    assert [row["name"] for row in rows] == ["all"]


def test_what_was_fine_tuned_is_not_fine_tuned_again(tmp_path) -> None:
    fakes, reals, own = study(8)
    store = FoldStore(tmp_path)

    def once(detector=None, settings=QUICK, **more) -> tuple[Outcome, int]:
        detector = detector or StandIn()
        outcome = run(
            detector, fakes, reals, own, settings, progress=quiet, finetune=finetune, store=store, **more
        )
        return outcome, len(detector.trained_on)

    first, calls = once()
    assert calls == 4
    again, calls = once()
    assert calls == 0
    for name in ("conditions", "changes", "clips", "finetune", "strategies"):
        assert first.results[name] == again.results[name]
    next(tmp_path.glob("*.parquet")).write_bytes(b"cut off")
    assert once()[1] == 1  # what is damaged is made anew
    assert once(StandIn(card=Card(sha256="1" * 64)))[1] == 4  # another detector
    assert once(settings=replace(QUICK, training=TrainSettings(epochs=3)))[1] == 4  # other settings
    assert once(StandIn(card=Card(sha256=None)))[1] == 4  # a detector without a checksum
    fakes[0] = replace(fakes[0], clip=replace(fakes[0].clip, matched="another real"))
    assert once()[1] == 4  # batches are made of other pairs
