from __future__ import annotations

import contextlib
import dataclasses
import gc
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.faces import landmarks
from faceswap_hq.media import read_frames
from faceswap_hq.places import cache_dir
from stress.api import FaceCrop
from stress.data.crops import crop_clips, crop_face, evenly_spaced, sample_frames, stream_crops
from tests.stress.synthetic import clip

# A square of 100 px with its middle at (150, 90) in a picture of 320 x 240.
SQUARE = np.array([[100, 40, 0], [200, 40, 0], [200, 140, 0], [100, 140, 0]], np.float32)


def _video(path: Path, frames: int, size: tuple[int, int] = (96, 64)) -> Path:
    """A clip whose every frame is one grey level: 40 plus its number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb" if path.suffix == ".mkv" else "mpeg4", rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24" if path.suffix == ".mkv" else "yuv420p"
        for number in range(frames):
            image = np.full((size[1], size[0], 3), 40 + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


class _StandIn:
    """A landmark backend that finds a fixed face in pictures that are bright enough."""

    name, points = "stand-in", 4

    def __init__(self, faces, darkest: float = 0.0):
        self.faces, self.darkest, self.calls, self.closed = faces, darkest, 0, 0

    def detect(self, image):
        self.calls += 1
        return self.faces if image.mean() >= self.darkest else []

    def reset(self):
        raise AssertionError("unrelated pictures need no reset")

    def close(self):
        self.closed += 1


@pytest.fixture
def backend(monkeypatch):
    stand_in = _StandIn([np.array([[20, 10, 0], [60, 50, 0]], np.float32)])

    def opened(*_, static, **__):
        assert static
        return stand_in

    monkeypatch.setattr(landmarks, "open_backend", opened)
    return stand_in


@pytest.mark.parametrize(("count", "wanted"), [(100, 16), (17, 16), (16, 16), (5, 16), (1, 3), (1000, 1), (0, 4)])
def test_frames_are_spread_evenly_over_the_whole_clip(count, wanted):
    found = np.array(evenly_spaced(count, wanted))
    assert len(found) == len(set(found.tolist())) == min(count, wanted)
    if count:
        edges = np.array([-0.5 - found[0], *found, count - 0.5 + (count - 1 - found[-1])])  # mirrored at both ends
        gaps = np.diff(edges)
        assert gaps.max() - gaps.min() <= 2
        assert found[0] >= 0
        assert found[-1] <= count - 1


def test_frames_of_videos_pictures_and_folders(tmp_path):
    video = _video(tmp_path / "a.mkv", 40)
    found = list(sample_frames(video, 4))
    assert [number for number, _ in found] == [5, 15, 25, 35]
    assert [int(image.mean().round()) - 40 for _, image in found] == [5, 15, 25, 35]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        image = np.zeros((8, 9, 3), np.uint8)
        image[..., 2] = 50 * number  # red, in OpenCV's order
        cv2.imwrite(str(folder / f"{number}.png"), image)
    assert [(n, image[0, 0].tolist()) for n, image in sample_frames(folder, 2)] == [(0, [0, 0, 0]), (2, [100, 0, 0])]
    assert [n for n, _ in sample_frames(folder / "1.png", 5)] == [0]


def test_frames_that_are_not_wanted_are_left_out_of_decoding_and_change_nothing(tmp_path):
    """With B frames, key frames far apart, and more unwanted frames than wanted ones: exactly the frames asked for."""
    path = tmp_path / "b.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        options = {"bf": "3", "b-pyramid": "normal", "g": "200", "preset": "fast", "crf": "20"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        picture = cv2.resize(rng.integers(0, 256, (16, 24, 3), np.uint8), (192, 64))
        for number in range(260):
            image = np.ascontiguousarray(picture[:, number % 96 : number % 96 + 96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    every = [frame.image for frame in read_frames(path)]
    assert len(every) == 260
    found = list(sample_frames(path, 12))
    assert [number for number, _ in found] == evenly_spaced(260, 12)
    for number, image in found:
        np.testing.assert_array_equal(image, every[number])


def test_upright_crop_is_the_margin_times_the_longer_side_around_the_middle():
    rows, columns = np.mgrid[:240, :320]
    picture = np.stack([columns % 256, rows, np.zeros_like(rows)], -1).astype(np.uint8)
    crop = crop_face(picture, SQUARE, FaceCrop(input_size=130, crop_margin=1.3))
    np.testing.assert_array_equal(crop, picture[25:155, 85:215])  # 130 px: whole pixels, no resampling
    small = crop_face(picture, SQUARE, FaceCrop(input_size=65, crop_margin=1.3))
    expected = picture[25:155, 85:215].reshape(65, 2, 65, 2, 3).mean((1, 3))
    np.testing.assert_allclose(small, expected, atol=0.51)  # shrinking averages areas
    assert crop_face(picture, SQUARE, FaceCrop(input_size=300, crop_margin=1.3)).shape == (300, 300, 3)


def test_a_crop_that_leaves_the_picture_repeats_its_edge():
    picture = np.full((60, 80, 3), 90, np.uint8)
    picture[:, 0] = 200
    face = np.array([[-20, 10, 0], [20, 50, 0]], np.float32)
    crop = crop_face(picture, face, FaceCrop(input_size=40, crop_margin=1.0))
    assert (crop[:, :21] == 200).all()
    assert (crop[:, 21:] == 90).all()


@pytest.mark.parametrize("angle", [-35, 0, 50])
def test_aligned_crop_of_a_turned_face_is_the_crop_of_the_upright_face(angle):
    """A face turned together with its picture gives the same crop; the upright box does not."""
    from faceswap_hq.faces.alignment import _RIGID_478

    points = np.zeros((478, 3), np.float32)
    generic = np.array(list(_RIGID_478.values()))
    points[:, :2] = generic[:, :2].mean(0) * (1, -1)
    points[list(_RIGID_478), :2] = generic[:, :2] * (1, -1)
    points = points * 14 + (200, 200, 0)
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (400, 400, 3), np.uint8), (0, 0), 6)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    turn = cv2.getRotationMatrix2D((200, 200), angle, 1)
    turned = cv2.warpAffine(picture, turn, (400, 400), flags=cv2.INTER_CUBIC)
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ turn[:, :2].T + turn[:, 2]
    settings = FaceCrop(input_size=96, crop_margin=1.4, alignment="aligned")
    a, b = crop_face(picture, points, settings), crop_face(turned, moved, settings)
    assert np.abs(a.astype(int) - b).mean() < 2.5
    if angle:
        box = crop_face(turned, moved, FaceCrop(input_size=96, crop_margin=1.4))
        assert np.abs(a.astype(int) - box).mean() > 10


def test_the_biggest_face_is_taken(backend, tmp_path):
    big, small = np.array([[0, 0, 0], [40, 40, 0]], np.float32), np.array([[50, 5, 0], [60, 12, 0]], np.float32)
    backend.faces = [small, big]
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:40, :40] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    settings = FaceCrop(input_size=40, crop_margin=1.0)
    (found,), _ = crop_clips([clip("a", 0, ("p",), tmp_path / "a.png")], settings)
    assert (found.images == 255).all()


def _faces_of(column: int, *others: int) -> list[np.ndarray]:
    """Faces of 8 px whose left edges are at these columns, the first one drawn bigger."""
    boxes = [(column, 12), *((other, 8) for other in others)]
    return [np.array([[x, 20, 0], [x + size, 20 + size, 0]], np.float32) for x, size in boxes]


def test_one_person_is_followed_even_when_somebody_else_comes_nearer_to_the_camera(monkeypatch, tmp_path):
    """A walks from column 10 to 34 and is largest at first; B stands at 70 and is larger from the second frame on."""
    folder = tmp_path / "walk"
    folder.mkdir()
    shots = [_faces_of(10, 70), _faces_of(70, 18), [], _faces_of(70, 26), [_faces_of(34)[0]]]
    for number in range(len(shots)):
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[..., 2] = 10 * number  # says which frame it is
        picture[..., 1] = 2 * np.arange(96)  # and where the crop was taken
        cv2.imwrite(str(folder / f"frame_{number + 8}.png"), picture)  # 8, 9, 10: not the order of the alphabet

    class Finder(_StandIn):
        def detect(self, image):
            return shots[round(image[..., 0].mean() / 10)]

    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: Finder([]))
    (found,), _ = crop_clips([clip("walk", 0, ("a",), folder)], FaceCrop(input_size=8, crop_margin=1.0), 16)
    assert found.frames.tolist() == [0, 1, 3, 4]
    middles = found.images[..., 1].mean((1, 2)) / 2 + 0.5
    np.testing.assert_allclose(middles, [16, 22, 30, 40], atol=0.6)
    assert (found.missed, found.several) == (1, 3)
    (again,), _ = crop_clips([clip("walk", 0, ("a",), folder)], FaceCrop(input_size=8, crop_margin=1.0), 16)
    assert (again.missed, again.several) == (1, 3)  # the cache knows it too


def test_all_large_faces_of_a_frame_are_cut_out_where_that_is_asked_for(monkeypatch, tmp_path):
    """Faces of 12, 9 and 8 px: the areas are 1, 0.56 and 0.44 of the largest one's."""
    square = np.array([[0, 0, 0], [1, 1, 0]], np.float32)
    faces = [square * side + (left, 20, 0) for left, side in ((10, 8), (40, 12), (70, 9))]
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[..., 1] = 2 * np.arange(96)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    monkeypatch.setattr(landmarks, "open_backend", lambda *_, **__: _StandIn(faces))
    one, settings = [clip("a", 0, ("p",), tmp_path / "a.png")], FaceCrop(input_size=8, crop_margin=1.0)
    for _ in range(2):  # cut anew, then from the cache, which is not the cache of one person's faces
        (all_large,) = stream_crops(one, settings, faces="large")
        assert all_large.frames.tolist() == [0, 0]
        np.testing.assert_allclose(all_large.images[..., 1].mean((1, 2)) / 2, [45.5, 74], atol=0.6)
        assert (all_large.missed, all_large.several) == (0, 1)
        (followed,) = stream_crops(one, settings)
        assert followed.frames.tolist() == [0]
    with pytest.raises(ValueError, match="followed or large"):
        next(stream_crops(one, settings, faces="some"))


