"""Extraction from clips, folders and pictures: who is kept, what is sorted out, and what stands on disk after."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from faceswap_hq import extract as extraction
from faceswap_hq.errors import UserError
from faceswap_hq.extract import ExtractSettings, extract, sharpness, sources_of
from faceswap_hq.faces import alignment
from faceswap_hq.faceset import read_faceset
from tests.faceswap_hq.clips import number_of
from tests.faceswap_hq.helpers import (
    Known,
    Shot,
    face_at,
    leftovers,
    mark,
    paint,
    side_by_side,
    tree,
    use_backend,
    write_clip,
)  # fmt: skip


@pytest.fixture
def known_anna(monkeypatch, shots: tuple[Shot, Shot]) -> Known:
    return use_backend(monkeypatch, shots[0].knowing())


def painted_clip(path: Path, faces: list[list[tuple[int, np.ndarray]]], size: tuple[int, int] = (240, 160)) -> Known:
    """A numbered clip of painted faces, (who, landmarks) each, and the backend that knows them."""
    images = []
    for number, seen in enumerate(faces):
        image = np.full((size[1], size[0], 3), 90, np.uint8)
        for who, landmarks in seen:
            paint(image, landmarks, who)
        images.append(mark(image, number))
    write_clip(path, images)
    return Known([[landmarks for _, landmarks in seen] for seen in faces], marked=True)


class TestActors:
    """The whole way with MediaPipe."""

    def test_every_frame_of_an_actor_is_found_and_aligned(self, tmp_path, actor_clips, shots):
        report = extract(actor_clips[0], tmp_path / "anna.faceset")
        assert (report.frames, report.frames_without_face) == (24, 0)
        assert report.people == {"anna.mp4": 1}
        assert report.contact_sheet is None
        found = read_faceset(report.path)
        assert len(found.rows) == report.kept == 24 - sum(report.dropped.values())
        assert report.kept >= 20
        eyes = (np.array([-4.45, 2.66]) - alignment.CENTER_CM) * (1, -1) * (256 / alignment.CROP_CM) + 128
        for row in found.rows:
            assert found.image(row).shape == (256, 256, 3)
            assert np.linalg.norm(row.landmarks_crop[33] - eyes) < 12
            assert abs(row.landmarks_crop[33, 1] - row.landmarks_crop[263, 1]) < 8
            np.testing.assert_allclose(row.landmarks_crop, alignment.transform(row.landmarks, row.matrix), atol=1e-3)
            np.testing.assert_allclose((row.yaw, row.pitch, row.roll), alignment.pose(row.landmarks), atol=1e-4)
            truth = shots[0].landmarks[row.frame]
            assert np.linalg.norm(row.landmarks[:468, :2] - truth[:468, :2], axis=1).mean() < 0.06 * np.ptp(truth[:, 1])
            assert row.time == pytest.approx(row.frame / 25, abs=1e-3)
        assert not leftovers(tmp_path)
        assert sorted(p.name for p in report.path.iterdir()) == ["faces", "faces.parquet", "faceset.yaml"]


def test_crops_are_the_frames_faces(tmp_path, actor_clips, shots, known_anna):
    """Each picture shows its own frame: warped from the original it is the same within the compression's error."""
    report = extract(actor_clips[0], tmp_path / "a", ExtractSettings(size=128))
    found = read_faceset(report.path)
    assert found.meta["size"] == 128
    for row in found.rows[::5]:
        expected = alignment.warp(shots[0].images[row.frame], alignment.crop_matrix(row.landmarks, 128), 128)
        error = np.abs(found.image(row).astype(float) - expected).mean()
        assert error < 4
    meta = yaml.safe_load((report.path / "faceset.yaml").read_text())
    assert meta["made_from"]["sources"][0]["file"] == "anna.mp4"
    assert meta["made_from"]["settings"]["size"] == 128
    assert known_anna.closed == 1


