"""Writing of videos: what goes in must come out again, with its time, its turn, its colors and its sound."""

from __future__ import annotations

import dataclasses
import errno
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from faceswap_hq.errors import UserError
from faceswap_hq.media import VideoInfo, VideoWriter, probe, read_frames
from tests.faceswap_hq.clips import clicks, number_of, numbered, packet_table, synthetic_clip


def rewrite(source: Path, target: Path, **settings) -> VideoWriter:
    """Decode ``source`` (or its part ``frames``) and write it again."""
    start, stop = settings.get("frames") or (0, None)
    with VideoWriter(target, like=probe(source), **settings) as writer:
        for frame in read_frames(source, start=start, stop=stop):
            writer.write(frame.image, frame.pts)
    return writer


def encoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "faceswap-hq encoder"]


def comparable(info: VideoInfo) -> dict:
    return {k: v for k, v in dataclasses.asdict(info).items() if k not in ("path", "codec", "pixel_format")}


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pts", "base"),
    [
        ([0, 512, 1100, 1200, 3000, 9000, 9001, 12800, 12801], Fraction(1, 12800)),
        (list(range(0, 40 * 1001, 1001)), Fraction(1, 30000)),
        ([0, 33, 67, 100, 133, 500, 501, 900], Fraction(1, 1000)),
        ([0, 1, 2, 3, 4], Fraction(1, 25)),
        ([7000, 10000, 13000, 90000], Fraction(1, 90000)),
        ([0], Fraction(1, 600)),
    ],
)
def test_timestamps_and_time_base_are_kept(tmp_path, pts, base):
    path = synthetic_clip(tmp_path / "in.mp4", pts=pts, time_base=base)
    before = probe(path)
    assert before.time_base == base
    stamps = [frame.pts for frame in read_frames(path)]
    assert stamps == pts
    rewrite(path, tmp_path / "out.mp4")
    after = probe(tmp_path / "out.mp4")
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.pts for frame in frames] == pts
    assert [number_of(frame.image) for frame in frames] == list(range(len(pts)))
    assert (after.time_base, after.frames) == (base, len(pts))


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.ts", "a.gif"])
def test_times_are_kept_across_containers(tmp_path, name):
    codec = {"a.gif": "gif", "a.avi": "mpeg4"}.get(name, "libx264")
    begin = 125 if name == "a.ts" else 0  # broadcast streams count from anywhere
    path = synthetic_clip(
        tmp_path / name,
        codec=codec,
        pixel_format="rgb8" if codec == "gif" else "yuv420p",
        time_base=Fraction(1, 25),
        pts=range(begin, begin + 12),
    )
    rewrite(path, tmp_path / "out.mp4")
    before, after = list(read_frames(path)), list(read_frames(tmp_path / "out.mp4"))
    assert [number_of(frame.image) for frame in after] == list(range(12))
    zero = before[0].time if name == "a.ts" else 0.0  # a player would wait five seconds for an MP4 like that
    assert [frame.time for frame in after] == pytest.approx([frame.time - zero for frame in before], abs=1e-5)
    assert before[0].time >= begin / 25


def test_a_part_begins_at_zero(tmp_path):
    pts = [100, 612, 1500, 1700, 3000, 9000]
    path = synthetic_clip(tmp_path / "in.mp4", pts=pts)
    rewrite(path, tmp_path / "out.mp4", frames=(2, 5))
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.pts for frame in frames] == [0, 200, 1500]
    assert [number_of(frame.image) for frame in frames] == [2, 3, 4]


