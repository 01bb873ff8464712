"""Rendering: which frames are changed and how, and that everything else of the clip stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from blending import NONE, PRESETS
from faceswap_hq import render
from faceswap_hq.errors import UserError
from faceswap_hq.faces import alignment, expression
from faceswap_hq.faces.smoothing import steadied
from faceswap_hq.media import probe, read_frames
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Plan, RenderSettings, plan
from faceswap_hq.render import Counts, counts_dict, swapped_frames, write_video
from faceswap_hq.training.run import load_model
from tests.faceswap_hq.clips import clicks, number_of, packet_table
from tests.faceswap_hq.helpers import Known, Shot, face_at, mark, paint, side_by_side, use_backend, write_clip

PLAIN = RenderSettings(blend=NONE)


@pytest.fixture(scope="module")
def model(trained: Path) -> SwapAutoencoder:
    return load_model(trained)[0]


@pytest.fixture
def known_anna(monkeypatch, shots: tuple[Shot, Shot]) -> Known:
    return use_backend(monkeypatch, shots[0].knowing())


def rendered(
    clip: Path, model: SwapAutoencoder, target: Path, settings: RenderSettings = PLAIN, **options
) -> tuple[Counts, Plan]:
    found = plan(clip, model, 0.74, settings)
    return write_video(found, swapped_frames(found, model, settings), target, **options), found


def images(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(path)]


def stamps(path: Path) -> list[Fraction]:
    info = probe(path)
    return [frame.pts * info.time_base for frame in read_frames(path)]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def face_box(landmarks: np.ndarray, grow: float = 0.0) -> tuple[slice, slice]:
    low, high = landmarks[:468, :2].min(0), landmarks[:468, :2].max(0)
    margin = grow * (high - low)
    (x, y), (right, bottom) = (low - margin).astype(int), (high + margin).astype(int)
    return slice(max(y, 0), max(bottom, 0)), slice(max(x, 0), max(right, 0))


class TestWholeClip:
    def test_everything_but_the_face_stays(self, tmp_path, model, actor_clips, shots, known_anna):
        """Frame count, timestamps, size, sound; the face is another, what is around it the same."""
        clip, target = actor_clips[0], tmp_path / "fake.mp4"
        counts, _ = rendered(clip, model, target)
        assert (counts.frames, counts.with_face, counts.swapped, counts.passed) == (24, 24, 24, 0)
        assert (counts.people, counts.damaged) == (1, 0)
        before, after = probe(clip), probe(target)
        assert (after.width, after.height, after.frames) == (before.width, before.height, 24)
        assert after.rate == before.rate
        assert after.has_audio
        assert stamps(target) == stamps(clip)
        assert clicks(target) == pytest.approx(clicks(clip), abs=1e-3)
        for number, (old, new) in enumerate(zip(images(clip), images(target), strict=True)):
            assert number_of(new) == number
            inside = face_box(shots[0].landmarks[number], -0.15)
            assert difference(new[inside], old[inside]) > 9
            outside = np.ones(old.shape[:2], bool)
            outside[face_box(shots[0].landmarks[number], 0.6)] = False
            assert difference(new[outside], old[outside]) < 3
        assert known_anna.closed == 1

    @pytest.mark.parametrize("retarget", [0.0, 1.0])
    def test_what_is_drawn_is_the_decoders_face(self, tmp_path, model, actor_clips, known_anna, retarget):
        """Pasted plainly, the pixels in the middle of the face are what the model made of the aligned crop."""
        plain = replace(PLAIN, retarget=retarget)
        found = plan(actor_clips[0], model, 0.74, plain)
        for item in swapped_frames(found, model, plain, indices=[0, 10, 20]):
            crop = alignment.warp(item.frame.image, found.matrices[item.frame.index], 32)
            x = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
            with torch.no_grad():
                measures = torch.from_numpy(found.measures[item.frame.index])[None]
                face = model.swap(x, measures, 0, retarget)[0][0].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(item.face, face, atol=2e-3)
            back = alignment.warp(item.image, found.matrices[item.frame.index], 32)[12:20, 12:20]
            assert difference(back / 255, face[12:20, 12:20]) < 0.02

    def test_whose_habits_the_landmarks_are_read_by(self, model, actor_clips, known_anna):
        """Those of the model's person whom the video shows, or those that the clip itself tells."""
        own, known = (plan(actor_clips[0], model, 0.74, replace(PLAIN, target=target)) for target in (None, 0))
        assert sorted(own.measures) == sorted(known.measures) == list(range(24))
        raw = np.stack([expression.measured(face) for face in own.person.landmarks])
        raw = steadied(raw, np.zeros(24, bool))
        for found, habits in ((own, expression.Calibration.fit(raw)), (known, model.calibration(0))):
            given = np.stack([found.measures[frame] for frame in range(24)])
            np.testing.assert_allclose(given[:, 2:], habits(raw)[:, 2:], atol=1e-4)

    def test_the_other_decoder(self, model, actor_clips, known_anna):
        found = plan(actor_clips[0], model, 0.74, PLAIN)
        faces = [
            next(swapped_frames(found, model, replace(PLAIN, source=source), indices=[3])).face for source in (0, 1)
        ]
        assert not np.array_equal(*faces)

    @pytest.mark.parametrize("name", list(PRESETS))
    def test_blending_presets_are_deterministic(self, name, model, actor_clips, known_anna):
        settings = RenderSettings(blend=PRESETS[name], frames=(0, 10))
        found = plan(actor_clips[0], model, 0.74, settings)
        first, second = ([item.image for item in swapped_frames(found, model, settings)] for _ in range(2))
        assert len(first) == 10
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_matched_real(self, tmp_path, model, actor_clips, known_anna):
        """The same frames through the same codec; only the face differs."""
        rendered(actor_clips[0], model, tmp_path / "fake.mp4", real=tmp_path / "real.mp4")
        original, real, fake = (images(path) for path in (actor_clips[0], tmp_path / "real.mp4", tmp_path / "fake.mp4"))
        assert len(original) == len(real) == len(fake)
        assert stamps(tmp_path / "real.mp4") == stamps(tmp_path / "fake.mp4")
        assert max(difference(a, b) for a, b in zip(original, real, strict=True)) < 2.5
        assert min(difference(a, b) for a, b in zip(fake, real, strict=True)) > 2.5
        infos = [probe(tmp_path / f"{name}.mp4") for name in ("fake", "real")]
        for key in ("width", "height", "rate", "time_base", "frames", "has_audio", "codec", "pixel_format", "color"):
            assert getattr(infos[0], key) == getattr(infos[1], key)

    def test_compare_shows_both(self, tmp_path, model, actor_clips, known_anna):
        rendered(actor_clips[0], model, tmp_path / "both.mp4", compare=True)
        rendered(actor_clips[0], model, tmp_path / "fake.mp4")
        info = probe(tmp_path / "both.mp4")
        assert (info.width, info.height, info.frames) == (384, 192, 24)
        together = zip(
            images(tmp_path / "both.mp4"), images(actor_clips[0]), images(tmp_path / "fake.mp4"), strict=True
        )
        for both, original, fake in together:
            assert difference(both[:, :192], original) < 2.5
            assert difference(both[:, 192:], fake) < 2.5

    def test_only_a_bounded_number_of_frames_is_held(self, model, actor_clips, known_anna, monkeypatch):
        """Whoever takes frames slowly makes the decoder wait."""
        read = []
        real = render.media.read_frames

        def counted(*args, **kwargs):
            for frame in real(*args, **kwargs, prefetch=1):
                read.append(frame.index)
                yield frame

        found = plan(actor_clips[0], model, 0.74, PLAIN)
        monkeypatch.setattr(render.media, "read_frames", counted)
        monkeypatch.setattr(render, "BATCH", 2)
        for item in swapped_frames(found, model, PLAIN):
            assert len(read) - item.frame.index <= 5

    def test_stopping_early_stops_everything(self, model, actor_clips, known_anna):
        import threading

        found = plan(actor_clips[0], model, 0.74, PLAIN)
        frames = swapped_frames(found, model, PLAIN)
        next(frames)
        frames.close()
        assert not [t for t in threading.enumerate() if t.name.startswith(("prepare", "finish", "faceswap-hq decoder"))]


