from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from faceswap_hq.errors import UserError
from stress.data.crops import Excluded
from stress.evaluation.gate import judge
from stress.evaluation.metrics import VIDEO_SCORES, align, to_videos
from stress.evaluation.store import FoldStore
from stress.experiment import ExperimentSettings, Outcome, run, save
from stress.results import json_safe
from stress.strategies import Strategy, parse
from stress.training import TrainSettings
from tests.stress.standin import Card, StandIn, crops, finetune, quiet, study

ALL = Strategy()
QUICK = ExperimentSettings(resamples=100, strategies=(ALL,), seeds=1, shuffles=0)


def go(fakes, reals, own=None, *, detector=None, settings=QUICK, excluded=(), tune=finetune) -> Outcome:
    return run(detector or StandIn(), fakes, reals, own, settings, excluded, progress=quiet, finetune=tune)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return go(*study(12))


def video_means(outcome: Outcome, group: str, phase: str) -> pd.DataFrame:
    scores = outcome.scores
    part = scores[(scores.group == group) & (scores.phase == phase)]
    return part.groupby(["label", "clip", "fold"], as_index=False)[["score", "threshold"]].mean()


def test_figures_follow_from_the_scores(outcome: Outcome) -> None:
    results = outcome.results
    auc = {}
    for name, group, phase in (
        ("reference", "base", "before"),
        ("before", "stress", "before"),
        ("after", "stress", "after"),
    ):
        videos = video_means(outcome, group, phase)
        found = results["conditions"][name]["video"]
        auc[name] = roc_auc_score(videos.label, videos.score)
        assert found["auc"]["value"] == pytest.approx(auc[name])
        called = videos.score >= videos.threshold
        assert found["detection_rate"]["value"] == pytest.approx(called[videos.label == 1].mean())
        assert found["false_alarm_rate"]["value"] == pytest.approx(called[videos.label == 0].mean())
        n = results["conditions"][name]["n"]
        assert n["fakes"]["clips"] + n["reals"]["clips"] == len(videos) == n["all"]["clips"]
    assert auc["reference"] > 0.99 > 0.9 > auc["before"]  # the stand-in's story: it drops ...
    assert auc["after"] > 0.99  # ... and recovers
    changes = results["changes"]
    assert changes["drop"]["video"]["auc"]["value"] == pytest.approx(auc["reference"] - auc["before"])
    assert changes["recovery"]["video"]["auc"]["value"] == pytest.approx(auc["after"] - auc["before"])
    folds = [part for _, part in video_means(outcome, "base", "after").groupby("fold")]
    after = np.mean([roc_auc_score(part.label, part.score) for part in folds])
    assert changes["forgetting"]["video"]["auc"]["value"] == pytest.approx(auc["reference"] - after)
    caught = np.mean([(part.score >= part.threshold)[part.label == 1].mean() for part in folds])
    lost = results["conditions"]["reference"]["video"]["detection_rate"]["value"] - caught
    assert changes["forgetting"]["video"]["detection_rate"]["value"] == pytest.approx(lost)
    assert changes["drop"]["video"]["eer"]["value"] > 0  # a worse error rate is a positive drop
    share = changes["recovery_share"]["video"]["detection_rate"]["value"]
    parts = (changes[name]["video"]["detection_rate"]["value"] for name in ("recovery", "drop"))
    assert share == pytest.approx(next(parts) / next(parts))


def test_every_figure_has_its_interval_or_says_why_not(outcome: Outcome) -> None:
    parts = {**outcome.results["conditions"], **outcome.results["changes"]}
    for name, part in parts.items():
        for level in ("video", "frame"):
            for metric, cell in part[level].items():
                if cell["low"] is None:
                    assert cell["note"], (name, level, metric)
                else:
                    assert cell["low"] <= cell["value"] <= cell["high"], (name, level, metric)