# -- picture ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_flag_is_kept(tmp_path, rotation, mirrored):
    path = synthetic_clip(tmp_path / "in.mp4", rotation=rotation, mirrored=mirrored, count=3)
    rewrite(path, tmp_path / "out.mp4")
    before, after = probe(path), probe(tmp_path / "out.mp4")
    assert comparable(after) == comparable(before)
    assert (after.rotation, after.mirrored) == (rotation, mirrored)
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == (160, 96)
    for one, other in zip(read_frames(path), read_frames(tmp_path / "out.mp4"), strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 2


@pytest.mark.parametrize(("width", "height"), [(161, 96), (160, 97), (131, 77), (129, 33)])
def test_odd_sizes_are_kept(tmp_path, width, height):
    path = synthetic_clip(tmp_path / "in.mp4", width=width, height=height, pixel_format="yuv444p", count=4)
    rewrite(path, tmp_path / "out.mp4")
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [number_of(frame.image) for frame in frames] == list(range(4))
    assert frames[0].image.shape == (height, width, 3)
    assert np.abs(frames[3].image.astype(int) - numbered(3, width, height)).mean() < 4


def test_pixel_aspect_is_kept(tmp_path):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(15, 16)
        for index in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index), format="rgb24")))
        output.mux(stream.encode(None))
    rewrite(path, tmp_path / "out.mp4")
    assert probe(path).pixel_aspect == probe(tmp_path / "out.mp4").pixel_aspect == Fraction(15, 16)


@pytest.mark.parametrize(("matrix", "range_"), [(1, 1), (5, 1), (6, 0), (9, 1), (1, 2), (2, 0), (2, 2)])
def test_colors_and_tags_survive(tmp_path, matrix, range_):
    if matrix == 9 and not hasattr(Colorspace, "BT2020"):
        pytest.skip("PyAV before 18 cannot make a BT.2020 clip")
    path = synthetic_clip(tmp_path / "in.mp4", color=(matrix, range_), count=4, options={"crf": "4"})
    rewrite(path, tmp_path / "out.mp4", crf=4)
    assert probe(tmp_path / "out.mp4").color == probe(path).color
    assert probe(path).color.matrix == matrix
    for index, frame in enumerate(read_frames(tmp_path / "out.mp4")):
        # against the picture that both were made from, away from the sharp edges that 4:2:0 blurs
        error = frame.image[24:].astype(float) - numbered(index)[24:]
        assert np.abs(error).mean() < 1.5
        # libswscale truncates full-range chroma: up to half a level for each of the two encodings
        assert np.abs(error.mean(axis=(0, 1))).max() < (1.5 if range_ == 2 else 1.0), error.mean(axis=(0, 1))


def test_many_generations_do_not_drift(tmp_path):
    path = synthetic_clip(tmp_path / "0.mp4", count=2, options={"crf": "4"}, color=(1, 1))
    first = [frame.image.astype(float) for frame in read_frames(path)]
    for generation in range(1, 5):
        rewrite(tmp_path / f"{generation - 1}.mp4", tmp_path / f"{generation}.mp4", crf=4)
    last = [frame.image.astype(float) for frame in read_frames(tmp_path / "4.mp4")]
    shift = (np.mean(last, axis=0) - np.mean(first, axis=0)).mean(axis=(0, 1))
    assert np.abs(shift).max() < 0.9, shift  # a conversion that truncates loses one level each time: four


def test_stored_as_rgb_becomes_tagged_yuv(tmp_path):
    path = synthetic_clip(tmp_path / "in.mkv", codec="ffv1", pixel_format="bgr0", color=(0, 2), options={}, count=2)
    rewrite(path, tmp_path / "out.mp4", crf=4)
    assert probe(tmp_path / "out.mp4").color.matrix == 6
    (frame, _) = read_frames(tmp_path / "out.mp4")
    assert np.abs((frame.image[24:].astype(float) - numbered(0)[24:]).mean(axis=(0, 1))).max() < 1


# -- sound ------------------------------------------------------------------------------------------------------------


