"""Data written by somebody who means harm, or by a broken disk: refused on one line, without being unpacked."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
import zlib

import pytest

from faceswap_hq.errors import UserError
from stress.api import FaceCrop
from stress.data.crops import crop_clips, sample_frames
from stress.data.layouts import checking, read_dataset
from tests.stress.synthetic import clip

HEAD = {"format": "faceswap-hq manifest", "version": 1}


def _refused(what, match):
    with pytest.raises(UserError, match=match) as caught:
        what()
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700


def _entry(**changes):
    return {
        "id": "a",
        "fake": "fakes/a.mp4",
        "real": "reals/a.mp4",
        "source": {"person": "ann"},
        "target": {"person": "bob", "clip": "c.mp4"},
        "frames": [0, 9],
    } | changes


def _out(folder, entry):
    for name in ("fakes/a.mp4", "reals/a.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "manifest.json").write_text(json.dumps(HEAD | {"entries": [entry]}))
    return folder


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../a.mp4", "outside its folder"),
        ("/etc/hostname", "outside its folder"),
        ("fakes/a\nb.mp4", "control characters"),
        ("fakes/\x1b[2J.mp4", "control characters"),
        ("f" * 4096, "longer than 1000 bytes"),
        ("a/" * 400 + "b", "missing"),
        ("f" * 900, "outside its folder|missing|cannot be read"),
        ("fakes/\udcff.mp4", "not UTF-8"),
        ("fakes/pipe.mp4", "not a regular file"),
        ("fakes/null.mp4", "outside its folder"),
        ("fakes/away.mp4", "outside its folder"),
        ("fakes/loop.mp4", "outside its folder|missing|cannot be read"),
        ("reals", "missing"),
    ],
)
def test_names_in_a_manifest(tmp_path, name, match):
    out = _out(tmp_path / "out", _entry(fake=name))
    (tmp_path / "secret.mp4").write_bytes(b"x")
    os.mkfifo(out / "fakes/pipe.mp4")
    (out / "fakes/null.mp4").symlink_to("/dev/null")
    (out / "fakes/away.mp4").symlink_to(tmp_path / "secret.mp4")
    (out / "fakes/loop.mp4").symlink_to("loop.mp4")
    _refused(lambda: read_dataset(out), match)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (_entry(frames=[0, 1e999]), "Infinity is not JSON"),
        (_entry(frames=[float("nan"), 1]), "NaN is not JSON"),
        (_entry(id="a\nb"), "control characters"),
        (_entry(source={"person": "x" * 5000}), "longer than"),
        (_entry(target={"person": "bob", "clip": "c\x00.mp4"}), "control characters"),
    ],
)
def test_values_in_a_manifest(tmp_path, entry, match):
    _refused(lambda: read_dataset(_out(tmp_path, entry)), match)


def test_numbers_beyond_all_bounds_in_a_manifest(tmp_path):
    out = _out(tmp_path, _entry(frames=[0, 1]))
    text = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(text.replace("[0, 1]", "[0, 1e999]"))
    _refused(lambda: read_dataset(out), "entry 0")


def _split(folder, content):
    for name in ("manipulated_sequences/Deepfakes/c23/videos/000_003", "original_sequences/youtube/c23/videos/000"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.mp4").write_bytes(b"x")
    (folder / "test.json").write_bytes(content)
    return f"{folder}@split=test"


def _zip_bomb():
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.json", b"[" + b" " * 10_000_000 + b"]")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'[["000", NaN]]', "NaN is not JSON"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        (b"[" + b"9" * 5000 + b"]", "cannot be read as JSON"),
        (b"\xff\xfe[]", "cannot be read as JSON"),
        (_zip_bomb(), "cannot be read as JSON"),
        (gzip.compress(b"[" + b" " * 10_000_000 + b"]"), "cannot be read as JSON"),
        (b'[["../../x", "000"]]', "not a pair of sequences"),
        (b'[["000", "003\\n"]]', "not a pair of sequences"),
        (b'"text"', "not a pair of sequences"),
        (b"", "cannot be read as JSON"),
    ],
)
def test_split_files(tmp_path, content, match):
    _refused(lambda: read_dataset(_split(tmp_path, content)), match)


def test_split_files_have_a_limit_of_bytes_and_of_values(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "MAX_JSON_VALUES", 1000)
    _refused(lambda: read_dataset(_split(tmp_path, b"[" + b"[]," * 1000 + b"[]]")), "more than 1,000 values")
    with (tmp_path / "test.json").open("r+b") as stream:
        stream.truncate(checking.MAX_LIST_BYTES + 1)  # a hole: takes no room on the disk
    _refused(lambda: read_dataset(f"{tmp_path}@split=test"), "larger than 64 MiB")


def test_a_pipe_in_place_of_a_list_is_not_waited_for(tmp_path):
    source = _split(tmp_path, b"[]")
    (tmp_path / "test.json").unlink()
    os.mkfifo(tmp_path / "test.json")
    _refused(lambda: read_dataset(source), "no test.json")
    os.mkfifo(tmp_path / "people.csv")
    _refused(lambda: read_dataset(tmp_path), "not a regular file")


@pytest.mark.parametrize("layout", ["folders", "faceforensics"])
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda d: os.mkfifo(d / "000_004.mp4"), "not a regular file"),
        (lambda d: (d / "000_004.mp4").symlink_to("/dev/zero"), "not a regular file"),
        (lambda d: (d / "000\n004.mp4").write_bytes(b"x"), "control characters"),
        (lambda d: open(os.fsencode(d) + b"/\xff.mp4", "wb").close(), "not UTF-8"),
    ],
)
def test_clips_that_are_no_files_or_have_names_that_cannot_be_written_down(tmp_path, layout, spoil, match):
    _split(tmp_path, b"[]")
    (tmp_path / "test.json").unlink()
    videos = tmp_path / "manipulated_sequences/Deepfakes/c23/videos"
    spoil(videos)
    _refused(lambda: read_dataset(f"{tmp_path}@layout={layout}", tmp_path / "original_sequences"), match)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("/etc/passwd.png", "outside its folder"),
        ("../../x/0.png", "outside its folder"),
        ("away/0.png", "outside its folder"),
        ("v/away.png", "outside its folder"),
        ("v/pipe.png", "not a regular file"),
        ("v/passwd", "not a picture"),
        ("v/gone.png", "missing"),
        (7, "is not a name"),
    ],
)
def test_frames_that_deepfakebench_lists(tmp_path, name, match):
    root = tmp_path / "root"
    (root / "v").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    for path in (root / "v/0.png", tmp_path / "else/0.png"):
        path.write_bytes(b"x")
    (root / "away").symlink_to(tmp_path / "else")
    (root / "v/away.png").symlink_to(tmp_path / "else/0.png")
    os.mkfifo(root / "v/pipe.png")
    record = {"label": "real", "frames": [name]}
    (root / "x.json").write_text(json.dumps({"X": {"X_real": {"test": {"v": record}}}}))
    _refused(lambda: read_dataset(None, root / "x.json"), match)


@pytest.mark.parametrize("key", ["../a.mp4", "/etc/a.mp4", "a\nb.mp4", "x" * 4096])
def test_names_in_the_tables_of_dfdc(tmp_path, key):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "metadata.json").write_text(json.dumps({key: {"label": "FAKE"}}))
    _refused(lambda: read_dataset(tmp_path), "outside its folder|control characters|longer than")
    (tmp_path / "metadata.json").unlink()
    (tmp_path / "method_A").mkdir()
    record = {"label": "fake", "set": "test", "target_id": 1, "swapped_id": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({key: record}))
    _refused(lambda: read_dataset(tmp_path), "outside its folder|control characters|longer than")


def test_folders_of_names_that_no_disk_has(tmp_path):
    for name in ("x" * 4096, str(tmp_path / ("y" * 300)), "a\nb", f"{'z' * 4096}@split=test"):
        _refused(lambda name=name: read_dataset(name), "cannot be read|does not exist")


def _huge_png(path, side=20_000):
    """A PNG that says it has 400 million pixels and is a few bytes long."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [9_000, 12_000, 20_000])
def test_an_enormous_picture_among_frames_costs_its_clip_and_nothing_else(tmp_path, side, recwarn):
    (tmp_path / "v").mkdir()
    _huge_png(tmp_path / "v/0.png", side)
    _refused(lambda: list(sample_frames(tmp_path / "v", 1)), f"{side} x {side} pixels")
    used, excluded = crop_clips([clip("v", 0, ("p",), tmp_path / "v")], FaceCrop(input_size=32), 4)
    assert not used
    assert f"{side} x {side} pixels" in excluded[0].reason
    assert not [warning for warning in recwarn if "bomb" in str(warning.message)]


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_a_pipe_or_device_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / "frames").mkdir()
    os.mkfifo(tmp_path / "frames/0.png")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    clips = [clip(name, 0, ("p",), tmp_path / name) for name in (f"pipe{suffix}", f"zero{suffix}", "frames")]
    used, excluded = crop_clips(clips, FaceCrop(input_size=32), 4)
    assert not used
    assert ["not a regular file" in item.reason for item in excluded] == [True] * 3
