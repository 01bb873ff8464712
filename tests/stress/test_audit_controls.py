from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from faceswap_hq.errors import UserError
from stress.data.controls import read_controls
from stress.data.layouts import read_manifest
from stress.data.splits import split
from stress.evaluation.audit.processed_real import from_videos, processed_real
from stress.evaluation.audit.shuffled import shuffled_crops, shuffled_labels
from stress.evaluation.metrics import to_videos
from stress.evaluation.out_of_fold import Material, fine_tune
from stress.training import TrainSettings
from tests.stress.standin import StandIn, crops, finetune, quiet, study


@pytest.mark.parametrize("pairs", ["couples", "all"])
def test_shuffling_stays_within_source_clips(pairs) -> None:
    fakes, reals, _ = study(6, pairs=pairs)
    given = [*fakes, *reals]
    mixed = shuffled_crops(given, np.random.default_rng(0))
    assert [item.clip.people for item in mixed] == [item.clip.people for item in given]
    assert any(a.clip.label != b.clip.label for a, b in zip(mixed, given, strict=True))
    for source in {item.clip.source_clip for item in given}:
        labels = [[x.clip.label for x in side if x.clip.source_clip == source] for side in (mixed, given)]
        assert sorted(labels[0]) == sorted(labels[1])
    assert len({(item.clip.label, item.clip.id) for item in mixed}) == len(given)


def run(given, tune, folds=None, runs=6):
    folds = folds or split([item.clip for item in given]).folds
    failures = []
    found = shuffled_labels(
        StandIn(), given, folds, TrainSettings(), finetune=tune, failures=failures, progress=quiet, runs=runs,
        resamples=200,
    )
    assert failures == []
    return found


@pytest.mark.parametrize("pairs", ["couples", "all"])
def test_a_detector_that_knows_fakes_is_at_half_on_labels_that_mean_nothing(pairs) -> None:
    fakes, reals, _ = study(8, pairs=pairs)
    found = run([*fakes, *reals], finetune)
    assert found["runs"] == 6
    assert abs(found["auc"] - 0.5) < 0.2
    assert found["low"] < 0.5 < found["high"]
    assert not found["flag"]


def test_unmatched_reals_are_shuffled_too() -> None:
    """Where no source clip has both labels, fakes and reals change places all the same."""
    fakes, reals, _ = study(8)
    reals = [replace(item, clip=replace(item.clip, source_clip=f"other {item.clip.id}")) for item in reals]
    mixed = shuffled_crops([*fakes, *reals], np.random.default_rng(0))
    labels = np.array([item.clip.label for item in mixed])
    assert labels.sum() == len(fakes)
    assert 0 < labels[: len(fakes)].sum() < len(fakes)


def test_clips_on_both_sides_of_a_fold_are_betrayed() -> None:
    """A fine-tuning that remembers pictures, asked about pictures it was trained on."""
    fakes, reals, _ = study(8)
    given = [*fakes, *reals]

    class Remembers(StandIn):
        def fake_probability(self, images):
            return np.full(len(images), 0.9 if images.tobytes() in self.seen else 0.1)

    def tune(detector, reals, fakes, settings, progress):
        tuned = Remembers()
        tuned.seen = {item.images.tobytes() for item in fakes}
        return tuned

    honest = split([item.clip for item in given]).folds
    every = tuple(range(len(given)))
    leaking = [type(fold)(people=fold.people, test=fold.test, train=every) for fold in honest]
    assert run(given, tune, leaking)["flag"]
    assert not run(given, tune, honest)["flag"]


def scene(red_of_controls, people=8):
    rng = np.random.default_rng(1)
    kinds = {"fake": (0.7, 1), "real": (0.2, 0), "control": (red_of_controls, 0)}
    found = {}
    for kind, (red, label) in kinds.items():
        found[kind] = [
            crops(f"{kind}{i}", label, ([f"p{i ^ 1}"] if label else []) + [f"p{i}"], f"p{i}",
                  red + rng.uniform(-0.1, 0.1), 0.2, seed=i)
            for i in range(people)
        ]  # fmt: skip
    return found["control"], found["fake"], found["real"]


def judged(*kinds):
    named = dict(zip(("control", "fake", "real"), kinds, strict=True))
    return processed_real(
        {kind: np.array([StandIn().fake_probability(item.images).mean() for item in items])
         for kind, items in named.items()},
        {kind: [item.clip.people for item in items] for kind, items in named.items()},
        {kind: np.full(len(items), 0.5) for kind, items in named.items()},
        resamples=300,
    )  # fmt: skip


def test_controls_called_fake_are_the_pipeline_and_controls_called_real_are_not() -> None:
    learnt = judged(*scene(0.65))
    assert learnt["flag"]
    assert "pipeline" in learnt["sentence"]
    assert (learnt["rate"]["value"], learnt["reals_rate"]["value"], learnt["auc"]["value"]) == (1, 0, 1)
    assert learnt["n"] == {"controls": 8, "fakes": 8, "reals": 8, "people": 8}
    honest = judged(*scene(0.2))
    assert not honest["flag"]
    assert honest["rate"]["value"] == 0
    assert 0.2 < honest["auc"]["value"] < 0.8
    assert json.loads(json.dumps(honest)) == honest
    with pytest.raises(ValueError, match="needed"):
        judged([], *scene(0.2)[1:])


def test_after_fine_tuning_controls_are_judged_by_detectors_that_saw_none_of_their_people() -> None:
    controls, fakes, reals = scene(0.2)
    for item in fakes:
        item.images[..., 1] = 200
    given = [*fakes, *reals]
    tuned = fine_tune(
        StandIn(), Material(stress=given, others={"controls": controls}), split([item.clip for item in given]).folds,
        TrainSettings(), finetune=finetune, failures=[],
    )  # fmt: skip
    table = to_videos(pd.concat(tuned.scores, ignore_index=True))
    own = table[table.group == "controls"]
    found = from_videos(own, table[table.group == "stress"], resamples=200)
    assert (found["n"]["controls"], found["n"]["fakes"]) == (8, 8)
    assert (found["fakes_rate"]["value"], found["rate"]["value"], found["flag"]) == (1, 0, False)


def manifest(folder, control):
    for kind in ("fakes", "reals", "controls"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / "a.mp4").write_bytes(b"x")
    entry = {
        "id": "a", "fake": "fakes/a.mp4", "real": "reals/a.mp4", "source": {"person": "ann"}, "frames": [0, 9],
        "target": {"person": "ben", "clip": "ben.mp4", "sha256": "0"},
    }  # fmt: skip
    entry |= {} if control is None else {"control": control}
    value = {"format": "faceswap-hq manifest", "version": 1, "entries": [entry]}
    (folder / "manifest.json").write_text(json.dumps(value))
    return folder


def test_controls_are_read_and_are_neither_fakes_nor_reals(tmp_path) -> None:
    folder = manifest(tmp_path / "out", "controls/a.mp4")
    (control,) = read_controls(folder)
    assert (control.label, control.people, control.method, control.id) == (0, ("ben",), "control", "a")
    assert control.path == folder / "controls" / "a.mp4"
    assert sorted(clip.method for clip in read_manifest(folder)) == ["faceswap-hq", "real"]
    assert read_controls(manifest(tmp_path / "old", None)) == []
    assert read_controls(tmp_path) == []


@pytest.mark.parametrize("name", ["../a.mp4", "controls/b.mp4", 7])
def test_a_control_elsewhere_or_missing_is_refused(tmp_path, name) -> None:
    folder = manifest(tmp_path / "out", name)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_controls(folder)