class TestFramesWithoutTheFace:
    def test_they_pass_through(self, tmp_path, model, monkeypatch, shots, actor_clips):
        """Counted, and the very pixels of the input reach the encoder."""
        answers = [[face] if 6 <= i < 15 else [] for i, face in enumerate(shots[0].landmarks)]
        use_backend(monkeypatch, Known(answers, marked=True))
        counts, found = rendered(actor_clips[0], model, tmp_path / "fake.mp4")
        assert (counts.frames, counts.with_face, counts.swapped, counts.passed) == (24, 9, 9, 15)
        for item in swapped_frames(found, model, PLAIN):
            assert (item.face is not None) == (6 <= item.frame.index < 15)
            assert (item.image is item.frame.image) == (item.face is None)
        for number, (old, new) in enumerate(zip(images(actor_clips[0]), images(tmp_path / "fake.mp4"), strict=True)):
            if not 6 <= number < 15:
                assert difference(old, new) < 2.5

    def test_tiny_faces_pass_through(self, tmp_path, model, monkeypatch):
        faces = [face_at(100, 90, 80 if i < 4 else 25) for i in range(8)]
        clip = write_clip(tmp_path / "c.mp4", [mark(np.full((180, 200, 3), 80, np.uint8), i) for i in range(8)])
        use_backend(monkeypatch, Known([[face] for face in faces], marked=True))
        counts, found = rendered(clip, model, tmp_path / "fake.mp4")
        assert (counts.with_face, counts.swapped, counts.passed) == (8, 4, 4)
        assert found.too_small == 4
        use_backend(monkeypatch, Known([[face_at(100, 90, 25)]] * 8, marked=True))
        with pytest.raises(UserError, match="lower than 32 pixels in all 8 frames"):
            plan(clip, model, 0.74, PLAIN)

    def test_nobody(self, model, monkeypatch, actor_clips):
        use_backend(monkeypatch, Known([[]] * 24, marked=True))
        with pytest.raises(UserError, match=r"anna\.mp4: no face found in 24 frames"):
            plan(actor_clips[0], model, 0.74, PLAIN)


