from __future__ import annotations

import json

import pytest

from faceswap_hq.errors import UserError
from stress.data.layouts import read_dataset


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _entry(source, target, clip, frames=(0, 100)):
    name = f"{source}-on-{target}-{clip}"
    return {
        "id": name,
        "fake": f"fakes/{name}.mp4",
        "real": f"reals/{name}.mp4",
        "source": {"person": source, "clip": None, "sha256": "aa"},
        "target": {"person": target, "clip": f"{clip}.mp4", "sha256": f"sha-{target}-{clip}"},
        "frames": list(frames),
        "counts": {},
        "model": {"run": "hq-run", "sha256": "bb", "step": 1000},
        "blending": {},
        "quality": {},
        "sha256": {"fake": "cc", "real": "dd"},
    }


def _write(folder, **changes):
    manifest = {"format": "faceswap-hq manifest", "version": 1, "toolkit": "0.1", "entries": []} | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _out(folder, entries):
    for entry in entries:
        _touch(folder, entry["fake"], entry["real"])
    _write(folder, entries=entries)
    return folder


def test_manifest_gives_fakes_with_both_people_and_each_target_stretch_once(tmp_path):
    entries = [_entry("ann", "bob", "c1"), _entry("cat", "bob", "c1"), _entry("ann", "bob", "c1", frames=(100, 200))]
    entries[2].update(id="late", fake="fakes/late.mp4", real="reals/late.mp4")
    out = _out(tmp_path / "out", entries)
    clips = read_dataset(out)
    fakes, reals = ([c for c in clips if c.label == label] for label in (1, 0))
    assert [c.people for c in fakes] == [("ann", "bob"), ("cat", "bob"), ("ann", "bob")]
    assert [c.id for c in reals] == ["ann-on-bob-c1", "late"]  # two fakes of one stretch share one real
    assert [c.matched for c in fakes] == ["ann-on-bob-c1", "ann-on-bob-c1", "late"]
    assert {c.people for c in reals} == {("bob",)}
    assert len({c.source_clip for c in clips}) == 1  # one clip of one person underlies them all
    assert {c.method for c in fakes} == {"hq-run"}
    assert {c.dataset for c in clips} == {"out"}
    assert all(c.path.is_file() for c in clips)


def test_the_same_file_name_of_two_people_is_not_one_source_clip(tmp_path):
    out = _out(tmp_path, [_entry("ann", "bob", "talk"), _entry("ann", "cat", "talk")])
    assert len({c.source_clip for c in read_dataset(out)}) == 2


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/hostname", "fakes/../../secret.mp4", "fakes/link.mp4"])
def test_manifest_may_not_point_outside_its_folder(tmp_path, name):
    _touch(tmp_path, "secret.mp4")
    entry = _entry("ann", "bob", "c1")
    out = _out(tmp_path / "out", [entry])
    (out / "fakes/link.mp4").symlink_to(tmp_path / "secret.mp4")
    _write(out, entries=[entry | {"fake": name}])
    with pytest.raises(UserError, match="outside its folder"):
        read_dataset(out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2; this toolkit reads up to version 1"),
        ({"version": None}, "damaged"),
        ({"format": "shopping list"}, "is not a faceswap-hq manifest"),
        ({"entries": {}}, "no list of entries"),
        ({"entries": [{"id": "a"}]}, "entry 0 lacks or misstates 'source'"),
        ({"entries": ["a"]}, "entry 0"),
        ({"entries": [_entry("ann", "bob", "c1")] * 2}, "occurs twice"),
        ({"entries": [_entry("ann", "bob", "c1") | {"frames": None}]}, "entry 0"),
        ({"entries": [_entry("ann", "bob", "c1") | {"target": {"person": "", "clip": "c"}}]}, "person"),
        ({"entries": [_entry("ann", "bob", "c9")]}, "c9.mp4, which is missing"),
        ({"entries": []}, "lists no clips"),
    ],
)
def test_damaged_manifests_are_one_clear_message(tmp_path, change, message):
    out = _out(tmp_path, [_entry("ann", "bob", "c1")])
    _write(out, **change)
    with pytest.raises(UserError, match=message):
        read_dataset(out)


def test_manifest_that_is_not_json(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_dataset(tmp_path)


def test_plain_folders_take_people_from_names_and_target_source_from_faceforensics(tmp_path):
    _touch(tmp_path / "f", "000_003.mp4", "anna_2.mov", "sub/e07.webm", "notes.txt", ".hidden.mp4", "one.JPG")
    _touch(tmp_path / "r", "000.mp4", "003.mp4", "frames/000.png", "frames/001.png")
    clips = {(c.label, c.id): c for c in read_dataset(tmp_path / "f", tmp_path / "r")}
    assert set(clips) == {
        (1, "000_003"), (1, "anna_2"), (1, "sub/e07"), (1, "one"), (0, "000"), (0, "003"), (0, "frames"),
    }  # fmt: skip
    assert clips[1, "000_003"].people == ("003", "000")  # source's face on the target's clip
    assert clips[1, "000_003"].source_clip == clips[0, "000"].source_clip == "000"
    assert clips[1, "anna_2"].people == ("anna_2",)
    assert clips[0, "frames"].path.is_dir()  # a folder of pictures is one clip
    assert clips[0, "frames"].people == ("frames",)


def test_pairs_of_subfolders(tmp_path):
    _touch(tmp_path, "real/e01.mp4", "fake/e01.mp4")
    fake, real = sorted(read_dataset(tmp_path), key=lambda c: -c.label)
    assert (fake.label, real.label) == (1, 0)
    assert fake.people == real.people == ("e01",)
    assert [c.label for c in read_dataset(None, tmp_path)] == [0]


def test_people_csv_overrides_names(tmp_path):
    _touch(tmp_path / "f", "a.mp4", "b.mp4")
    _touch(tmp_path / "r", "a.mp4")
    (tmp_path / "f/people.csv").write_text("file,person\na.mp4,ann|bob\n")
    clips = {(c.label, c.id): c.people for c in read_dataset(tmp_path / "f", tmp_path / "r")}
    assert clips == {(1, "a"): ("ann", "bob"), (1, "b"): ("b",), (0, "a"): ("a",)}
    (tmp_path / "f/people.csv").write_text("file,person\nc.mp4,ann\n")
    with pytest.raises(UserError, match=r"people\.csv names c\.mp4, which is missing"):
        read_dataset(tmp_path / "f", tmp_path / "r")
    (tmp_path / "f/people.csv").write_text("file,person\na.mp4,\n")
    with pytest.raises(UserError, match="line 2"):
        read_dataset(tmp_path / "f", tmp_path / "r")


def test_reals_replace_those_of_the_manifest_and_train_takes_sides_of_an_out_folder(tmp_path):
    out = _out(tmp_path / "out", [_entry("ann", "bob", "c1")])
    _touch(tmp_path / "mine", "dora.mp4")
    assert [(c.label, c.people) for c in read_dataset(out, tmp_path / "mine")] == [(0, ("dora",)), (1, ("ann", "bob"))]
    assert [c.label for c in read_dataset(None, out)] == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: None, "does not exist"),
        (lambda d: d.write_text("x"), "is a file"),
        (lambda d: d.mkdir(), "holds no clips"),
        (lambda d: _touch(d, "a.mp4"), "no real clips"),
        (lambda d: _touch(d, "a.mp4", "a.mov"), "two clips of the name a"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, message):
    folder = tmp_path / "data"
    make(folder)
    with pytest.raises(UserError, match=message):
        read_dataset(folder)