def test_nobody_is_trained_on_and_tested() -> None:
    fakes, reals, own = study(8, pairs="all")
    shared = crops("p0", 0, ["p0"], "p0", 0.1, 0.2, dataset="base")  # someone of the stress data in the base data
    detector = StandIn()
    outcome = go(fakes, reals, [*own, shared], detector=detector)
    people = {(clip.label, clip.id): set(clip.people) for clip in (item.clip for item in [*fakes, *reals])}
    folds = {report["fold"]: report for report in outcome.results["finetune"]["folds"]}
    assert len(folds) == len(detector.trained_on) == 6
    after = outcome.scores[outcome.scores.phase == "after"]
    for fold, trained in zip(sorted(folds), detector.trained_on, strict=True):
        seen = {person for clip in trained for person in clip.people}
        footage = {clip.source_clip for clip in trained}
        mine = after[after.fold == fold]
        for row in mine[mine.group == "stress"].drop_duplicates(["label", "clip"]).itertuples():
            assert not people[row.label, row.clip] & seen
            assert row.source_clip not in footage
        base_clips = set(mine[mine.group == "base"]["clip"])
        assert ("p0" in base_clips) == ("p0" not in seen)
        assert folds[fold]["base_left_out"] == int("p0" in seen)
    assert outcome.results["audit"]["people_in_base"] == ["p0"]
    tested = after[(after.group == "stress") & (after.label == 1)].drop_duplicates("clip")
    assert len(tested) + len(outcome.results["finetune"]["left_out"]) == len(fakes)


def test_base_data_of_the_same_people_is_asked_out_of_fold() -> None:
    """Each base clip is scored by the one detector that was not fine-tuned on its people, and the folds are pooled."""
    fakes, reals, _ = study(8)
    rng = np.random.default_rng(0)
    own = []
    for item in [*fakes, *reals]:
        clip, red = item.clip, rng.uniform(0.6, 0.9) if item.clip.label else rng.uniform(0.1, 0.4)
        own.append(crops(clip.id, clip.label, clip.people, f"base {clip.source_clip}", red, red, dataset="stress"))
    outcome = go(fakes, reals, own)
    after = video_means(outcome, "base", "after")
    assert len(after) == len(own)
    for row in after.itertuples():
        held_out = outcome.results["finetune"]["folds"][row.fold]["people"]
        who = next(item.clip.people for item in own if (item.clip.label, item.clip.id) == (row.label, row.clip))
        assert set(who) <= set(held_out)
    conditions = outcome.results["conditions"]
    assert conditions["base_after"]["video"]["auc"]["value"] == pytest.approx(roc_auc_score(after.label, after.score))
    assert conditions["base_before"] == conditions["reference"]
    assert conditions["before"]["n"] == conditions["reference"]["n"]  # one name and id, yet two data sets
    assert conditions["before"]["video"]["auc"] != conditions["reference"]["video"]["auc"]
    assert len(outcome.results["audit"]["people_in_base"]) == 8


def test_too_few_people_reports_the_first_half_alone() -> None:
    fakes, reals, own = study(8)
    outcome = go(fakes[:2], reals, own)
    finetuning = outcome.results["finetune"]
    assert not finetuning["done"]
    assert "2 people" in finetuning["reason"]
    assert set(outcome.results["conditions"]) == {"before", "reference"}
    assert set(outcome.results["changes"]) == {"drop"}
    assert set(outcome.scores.phase) == {"before"}
    before = outcome.results["conditions"]["before"]["video"]
    assert before["detection_rate"]["low"] is None  # two fakes, whatever the number of reals
    assert before["false_alarm_rate"]["low"] is not None


def test_without_base_data_no_drop_is_claimed() -> None:
    fakes, reals, _ = study(8)
    results = go(fakes, reals).results
    assert set(results["changes"]) == {"recovery"}
    assert "reference" not in results["conditions"]


def test_base_of_one_kind_is_refused_aloud() -> None:
    fakes, reals, own = study(8)
    results = go(fakes, reals, [item for item in own if item.clip.label == 0]).results
    assert set(results["changes"]) == {"recovery"}
    assert "only one kind" in results["warnings"][0]


def test_fine_tuning_can_be_left_out() -> None:
    fakes, reals, own = study(8)
    results = go(fakes, reals, own, settings=replace(QUICK, finetune=False)).results
    assert results["finetune"]["reason"] == "not asked for"


def test_a_fold_that_fails_is_named_and_the_others_count() -> None:
    calls = []

    def sometimes(detector, reals, fakes, settings, progress):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("loss is not a number")
        return finetune(detector, reals, fakes, settings, progress)

    fakes, reals, _ = study(8)
    results = go(fakes, reals, tune=sometimes).results
    what = "fine-tuning of fold 1 (all layers, seed 0)"
    assert results["failures"] == [{"what": what, "reason": "loss is not a number"}]
    assert [fold["fold"] for fold in results["finetune"]["folds"]] == [0, 2, 3]
    assert results["conditions"]["after"]["n"]["fakes"]["clips"] == 6
    assert results["conditions"]["before_tested"]["n"] == results["conditions"]["after"]["n"]
    assert sum(row["after"] is None for row in results["clips"] if row["label"]) == 2


