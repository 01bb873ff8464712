"""Facesets on disk: what was written is read, what is damaged or foreign is refused with its name."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pandas as pd
import pytest

from faceswap_hq import faceset, files
from faceswap_hq.errors import UserError
from faceswap_hq.faceset import FaceRow, is_faceset, read_faceset, write_table
from tests.faceswap_hq.helpers import leftovers, write_faceset


@pytest.fixture
def anna(tmp_path):
    return write_faceset(tmp_path / "anna.faceset")


def test_round_trip(anna):
    assert anna.name == "anna"
    assert anna.size == 128
    assert is_faceset(anna.path)
    assert not leftovers(anna.path)
    write_table(anna.path, list(anna.rows))
    again = read_faceset(str(anna.path))
    assert again.meta == anna.meta
    assert len(again.rows) == 6
    for row, other in zip(anna.rows, again.rows, strict=True):
        for field in fields(FaceRow):
            value, expected = getattr(other, field.name), getattr(row, field.name)
            if isinstance(expected, np.ndarray):
                assert value.dtype == np.float32
                np.testing.assert_array_equal(value, expected)
            else:
                assert value == expected
                assert type(value) is type(expected)
    assert anna.rows[0].landmarks.shape == (478, 3)
    assert anna.rows[0].landmarks_crop.shape == (478, 2)
    assert anna.rows[0].matrix.shape == (2, 3)


def test_the_table_is_plain_parquet(anna):
    """Readable by anyone: one row a face, arrays as lists."""
    table = pd.read_parquet(anna.path / "faces.parquet")
    assert list(table.columns) == [field.name for field in fields(FaceRow)]
    assert len(table.landmarks[0]) == 478 * 3


def test_pictures_are_rgb(anna):
    image = anna.image(anna.rows[0])
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, cv2.imread(str(anna.path / anna.rows[0].file))[..., ::-1])


def test_a_deleted_picture_leaves(anna):
    (anna.path / anna.rows[2].file).unlink()
    assert [row.frame for row in read_faceset(anna.path).rows] == [0, 1, 3, 4, 5]


def test_nothing_left(anna):
    for row in anna.rows:
        (anna.path / row.file).unlink()
    with pytest.raises(UserError, match="holds no faces"):
        read_faceset(anna.path)


def test_a_damaged_picture_is_named(anna):
    path = anna.path / anna.rows[1].file
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"000001\.jpg is damaged") as caught:
        anna.image(anna.rows[1])
    assert "Delete it" in str(caught.value)
    cv2.imwrite(str(path), np.zeros((64, 128, 3), np.uint8))
    with pytest.raises(UserError, match="128×128"):
        anna.image(anna.rows[1])


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "faces/../../secret.jpg"])
def test_files_outside_are_not_touched(anna, name):
    (anna.path.parent / "secret.jpg").write_bytes(b"x")
    table = pd.read_parquet(anna.path / "faces.parquet")
    table.loc[3, "file"] = name
    table.to_parquet(anna.path / "faces.parquet")
    with pytest.raises(UserError, match="outside its faceset"):
        read_faceset(anna.path)


def test_a_link_out_of_the_faceset_is_not_followed(anna):
    (anna.path.parent / "secret.jpg").write_bytes(b"x")
    picture = anna.path / anna.rows[0].file
    picture.unlink()
    picture.symlink_to(anna.path.parent / "secret.jpg")
    with pytest.raises(UserError, match="outside its faceset"):
        read_faceset(anna.path)


def described(**changes):
    value = {"format": faceset.FORMAT, "version": faceset.VERSION, "size": 128, "points": 478}
    return {key: item for key, item in {**value, **changes}.items() if item is not ...}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (described(version=2), "newer version"),
        (described(version="two"), r"faceset\.yaml"),
        (described(version=None), r"faceset\.yaml"),
        (described(format="something else"), "does not describe a faceset"),
        ([1, 2], "does not describe a faceset"),
        (None, "does not describe a faceset"),
        (described(points=...), r"faceset\.yaml"),
        (described(size=...), r"faceset\.yaml"),
        (described(size="large"), r"faceset\.yaml"),
        (described(points=68), r"faces\.parquet"),
    ],
)
def test_a_foreign_or_newer_description(anna, value, message):
    files.write_yaml(anna.path / "faceset.yaml", value)
    with pytest.raises(UserError, match=message):
        read_faceset(anna.path)


@pytest.mark.parametrize("content", [b"", b"not yaml: [", b"\xff\xfe\x00binary"])
def test_a_damaged_description(anna, content):
    (anna.path / "faceset.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"faceset\.yaml"):
        read_faceset(anna.path)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "other", "strings"])
def test_a_damaged_table(anna, damage):
    path = anna.path / "faces.parquet"
    content = path.read_bytes()
    path.unlink()
    if damage in ("other", "strings"):
        table = pd.DataFrame({"file": ["faces/000000.jpg"], "frame": [0]})
        if damage == "strings":
            table = anna_table(content, path.parent).assign(landmarks="many")
        table.to_parquet(path)
    elif damage != "missing":
        noise = np.random.default_rng(0).bytes(500)
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": noise}[damage])
    with pytest.raises(UserError, match=r"faces\.parquet"):
        read_faceset(anna.path)


def anna_table(content: bytes, folder) -> pd.DataFrame:
    (folder / "copy.parquet").write_bytes(content)
    return pd.read_parquet(folder / "copy.parquet")


def test_what_is_no_faceset(tmp_path):
    for path in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"x")
        assert not is_faceset(path)
        with pytest.raises(UserError, match="is not a faceset"):
            read_faceset(path)
    with pytest.raises(UserError, match=r"faceset\.yaml is missing"):
        read_faceset(tmp_path)