def test_of_a_list_of_frames_those_listed_are_taken_over_its_whole_length(backend, tmp_path):
    for number in range(40):
        image = np.full((64, 96, 3), number, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    listed = dataclasses.replace(clip("v", 0, ("p",), tmp_path), frames=tuple(f"{n}.png" for n in range(20, 30)))
    (found,), _ = crop_clips([listed], FaceCrop(input_size=8), 5)
    assert found.frames.tolist() == [1, 3, 5, 7, 9]
    assert found.images[:, 0, 0, 0].tolist() == [21, 23, 25, 27, 29]


def test_clips_come_in_order_a_few_ahead_and_not_more(backend, tmp_path):
    clips = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((64, 96, 3), 100 + number, np.uint8))
        clips.append(clip(str(number), 0, ("p",), path))
    asked = []

    def watched():
        for item in clips:
            asked.append(item.id)
            yield item

    stream = stream_crops(watched(), FaceCrop(input_size=8), workers=2)
    first = next(stream)
    assert len(asked) <= 4
    rest = list(stream)
    assert [item.clip.id for item in (first, *rest)] == [str(number) for number in range(12)]
    assert [item.images[0, 0, 0, 0] for item in (first, *rest)] == [100 + number for number in range(12)]
    assert backend.closed in (1, 2)