def test_sound_is_copied_unchanged(tmp_path):
    path = synthetic_clip(tmp_path / "in.mp4", count=50, audio="aac")
    writer = rewrite(path, tmp_path / "out.mp4", audio_from=path)
    assert writer.audio == "copied"
    assert packet_table(tmp_path / "out.mp4", "audio") == packet_table(path, "audio")
    assert clicks(tmp_path / "out.mp4") == pytest.approx(clicks(path), abs=1e-6)
    assert clicks(path) == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.03)
    assert probe(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.mkv", "mp3", "copied"),
        ("a.mkv", "ac3", "copied"),
        ("a.mkv", "libopus", "copied"),
        ("a.mkv", "flac", "copied"),
        ("a.ts", "aac", "copied"),  # packets come with ADTS headers, which MP4 does not have
        ("a.avi", "pcm_s16le", "encoded as AAC"),
        ("a.mkv", "pcm_s24le", "encoded as AAC"),
        ("a.mpg", "mp2", "encoded as AAC"),
    ],
)
def test_sound_of_other_containers(tmp_path, name, codec, kept):
    video = {"a.mpg": "mpeg1video", "a.avi": "mpeg4"}.get(name, "libx264")
    path = synthetic_clip(
        tmp_path / name, count=50, audio=codec, codec=video, time_base=Fraction(1, 25), audio_rate=48000
    )
    writer = rewrite(path, tmp_path / "out.mp4", audio_from=path)
    assert writer.audio == kept
    video_shift = next(read_frames(tmp_path / "out.mp4")).time - next(read_frames(path)).time
    assert clicks(tmp_path / "out.mp4") == pytest.approx(np.add(clicks(path), video_shift), abs=0.006)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_sound_of_a_part_stays_in_step(tmp_path, codec):
    path = synthetic_clip(tmp_path / "in.mov", count=100, audio=codec)
    rewrite(path, tmp_path / "out.mp4", audio_from=path, frames=(40, 80))  # 1.6 s to 3.2 s
    assert clicks(tmp_path / "out.mp4") == pytest.approx([0.4, 0.9, 1.4], abs=0.03)
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound, video = container.streams.audio[0], container.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(1.6, abs=1e-3)
        assert float(sound.duration * sound.time_base) == pytest.approx(1.6, abs=0.07)
    first = packet_table(tmp_path / "out.mp4", "audio")[0][0]
    assert -0.06 < first <= 0.03


def test_sound_and_pictures_are_interleaved(tmp_path):
    """Neither stream waits for the whole of the other, so players can stream and we need not hold it all."""
    path = synthetic_clip(tmp_path / "in.mp4", count=150, audio="aac")
    rewrite(path, tmp_path / "out.mp4", audio_from=path)
    with av.open(str(tmp_path / "out.mp4")) as container:
        order = [p.stream.type for p in sorted((p for p in container.demux() if p.size), key=lambda p: p.pos)]
    runs = "".join(kind[0] for kind in order)
    assert "v" * 30 not in runs
    assert "a" * 60 not in runs


def test_a_silent_video_stays_silent(tmp_path):
    path = synthetic_clip(tmp_path / "in.mp4", count=3)
    assert rewrite(path, tmp_path / "out.mp4", audio_from=path).audio is None
    assert not probe(tmp_path / "out.mp4").has_audio


# -- failures ---------------------------------------------------------------------------------------------------------


def test_an_exception_leaves_no_file_and_no_thread(tmp_path):
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))

    def failing() -> None:
        with VideoWriter(tmp_path / "out.mp4", like=info) as writer:
            for index in range(30):
                writer.write(numbered(index), index * 512)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert not (tmp_path / "out.mp4").exists()
    assert not encoder_threads()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_os_error_with_its_number(tmp_path):
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))
    (tmp_path / "out.mp4").symlink_to("/dev/full")
    random = np.random.default_rng(0)

    def filling() -> None:
        with VideoWriter(tmp_path / "out.mp4", like=info, crf=1) as writer:
            for index in range(60):
                writer.write(random.integers(0, 256, (96, 160, 3), dtype=np.uint8), index * 512)

    with pytest.raises(OSError, match="space") as caught:
        filling()
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "out.mp4").is_symlink()
    assert Path("/dev/full").exists()
    assert not encoder_threads()


