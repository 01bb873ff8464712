from __future__ import annotations

import csv
import dataclasses
import errno
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import yaml

from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from stress.cli import main
from stress.detectors import new_detector, save_detector
from stress.evaluation import out_of_fold
from stress.study import tables
from stress.study.augmentation import StudyRecipe, first_training
from stress.study.models import Workshop
from stress.study.people import divide
from stress.study.settings import StudySettings, load_settings
from stress.training import TrainSettings, train
from tests.stress.synthetic import WholePicture, crops

ARTEFACTS = {"one": 20, "two": 20, "three": 6}


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: WholePicture())
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three data sets of the same eight people, and quick settings in ``quick.yaml``."""
    tmp_path = tmp_path_factory.mktemp("study")
    for name, artefact in ARTEFACTS.items():
        for item in crops(8, artefact=artefact, frames=3):
            side = tmp_path / name / ("fake" if item.clip.label else "real")
            clip = side / item.clip.id
            clip.mkdir(parents=True)
            for number, image in enumerate(item.images):
                cv2.imwrite(str(clip / f"{number}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            with (side / "people.csv").open("a") as table:
                table.write("file,person\n" if table.tell() == 0 else "")
                table.write(f"{item.clip.id},{'|'.join(item.clip.people)}\n")
    quick = {
        "training": {"epochs": 6, "batch": 8, "lr": 3e-3, "validation": 0.0},
        "augmenting": {"epochs": 1, "batch": 8, "lr": 1e-3, "replay": "alternating", "validation": 0.0},
        "steps": 2, "shots": [2], "permutations": 5, "random_sets": 2, "resamples": 100, "heat_frames": 2,
    }  # fmt: skip
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    return tmp_path


@pytest.fixture
def folders(made, tmp_path, monkeypatch):
    """A copy of them to work in."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATA = "--datasets one --datasets two --datasets three"
COMMON = f"study {DATA} --archs small_cnn --config quick.yaml --input-size 32 -o out --new three"
STUDY = f"{COMMON} --detectors ready=ready.pt"


def _ready(folder):
    detector = new_detector(device="cpu", seed=5)
    detector.card = dataclasses.replace(detector.card, input_size=32)
    save_detector(detector, folder / "ready.pt")


def test_a_study_from_the_command_line_and_again_from_what_it_kept(folders, capsys, monkeypatch):
    _ready(folders)
    assert main(STUDY.split()) == 0, capsys.readouterr().err
    found = json.loads((folders / "out/study.json").read_text())
    assert found["complete"]
    assert found["failures"] == []
    tested, learned = (set(found["people"][side]) for side in ("tested", "learned"))
    assert tested
    assert learned
    assert tested.isdisjoint(learned)

    zero = {(row["network"], row["dataset"]): row for row in found["zero_shot"]}
    assert set(zero) == {(network, name) for network in ("ready", "small_cnn") for name in ARTEFACTS}
    assert zero["small_cnn", "one"]["auc"]["value"] > 0.9
    assert zero["small_cnn", "one"]["drop"] is None
    gap = zero["small_cnn", "one"]["auc"]["value"] - zero["small_cnn", "three"]["auc"]["value"]
    assert zero["small_cnn", "three"]["drop"]["auc"]["value"] == pytest.approx(gap)
    assert zero["small_cnn", "one"]["n"]["all"]["people"] == len(tested)

    few = found["few_shot"]
    kinds = {(row["network"], row["new"], row["approach"], row["shots"], row["dataset"]) for row in few}
    assert len(kinds) == len(few) == 2 * 2 * 3
    for row in few:
        before = zero[row["network"], row["dataset"]]["auc"]["value"]
        assert row["gain"]["value"] == pytest.approx(row["after"]["value"] - before)
        assert row["learned"]["fakes"] == row["learned"]["reals"] == row["shots"]
    assert {row["layers"] for row in few} == {3, "all"}

    heat = {(row["group"], row["dataset"]): row for row in found["heat_maps"]}
    assert {group for group, _ in heat} == {"pair", "augmented by three"}
    for row in found["heat_maps"]:
        assert sum(part["value"] for part in row["bins"].values()) == pytest.approx(1)
        assert row["n"]["pictures"] + row["empty"] == 2 * zero["ready", row["dataset"]]["n"]["fakes"]["clips"]

    for row in found["neurons"]:
        assert row["units"] == 96
        assert sum(row["times_listed"]) == 96
        assert row["times_listed"][3] == row["universal"]["count"] == row["exchanged"]["observed"]
        assert sum(times * count for times, count in enumerate(row["times_listed"])) == 3 * 48
        assert row["chance"]["expected"] == pytest.approx(12)
        assert row["universal"]["share"]["value"] == pytest.approx(row["universal"]["count"] / 96)
        assert [part["dataset"] for part in row["ablation"]["rows"]] == list(ARTEFACTS)
        for part in row["ablation"]["rows"]:
            assert part["all"]["value"] == pytest.approx(zero[row["network"], part["dataset"]]["auc"]["value"])
    units = list(csv.DictReader((folders / "out/units.csv").open()))
    assert len(units) == 2 * 3 * 96
    for name, rows in (("zero-shot", 6), ("few-shot", 12)):
        assert len(list(csv.DictReader((folders / f"out/{name}.csv").open()))) == rows
    page = (folders / "out/study.html").read_text()
    assert f"{zero['small_cnn', 'three']['auc']['value']:.3f}" in page
    assert not re.search(r'(src|href)="(?!#)|<script|url\(', page)

    def again(*_, **__):
        raise AssertionError("done once more")

    for place in ("models.train", "models.score_clips", "run.neuron_study", "looking.grad_cam"):
        monkeypatch.setattr(f"stress.study.{place}", again)
    assert main(STUDY.split()) == 0, capsys.readouterr().err
    second = json.loads((folders / "out/study.json").read_text())
    for part in ("networks", "zero_shot", "few_shot", "heat_maps", "neurons"):
        assert second[part] == found[part], part