def test_leaving_the_stream_or_a_fault_in_it_ends_its_threads(backend, monkeypatch, tmp_path):
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 96, 3), 100 + number, np.uint8))
    clips = [clip(str(number), 0, ("p",), tmp_path / f"{number}.png") for number in range(8)]

    def running():
        return [thread for thread in threading.enumerate() if thread.name.startswith("stress crops")]

    for item in stream_crops(clips, FaceCrop(input_size=8), workers=2):
        assert running()
        del item
        break
    gc.collect()
    assert not running()
    stream = stream_crops(clips, FaceCrop(input_size=8))
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(stream):
        next(stream)
        assert running()
        raise KeyboardInterrupt  # as Ctrl-C does in the loop
    assert not running()

    def broken(image):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(backend, "detect", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        crop_clips(clips, FaceCrop(input_size=9))
    assert not running()


def test_clips_without_a_face_or_a_decodable_frame_are_excluded_with_the_reason(backend, tmp_path):
    good = _video(tmp_path / "good.mkv", 20)
    dark = _video(tmp_path / "dark.mkv", 6)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    backend.darkest = 50  # grey levels 50 and up have a face
    clips = [clip(path.stem, 1, ("p",), path) for path in (good, dark, broken, tmp_path / "gone.mp4")]
    ticks = []
    used, excluded = crop_clips(clips, FaceCrop(input_size=32), 10, lambda: ticks.append(1))
    assert len(ticks) == 4
    assert [item.clip.id for item in used] == ["good"]
    assert used[0].frames.tolist() == [11, 13, 15, 17, 19]  # frames without a face are not there
    assert used[0].images.shape == (5, 32, 32, 3)
    assert [item.clip.id for item in excluded] == ["dark", "broken", "gone"]
    assert "no face" in excluded[0].reason
    assert all(str(item.clip.path) in item.reason for item in excluded[1:])


def test_cache_serves_the_same_crops_follows_content_and_settings_and_survives_damage(backend, tmp_path):
    video = _video(tmp_path / "a.mkv", 8)
    one = [clip("a", 0, ("p",), video)]
    settings = FaceCrop(input_size=48)
    (first,), _ = crop_clips(one, settings, 4)
    assert (backend.calls, backend.closed) == (4, 1)
    moved = tmp_path / "moved.mkv"
    moved.write_bytes(video.read_bytes())
    (again,), _ = crop_clips([clip("b", 1, ("q",), moved)], settings, 4)
    assert backend.calls == 4  # by content: another name, another label, the same faces
    assert again.clip.id == "b"
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.frames, again.frames)

    calls = backend.calls
    for other in (FaceCrop(input_size=40), FaceCrop(input_size=48, crop_margin=1.5)):
        crop_clips(one, other, 4)
        assert backend.calls == (calls := calls + 4)
    crop_clips(one, settings, 5)
    assert backend.calls == (calls := calls + 5)
    for stored in (cache_dir() / "crops").rglob("*.npz"):
        stored.write_bytes(stored.read_bytes()[:60])
    (anew,), _ = crop_clips(one, settings, 4)
    assert backend.calls == calls + 4
    np.testing.assert_array_equal(anew.images, first.images)
    assert not list((cache_dir() / "crops").rglob(".*"))  # nothing half-written stays


