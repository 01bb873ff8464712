"""The command line: the whole way once. What a user can get wrong is in test_cli_bad_input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from faceswap_hq import __version__, provenance
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import read_faceset
from faceswap_hq.options import find_model, parse_range
from tests.faceswap_hq.helpers import (
    SETTINGS_YAML,
    Shot,
    leftovers,
    side_by_side,
    tree,
    use_backend,
    write_clip,
)

ROOT = Path(__file__).parents[2]


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
        assert "two.mp4: 2 people, number 2 taken. Choose with --person N; see two.faceset/people.png" in out
        assert (here / "two.faceset/people.png").exists()

    def test_a_choice_made_by_hand_is_not_undone(self, here, run, actor_facesets):
        shutil.copytree(actor_facesets[0], here / "anna.faceset")
        next((here / "anna.faceset/faces").iterdir()).unlink()
        before = tree(here / "anna.faceset")
        code, _, err = run("extract", "anna.mp4", "-o", "anna.faceset")
        assert code == 2
        assert "1 of its pictures were deleted by hand" in err
        assert tree(here / "anna.faceset") == before

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