def test_a_run_that_was_cut_off_goes_on(folders, capsys, monkeypatch):
    from stress.study import models

    trained = []

    def stops(*arguments, **options):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(options)
        return train(*arguments, **options)

    command = f"{COMMON} --shots 1,2 --approaches merge --parts zero-shot,few-shot"
    monkeypatch.setattr(models, "train", stops)
    assert main(command.split()) == 130
    found = json.loads((folders / "out/study.json").read_text())
    assert not found["complete"]
    assert len(found["zero_shot"]) == 3
    trained.clear()
    monkeypatch.setattr(models, "train", lambda *a, **o: (trained.append(o), train(*a, **o))[1])
    assert main(command.split()) == 0, capsys.readouterr().err
    assert len(trained) == 1  # the network itself is there, and what it was augmented by first
    trained.clear()
    assert main([*command.split(), "--epochs", "1"]) == 0
    assert len(trained) == 3


def test_a_part_that_fails_is_named_and_the_others_go_on(folders, capsys, monkeypatch):
    def fails(*_, **__):
        raise UserError("it is not possible.")

    monkeypatch.setattr("stress.study.run.neuron_study", fails)
    command = f"{COMMON} --parts zero-shot,neurons"
    assert main(command.split()) == 2
    found = json.loads((folders / "out/study.json").read_text())
    assert found["complete"]
    assert len(found["zero_shot"]) == 3
    assert found["failures"] == [{"what": "units of small_cnn", "reason": "it is not possible."}]
    assert "it is not possible" in (folders / "out/study.html").read_text()


@pytest.mark.parametrize("error", [ValueError("bad\nworse"), OSError("bad"), TypeError("bad"), KeyError("bad")])
def test_one_bad_network_does_not_end_the_study(folders, capsys, monkeypatch, error):
    _ready(folders)
    asked = Workshop.scores

    def fails(self, model, *arguments):
        if model.name == "ready":
            raise error
        return asked(self, model, *arguments)

    monkeypatch.setattr(Workshop, "scores", fails)
    assert main(f"{STUDY} --parts zero-shot".split()) == 2
    found = json.loads((folders / "out/study.json").read_text())
    assert found["complete"]
    assert {row["network"] for row in found["zero_shot"]} == {"small_cnn"}
    (failure,) = found["failures"]
    assert failure["what"] == "ready, zero-shot"
    assert failure["reason"].strip("'") == "bad"


def test_a_full_disk_ends_the_study(folders, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(Workshop, "scores", full)
    assert main(f"{COMMON} --parts zero-shot".split()) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_clip_that_fails_is_tried_and_named_again_on_resume(folders, capsys, monkeypatch):
    score = out_of_fold.score_clips

    class Fails:
        def __init__(self, detector):
            self.card, self._detector, self._calls = detector.card, detector, 0

        def fake_probability(self, images):
            self._calls += 1
            if self._calls == 1:
                raise ValueError("no number")
            return self._detector.fake_probability(images)

    def first_fails(detector, crops, *, group, **options):
        return score(Fails(detector) if group == "one" else detector, crops, group=group, **options)

    command = f"{COMMON} --parts zero-shot,few-shot,heat-maps --approaches merge".split()
    monkeypatch.setattr("stress.study.models.score_clips", first_fails)
    runs = []
    for _ in range(2):
        assert main(command) == 2
        runs.append(json.loads((folders / "out/study.json").read_text()))
    assert len(runs[0]["failures"]) == 2  # by the network itself, and after it was augmented
    assert runs[1]["failures"] == runs[0]["failures"]
    assert {row["group"] for row in runs[0]["heat_maps"]} == {"augmented by three"}
    monkeypatch.setattr("stress.study.models.score_clips", score)
    assert main(command) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("option", "seed"), [("", 3), ("--seed 0", 0), ("--seed 5", 5)])
def test_the_seed_of_the_command_line_goes_before_that_of_the_settings(tmp_path, monkeypatch, option, seed):
    (tmp_path / "mine.yaml").write_text("seed: 3")
    given = []

    def stop(what, output, settings, **_):
        given.append(settings)
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stress.study.run.run_study", stop)
    main(f"study --datasets one=a:b --archs small_cnn --config mine.yaml {option}".split())
    assert [settings.seed for settings in given] == [seed]