def test_every_fold_failing_is_no_recovery() -> None:
    def never(*_, **__):
        raise UserError("the disk is full")

    fakes, reals, own = study(8)
    results = go(fakes, reals, own, tune=never).results
    assert not results["finetune"]["done"]
    assert len(results["failures"]) == 4
    assert set(results["changes"]) == {"drop"}


def test_a_clip_the_detector_fails_on_is_left_out_and_named() -> None:
    class Fragile(StandIn):
        def fake_probability(self, images):
            scores = super().fake_probability(images)
            return np.where(images[:, 0, 0, 2] > 0, np.nan, scores)

    fakes, reals, _ = study(8)
    fakes[0] = crops("bad", 1, fakes[0].clip.people, fakes[0].clip.source_clip, 0.5, 0.5)
    fakes[0].images[2, ..., 2] = 9  # one frame is enough
    results = go(fakes, reals, detector=Fragile()).results
    assert results["failures"][0]["what"] == "scoring bad by the untouched detector"
    assert "bad" not in {row["clip"] for row in results["clips"]}
    assert results["conditions"]["before"]["n"]["fakes"]["clips"] == 7


def test_nothing_to_compare_is_the_users_to_mend() -> None:
    fakes, reals, _ = study(8)
    with pytest.raises(UserError, match="8 fakes and 0 reals"):
        go(fakes, [])


def test_claims_of_the_card_are_checked_on_its_own_data() -> None:
    fakes, reals, own = study(4)
    card = Card(base_metrics={"video_auc": 0.9, "video_detection_rate": 0.5, "frame_eer": 0.001, "odd": 1.0})
    results = go(fakes, reals, own, detector=StandIn(card=card)).results
    assert [claim["metric"] for claim in results["claims"]] == ["auc", "detection_rate", "eer"]
    assert results["gate"]["passed"]
    assert all(row["low"] <= row["found"] <= row["high"] for row in results["gate"]["rows"])
    assert results["warnings"] == []
    worse = [replace(item, clip=replace(item.clip, label=1 - item.clip.label)) for item in own]  # polarity mistake
    detector = StandIn(card=card)
    with pytest.raises(UserError, match="stopped at the gate.*card claims 0.900"):
        go(fakes, reals, worse, detector=detector)
    assert not detector.trained_on  # nothing dear was done first
    results = go(fakes, reals, worse, detector=detector, settings=replace(QUICK, gate=False)).results
    assert "card claims 0.900" in results["warnings"][0]
    assert results["gate"]["passed"] is False


def test_without_claims_or_base_the_gate_says_that_it_was_not_asked() -> None:
    fakes, reals, own = study(4)
    assert "claims nothing" in go(fakes, reals, own).results["gate"]["reason"]
    card = Card(base_metrics={"video_auc": 0.9})
    gate = go(fakes, reals, detector=StandIn(card=card)).results["gate"]
    assert (gate["passed"], gate["asked"]) == (None, False)
    assert "no reals and fakes" in gate["reason"]


def test_a_figure_within_the_tolerance_passes_the_gate() -> None:
    reference = {"video": {"auc": {"value": 0.9, "low": None, "high": None}, "eer": {"value": 0.1}}}
    assert judge({"video_auc": 0.94}, reference, 0.05)["passed"]
    assert not judge({"video_auc": 0.96}, reference, 0.05)["passed"]
    worse = {"video": {"eer": {"value": 0.2, "low": 0.1, "high": 0.3}}}
    found = judge({"video_eer": 0.1, "nonsense": 1.0}, worse, 0.05)  # of error rates less is better
    assert [row["fine"] for row in found["rows"]] == [False]
    assert "0.200 [0.100, 0.300]" in found["reason"]


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


