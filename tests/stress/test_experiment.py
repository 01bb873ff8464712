"""Before, fine-tuning, after: figures, who is trained on and tested, what is left out, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from faceswap_hq.errors import UserError
from stress.data.crops import Excluded
from stress.experiment import ExperimentSettings, Outcome, save
from stress.results import json_safe
from tests.stress.experiments import QUICK, go, video_means
from tests.stress.standin import StandIn, crops, finetune, study


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return go(*study(12))


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