def test_a_clip_without_faces_is_remembered_too(backend, tmp_path):
    backend.faces = []
    one = [clip("a", 0, ("p",), _video(tmp_path / "a.mkv", 4))]
    for _ in range(2):
        assert crop_clips(one, FaceCrop(input_size=48), 4)[1][0].reason.startswith("no face")
    assert backend.calls == 4


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n and no more", b"text"])
def test_pictures_that_cannot_be_decoded(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png is not a picture"):
        list(sample_frames(path, 1))


@pytest.mark.footage
def test_real_faces_are_found_and_fill_the_crop(footage):
    from stress.data.layouts import read_dataset

    clips = [item for item in read_dataset(None, footage / "cast") if item.id in ("p02", "p06")]
    used, excluded = crop_clips(clips, FaceCrop(input_size=128), 3)
    assert not excluded
    assert [len(item.frames) for item in used] == [3, 3]
    backend = landmarks.open_backend(static=True)
    for item in used:
        faces = backend.detect(np.ascontiguousarray(cv2.resize(item.images[1], (256, 256))))
        assert len(faces) == 1
        side = np.ptp(faces[0][:, :2], axis=0).max() / 256
        assert side == pytest.approx(1 / 1.3, rel=0.12)  # the margin is what it says
    backend.close()
