"""Self-blended pictures of a virtual actor: signed on both sides, kept while the real is the same, readable."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceswap_hq import files, provenance
from stress.data.layouts import read_dataset
from tests.faceswap_hq.clips import synthetic_clip
from tests.faceswap_hq.helpers import tree

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import self_blended_data
from self_blended_data import write_self_blended

FRAMES = 4


@pytest.fixture(autouse=True)
def knowing(monkeypatch, shots):
    """The backend knows anna's face; it finds none in pictures without any contrast."""

    def open_backend(**_):
        backend = shots[0].knowing()
        detect = backend.detect
        backend.detect = lambda image: detect(image) if image[40:].std() > 5 else []
        return backend

    monkeypatch.setattr("faceswap_hq.faces.landmarks.open_backend", open_backend)
    monkeypatch.setattr(self_blended_data, "FRAMES", FRAMES)


@pytest.fixture
def anna(tmp_path, actor_clips) -> Path:
    return Path(shutil.copy(actor_clips[0], tmp_path / "anna.mp4"))


def test_both_sides_are_signed_and_say_what_they_are(anna, tmp_path):
    write_self_blended([(anna, "anna")], tmp_path / "out", {"anna": {"basis": "virtual actor"}})
    pictures = {side: sorted((tmp_path / "out" / side / "anna").glob("*.jpg")) for side in ("fakes", "reals")}
    assert [path.name for path in pictures["fakes"]] == [path.name for path in pictures["reals"]]
    assert len(pictures["fakes"]) == FRAMES
    person = {"person": "anna", "consent": {"basis": "virtual actor"}}
    person |= {"clip": "anna.mp4", "sha256": files.sha256_file(anna)}
    for fake, real in zip(*pictures.values(), strict=True):
        said, matched = provenance.verify(fake), provenance.verify(real)
        assert (said.state, said.action, said.source_type) == ("valid", "c2pa.edited", "compositeSynthetic")
        assert said.facts["facts"]["method"] == "self-blended"
        assert said.facts["facts"]["toolkit"].startswith("faceswap-hq ")
        assert said.facts["facts"]["source"] == said.facts["facts"]["target"] == person
        assert (matched.state, matched.source_type) == ("valid", None)
        assert matched.facts["facts"]["target"] == person
        assert "source" not in matched.facts["facts"]
        assert [item.title for item in said.ingredients] == [item.title for item in matched.ingredients] == ["anna.mp4"]
        assert np.abs(cv2.imread(str(fake)).astype(int) - cv2.imread(str(real))).max() > 8


def test_it_is_read_as_a_data_set_and_a_clip_without_a_face_is_left_out(anna, tmp_path):
    nobody = synthetic_clip(tmp_path / "nobody.mp4", count=6, images=[np.full((64, 128, 3), 90, np.uint8)] * 6,
                            width=128, height=64)  # fmt: skip
    write_self_blended([(anna, "anna"), (nobody, "nobody")], tmp_path / "out")
    assert [(clip.id, clip.people, clip.label) for clip in read_dataset(tmp_path / "out")] == [
        ("anna", ("anna",), 0), ("anna", ("anna",), 1),
    ]  # fmt: skip


def test_it_is_kept_as_long_as_the_real_is_the_same(anna, actor_clips, tmp_path):
    out = tmp_path / "out"
    write_self_blended([(anna, "anna")], out)
    before = tree(out)
    write_self_blended([(anna, "anna")], out)
    assert tree(out) == before
    shutil.copy(actor_clips[1], anna)
    write_self_blended([(anna, "anna")], out)
    after = tree(out)
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before if name.endswith(".jpg"))


def test_pictures_of_clips_that_are_no_longer_asked_for_are_removed(anna, tmp_path):
    other = Path(shutil.copy(anna, tmp_path / "other.mp4"))
    write_self_blended([(anna, "anna"), (other, "anna")], tmp_path / "out")
    write_self_blended([(other, "anna")], tmp_path / "out")
    assert {clip.id for clip in read_dataset(tmp_path / "out")} == {"other"}