def test_folds_with_scales_of_their_own_are_compared_by_their_thresholds() -> None:
    """Each fold's detector is perfect on its fold, at another level; pooled as they are they would be near chance."""
    fakes, reals, _ = study(12)
    calls = []

    class Shifted(StandIn):
        shift = 0.0

        def fake_probability(self, images):
            return np.clip(0.2 * super().fake_probability(images) + self.shift, 0, 1)

    def shifted(detector, reals, fakes, settings, progress):
        tuned = Shifted(green=1.0)
        tuned.shift = 0.1 + 0.12 * len(calls)
        ends = [tuned.fake_probability(item.images).mean() for item in (*reals, *fakes)]
        middle = (max(ends[: len(reals)]) + min(ends[len(reals) :])) / 2
        tuned.card = Card(threshold=float(middle))
        calls.append(tuned.shift)
        return tuned

    outcome = go(fakes, reals, tune=shifted)
    raw = video_means(outcome, "stress", "after")
    assert roc_auc_score(raw.label, raw.score) < 0.9
    after = outcome.results["conditions"]["after"]["video"]
    assert after["auc"]["value"] > 0.99
    assert after["detection_rate"]["value"] == pytest.approx((raw.score >= raw.threshold)[raw.label == 1].mean())
    assert outcome.results["strategies"][0]["by_seed"][0]["after_auc"] > 0.99


def test_aligning_changes_no_call() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"score": rng.random(500), "fold": rng.integers(0, 4, 500)})
    table["threshold"] = np.array([0.0, 0.3, 0.7, 1.0])[table.fold]
    table.loc[:40, "score"] = table.threshold[:41]
    aligned = align(table)
    assert ((aligned.score >= aligned.threshold) == (table.score >= table.threshold)).all()
    for fold in (1, 2):  # within a fold the order stays
        part = table.fold == fold
        assert (aligned.score[part].rank() == table.score[part].rank()).all()
    assert (aligned.probability == table.score).all()


def test_replay_is_left_out_without_base_data() -> None:
    fakes, reals, _ = study(8)
    settings = replace(QUICK, strategies=(parse("all+replay"), ALL))
    rows = go(fakes, reals, settings=settings, tune=varied).results["strategies"]
    assert [row["name"] for row in rows] == ["all"]