def test_two_people(tmp_path, monkeypatch, shots):
    """Both are listed with a contact sheet, and --person chooses."""
    images, backend = side_by_side(*shots)
    clip = write_clip(tmp_path / "two.mp4", images)
    use_backend(monkeypatch, backend)
    middles = []
    for person in (1, 2):
        report = extract(clip, tmp_path / f"{person}.faceset", ExtractSettings(person=person))
        assert report.people == {"two.mp4": 2}
        assert report.contact_sheet == tmp_path / f"{person}.faceset" / "people.png"
        sheet = cv2.imread(str(report.contact_sheet))
        assert sheet.shape == (2 * 96, 110 + 8 * 96, 3)
        assert sheet[:96, 110:].std() > 10
        rows = read_faceset(report.path).rows
        middles.append(float(np.mean([row.landmarks[:, 0].mean() for row in rows])))
    assert min(middles) < 192 < max(middles)
    assert abs(middles[0] - middles[1]) > 100
    with pytest.raises(UserError, match="there is no person 3, only 2"):
        extract(clip, tmp_path / "3.faceset", ExtractSettings(person=3))
    assert not (tmp_path / "3.faceset").exists()
    assert not leftovers(tmp_path)


def test_tiny_cut_off_and_blurred_faces_are_sorted_out(tmp_path, monkeypatch):
    good = face_at(120, 80, 80)
    faces = [[(1, good)]] * 8 + [[(1, face_at(120, 80, 30))]] * 3 + [[(1, face_at(20, 80, 80))]] * 2
    backend = painted_clip(tmp_path / "c.mp4", faces)
    use_backend(monkeypatch, backend)
    monkeypatch.setattr(extraction, "sharpness", lambda crop: next(values))
    values = iter([10.0] * 7 + [1.0] + [10.0] * 5)
    report = extract(tmp_path / "c.mp4", tmp_path / "c.faceset")
    assert report.dropped == {"blurred": 1, "tiny": 3, "cut off": 2}
    assert [row.frame for row in read_faceset(report.path).rows] == list(range(7))
    assert len(list((report.path / "faces").iterdir())) == 7
    assert report.frames == 13


def test_nothing_but_bad_faces(tmp_path, monkeypatch):
    use_backend(monkeypatch, painted_clip(tmp_path / "c.mp4", [[(1, face_at(120, 80, 30))]] * 4))
    with pytest.raises(UserError, match=r"no usable face in 4 frames \(4 too small in the frame\)"):
        extract(tmp_path / "c.mp4", tmp_path / "c.faceset")
    assert [path.name for path in tmp_path.iterdir()] == ["c.mp4"]


def test_no_face_at_all(tmp_path, monkeypatch):
    use_backend(monkeypatch, painted_clip(tmp_path / "c.mp4", [[]] * 4))
    with pytest.raises(UserError, match=r"c\.mp4: no face found in 4 frames"):
        extract(tmp_path / "c.mp4", tmp_path / "c.faceset")
    assert [path.name for path in tmp_path.iterdir()] == ["c.mp4"]


def test_every_nth_frame(tmp_path, actor_clips, known_anna):
    report = extract(actor_clips[0], tmp_path / "a", ExtractSettings(every=5))
    assert report.frames == 5
    assert [row.frame for row in read_faceset(report.path).rows] == [0, 5, 10, 15, 20]
    assert report.people == {"anna.mp4": 1}


def test_a_folder_of_clips(tmp_path, monkeypatch):
    """One bad clip among good ones is named and passed over; numbers keep the pictures apart."""
    folder = tmp_path / "clips"
    backend = painted_clip(folder / "a.mp4", [[(1, face_at(120, 80, 80))]] * 5)
    painted_clip(folder / "b.mp4", [[(1, face_at(120, 80, 80))]] * 5)
    (folder / "c.mp4").write_bytes(b"nothing of a video" * 50)
    (folder / "notes.txt").write_text("ignored")
    (folder / ".hidden.mp4").write_bytes(b"")
    use_backend(monkeypatch, backend)
    report = extract(folder, tmp_path / "x.faceset")
    assert report.people == {"a.mp4": 1, "b.mp4": 1}
    assert len(report.warnings) == 1
    assert "c.mp4" in report.warnings[0]
    found = read_faceset(report.path)
    assert [(row.source, row.frame) for row in found.rows] == [(n, i) for n in ("a.mp4", "b.mp4") for i in range(5)]
    assert len({row.file for row in found.rows}) == 10


