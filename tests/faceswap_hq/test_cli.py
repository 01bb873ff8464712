"""The command line: the whole way once, and everything a user can get wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq import __version__, provenance
from faceswap_hq.cli import app, find_model, parse_range
from faceswap_hq.console import run_app
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import read_faceset
from faceswap_hq.training import checkpoints
from tests.faceswap_hq.helpers import (
    SETTINGS_YAML,
    Known,
    Shot,
    leftovers,
    mark,
    side_by_side,
    tree,
    use_backend,
    write_clip,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory, with a home of its own beside it."""
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def run(capfd):
    """Run a command; returns exit code, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_app(app, [str(argument) for argument in arguments])
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err, printed.err
        return code, printed.out, printed.err

    return command


class TestTheWholeWay:
    def test_extract_train_render_verify(self, here, run, monkeypatch, shots: tuple[Shot, Shot], actor_clips):
        for shot, clip in zip(shots, actor_clips, strict=True):
            use_backend(monkeypatch, shot.knowing())
            code, out, err = run("extract", clip)
            assert (code, err) == (0, "")
            assert "faces kept; sorted out: none" in out
            assert "0 of 24 frames without a face" in out
            assert len(read_faceset(here / f"{clip.stem}.faceset").rows) == 24
        (here / "small.yaml").write_text(SETTINGS_YAML)
        train = ("train", "--src", "anna.faceset", "--dst", "ben.faceset", "--preset", "small.yaml", "--device", "cpu")
        code, out, err = run(*train, "--steps", 2)
        assert (code, err) == (0, "")
        assert "models/anna-ben: step 2" in out
        assert (here / "models/anna-ben/previews/latest.png").exists()
        code, out, err = run(*train, "--steps", 4)
        assert code == 0
        assert "resuming at step 2" in out
        assert "faceswap-hq render VIDEO --model models/anna-ben" in out
        code, out, err = run("render", actor_clips[1], "--blend", "none", "--frames", "0:6")
        assert (code, err) == (0, "")
        assert "6 of 6 frames swapped; 0 without the face passed through" in out
        assert "stress-test --detector CKPT --fakes out" in out
        fake = here / "out/fakes/anna_onto_ben_0-6.mp4"
        assert provenance.verify(fake).state == "valid"
        code, out, err = run("verify", fake)
        assert code == 0
        assert "compositeWithTrainedAlgorithmicMedia" in out
        assert "ben.mp4" in out
        code, out, err = run("render", actor_clips[1], "--preview", 3, "--blend", "none")
        assert code == 0
        assert cv2.imread("ben-3.png").shape == (192, 384, 3)
        code, out, err = run(
            "render", actor_clips[1], "-o", "both.mp4", "--compare", "--blend", "none", "--source-person", "ben"
        )
        assert code == 0
        assert not leftovers(here)

    def test_a_cast(self, here, run, actor_facesets, actor_clips):
        """Everybody in a folder is trained together; who can't be used is left out and named."""
        (here / "small.yaml").write_text(SETTINGS_YAML)
        for name, faceset in (("ben", actor_facesets[1]), ("anna", actor_facesets[0]), ("cem", actor_facesets[0])):
            shutil.copytree(faceset, here / "people" / f"{name}.faceset")
        (here / "people" / "dora.mp4").write_bytes(b"no video")
        (here / "people" / "notes.txt").write_text("left alone")
        train = ("train", "--cast", "people", "--preset", "small.yaml", "--device", "cpu", "--steps")
        code, out, err = run(*train, 1)
        assert code == 0
        assert "dora.mp4 is left out" in err
        assert "3 people" in out
        assert "--source-person A --target-person B" in out
        code, _, err = run("render", actor_clips[1], "--preview", 0, "--blend", "none", "--source-person", "anna")
        assert code == 2
        assert "--target-person NAME" in err
        chosen = ("--source-person", "anna", "--target-person", "ben")
        assert run("render", actor_clips[1], "--preview", 0, "--blend", "none", *chosen)[0] == 0
        for name in ("ben", "cem"):
            shutil.rmtree(here / "people" / f"{name}.faceset")
        code, _, err = run(*train, 2)
        assert code == 2
        assert "shows 1 people with usable faces" in err

    def test_training_extracts_and_caches(self, here, run, monkeypatch, shots, actor_clips):
        (here / "small.yaml").write_text(SETTINGS_YAML)
        backends = [shot.knowing() for shot in shots]
        waiting = iter(backends)
        monkeypatch.setattr("faceswap_hq.extract.open_backend", lambda *args, **kwargs: next(waiting))
        train = (
            "train",
            "--src",
            actor_clips[0],
            "--dst",
            actor_clips[1],
            "--preset",
            "small.yaml",
            "--model",
            "m",
            "--device",
            "cpu",
        )
        code, out, _ = run(*train, "--steps", 1)
        assert code == 0
        assert out.count("faces kept") == 2
        code, out, _ = run(*train, "--steps", 2, "--seed", 0)
        assert code == 0
        assert "faces kept" not in out
        code, _, err = run(*train, "--steps", 2, "--seed", 5)
        assert code == 2
        assert "another seed" in err

    def test_two_people(self, here, run, monkeypatch, shots):
        images, backend = side_by_side(*shots)
        write_clip(here / "two.mp4", images[:8])
        use_backend(monkeypatch, backend)
        code, out, err = run("extract", "two.mp4", "--person", 2)
        assert code == 0
        assert "two.mp4: 2 people. Choose with --person N; see two.faceset/people.png" in out
        assert (here / "two.faceset/people.png").exists()

    def test_interrupted_training_says_how_to_go_on(self, here, run, monkeypatch, actor_facesets):
        import signal

        from faceswap_hq.training.trainer import Trainer

        (here / "small.yaml").write_text(SETTINGS_YAML)
        real = Trainer.step

        def step(self, share):
            if self.progress.step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return real(self, share)

        monkeypatch.setattr(Trainer, "step", step)
        train = (
            "train",
            "--src",
            actor_facesets[0],
            "--dst",
            actor_facesets[1],
            "--preset",
            "small.yaml",
            "--device",
            "cpu",
        )
        code, out, err = run(*train, "--steps", 9)
        assert code == 130
        assert "Stopped and saved. Run the same command again to go on (budget: 9 steps)." in out
        monkeypatch.setattr(Trainer, "step", real)
        code, out, _ = run(*train, "--steps", 9)
        assert code == 0
        assert "resuming at step 3" in out