def test_a_threshold_calibrated_on_the_folds_own_training_clips() -> None:
    """The untouched detector ranks well but calls everything real: its rate rises, its AUC stays."""
    fakes, reals, _ = study(12)
    shy = [replace(item, images=item.images // 3) for item in fakes], [
        replace(item, images=item.images // 3) for item in reals
    ]
    results = go(*shy).results["conditions"]
    before, calibrated = results["before_tested"]["video"], results["before_calibrated"]["video"]
    assert calibrated["auc"] == before["auc"]
    assert before["detection_rate"]["value"] == 0
    assert calibrated["balanced_accuracy"]["value"] > before["balanced_accuracy"]["value"]


def test_videos_scores_can_be_made_in_other_ways() -> None:
    frames = pd.DataFrame(
        {"group": "stress", "dataset": "d", "label": 1, "clip": "c", "fold": -1, "frame": range(8), "threshold": 0.5}
    ).assign(score=[0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.8, 1.0])
    found = {how: to_videos(frames, how).score[0] for how in VIDEO_SCORES}
    assert found == pytest.approx({"mean": 0.3375, "median": 0.2, "max": 1.0, "top-quarter": 0.9})
    fakes, reals, _ = study(4)
    results = go(fakes, reals, settings=replace(QUICK, video_score="max")).results
    best = {item.clip.id: StandIn().fake_probability(item.images).max() for item in fakes}
    for row in results["clips"]:
        assert not row["label"] or row["before"] == pytest.approx(best[row["clip"]])


def test_the_ladder_asks_the_same_detectors_about_every_rung() -> None:
    fakes, reals, _ = study(8)
    brighter = [replace(item, images=np.minimum(item.images.astype(int) + 60, 255).astype(np.uint8)) for item in fakes]
    outcome = run(
        StandIn(), fakes, reals, None, QUICK, progress=quiet, finetune=finetune,
        rungs={"crude": brighter, "good": fakes},
    )  # fmt: skip
    crude, good = outcome.results["ladder"]
    assert (crude["stage"], good["stage"]) == ("crude", "good")
    top = outcome.results["conditions"]
    for phase in ("before", "after"):
        assert good[phase]["video"]["auc"]["value"] == top[phase]["video"]["auc"]["value"]
    assert crude["before"]["video"]["auc"]["value"] > good["before"]["video"]["auc"]["value"]
    step = good["before"]["video"]["auc"]["value"] - crude["before"]["video"]["auc"]["value"]
    assert good["step"]["video"]["auc"]["value"] == pytest.approx(step)
    assert crude["step"] is None
    assert good["n"]["fakes"]["clips"] == 8


def test_labels_that_mean_nothing_teach_nothing() -> None:
    """A fine-tuning that learns what it is shown is at chance; one that knows the clips by heart is found out."""
    fakes, reals, _ = study(12)
    settings = replace(QUICK, shuffles=2)

    def learns(detector, reals, fakes, settings, progress):
        greener = np.mean([i.images[..., 1].mean() for i in fakes]) > np.mean([i.images[..., 1].mean() for i in reals])
        return StandIn(card=detector.card, green=0.9 if greener else 0.0)

    found = go(fakes, reals, settings=settings, tune=learns).results["audit"]
    assert found["shuffled"]["low"] <= 0.5 <= found["shuffled"]["high"]
    assert (found["shuffled"]["runs"], found["shuffled"]["flag"]) == (2, False)
    assert not any("mean nothing" in text for text in found["warnings"])


def test_controls_called_fake_make_the_recovery_suspect() -> None:
    """Controls as green as fakes: what fine-tuning taught is the pipeline, not the swap."""
    fakes, reals, _ = study(12)
    rng = np.random.default_rng(5)

    def controls(green: float) -> list:
        made = []
        for fake in fakes:
            clip, red = fake.clip, rng.uniform(0.1, 0.5)
            made.append(crops(clip.id, 0, clip.people[1:], clip.source_clip, red, green, seed=7))
        return made

    for green, suspect in ((0.8, True), (0.1, False)):
        outcome = run(
            StandIn(), fakes, reals, None, QUICK, progress=quiet, finetune=finetune, controls=controls(green)
        )
        found = outcome.results["audit"]
        assert found["processed_real"]["flag"] is suspect
        assert found["processed_real"]["n"]["controls"] == 12
        assert not found["processed_real_before"]["flag"]
        assert any("learnt the pipeline" in text for text in found["warnings"]) is suspect
        assert outcome.results["conditions"]["before"]["n"]["reals"]["clips"] == 12  # controls are no reals
        if suspect:
            assert found["suspect"]


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


def test_shortcuts_and_missing_reals_are_reported() -> None:
    fakes, reals, _ = study(12)
    results = go(fakes, reals[2:]).results["audit"]
    assert set(results["unmatched_fakes"]) == {"p1_p0", "p0_p1"}
    brightness = next(row for row in results["features"] if row["name"] == "brightness")
    assert brightness["flag"]  # the stand-in's fakes are brighter, and a reader has to know
    assert any("Brightness" in text for text in results["warnings"])


def test_results_are_json_and_files_are_whole(tmp_path, outcome: Outcome) -> None:
    fakes, reals, _ = study(12)
    files = save(outcome, tmp_path / "deep" / "result", crops=[*fakes, *reals])
    names = ["results.json", "scores.parquet", "report.html", "tables.csv", "tables.parquet"]
    assert [path.name for path in files] == names
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(path.name for path in files)
    text = files[0].read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    results = json.loads(text)
    assert (results["format"], results["version"]) == ("faceswap-hq stress results", 1)
    assert results["settings"]["resamples"] == 100
    assert results["detector"]["sha256"] == "0" * 64
    scores = pd.read_parquet(files[1])
    pd.testing.assert_frame_equal(scores, outcome.scores, check_dtype=False)
    assert {"group", "phase", "fold", "score", "threshold", "people"} <= set(scores.columns)


def test_excluded_clips_are_on_record() -> None:
    fakes, reals, _ = study(8)
    out = Excluded(clip=fakes[0].clip, reason="no face found in the frames looked at")
    results = go(fakes[1:], reals, excluded=[out]).results
    assert results["excluded"][0]["clip"] == fakes[0].clip.id
    assert results["excluded"][0]["reason"] == out.reason


def test_the_same_seed_gives_the_same_results() -> None:
    fakes, reals, own = study(4)
    first, second = (go(fakes, reals, own).results for _ in range(2))
    for name in ("conditions", "changes", "finetune", "clips", "audit"):
        assert first[name] == second[name]


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"folds": 1}, {"resamples": 5}, {"confidence": 1.0}, {"audit_limit": 0.5}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ExperimentSettings(**wrong)


def test_json_safe_leaves_nothing_json_cannot_hold() -> None:
    value = {"a": np.float64("nan"), "b": (np.int64(3), {"z", "y"}), 4: float("inf"), "t": np.bool_(True)}
    assert json_safe(value) == {"a": None, "b": [3, ["y", "z"]], "4": None, "t": True}