class TestTwoPeople:
    @pytest.fixture
    def clip(self, tmp_path, shots, monkeypatch) -> Path:
        pictures, backend = side_by_side(*shots)
        use_backend(monkeypatch, backend)
        return write_clip(tmp_path / "two.mp4", pictures)

    def test_the_other_one_is_untouched(self, clip, model):
        changed = []
        for person in (1, 2):
            settings = RenderSettings(person=person, frames=(0, 12))
            found = plan(clip, model, 0.74, settings)
            assert len(found.faces.people) == 2
            sides = set()
            for item in swapped_frames(found, model, settings):
                halves = [
                    np.array_equal(item.image[:, part], item.frame.image[:, part])
                    for part in (slice(192), slice(192, None))
                ]
                assert sorted(halves) == [False, True]
                sides.add(halves.index(False))
            assert len(sides) == 1
            changed += sides
        assert sorted(changed) == [0, 1]

    def test_nobody_of_that_number(self, clip, model):
        with pytest.raises(UserError, match="there is no person 3, only 2") as caught:
            plan(clip, model, 0.74, RenderSettings(person=3))
        assert "contact sheet" in str(caught.value)


class TestRange:
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_part_of_a_clip(self, tmp_path, model, shots, known_anna, suffix):
        """Only these frames, time beginning at 0, the sound cut to them; also where the container names no count."""
        clip = write_clip(tmp_path / f"c{suffix}", shots[0].images, audio="aac")
        counts, found = rendered(clip, model, tmp_path / "fake.mp4", replace(PLAIN, frames=(13, 20)))
        assert (counts.frames, found.start, found.stop) == (7, 13, 20)
        assert [number_of(image) for image in images(tmp_path / "fake.mp4")] == list(range(13, 20))
        times = [float(t) for t in stamps(tmp_path / "fake.mp4")]
        np.testing.assert_allclose(times, np.arange(7) / 25, atol=1e-3)
        sound = packet_table(tmp_path / "fake.mp4", "audio")
        assert sound[0][0] >= -0.05
        assert sound[-1][0] < 0.32

    def test_from_the_beginning(self, tmp_path, model, shots, known_anna):
        clip = write_clip(tmp_path / "c.mkv", shots[0].images, audio="aac")
        rendered(clip, model, tmp_path / "fake.mp4", replace(PLAIN, frames=(0, 5)))
        assert len(images(tmp_path / "fake.mp4")) == 5
        assert packet_table(tmp_path / "fake.mp4", "audio")[-1][0] < 0.25

    def test_beyond_the_end(self, tmp_path, model, actor_clips, known_anna):
        counts, _ = rendered(actor_clips[0], model, tmp_path / "fake.mp4", replace(PLAIN, frames=(20, 900)))
        assert counts.frames == 4
        with pytest.raises(UserError, match="no frame in the range"):
            plan(actor_clips[0], model, 0.74, replace(PLAIN, frames=(24, 30)))

    @pytest.mark.parametrize("frames", [(5, 5), (7, 3), (-2, 4)])
    def test_ranges_that_are_none(self, frames):
        with pytest.raises(UserError, match="is empty"):
            RenderSettings(frames=frames)


