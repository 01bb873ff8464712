"""What an experiment says about itself: gate, shuffled labels, controls, shortcuts, the quality ladder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceswap_hq.errors import UserError
from stress.evaluation.gate import judge
from stress.experiment import run
from tests.stress.experiments import QUICK, go
from tests.stress.standin import Card, StandIn, crops, finetune, quiet, study


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


def test_shortcuts_and_missing_reals_are_reported() -> None:
    fakes, reals, _ = study(12)
    results = go(fakes, reals[2:]).results["audit"]
    assert set(results["unmatched_fakes"]) == {"p1_p0", "p0_p1"}
    brightness = next(row for row in results["features"] if row["name"] == "brightness")
    assert brightness["flag"]  # the stand-in's fakes are brighter, and a reader has to know
    assert any("Brightness" in text for text in results["warnings"])