class TestPictures:
    def album(self, folder: Path, faces: list[list[tuple[int, np.ndarray]]]) -> Known:
        folder.mkdir()
        for number, seen in enumerate(faces):
            image = np.full((160, 240, 3), 60 + 12 * number, np.uint8)
            for who, landmarks in seen:
                paint(image, landmarks, who)
            cv2.imwrite(str(folder / f"{number:02d}.png"), image)
        return Known([[landmarks for _, landmarks in seen] for seen in faces])

    def test_one_person_all_over_the_place(self, tmp_path, monkeypatch):
        """Photos of one person share neither place, pose nor light; all of them count."""
        rng = np.random.default_rng(0)
        faces = []
        for i in range(6):
            x, y, height = rng.uniform(100, 140), rng.uniform(75, 85), rng.uniform(60, 90)
            faces.append([(i, face_at(x, y, height, rng.uniform(-25, 25)))])  # each picture of another look
        use_backend(monkeypatch, self.album(tmp_path / "anna", faces))
        report = extract(tmp_path / "anna", tmp_path / "a.faceset")
        assert report.kept == 6
        assert report.people == {"anna": 1}
        assert [row.source for row in read_faceset(report.path).rows] == [f"{i:02d}.png" for i in range(6)]
        assert {row.frame for row in read_faceset(report.path).rows} == {0}

    def test_bystanders_are_the_smaller_faces(self, tmp_path, monkeypatch):
        big, small = face_at(80, 80, 90), face_at(190, 80, 55)
        faces = [[(1, big)], [(2, small), (1, big)], [(1, big), (2, small)], [(1, big)]]
        use_backend(monkeypatch, self.album(tmp_path / "anna", faces))
        report = extract(tmp_path / "anna", tmp_path / "a.faceset")
        assert report.kept == 4
        assert all(row.size > 80 for row in read_faceset(report.path).rows)

    def test_damaged_pictures_are_named(self, tmp_path, monkeypatch):
        backend = self.album(tmp_path / "anna", [[(1, face_at(120, 80, 80))]] * 3)
        use_backend(monkeypatch, backend)
        (tmp_path / "anna" / "01.png").write_bytes(b"\x89PNG\r\n and nothing more")
        report = extract(tmp_path / "anna", tmp_path / "a.faceset")
        assert report.kept == 2
        assert [row.source for row in read_faceset(report.path).rows] == ["00.png", "02.png"]
        assert report.warnings == ("01.png: cannot be read as a picture.",)

    def test_nothing_but_damaged_pictures_is_not_called_a_picture_without_a_face(self, tmp_path, monkeypatch):
        use_backend(monkeypatch, self.album(tmp_path / "anna", [[], []]))
        for path in (tmp_path / "anna").iterdir():
            path.write_text("no picture")
        for source in (tmp_path / "anna", tmp_path / "anna" / "00.png"):
            with pytest.raises(UserError, match="can be read as a picture"):
                extract(source, tmp_path / "a.faceset")

    def test_a_single_picture(self, tmp_path, monkeypatch):
        use_backend(monkeypatch, self.album(tmp_path / "anna", [[(1, face_at(120, 80, 80))]]))
        assert extract(tmp_path / "anna" / "00.png", tmp_path / "a.faceset").kept == 1

    def test_a_picture_of_unbelievable_size(self, tmp_path, monkeypatch):
        """A few bytes that claim 100000 × 100000 pixels."""
        import struct
        import zlib

        backend = self.album(tmp_path / "anna", [[(1, face_at(120, 80, 80))]] * 2)
        use_backend(monkeypatch, backend)
        header = b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        (tmp_path / "anna" / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
        assert extract(tmp_path / "anna", tmp_path / "a.faceset").kept == 1


class TestSources:
    def test_a_folder_with_clips_and_pictures_means_the_clips(self, tmp_path):
        for name in ("b.MP4", "a.mkv", "poster.jpg", "x.txt", ".c.mp4"):
            (tmp_path / name).write_bytes(b"")
        assert [path.name for path in sources_of(tmp_path)] == ["a.mkv", "b.MP4"]

    def test_nothing_to_read(self, tmp_path):
        with pytest.raises(UserError, match="does not exist"):
            sources_of(tmp_path / "missing")
        with pytest.raises(UserError, match=r"(?s)neither videos nor pictures.*\.png"):
            sources_of(tmp_path)

    def test_a_faceset_is_not_extracted_from_itself(self, tmp_path, actor_facesets):
        with pytest.raises(UserError, match="is a faceset"):
            extract(actor_facesets[0], tmp_path / "again.faceset")


class TestTarget:
    def test_an_old_faceset_is_replaced(self, tmp_path, actor_clips, known_anna):
        first = extract(actor_clips[0], tmp_path / "a.faceset")
        for path in list((first.path / "faces").iterdir())[:5]:
            path.unlink()
        second = extract(actor_clips[0], tmp_path / "a.faceset")
        assert len(list((second.path / "faces").iterdir())) == second.kept == first.kept
        assert [path.name for path in tmp_path.iterdir()] == ["a.faceset"]

    def test_what_is_no_faceset_is_not_replaced(self, tmp_path, actor_clips, known_anna):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "thesis.txt").write_text("important")
        (tmp_path / "file").write_text("important")
        for name in ("folder", "file"):
            with pytest.raises(UserError, match="exists and is not a faceset"):
                extract(actor_clips[0], tmp_path / name)
        with pytest.raises(UserError, match="exists and is not a faceset"):
            extract(actor_clips[0], actor_clips[0])
        assert tree(tmp_path) == {"folder/thesis.txt": b"important", "file": b"important"}
        assert known_anna.calls == 0

    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_an_interruption_leaves_the_old_faceset(self, tmp_path, monkeypatch, actor_clips, known_anna, failure):
        extract(actor_clips[0], tmp_path / "a.faceset")
        before = tree(tmp_path)
        real = Path.write_bytes

        def full(path: Path, data: bytes) -> int:
            if path.name.endswith("000010.jpg"):
                raise failure
            return real(path, data)

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(type(failure)):
            extract(actor_clips[0], tmp_path / "a.faceset")
        assert tree(tmp_path) == before
        assert not leftovers(tmp_path)


