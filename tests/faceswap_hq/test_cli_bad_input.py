"""The command line: everything a user can get wrong, a full disk, and files that are damaged."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq import provenance
from faceswap_hq.faceset import read_faceset
from faceswap_hq.training import checkpoints
from tests.faceswap_hq.helpers import (
    SETTINGS_YAML,
    Known,
    leftovers,
    mark,
    tree,
    use_backend,
    write_clip,
)


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
    (["--add", "FACES2", "--to", "models/anna-ben", "--begin-from", "models/anna-ben"], "Leave --begin-from out"),
    (["--src", "FACES", "--dst", "FACES2", "--begin-from", "nowhere"], "nowhere"),
    ([*PAIR, "--devices", "2", "--device", "mps"], "'mps' cannot be used"),
    (["--cast", "nowhere"], "nowhere is not a folder"),
    (["--cast", "FACES0"], "is one person's faceset"),
]

MESH = ["good.mp4", "--method", "mesh", "--source", "FACES0"]
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
    (["good.mp4", "--parser", "nowhere.onnx"], "nowhere.onnx is missing"),
    (["good.mp4", "--parser", "small.yaml"], "small.yaml is not an ONNX network"),
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
    (["good.mp4", "--method", "magic"], "no method 'magic'"),
    (["good.mp4", "--source", "good.mp4"], "--source belongs to"),
    *(([name, "--method", "mesh", "--source", "FACES0"], message) for name, message in VIDEO),
    *((["good.mp4", "--method", "mesh", "--source", name], message) for name, message in VIDEO),
    *((["good.mp4", "--method", "expression", "--source", name], message) for name, message in VIDEO),
    (["good.mp4", "--method", "mesh"], "takes the other person from --source"),
    ([*MESH, "--model", "models/anna-ben"], "--model belongs to"),
    ([*MESH, "--retarget", "0"], "--retarget belongs to"),
    ([*MESH, "--device", "cpu"], "--device belongs to"),
    ([*MESH, "--backend", "face-alignment"], "mediapipe's 478 points"),
    ([*MESH, "--target-person", "anna"], "onto themselves"),
    ([*MESH, "--frames", "900:950"], "no frame in the range"),
    ([*MESH, "--parser", "small.yaml"], "small.yaml is not an ONNX network"),
    (["good.mp4", "--method", "mesh", "--source", "folder"], "folder holds neither"),
    (["good.mp4", "--method", "expression", "--source", "folder"], "folder is no video"),
    (["good.mp4", "--method", "expression", "--source", "good.mp4", "--backend", "dlib"], "mediapipe's 478 points"),
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
        assert "people, number 1 taken. Choose with --person N; see x.faceset/people.png" in out
        assert len(read_faceset("x.faceset").rows) > 10


def test_a_cast_of_actors_is_not_written_over(tmp_path, run):
    (tmp_path / "cast.json").write_text("{}")
    code, _, err = run("actors", "-o", str(tmp_path), "--count", "1", "--seconds", "0.2")
    assert code == 2
    assert "holds a cast already" in err
    assert [path.name for path in tmp_path.iterdir()] == ["cast.json"]
