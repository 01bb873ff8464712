"""Small trees laid out as data sets are published; what is in the files does not matter here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from faceswap_hq.errors import UserError
from stress.data.layouts import LAYOUTS, layout_of, parse_source, people_note, read_clips, read_dataset
from stress.data.splits import split


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _by_id(clips):
    found = {(clip.label, clip.id): clip for clip in clips}
    assert len(found) == len(clips)
    return found


def _ff(folder, compressions=("c23",)):
    for level in compressions:
        for method in ("Deepfakes", "Face2Face"):
            names = ("000_003", "003_000", "010_011", "011_010")
            _touch(folder, *(f"manipulated_sequences/{method}/{level}/videos/{name}.mp4" for name in names))
        _touch(folder, f"manipulated_sequences/DeepFakeDetection/{level}/videos/01_02__kitchen_pan__YVGY8LOK.mp4")
        originals = ("000", "003", "010", "011")
        _touch(folder, *(f"original_sequences/youtube/{level}/videos/{name}.mp4" for name in originals))
        _touch(folder, f"original_sequences/actors/{level}/videos/01__kitchen_pan.mp4")
    _touch(folder, "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4")  # no clip
    for name, pairs in (("train", [["000", "003"]]), ("test", [["011", "010"]]), ("val", [])):
        (folder / f"{name}.json").write_text(json.dumps(pairs))
    return folder


def _celeb(folder):
    _touch(folder, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0001.mp4", "YouTube-real/00170.mp4")
    _touch(folder, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0001.mp4")
    lines = ["1 Celeb-real/id0_0000.mp4", "1 YouTube-real/00170.mp4", "0 Celeb-synthesis/id0_id1_0000.mp4", ""]
    (folder / "List_of_testing_videos.txt").write_text("\n".join(lines))
    return folder


def _dfdc(folder):
    part = folder / "dfdc_train_part_00/dfdc_train_part_0"
    _touch(part, "aaa.mp4", "bbb.mp4")
    table = {
        "aaa.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"},
        "bbb.mp4": {"label": "REAL", "split": "train"},
        "ccc.mp4": {"label": "REAL", "split": "train"},  # not unpacked
    }
    (part / "metadata.json").write_text(json.dumps(table))
    return folder


def _preview(folder):
    fake, real = "method_A/222/222_A/111_222_A_001.mp4", "original_videos/222/222_A_001.mp4"
    _touch(folder, fake, real)
    table = {
        fake: {"label": "fake", "set": "test", "target_id": 222, "swapped_id": 111, "augmentations": []},
        real: {"label": "real", "set": "test", "target_id": 222, "swapped_id": None, "augmentations": []},
    }
    (folder / "dataset.json").write_text(json.dumps(table))
    return folder


def _deeper(folder):
    for variant in ("end_to_end", "end_to_end_level_5"):
        _touch(folder, f"manipulated_videos/{variant}/000_W010.mp4", f"manipulated_videos/{variant}/003_M004.mp4")
    _touch(folder, "source_videos/W010/light_up/happy/camera_front/W010_light_up_happy_camera_front.mp4")
    (folder / "lists/splits").mkdir(parents=True)
    (folder / "lists/splits/test.txt").write_text("000_W010.mp4\n")
    return folder


def _bench(folder):
    def video(label, *path, frames=3):
        where = "\\".join(path)
        _touch(folder, *(f"{'/'.join(path)}/{n}.png" for n in range(frames)))
        return {"label": label, "frames": [f"{where}\\{n}.png" for n in reversed(range(frames))]}

    real = video("FF-real", "FaceForensics++", "original_sequences", "youtube", "c23", "frames", "000", frames=12)
    fake = video("FF-DF", "FaceForensics++", "manipulated_sequences", "Deepfakes", "c23", "frames", "000_003")
    same = {"train": {"c23": {"000": real}}, "val": {"c23": {"000": real}}, "test": {"c23": {}}}
    table = {"FaceForensics++": {"FF-real": same, "FF-DF": {"train": {"c23": {"000_003": fake}}}}}
    (folder / "FaceForensics++.json").write_text(json.dumps(table))
    lone = video("DFDC_Real", "DFDC", "test", "frames", "xyz")
    (folder / "DFDC.json").write_text(json.dumps({"DFDC": {"DFDC_Real": {"val": lone, "train": {}}}}))
    return folder / "FaceForensics++.json"


@dataclass
class Case:
    make: object
    layout: str
    fakes: dict = field(default_factory=dict)  # id: (people, source clip, method, data set)
    reals: dict = field(default_factory=dict)


CASES = {
    "ff": Case(
        _ff,
        "faceforensics",
        {
            "Deepfakes/c23/000_003": (("003", "000"), "000", "Deepfakes", "FaceForensics++"),
            "Face2Face/c23/000_003": (("003", "000"), "000", "Face2Face", "FaceForensics++"),
            "DeepFakeDetection/c23/01_02__kitchen_pan__YVGY8LOK": (
                ("actor02", "actor01"), "actor01__kitchen_pan", "DeepFakeDetection", "DeepFakeDetection",
            ),
        },
        {
            "youtube/c23/000": (("000",), "000", "real", "FaceForensics++"),
            "actors/c23/01__kitchen_pan": (("actor01",), "actor01__kitchen_pan", "real", "DeepFakeDetection"),
        },
    ),
    "Celeb-DF-v2": Case(
        _celeb,
        "celeb-df",
        {"Celeb-synthesis/id0_id1_0000": (("id1", "id0"), "id0_0000", "Celeb-synthesis", "Celeb-DF-v2")},
        {
            "Celeb-real/id0_0000": (("id0",), "id0_0000", "real", "Celeb-DF-v2"),
            "YouTube-real/00170": (("youtube-00170",), "youtube-00170", "real", "Celeb-DF-v2"),
        },
    ),
    "dfdc": Case(
        _dfdc,
        "dfdc",
        {"aaa": (("bbb",), "bbb", "DFDC", "DFDC")},
        {"bbb": (("bbb",), "bbb", "real", "DFDC")},
    ),
    "preview": Case(
        _preview,
        "dfdc-preview",
        {"method_A/222/222_A/111_222_A_001": (("111", "222"), "222_A_001", "method_A", "DFDC-preview")},
        {"original_videos/222/222_A_001": (("222",), "222_A_001", "real", "DFDC-preview")},
    ),
    "bench": Case(
        _bench,
        "deepfakebench",
        {"Deepfakes/c23/000_003": (("003", "000"), "000", "Deepfakes", "FaceForensics++")},
        {"FF-real/c23/000": (("000",), "000", "real", "FaceForensics++")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_layout_is_recognised_and_says_what_is_fake_and_who_is_in_it(tmp_path, name):
    case = CASES[name]
    place = case.make(tmp_path / name)
    assert layout_of(place) == case.layout
    clips = _by_id(read_dataset(place))
    for label, expected in ((1, case.fakes), (0, case.reals)):
        for clip_id, facts in expected.items():
            clip = clips[label, clip_id]
            assert (clip.people, clip.source_clip, clip.method, clip.dataset) == facts
    originals = {clip.source_clip for clip in clips.values() if clip.label == 0}
    assert all(clip.source_clip in originals for clip in clips.values() if clip.label == 1)
    assert all(clip.path.exists() for clip in clips.values())
    assert [clip.label for clip in read_clips(place, 0)] == [0] * sum(label == 0 for label, _ in clips)


def test_the_trap_of_celeb_df_is_seen_one_means_real(tmp_path):
    folder = _celeb(tmp_path / "c")
    tested = _by_id(read_dataset(f"{folder}@split=test"))
    assert set(tested) == {(0, "Celeb-real/id0_0000"), (0, "YouTube-real/00170"), (1, "Celeb-synthesis/id0_id1_0000")}
    assert {clip.id for clip in read_dataset(f"{folder}@split=train")} == {
        "Celeb-real/id1_0001", "Celeb-synthesis/id1_id0_0001",
    }  # fmt: skip
    with pytest.raises(UserError, match="no validation split"):
        read_dataset(f"{folder}@split=val")
    turned = (folder / "List_of_testing_videos.txt").read_text().replace("1 Celeb-real", "0 Celeb-real")
    (folder / "List_of_testing_videos.txt").write_text(turned)
    with pytest.raises(UserError, match="line 1: .*contradicts") as caught:
        read_dataset(f"{folder}@split=test")
    assert "1 means real" in caught.value.hint


def test_one_name_under_two_methods_is_two_clips_of_the_same_people(tmp_path):
    clips = read_dataset(f"{_ff(tmp_path)}@methods=Deepfakes+Face2Face")
    keys = {(clip.dataset, clip.label, clip.id) for clip in clips}
    assert len(keys) == len(clips) == 2 * 4 + 4  # no actors: they belong to DeepFakeDetection
    folds = split(clips, folds=2)
    assert len(folds.folds) == 2
    for fold in folds.folds:
        seen = {person for i in fold.train for person in clips[i].people}
        assert seen.isdisjoint(person for i in fold.test for person in clips[i].people)


def test_splits_of_faceforensics_are_pairs_both_ways(tmp_path):
    folder = _ff(tmp_path)
    ids = {clip.id for clip in read_dataset(f"{folder}@split=test,methods=Deepfakes")}
    assert ids == {"Deepfakes/c23/010_011", "Deepfakes/c23/011_010", "youtube/c23/010", "youtube/c23/011"}
    with pytest.raises(UserError, match="no clips of the split test"):
        read_dataset(f"{folder}@split=test,methods=DeepFakeDetection")  # DFD publishes none
    (folder / "splits").mkdir()
    (folder / "test.json").rename(folder / "splits/test.json")
    assert {clip.id for clip in read_dataset(f"{folder}@split=test,methods=Deepfakes")} == ids
    (folder / "splits/test.json").write_text('[["010", "011", "012"]]')
    with pytest.raises(UserError, match="entry 0"):
        read_dataset(f"{folder}@split=test")
    (folder / "splits/test.json").unlink()
    with pytest.raises(UserError, match="no test.json"):
        read_dataset(f"{folder}@split=test")


def test_compressions_are_not_mixed_unasked(tmp_path):
    folder = _ff(tmp_path, ("raw", "c23"))
    with pytest.raises(UserError, match="holds the compressions c0, c23") as caught:
        read_dataset(folder)
    assert "@compression=" in caught.value.hint
    for asked, level in (("raw", "c0"), ("c0", "c0"), ("c23", "c23")):
        clips = read_dataset(f"{folder}@compression={asked}")
        assert {clip.compression for clip in clips} == {level}
    both = read_dataset(f"{folder}@compression=all")
    assert len(both) == 2 * len(clips)
    assert len({(clip.label, clip.id) for clip in both}) == len(both)
    with pytest.raises(UserError, match="no compression 'c40'"):
        read_dataset(f"{folder}@compression=c40")
    with pytest.raises(UserError, match="no method 'FaceSwap'") as caught:
        read_dataset(f"{folder}@methods=FaceSwap")
    assert "Face2Face" in caught.value.hint


def test_frames_cut_out_of_the_videos_stand_in_for_them(tmp_path):
    _touch(tmp_path, "manipulated_sequences/Deepfakes/c23/frames/000_003/0.png")
    _touch(tmp_path, "original_sequences/youtube/c23/frames/000/0.png")
    assert [clip.id for clip in read_dataset(tmp_path)] == ["youtube/c23/000", "Deepfakes/c23/000_003"]


def test_deeperforensics_takes_its_reals_from_faceforensics(tmp_path):
    fakes, reals = _deeper(tmp_path / "d"), _ff(tmp_path / "ff")
    with pytest.raises(UserError, match="no real clips") as caught:
        read_dataset(fakes)
    assert "FaceForensics++" in caught.value.hint
    clips = read_dataset(f"{fakes}@methods=end_to_end,split=test", f"{reals}@methods=youtube")
    fake = next(clip for clip in clips if clip.label == 1)
    assert [clip.label for clip in clips] == [0, 0, 0, 0, 1]
    assert (fake.id, fake.people, fake.source_clip) == ("end_to_end/000_W010", ("W010", "000"), "000")
    assert any(clip.source_clip == "000" and clip.people == ("000",) for clip in clips if clip.label == 0)
    assert len(read_clips(fakes, 1)) == 4


def test_dfdc_takes_tables_of_its_test_set_and_of_what_is_there(tmp_path):
    folder = tmp_path / "test"
    _touch(folder, "aa.mp4", "bb.mp4")
    (folder / "labels.csv").write_text("filename,label\naa.mp4,1\nbb.mp4,0\nmissing.mp4,0\n")
    assert [(clip.id, clip.label) for clip in read_dataset(folder)] == [("bb", 0), ("aa", 1)]
    assert "does not publish" in people_note(folder)
    (folder / "labels.csv").unlink()
    (folder / "metadata.json").write_text('{"aa.mp4": {"is_fake": 1}, "bb.mp4": {"is_fake": 0, "split": "test"}}')
    assert [(clip.id, clip.label) for clip in read_dataset(folder)] == [("bb", 0), ("aa", 1)]
    (folder / "metadata.json").write_text('{"aa.mp4": {"label": "FAKE"}, "bb.mp4": {"label": "real"}}')
    with pytest.raises(UserError, match=r"'bb\.mp4' is neither FAKE nor REAL"):
        read_dataset(folder)
    (folder / "metadata.json").write_text('{"author": "somebody"}')  # some other table: a plain folder
    assert layout_of(folder) == "folders"


def test_frames_of_deepfakebench_are_those_listed_in_the_order_of_their_numbers(tmp_path):
    path = _bench(tmp_path / "rgb")
    _touch(tmp_path / "rgb/FaceForensics++/original_sequences/youtube/c23/frames/000", "99.png")  # not listed
    real = next(clip for clip in read_dataset(path) if clip.label == 0)
    assert real.frames == tuple(f"{n}.png" for n in range(12))
    assert (real.compression, real.people) == ("c23", ("000",))
    (lone,) = read_clips(tmp_path / "rgb/DFDC.json", 0)
    assert (lone.id, len(lone.frames)) == ("DFDC_Real/xyz", 3)
    moved = tmp_path / "json"
    moved.mkdir()
    path.rename(moved / path.name)
    with pytest.raises(UserError, match="missing") as caught:
        read_dataset(moved / path.name)
    assert "@root=" in caught.value.hint
    assert len(read_dataset(f"{moved / path.name}@root={tmp_path / 'rgb'}")) == 2


@pytest.mark.parametrize("label", ["FF-XY", "realfake", ""])
def test_a_label_of_unknown_polarity_is_refused(tmp_path, label):
    _touch(tmp_path, "v/0.png")
    record = {"label": label, "frames": ["v/0.png"]}
    (tmp_path / "x.json").write_text(json.dumps({"X": {"g": {"test": {"v": record}}}}))
    with pytest.raises(UserError, match="neither real nor fake"):
        read_dataset(tmp_path / "x.json")


def test_two_layouts_in_one_folder_ask_which(tmp_path):
    _celeb(_ff(tmp_path))
    with pytest.raises(UserError, match="fits two layouts: faceforensics and celeb-df") as caught:
        read_dataset(tmp_path)
    assert "@layout=faceforensics" in caught.value.hint
    assert {clip.dataset for clip in read_dataset(f"{tmp_path}@layout=celeb-df")} == {"Celeb-DF"}
    with pytest.raises(UserError, match="no layout 'kaggle'") as caught:
        read_dataset(f"{tmp_path}@layout=kaggle")
    assert all(name in caught.value.hint for name in LAYOUTS)


def test_options_that_do_not_apply_are_refused(tmp_path):
    _touch(tmp_path, "fake/a.mp4", "real/a.mp4")
    with pytest.raises(UserError, match="read as folders, which has no split"):
        read_dataset(f"{tmp_path}@split=test")
    with pytest.raises(UserError, match="'color=red' is not an option"):
        parse_source("x@color=red")
    with pytest.raises(UserError, match="no split 'tset'"):
        parse_source("x@split=tset")
    odd = tmp_path / "a@b=c"
    _touch(odd, "fake/a.mp4", "real/a.mp4")
    assert len(read_dataset(odd)) == 2  # a folder of that name is itself


def test_a_clip_that_does_not_say_who_is_in_it_stops_the_reading(tmp_path):
    _touch(_ff(tmp_path / "f"), "manipulated_sequences/Deepfakes/c23/videos/copy of 000_003.mp4")
    with pytest.raises(UserError, match="not named as FaceForensics"):
        read_dataset(tmp_path / "f")
    _touch(_celeb(tmp_path / "c"), "Celeb-synthesis/new.mp4")
    with pytest.raises(UserError, match="not named as Celeb-DF"):
        read_dataset(tmp_path / "c")


def test_people_csv_mends_the_people_of_a_published_layout(tmp_path):
    folder = _dfdc(tmp_path)
    inner = "dfdc_train_part_00/dfdc_train_part_0"
    (folder / "people.csv").write_text(f"file,person\n{inner}/aaa.mp4,ann|bob\n{inner}/bbb.mp4,bob\n")
    assert [clip.people for clip in read_dataset(folder)] == [("bob",), ("ann", "bob")]
    assert people_note(folder) is None


def test_published_names_in_plain_folders(tmp_path):
    _touch(tmp_path, "fake/id3_id4_0007.mp4", "fake/01_02__podium__ABCDEFGH.mp4")
    _touch(tmp_path, "real/id3_0007.mp4", "real/01__podium.mp4")
    clips = _by_id(read_dataset(tmp_path))
    assert clips[1, "id3_id4_0007"].people == ("id4", "id3")
    assert clips[1, "01_02__podium__ABCDEFGH"].people == ("actor02", "actor01")
    assert clips[0, "id3_0007"].people == ("id3",)
    assert clips[0, "01__podium"].source_clip == clips[1, "01_02__podium__ABCDEFGH"].source_clip