def test_no_text_of_a_table_is_a_formula(tmp_path):
    names = ["=1+1", "＝1+1", " =1+1", "\n=1+1", "plain"]
    nothing = {name: [] for name in ("zero_shot", "few_shot", "heat_maps", "neurons")}
    tables.write(nothing, tables.unit_rows("-net", names, [[-0.5]] * 5), tmp_path, page=False)
    with (tmp_path / "units.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["dataset"] for row in rows] == [*(f"'{name}" for name in names[:4]), "plain"]
    assert {(row["network"], row["contribution"]) for row in rows} == {("'-net", "-0.5")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--archs small_cnn --config quick.yaml", "Missing option '--datasets'"),
        ("--datasets one", "detectors or architectures"),
        ("--datasets one --datasets x=gone --archs small_cnn", "gone does not exist"),
        ("--datasets one --datasets one=two --archs small_cnn", "Two data sets are called one"),
        ("--datasets one --archs small_cnn --detectors small_cnn=x.pt", "Two networks are called small_cnn"),
        ("--datasets one --detectors a=x.pt,a=y.pt", "Two detectors are called a"),
        ("--datasets one --archs small_cnn", "there is one only"),
        ("--datasets one --archs small_cnn --base two", "no data set 'two'"),
        ("--datasets one --archs small_cnn --new one", "one is the base"),
        ("--datasets one --datasets two --archs resnet51", "no architecture 'resnet51'"),
        ("--datasets one --datasets two --archs meso4 --input-size 32", "does not take pictures of 32 px"),
        ("--datasets one --datasets two --detectors gone.pt", "gone.pt does not exist"),
        ("--datasets one --archs small_cnn --parts all", "known: zero-shot, few-shot"),
        ("--datasets one --archs small_cnn --shots 4,2", "shots ="),
        ("--datasets one --archs small_cnn --shots two", "not a list of numbers"),
        ("--datasets one --archs small_cnn --mode best", "known: faithful, corrected"),
        ("--datasets one --archs small_cnn --config gone", "no settings 'gone'"),
        ("--datasets one --archs small_cnn -o quick.yaml", "quick.yaml is a file"),
        ("--datasets few --datasets x=few --archs small_cnn", "people cannot be divided"),
    ],
)
def test_what_a_user_can_cause_is_one_message_and_exit_code_2(folders, capsys, arguments, message):
    for item in crops(2, artefact=5, frames=1):
        clip = folders / "few" / ("fake" if item.clip.label else "real") / item.clip.id
        clip.mkdir(parents=True)
        cv2.imwrite(str(clip / "0.png"), item.images[0])
    assert main(["study", *arguments.split()]) == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in text
    assert "Traceback" not in text


def test_nobody_tested_in_one_data_set_is_learned_from_in_another():
    one, two = ([item.clip for item in crops(10, artefact=0)] for _ in range(2))
    found = divide({"one": one, "two": two[4:]})
    tested = {person for clips in found.test.values() for clip in clips for person in clip.people}
    learned = {person for clips in found.train.values() for clip in clips for person in clip.people}
    assert tested.isdisjoint(learned)
    assert tested <= set(found.tested)
    for name, clips in (("one", one), ("two", two[4:])):
        parts = [*found.train[name], *found.test[name], *found.left_out[name]]
        assert sorted(map(id, parts)) == sorted(map(id, clips))
    everybody = divide({"one": one}, learn=False)
    assert everybody.test["one"] == one
    with pytest.raises(UserError, match="data set two"):
        divide({"one": one, "two": one[:2]})


def test_the_squared_error_is_what_the_published_meso_networks_go_down():
    settings = dataclasses.replace(load_settings("published"))
    how, recipe = first_training("meso4", settings, 0)
    assert (how.optimizer, how.lr, recipe.loss) == ("adam", 1e-3, "squared")
    how, recipe = first_training("xception", settings, 0)
    assert (how.lr, recipe.loss) == (5e-5, "cross-entropy")
    detector = new_detector(device="cpu")
    detector.card = dataclasses.replace(detector.card, input_size=32)
    faces = crops(4, artefact=9)
    batch = StudyRecipe().draws(faces[::2], faces[1::2], 8, np.random.default_rng(0)).draw()
    learner = StudyRecipe(loss="squared").learner(detector, TrainSettings())
    loss = float(learner.loss(detector.inputs(batch.images), batch).detach())
    error = detector.fake_probability(batch.images) - batch.labels
    assert loss == pytest.approx(float((error**2).mean()), abs=1e-5)


def test_settings_that_cannot_be_are_refused():
    mixed = TrainSettings(validation=0.0, batch=6)
    wrongs: list[dict] = [{"augmenting": mixed}, {"augmenting": TrainSettings()}, {"shots": (0,)}, {"values": 1}]
    for wrong in (*wrongs, {"approaches": ("both",)}, {"steps": 0}, {"last": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StudySettings(**wrong)
    with pytest.raises(ValueError, match="loss"):
        StudyRecipe(loss="hinge")
