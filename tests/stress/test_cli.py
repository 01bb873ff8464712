from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import stress
from faceswap_hq import __version__, provenance
from faceswap_hq.faces import landmarks
from stress.cli import main
from stress.detectors import load_detector, new_detector, save_detector
from stress.training import TrainSettings
from tests.stress.synthetic import WholePicture, crops


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: WholePicture())
    monkeypatch.setenv("COLUMNS", "200")


def _write(folder: Path, people: int, artefact: float, seed: int = 0) -> Path:
    """``folder/real`` and ``folder/fake``: one clip of three pictures a person, people named in people.csv."""
    for item in crops(people, artefact=artefact, frames=3, seed=seed):
        side = folder / ("fake" if item.clip.label else "real")
        clip = side / item.clip.id
        clip.mkdir(parents=True)
        for number, image in enumerate(item.images):
            cv2.imwrite(str(clip / f"{number}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        with (side / "people.csv").open("a") as table:
            if table.tell() == 0:
                table.write("file,person\n")
            table.write(f"{item.clip.id},{'|'.join(item.clip.people)}\n")
    return folder


def _detector(path: Path, **changes) -> Path:
    detector = new_detector(device="cpu")
    changes = {"input_size": 32, "crop_margin": 1.0} | changes
    detector.card = dataclasses.replace(detector.card, **changes)
    save_detector(detector, path)
    return path


def test_train_then_stress_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("faceswap_hq.console.out._width", 160)  # or the table breaks words over lines
    crude, good = _write(tmp_path / "crude", 8, 20), _write(tmp_path / "good", 6, 6, seed=1)
    start = _detector(tmp_path / "start.pt")
    arguments = f"train --real {crude} --fake {crude} -o mine.pt --from {start} --epochs 12 --batch 8 --lr 0.003"
    assert main(arguments.split()) == 0
    assert "8 fakes" not in (text := capsys.readouterr().out)  # some are held out
    assert "held out from training" in text
    mine = load_detector(tmp_path / "mine.pt", device="cpu")
    assert "crude" in mine.card.training_data

    short = TrainSettings(epochs=6, batch=8, lr=1e-3)
    monkeypatch.setattr("stress.experiment._training", lambda seed: short)
    arguments = f"--detector mine.pt --fakes {good} --base {crude} -o result --frames-per-clip 2 --seed 3 --quick "
    arguments += "--perturb JPEGQ --levels 5"
    assert main(arguments.split()) == 0
    text = capsys.readouterr().out
    results = json.loads((tmp_path / "result/results.json").read_text())
    scores = pd.read_parquet(tmp_path / "result/scores.parquet")
    assert results["finetune"]["done"]
    assert set(results["changes"]) >= {"drop", "recovery", "forgetting"}
    kinds = set(zip(scores.group, scores.phase, strict=True))
    assert kinds == {("stress", "before"), ("stress", "after"), ("base", "before"), ("base", "after")}
    assert len(scores[(scores.group == "stress") & (scores.phase == "before")]) == 6 * 2 * 2
    assert results["settings"]["seed"] == 3
    assert "6 fakes and 6 reals of 6 people" in text
    for phrase in ("video AUC", "after fine-tuning", "drop", "recovery", "forgetting"):
        assert phrase in text
    before = results["conditions"]["before"]["video"]["auc"]["value"]
    assert f"{before:.3f}" in text
    for name in ("results.json", "scores.parquet", "report.html"):
        assert f"result/{name}" in text
        assert (tmp_path / "result" / name).stat().st_size > 1000
    rows = results["robustness"]["rows"]
    assert {(row["phase"], row["level"]) for row in rows} == {("before", 0), ("before", 5), ("after", 0), ("after", 5)}
    for phase in ("before", "after"):  # level 0 is the experiment itself, asked again on frames decoded again
        untouched = next(row for row in rows if (row["phase"], row["level"]) == (phase, 0))
        assert untouched["video"]["auc"]["value"] == results["conditions"][phase]["video"]["auc"]["value"]
    kept = {path.name for path in (tmp_path / "result/fine-tunings").glob("*.safetensors")}
    assert len(kept) == len(results["finetune"]["folds"])

    def again(*_, **__):
        raise AssertionError("fine-tuned once more")

    monkeypatch.setattr("stress.training.loop.train", again)
    assert main(arguments.split()) == 0
    second = json.loads((tmp_path / "result/results.json").read_text())
    for part in ("conditions", "changes", "robustness"):
        assert second[part] == results[part]


def test_training_against_a_blur_leaves_a_signed_sheet_beside_the_detector(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, start = _write(tmp_path / "data", 3, 20), _detector(tmp_path / "start.pt")
    arguments = f"train --real {data} --fake {data} -o mine.pt --from {start} --epochs 1 --batch 4"
    assert main(f"{arguments} --recipe adversarial-blur --set width=2 --set g-per-d=1".split()) == 0
    assert "mine.blurred.png" in capsys.readouterr().out
    picture = cv2.imread("mine.blurred.png")
    assert picture.shape[0] == 8 * (96 + 18)
    assert provenance.verify("mine.blurred.png").state == "valid"
    assert main(f"{arguments} --recipe adversarial-blur --set window=4".split()) == 2
    assert "window" in capsys.readouterr().err


def test_the_card_may_name_the_detectors_own_data_and_what_it_reaches_there(tmp_path, capsys):
    data = _write(tmp_path / "data", 2, 10)
    own = _write(tmp_path / "own", 4, 10, seed=1)
    detector = _detector(tmp_path / "d.pt", base_data="own", base_metrics={"video_auc": 1.0})
    common = ["--detector", str(detector), "--fakes", str(data), "-o", str(tmp_path / "r"), "--no-finetune"]
    assert main(common) == 2  # an untrained detector
    said = " ".join(capsys.readouterr().err.split())
    assert "stopped at the gate" in said
    assert "its card claims 1.000" in said
    assert not (tmp_path / "r" / "results.json").exists()
    assert main([*common, "--ignore-gate"]) == 0
    assert str(own) in capsys.readouterr().out
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["gate"]["passed"] is False
    assert "drop" in results["changes"]


def test_options_that_would_do_nothing_are_refused(tmp_path, capsys):
    for more in ("--no-finetune --seeds 2", "--quick --seeds 2", "--perturb MIX --levels 5", "--perturb GB --levels 9",
                 "--levels 1", "--mode faithful"):  # fmt: skip
        assert main(["--detector", "d", "--fakes", "f", *more.split()]) == 2, more
    assert main(["matrix", "--detectors", ",", "--datasets", "x"]) == 2
    assert main(["matrix", "--detectors", "a", "--datasets", "x", "--seeds", "2"]) == 2


def test_too_few_people_gives_the_first_half_and_says_so(tmp_path, capsys):
    data = _write(tmp_path / "data", 2, 10)
    (data / "fake/dark").mkdir()
    cv2.imwrite(str(data / "fake/dark/0.png"), np.zeros((32, 32, 3), np.uint8))
    detector = _detector(tmp_path / "d.pt")
    assert main(["--detector", str(detector), "--fakes", str(data), "-o", str(tmp_path / "r")]) == 0
    text = capsys.readouterr()
    assert "Nothing is said about recovery" in text.out
    assert "1 clips left out" in text.out
    assert "no face" in text.err
    results = json.loads((tmp_path / "r/results.json").read_text())
    assert results["changes"] == {}
    assert [row["clip"] for row in results["excluded"]] == ["dark"]


def test_evaluate_takes_any_function(tmp_path):
    data = _write(tmp_path / "data", 5, 0)
    rows, columns = np.mgrid[:64, :64]
    for path in (data / "fake").rglob("*.png"):  # fakes are brighter, and the function sees it
        cv2.imwrite(str(path), np.clip(cv2.imread(str(path)).astype(int) + 90, 0, 255).astype(np.uint8))
    crop = stress.FaceCrop(input_size=32, crop_margin=1.0)

    def bright(images):
        assert images.shape[1:] == (32, 32, 3)
        return images.mean((1, 2, 3)) / 255

    found = stress.evaluate(bright, fakes=data, crop=crop, output=tmp_path / "r")
    assert found.results["conditions"]["before"]["video"]["auc"]["value"] > 0.9
    assert found.results["detector"]["name"] == "bright"
    assert not found.results["finetune"]["done"]
    assert (tmp_path / "r/report.html").is_file()
    worst = stress.evaluate(lambda images: 1 - bright(images), fakes=data / "fake", reals=data / "real", crop=crop)
    assert worst.results["conditions"]["before"]["video"]["auc"]["value"] < 0.1
    with pytest.raises(ValueError, match="threshold"):
        stress.evaluate(bright, fakes=data, threshold=2)


def test_card_writes_a_draft_and_fills_it_in(tmp_path, capsys):
    path = tmp_path / "found.pth"
    torch.save(new_detector("meso4", device="cpu").module.state_dict(), path)
    assert main(["card", str(path)]) == 0
    assert "Fill in: architecture" in capsys.readouterr().out
    assert main(["--detector", str(path), "--fakes", str(tmp_path)]) == 2
    assert "not filled in" in capsys.readouterr().err
    fields = {
        "architecture": "meso4", "input_size": 256, "mean": [0, 0, 0], "std": [1, 1, 1], "color_order": "RGB",
        "crop_margin": 1.3, "alignment": "box", "output": "logit", "fake_index": 0, "threshold": 0.5,
        "threshold_source": "its paper",
    }  # fmt: skip
    settings = [part for name, value in fields.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    assert main(["card", str(path), *settings]) == 0
    assert "Fill in" not in capsys.readouterr().out
    assert load_detector(path, device="cpu").card.fake_index == 0


def test_it_says_its_version_and_h_is_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    for command in ([], ["card"], ["matrix"], ["robustness"], ["study"], ["train"]):
        assert main([*command, "-h"]) == 0


def _without_card(folder):
    path = _detector(folder / "d.pt")
    path.with_name("d.card.json").unlink()
    torch.save(load_detector(path, device="cpu").module.state_dict(), path)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda d: None, "--detector gone.pt --fakes data", "gone.pt does not exist"),
        (lambda d: (d / "d.pt").write_bytes(b"junk"), "--detector d.pt --fakes data", "damaged or not a PyTorch file"),
        (_without_card, "--detector d.pt --fakes data", "stress-test card d.pt"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt --fakes gone", "gone does not exist"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt --fakes data/fake", "no real clips"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt --fakes data --base data/fake", "no real clips"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt --fakes data --device tpu9", "tpu9"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt --fakes data -o d.pt", "d.pt is a file"),
        (lambda d: _detector(d / "d.pt"), "--detector d.pt", "--fakes"),
        (lambda d: None, "--fakes data", "--detector"),
        (lambda d: None, "--detectr x", "No such option"),
        (lambda d: None, "--detector d.pt --fakes data --video-score worst", "top-quarter"),
        (lambda d: None, "robustness --detector d.pt --fakes data --faces wild", "clean, again"),
        (lambda d: None, "train --real data --fake data --set needs_fakes=true -o out.pt", "unknown setting"),
        (lambda d: None, "train --real data --fake data -o out.pt --arch resnet51", "resnet50"),
        (lambda d: None, "train --real data --fake data -o data", "data is a directory"),
        (lambda d: None, "train --real data --fake data -o out.pt --batch 3", "batch"),
        (lambda d: None, "train --real data --fake dark -o out.pt", "No fake clip with a face"),
        (lambda d: None, "train --real gone --fake data -o out.pt", "gone does not exist"),
        (lambda d: None, "train --real data --fake data --recipe self-blended -o out.pt", "makes its own fakes"),
        (lambda d: None, "train --real data --fake data --signing-key k.pem -o out.pt", "leaves no picture to sign"),
        (
            lambda d: None,
            "train --real data --fake data --recipe adversarial-blur --signing-key k.pem -o out.pt",
            "the certificate is missing",
        ),
    ],
)
def test_what_a_user_can_cause_is_one_message_exit_code_2_and_no_file(
    tmp_path, capsys, monkeypatch, make, arguments, message
):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "data", 2, 10)
    (tmp_path / "dark/clip").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dark/clip/0.png"), np.zeros((32, 32, 3), np.uint8))
    make(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert main(arguments.split()) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    [
        "--detector d.pt --fakes data -o shut/r", "matrix --detectors d.pt --datasets data -o shut/m",
        "robustness --detector d.pt --fakes data -o shut/deep/r", "train --real data --fake data -o shut/d.pt",
        "study --datasets data --archs meso4 -o shut/s", "train --real data --fake data -o notes.txt/d.pt",
    ],
)  # fmt: skip
def test_a_place_that_takes_no_results_is_refused_before_the_work(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shut").mkdir()
    (tmp_path / "notes.txt").write_text("a file")
    access = os.access  # (root may write into any folder, so the system's answer is put on)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "shut" and access(path, mode))
    assert main(command.split()) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_ctrl_c_in_training_leaves_no_file(tmp_path, capsys, monkeypatch):
    data = _write(tmp_path / "data", 2, 10)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("stress.training.train", stopped)
    assert main(["train", "--real", str(data), "--fake", str(data), "-o", str(tmp_path / "d.pt")]) == 130
    assert not list(tmp_path.glob("d.*"))


@pytest.mark.parametrize("command", ["--detector d.pt --fakes data", "matrix --detectors d.pt --datasets data"])
def test_who_stops_what_can_go_on_is_told_so(tmp_path, capsys, monkeypatch, command):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "data", 2, 10)
    _detector(tmp_path / "d.pt")
    monkeypatch.setattr("stress.experiment.run", stopped)
    monkeypatch.setattr("stress.matrix.run_matrix", stopped)
    assert main(command.split()) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_help_is_quick_because_nothing_heavy_is_imported():
    program = (
        "import sys; from stress.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'pandas', 'mediapipe', 'matplotlib', 'timm', 'cv2'} & set(sys.modules); "
        "sys.exit(code or (repr(heavy) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--detector" in done.stdout
    assert "train" in done.stdout