def test_68_points(tmp_path, monkeypatch):
    faces = [[(1, face_at(110 + 2 * i, 80, 80, points=68))] for i in range(6)]
    use_backend(monkeypatch, painted_clip(tmp_path / "c.mp4", faces))
    report = extract(tmp_path / "c.mp4", tmp_path / "c.faceset", ExtractSettings(backend="face-alignment"))
    found = read_faceset(report.path)
    assert found.meta["points"] == 68
    assert found.rows[0].landmarks.shape == (68, 3)
    assert report.kept == 6


def test_sharpness_falls_with_blur():
    crop = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma) if sigma else crop) for sigma in (0, 1, 3)]
    assert values[0] > 4 * values[1] > 16 * values[2]
    edge = crop.copy()
    edge[32:96, 32:96] = 100
    assert sharpness(edge) == 0  # only the central half counts


@pytest.mark.parametrize(
    "change", [{"backend": "dlib"}, {"size": 63}, {"size": 5000}, {"person": 0}, {"every": 0}], ids=lambda c: str(c)
)
def test_settings_out_of_range(change):
    with pytest.raises(UserError):
        ExtractSettings(**change)


def test_numbers_survive_compression(actor_clips, shots):
    """The backend that knows goes by the number in the frame; if that were misread all tests above would lie."""
    from faceswap_hq.media import read_frames

    assert [number_of(frame.image) for frame in read_frames(actor_clips[1])] == list(range(len(shots[1].images)))