def test_version_and_help(run):
    assert run("--version") == (0, f"{__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("extract", "train", "render", "verify", "actors", "demo", "doctor"):
        assert command in out
        assert run(command, "--help")[0] == 0
    assert run()[0] in (0, 2)


def test_help_imports_nothing_heavy():
    program = (
        "import sys, faceswap_hq.cli; print(sorted({'torch', 'mediapipe', 'pandas', 'matplotlib', 'c2pa', 'cv2', 'av'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


class TestParts:
    @pytest.mark.parametrize(("text", "expected"), [("0:10", (0, 10)), (" 3 : 4 ", (3, 4))])
    def test_ranges(self, text, expected):
        assert parse_range(text) == expected

    @pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", ":5", "5:", "1.5:3"])
    def test_no_ranges(self, text):
        with pytest.raises(UserError, match="is not a range"):
            parse_range(text)

    def test_models_are_found(self, here):
        with pytest.raises(UserError, match="no trained model under models/"):
            find_model(None)
        for name in ("a", "b"):
            (here / "models" / name).mkdir(parents=True)
            (here / "models" / name / "card.json").write_text("{}")
            if name == "a":
                assert find_model(None) == Path("models/a")
        with pytest.raises(UserError, match="2 models under models/") as caught:
            find_model(None)
        assert "--model models/a or --model models/b" in str(caught.value)
        assert find_model(Path("c")) == Path("c")


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture
def zoo(here, actor_clips, trained) -> Path:
    """See :func:`fill`."""
    return fill(here, actor_clips[1], trained)


def fill(here: Path, clip: Path, trained: Path) -> Path:
    """Fill a folder with things that are not what they seem, and a good clip and model among them."""
    good = clip.read_bytes()
    (here / "good.mp4").write_bytes(good)
    (here / "empty.mp4").write_bytes(b"")
    (here / "text.mp4").write_text("It was a dark and stormy night. " * 50)
    (here / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    (here / "cut.mp4").write_bytes(good[: len(good) // 2])
    (here / "picture.mp4").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    for name in ("folder", "folder.mp4", "void"):
        (here / name).mkdir()
    (here / "folder" / "notes.txt").write_text("nothing to see")
    write_clip(here / "nobody.mp4", [mark(np.full((160, 160, 3), 90, np.uint8), i) for i in range(4)])
    shutil.copytree(trained, here / "models" / "anna-ben")
    for name in ("damaged", "newer", "weightless", "untrained"):
        shutil.copytree(trained, here / "bad" / name, ignore=shutil.ignore_patterns("checkpoints", "previews"))
    card = json.loads((trained / "card.json").read_text())
    (here / "bad/damaged/model.safetensors").write_bytes((trained / "model.safetensors").read_bytes()[:-5])
    (here / "bad/damaged/config.yaml").write_text("format: [")
    (here / "bad/newer/card.json").write_text(json.dumps({**card, "version": 99}))
    config = (trained / "config.yaml").read_text()
    (here / "bad/newer/config.yaml").write_text(re.sub(r"version: \d+", "version: 99", config, count=1))
    (here / "bad/weightless/model.safetensors").unlink()
    (here / "bad/untrained/card.json").unlink()
    (here / "small.yaml").write_text(SETTINGS_YAML)
    (here / "wrong.yaml").write_text("colour: blue")
    (here / "out-damaged").mkdir()
    (here / "out-damaged/manifest.json").write_text("{")
    (here / "folder.yaml").mkdir()
    return here


VIDEO = [
    ("missing.mp4", "missing.mp4 does not exist"),
    ("empty.mp4", "empty.mp4 is empty"),
    ("text.mp4", "text.mp4 cannot be read as a video"),
    ("noise.mp4", "noise.mp4 cannot be read as a video"),
    ("cut.mp4", "cut.mp4"),
    ("picture.mp4", "picture.mp4 is a picture (PNG), not a video"),
    ("nobody.mp4", "nobody.mp4: no face found in 4 frames"),
]

EXTRACT = [
    *(([name], message) for name, message in VIDEO),
    (["void"], "void holds neither videos nor pictures"),
    (["folder"], "folder holds neither videos nor pictures"),
    (["folder.mp4"], "folder.mp4 holds neither videos nor pictures"),
    (["good.mp4", "-o", "folder"], "folder exists and is not a faceset"),
    (["good.mp4", "-o", "good.mp4"], "good.mp4 exists and is not a faceset"),
    (["good.mp4", "-o", "small.yaml/x"], "small.yaml"),
    (["good.mp4", "-o", "x" * 300], "File name too long"),
    (["good.mp4", "--person", "5"], "there is no person 5"),
    (["good.mp4", "--person", "0"], "--person"),
    (["good.mp4", "--size", "10"], "crop size"),
    (["good.mp4", "--every", "0"], "--every"),
    (["good.mp4", "--backend", "dlib"], "no landmark backend 'dlib'"),
    (["good.mp4", "--backend", "face-alignment"], "The face-alignment backend is not installed"),
    ([], "INPUT"),
]

PAIR = ["--src", "FACES0", "--dst", "FACES1", "--preset", "small.yaml", "--steps", "1", "--device", "cpu"]
TRAIN = [
    *((["--src", name, "--dst", "FACES1", "--steps", "1"], message) for name, message in VIDEO),
    (["--src", "FACES0", "--dst", "folder", "--steps", "1"], "folder holds neither"),
    (["--src", "FACES0", "--dst", "FACES0", "--steps", "1", "--preset", "small.yaml"], "the same name"),
    ([*PAIR, "--model", "small.yaml"], "small.yaml is a file; a model is a directory"),
    ([*PAIR, "--model", "folder"], "folder is not empty and has no config.yaml"),
    ([*PAIR, "--model", "bad/damaged"], "config.yaml cannot be read"),
    ([*PAIR, "--model", "bad/newer"], "newer version"),
    (
        [*PAIR[:2], "--dst", "FACES2", *PAIR[4:], "--model", "models/anna-ben"],
        "was trained on anna, ben, not on anna, cem",
    ),
    ([*PAIR[:4], "--steps", "1", "--model", "models/anna-ben"], "begun with another"),
    ([*PAIR, "--minutes", "1"], "either --minutes or --steps"),
    ([*PAIR, "--preset", "slow"], "no preset 'slow'"),
    ([*PAIR, "--preset", "wrong.yaml"], "unknown setting 'colour'"),
    ([*PAIR, "--preset", "nowhere.yaml"], "nowhere.yaml is missing"),
    ([*PAIR, "--device", "cuda:99"], "'cuda:99' cannot be used"),
    ([*PAIR, "--steps", "0"], "--steps"),
    ([*PAIR, "--seed", "-1"], "--seed"),
    (["--src", "FACES0"], "--dst"),
    (["--cast", "folder", "--src", "FACES0"], "Give either --cast"),
    (["--cast", "folder"], "folder holds no videos, facesets or folders"),
    (["--add", "FACES0"], "--add and --to belong together"),
    (["--add", "FACES0", "--to", "nowhere"], "is missing"),
    (["--add", "FACES0", "--to", "models/anna-ben", "--steps", "1"], "the same name"),
    (["--add", "FACES2", "--to", "models/anna-ben", "--preset", "fast"], "Leave --preset out"),
    ([*PAIR, "--devices", "2", "--device", "mps"], "'mps' cannot be used"),
    (["--cast", "nowhere"], "nowhere is not a folder"),
    (["--cast", "FACES0"], "is one person's faceset"),
]

RENDER = [
    *(([name], message) for name, message in VIDEO),
    (["folder"], "folder is a folder"),
    (["good.mp4", "--model", "nowhere"], "nowhere is not a model: no such directory"),
    (["good.mp4", "--model", "void"], "void is not a model run"),
    (["good.mp4", "--model", "small.yaml"], "small.yaml is not a model"),
    (["good.mp4", "--model", "bad/damaged"], "does not match the checksum"),
    (["good.mp4", "--model", "bad/newer"], "newer version"),
    (["good.mp4", "--model", "bad/weightless"], "model.safetensors is missing"),
    (["good.mp4", "--model", "bad/untrained"], "has not been trained yet"),
    (["good.mp4", "-o", "good.mp4"], "good.mp4 is the input itself"),
    (["good.mp4", "-o", "./folder/../good.mp4"], "is the input itself"),
    (["good.mp4", "-o", "folder"], "folder is a directory"),
    (["good.mp4", "-o", "swap.avi"], "the output is an .mp4 file"),
    (["good.mp4", "-o", "small.yaml/x.mp4"], "small.yaml"),
    (["good.mp4", "--out-dir", "small.yaml"], "small.yaml"),
    (["good.mp4", "--out-dir", "out-damaged"], "manifest.json cannot be read"),
    (["good.mp4", "--frames", "ten"], "is not a range of frames"),
    (["good.mp4", "--frames", "9:3"], "is empty"),
    (["good.mp4", "--frames", "900:950"], "no frame in the range"),
    (["good.mp4", "--compare"], "--compare writes one file"),
    (["good.mp4", "--preview", "900"], "no frame in the range"),
    (["good.mp4", "--preview", "-1"], "--preview"),
    (["good.mp4", "--preview", "1", "-o", "x.mp4"], "a preview is a .png file"),
    (["good.mp4", "--person", "9"], "there is no person 9"),
    (["good.mp4", "--source-person", "cem"], "knows no 'cem'"),
    (["good.mp4", "--target-person", "anna"], "onto themselves"),
    (["good.mp4", "--blend", "lovely"], "--blend lovely"),
    (["good.mp4", "--blend", "wrong.yaml"], "--blend wrong.yaml"),
    (["good.mp4", "--blend", "nowhere.yaml"], "nowhere.yaml is missing"),
    (["good.mp4", "--blend", "folder.yaml"], "folder.yaml"),
    (["good.mp4", "--signing-key", "small.yaml"], "the certificate is missing"),
    (["good.mp4", "--signing-key", "nokey.pem", "--signing-cert", "small.yaml"], "nokey.pem does not exist"),
    (["good.mp4", "--device", "tpu9"], "'tpu9' cannot be used"),
    (["good.mp4", "--backend", "dlib"], "no landmark backend 'dlib'"),
]

VERIFY = [
    (["missing.mp4"], "missing.mp4 does not exist"),
    (["folder"], "folder is a folder"),
    (["empty.mp4"], "empty.mp4 is empty"),
    (["text.mp4"], "no content credentials"),
    (["good.mp4"], "no content credentials"),
    (["cut.mp4"], "cut.mp4"),
]


COMMANDS = (("extract", EXTRACT), ("train", TRAIN), ("render", RENDER), ("verify", VERIFY))


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [(name, *case) for name, cases in COMMANDS for case in cases],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input(zoo, run, monkeypatch, shots, actor_facesets, command, arguments, message):
    """Exit code 2, a message that names the thing, no traceback; nothing on disk is changed, new or half-written."""
    known = Known(
        [[] for _ in range(4)] if "nobody.mp4" in arguments else [[face] for face in shots[1].landmarks], marked=True
    )
    if not any(name in arguments for name in ("dlib", "face-alignment")):
        use_backend(monkeypatch, known)
    if "face-alignment" in arguments:
        monkeypatch.setitem(sys.modules, "face_alignment", None)
    if "FACES2" in arguments:
        shutil.copytree(actor_facesets[1], zoo / "cem.faceset")
    places = {"FACES0": str(actor_facesets[0]), "FACES1": str(actor_facesets[1]), "FACES2": "cem.faceset"}
    before = tree(zoo)
    code, out, err = run(command, *(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert message in (out if command == "verify" and not err else err)
    assert tree(zoo) == before
    assert not leftovers(zoo.parent)


@pytest.mark.parametrize("command", ["extract", "train", "render"])
def test_a_full_disk(zoo, run, monkeypatch, shots, actor_facesets, command):
    """Exit code 1, said in words; what is there stays, nothing half-written."""
    use_backend(monkeypatch, shots[1].knowing())
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")

    def fail(*args, **kwargs):
        raise full

    if command == "extract":
        monkeypatch.setattr("faceswap_hq.faceset.write_table", fail)
        arguments = ["good.mp4"]
    elif command == "train":
        monkeypatch.setattr(checkpoints, "save_file", fail)
        arguments = [*PAIR, "--model", "models/anna-ben", "--steps", "9"]
        arguments = [{"FACES0": actor_facesets[0], "FACES1": actor_facesets[1]}.get(a, a) for a in arguments]
    else:
        monkeypatch.setattr("faceswap_hq.media.VideoWriter._mux", fail)  # in the thread that writes
        arguments = ["good.mp4", "--blend", "none"]
    before = tree(zoo)
    code, _, err = run(command, *arguments)
    assert code == 1
    assert "error: the disk is full" in err
    assert not leftovers(zoo.parent)
    after = tree(zoo)
    same = {name for name in before if after.get(name) == before[name]}
    assert set(before) - same <= {"models/anna-ben/log.jsonl", "models/anna-ben/previews/latest.png"}
    assert {name for name in set(after) - set(before) if "previews" not in name} == set()


class TestDamagedButDecodable:
    def damaged(self, path: Path, clip: Path) -> Path:
        """A clip whose middle is noise: the head and the tail of the file are whole."""
        data = bytearray(clip.read_bytes())
        start = data.find(b"mdat") + len(data) // 3
        noise = zlib.compress(os.urandom(64)) * 40
        data[start : start + 2000] = noise[:2000]
        path.write_bytes(data)
        return path

    def test_what_can_be_decoded_is_used(self, here, run, monkeypatch, shots, actor_clips, trained):
        clip = self.damaged(here / "ben.mp4", actor_clips[1])
        use_backend(monkeypatch, Known([[face] for face in shots[1].landmarks] * 11, marked=True))
        code, out, err = run("extract", clip)
        assert code == 0
        assert "faces kept" in out
        assert len(read_faceset(here / "ben.faceset").rows) >= 3
        code, out, err = run("render", clip, "--model", trained, "-o", "x.mp4", "--blend", "none")
        assert code == 0
        assert provenance.verify("x.mp4").state == "valid"


class TestHardFootage:
    """Real files that are hard: what can be decoded is used, what could not is said."""

    @pytest.mark.parametrize("name", ["truncated.mp4", "damaged.mpg"])
    def test_damaged(self, here, run, footage, name):
        code, out, err = run("extract", footage / "hard" / name, "-o", "x.faceset", "--every", "3")
        assert code in (0, 2)
        assert name in err
        if code == 0:
            assert "faces kept" in out
            assert "what could be decoded was used" in err
        assert not leftovers(here)

    def test_two_people_with_cuts(self, here, run, footage):
        code, out, err = run(
            "extract", footage / "hard" / "two_people_with_cuts.mp4", "-o", "x.faceset", "--every", "3"
        )
        assert code == 0
        assert "people. Choose with --person N; see x.faceset/people.png" in out
        assert len(read_faceset("x.faceset").rows) > 10


def test_through_the_shell(here):
    """The installed way: exit codes reach the shell, messages standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "faceswap_hq", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = shell("render", "missing.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: missing.mp4 does not exist.\n")
    assert shell("--version").stdout == f"{__version__}\n"