class TestUnusualClips:
    def check(self, clip: Path, model: SwapAutoencoder, target: Path, count: int) -> Sequence[np.ndarray]:
        counts, _ = rendered(clip, model, target)
        assert counts.frames == counts.swapped == count
        before, after = probe(clip), probe(target)
        assert (after.width, after.height, after.rotation) == (before.width, before.height, before.rotation)
        assert stamps(target) == stamps(clip)
        result = images(target)
        assert [number_of(image) for image in result] == list(range(count))
        return result

    def test_variable_frame_rate(self, tmp_path, model, shots, known_anna):
        pts = np.cumsum([0, 512, 512, 1500, 37, 900, 512, 4000, 512, 512]).tolist()
        clip = write_clip(tmp_path / "c.mp4", shots[0].images[:10], pts=pts)
        self.check(clip, model, tmp_path / "fake.mp4", 10)

    def test_not_beginning_at_zero(self, tmp_path, model, shots, known_anna):
        clip = write_clip(tmp_path / "c.mp4", shots[0].images[:6], pts=[6400 + 512 * i for i in range(6)])
        self.check(clip, model, tmp_path / "fake.mp4", 6)

    @pytest.mark.parametrize("rotation", [90, 180, 270])
    def test_rotation_flag(self, tmp_path, model, shots, known_anna, rotation):
        """Stored turned, shown upright: the flag stays and the face is found upright."""
        stored = [np.ascontiguousarray(np.rot90(image[:, :176], rotation // 90)) for image in shots[0].images[:5]]
        clip = write_clip(tmp_path / "c.mp4", stored, rotation=rotation)
        assert (probe(clip).width, probe(clip).height) == (176, 192)
        self.check(clip, model, tmp_path / "fake.mp4", 5)

    def test_odd_sizes(self, tmp_path, model, shots, known_anna):
        pictures = [image[:189, :175] for image in shots[0].images[:5]]
        clip = write_clip(tmp_path / "c.mp4", pictures, pixel_format="yuv444p")
        self.check(clip, model, tmp_path / "fake.mp4", 5)
        rendered(clip, model, tmp_path / "both.mp4", compare=True)
        assert probe(tmp_path / "both.mp4").width == 350

    def test_one_frame(self, tmp_path, model, shots, known_anna):
        clip = write_clip(tmp_path / "c.mp4", shots[0].images[:1])
        assert not probe(clip).has_audio
        self.check(clip, model, tmp_path / "fake.mp4", 1)
        assert not probe(tmp_path / "fake.mp4").has_audio

    def test_a_face_at_the_border(self, tmp_path, model, monkeypatch):
        faces = [face_at(20 * i, 170, 90) for i in range(6)]
        pictures = [mark(paint(np.full((192, 192, 3), 80, np.uint8), face, 1), i) for i, face in enumerate(faces)]
        use_backend(monkeypatch, Known([[face] for face in faces], marked=True))
        for blend in PRESETS.values():
            clip = write_clip(tmp_path / "c.mp4", pictures)
            counts, _ = rendered(clip, model, tmp_path / "fake.mp4", RenderSettings(blend=blend))
            assert counts.frames == 6


def test_filters_start_anew_where_something_new_begins(monkeypatch, model, tmp_path):
    """At cuts, after gaps, and where too small a face was passed over: blending must not remember what was before."""
    heights = [80] * 5 + [72] * 3 + [80] * 4
    settings = replace(PLAIN, min_size=76)
    faces = [face_at(100, 95, height) for height in heights]
    walls = [np.full((180, 200, 3), 30 if i < 10 else 220, np.uint8) for i in range(12)]
    pictures = [mark(paint(wall, face, 1), i) for i, (wall, face) in enumerate(zip(walls, faces, strict=True))]
    clip = write_clip(tmp_path / "c.mp4", pictures)
    use_backend(monkeypatch, Known([[face] for face in faces], marked=True))
    resets = []
    monkeypatch.setattr(render.BlendState, "reset", lambda self: resets.append(self))
    found = plan(clip, model, 0.74, settings)
    resets.clear()
    assert sum(item.face is not None for item in swapped_frames(found, model, settings)) == 9
    assert found.new == {0, 8, 10}
    assert len(resets) == 3


def test_68_points(tmp_path, model, monkeypatch):
    faces = [face_at(100 + i, 95, 80, points=68) for i in range(5)]
    pictures = [mark(paint(np.full((192, 200, 3), 80, np.uint8), face, 1), i) for i, face in enumerate(faces)]
    clip = write_clip(tmp_path / "c.mp4", pictures)
    use_backend(monkeypatch, Known([[face] for face in faces], marked=True))
    counts, _ = rendered(clip, model, tmp_path / "fake.mp4", RenderSettings())
    assert counts.swapped == 5


def test_counts_are_json_without_timings(tmp_path, model, actor_clips, known_anna):
    counts, _ = rendered(actor_clips[0], model, tmp_path / "fake.mp4", replace(PLAIN, frames=(0, 4)))
    assert counts_dict(counts) == {"frames": 4, "with_face": 4, "swapped": 4, "passed": 0, "people": 1, "damaged": 0}
    assert counts.seconds.keys() >= {"hand to encoder"}


def test_people_are_counted_from_one():
    with pytest.raises(UserError, match="counted from 1"):
        RenderSettings(person=0)