def test_a_folder_that_is_missing(tmp_path):
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))

    def missing() -> None:
        with VideoWriter(tmp_path / "no" / "out.mp4", like=info) as writer:
            writer.write(numbered(0), 0)

    with pytest.raises(OSError, match="out.mp4") as caught:
        missing()
    assert caught.value.errno == errno.ENOENT


def test_sound_from_a_bad_file_is_a_user_error(tmp_path):
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))
    (tmp_path / "text.mp4").write_text("no sound here")

    def bad() -> None:
        with VideoWriter(tmp_path / "out.mp4", like=info, audio_from=tmp_path / "text.mp4") as writer:
            writer.write(numbered(0), 0)

    with pytest.raises(UserError, match=r"text\.mp4"):
        bad()
    assert not (tmp_path / "out.mp4").exists()


def test_misuse_is_refused(tmp_path):
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))
    with pytest.raises(UserError, match="no frame"), VideoWriter(tmp_path / "out.mp4", like=info):
        pass
    assert not (tmp_path / "out.mp4").exists()
    for settings in ({"crf": 60}, {"frames": (3, 3)}, {"frames": (-1, 3)}):
        with pytest.raises(ValueError, match="."):
            VideoWriter(tmp_path / "out.mp4", like=info, **settings)
    writer = VideoWriter(tmp_path / "out.mp4", like=info)
    with writer:
        writer.write(numbered(0), 10)
        with pytest.raises(ValueError, match="does not follow"):
            writer.write(numbered(1), 10)
        with pytest.raises(ValueError, match="takes uint8"):
            writer.write(numbered(1, 98, 96), 20)
        with pytest.raises(ValueError, match="takes uint8"):
            writer.write(numbered(1).astype(np.float32), 20)
    with pytest.raises(ValueError, match="closed"):
        writer.write(numbered(2), 30)


def test_frames_are_copied_and_wait_in_a_bounded_queue(tmp_path, monkeypatch):
    from faceswap_hq.media import writing

    original = writing.FromRGB.__call__
    gate = threading.Event()

    def slow(self, frame):
        gate.wait(5)
        return original(self, frame)

    monkeypatch.setattr(writing.FromRGB, "__call__", slow)
    info = probe(synthetic_clip(tmp_path / "in.mp4", count=3))
    written = []

    def produce() -> None:
        with VideoWriter(tmp_path / "out.mp4", like=info, waiting=4) as writer:
            image = np.empty((96, 160, 3), np.uint8)
            for index in range(20):
                image[:] = numbered(index)
                writer.write(image, index * 512)
                written.append(index)

    producer = threading.Thread(target=produce)
    producer.start()
    time.sleep(0.4)
    assert len(written) <= 5
    gate.set()
    producer.join(20)
    assert [number_of(f.image) for f in read_frames(tmp_path / "out.mp4")] == list(range(20))


# -- real footage -----------------------------------------------------------------------------------------------------


@pytest.mark.footage
@pytest.mark.parametrize("name", ["p01", "p02", "p04"])
def test_real_clips_keep_their_colors(footage, tmp_path, name):
    path = footage / "cast" / f"{name}.mp4"
    rewrite(path, tmp_path / "out.mp4", frames=(30, 36), audio_from=path, crf=8)
    before, after = probe(path), probe(tmp_path / "out.mp4")
    kept = ("width", "height", "time_base", "has_audio", "pixel_aspect", "color")
    assert [getattr(after, field) for field in kept] == [getattr(before, field) for field in kept]
    for one, other in zip(read_frames(path, start=30, stop=36), read_frames(tmp_path / "out.mp4"), strict=True):
        error = other.image.astype(float) - one.image
        assert np.abs(error).mean() < 2
        assert np.abs(error.mean(axis=(0, 1))).max() < 0.8, error.mean(axis=(0, 1))
