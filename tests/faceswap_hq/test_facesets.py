"""Facesets on demand: names, and a cache that depends on content and settings alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceswap_hq import extract, facesets, places
from faceswap_hq.errors import UserError
from faceswap_hq.extract import ExtractSettings
from tests.faceswap_hq.helpers import Shot, leftovers, use_backend, write_faceset


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anna.mp4", "anna"),
        ("Anna Maria (1).mov", "Anna_Maria_1"),
        ("two.dots.mp4", "two.dots"),
        ("汉字.mp4", "汉字"),
        (".hidden.mp4", "hidden"),
        ("!!!.mp4", "person"),
        ("-rf.mp4", "-rf"),
    ],
)
def test_person_names(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"")
    found = facesets.person_name(tmp_path / name)
    assert found.strip("_") == expected
    assert Path(found).name == found  # never a path


def test_person_names_of_folders(tmp_path):
    for name, expected in (("anna.faceset", "anna"), ("some clips", "some_clips"), ("v1.2", "v1.2")):
        (tmp_path / name).mkdir()
        assert facesets.person_name(tmp_path / name) == expected
    here = tmp_path / "v1.2"
    assert facesets.person_name(here / ".." / "v1.2") == "v1.2"


def test_members_of_a_cast(tmp_path):
    for name in ("ben.mp4", "Anna.MOV", "notes.txt", "face.png", ".cem.mp4"):
        (tmp_path / name).write_bytes(b"")
    for name in ("dora.faceset", "some clips", ".git"):
        (tmp_path / name).mkdir()
    assert [path.name for path in facesets.members(tmp_path)] == ["Anna.MOV", "ben.mp4", "dora.faceset", "some clips"]


def test_the_cache_goes_by_content(tmp_path):
    a, b, c = (tmp_path / name for name in ("x/anna.mp4", "y/anna.mp4", "z/anna.mp4"))
    for path, content in ((a, b"one"), (b, b"one"), (c, b"two")):
        path.parent.mkdir()
        path.write_bytes(content)
    settings = ExtractSettings()
    cached = facesets.cached_path(a, settings)
    assert cached.is_relative_to(places.cache_dir())
    assert cached.name == "anna.faceset"
    os.utime(a, (1, 1))
    assert facesets.cached_path(a, settings) == cached == facesets.cached_path(b, settings)
    assert facesets.cached_path(c, settings) != cached
    assert facesets.cached_path(a, ExtractSettings(person=2)) != cached
    a.write_bytes(b"three")
    assert facesets.cached_path(a, settings) != cached


def test_a_faceset_is_taken_as_it_is(tmp_path):
    known = write_faceset(tmp_path / "anna.faceset")
    found, report = facesets.open_person(known.path)
    assert found.path == known.path
    assert report is None


@pytest.fixture
def extractions(monkeypatch, shots: tuple[Shot, Shot]) -> list[Path]:
    """The facesets that are extracted from now on, with the true landmarks."""
    use_backend(monkeypatch, shots[0].knowing())
    made: list[Path] = []
    real = extract.extract

    def counted(source, target, *args):
        made.append(Path(target))
        return real(source, target, *args)

    monkeypatch.setattr(extract, "extract", counted)
    return made


def test_a_clip_is_extracted_once(tmp_path, monkeypatch, actor_clips, extractions):
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path))
    first, report = facesets.open_person(actor_clips[0])
    assert report is not None
    assert first.path.is_relative_to(tmp_path)
    assert (first.name, len(first.rows)) == ("anna", report.kept)
    (first.path / first.rows[0].file).unlink()  # curated by the user
    second, report = facesets.open_person(actor_clips[0])
    assert report is None
    assert len(second.rows) == len(first.rows) - 1
    assert len(extractions) == 1
    assert not leftovers(tmp_path)


def test_a_damaged_faceset_in_the_cache_is_made_anew(tmp_path, monkeypatch, actor_clips, extractions):
    """The user does not know the cache; it must mend itself."""
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path))
    first, _ = facesets.open_person(actor_clips[0])
    (first.path / "faces.parquet").write_bytes(b"damaged")
    second, report = facesets.open_person(actor_clips[0])
    assert report is not None
    assert len(second.rows) == len(first.rows)
    assert len(extractions) == 2


def test_bad_input_leaves_no_faceset_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    (tmp_path / "text.mp4").write_text("no video " * 100)
    with pytest.raises(UserError, match=r"text\.mp4"):
        facesets.open_person(tmp_path / "text.mp4")
    with pytest.raises(UserError, match="does not exist"):
        facesets.open_person(tmp_path / "missing.mp4")
    assert not list((tmp_path / "home").rglob("*.faceset"))
    assert not leftovers(tmp_path)
