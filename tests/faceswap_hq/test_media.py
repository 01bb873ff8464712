"""Reading of videos; probing is in test_media_probing.py, writing in test_media_writing.py."""

from __future__ import annotations

import itertools
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.media import Damage, probe, read_frames
from tests.faceswap_hq.clips import number_of, numbered, packet_table, synthetic_clip


def decoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "faceswap-hq decoder"]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    return synthetic_clip(path, count=250, width=128, height=32, options={"crf": "16", "g": "30", "bf": "3"})


def test_frames_come_in_order_with_their_timestamps(tmp_path):
    pts = [0, 512, 1100, 1200, 3000, 9000, 9001, 12800]
    path = synthetic_clip(tmp_path / "vfr.mp4", pts=pts)
    damage = Damage()
    frames = list(read_frames(path, damage=damage))
    assert [frame.pts for frame in frames] == pts
    assert [frame.index for frame in frames] == list(range(8))
    assert [number_of(frame.image) for frame in frames] == list(range(8))
    assert [frame.time for frame in frames] == pytest.approx([p / 12800 for p in pts])
    assert not damage
    assert str(damage) == "no damage"
    for index, frame in enumerate(frames):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable
        assert np.abs(frame.image.astype(int) - numbered(index)).mean() < 3


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mkv", "libx264", "yuv444p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mpg", "mpeg1video", "yuv420p"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.mov", "libx265", "yuv420p10le"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_common_containers_codecs_and_depths(tmp_path, name, codec, pixel_format):
    options = {"libx265": {"crf": "12", "x265-params": "log-level=none"}, "libvpx-vp9": {"crf": "10", "cpu-used": "8"}}
    path = synthetic_clip(
        tmp_path / name,
        codec=codec,
        pixel_format=pixel_format,
        count=9,
        time_base=Fraction(1, 25),
        options=options.get(codec, {"b": "4000000"}),
    )
    info = probe(path)
    frames = list(read_frames(path))
    assert (info.width, info.height) == (160, 96)
    assert [number_of(frame.image) for frame in frames] == list(range(9))
    assert np.diff([frame.time for frame in frames]) == pytest.approx(0.04, abs=0.0011)
    if codec != "gif":
        error = np.abs(frames[4].image.astype(int) - numbered(4))
        assert error.mean() < 6, error.mean()


def test_start_stop_and_indices_give_the_very_frames_of_straight_decoding(long_clip):
    straight = {frame.index: frame for frame in read_frames(probe(long_clip))}
    assert len(straight) == 250
    requests = [
        {"start": 3, "stop": 9},
        {"start": 200, "stop": 215},
        {"start": 245},
        {"start": 300},
        {"stop": 0},
        {"indices": list(range(0, 250, 9))},
        {"indices": [0, 239, 100, 101, 100]},
        {"indices": [3, 249, 250, 900]},
        {"indices": []},
    ]
    for request in requests:
        wanted = range(request.get("start", 0), min(250, request.get("stop", 250)))
        wanted = sorted({i for i in request.get("indices", wanted) if i < 250})
        got = list(read_frames(long_clip, **request))
        assert [frame.index for frame in got] == wanted, request
        for frame in got:
            assert frame.pts == straight[frame.index].pts
            assert np.array_equal(frame.image, straight[frame.index].image), (request, frame.index)


@pytest.mark.parametrize(
    "bad", [{"start": -1}, {"start": 5, "stop": 4}, {"indices": [-1]}, {"indices": [1], "stop": 2}]
)
def test_senseless_ranges_are_refused_at_once(long_clip, bad):
    with pytest.raises(ValueError, match="."):
        read_frames(long_clip, **bad)


def test_seeking_reads_less_and_falls_back_when_a_file_breaks_its_promise(long_clip, tmp_path, monkeypatch):
    from faceswap_hq.media import decoding, seeking

    seen: list[int] = []
    original = decoding.decoded

    def counting(*arguments):
        for frame in original(*arguments):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(seeking, "decoded", counting)
    assert [f.index for f in read_frames(long_clip, indices=[10, 240])] == [10, 240]
    assert len(seen) <= 11 + 30

    def lossy(*arguments):
        return (frame for frame in original(*arguments) if frame.pts // 512 != 240)

    monkeypatch.setattr(seeking, "decoded", lossy)
    frames = list(read_frames(long_clip, indices=[10, 240]))
    assert [number_of(f.image) for f in frames] == [10, 240]


def test_upright_whatever_the_flags(tmp_path):
    corner = np.full((64, 96, 3), 40, np.uint8)
    corner[:32, :32] = (230, 30, 30)  # red in the stored top left
    corner[32:, :32] = (30, 30, 230)  # blue in the stored bottom left
    for rotation, mirrored in itertools.product((0, 90, 180, 270), (False, True)):
        path = tmp_path / "turned.mp4"
        flags = {"rotation": rotation, "mirrored": mirrored}
        synthetic_clip(path, count=1, width=96, height=64, images=[corner], options={"crf": "1"}, **flags)
        expected = corner[:, ::-1] if mirrored else corner
        expected = np.rot90(expected, -rotation // 90)
        info = probe(path)
        assert (info.rotation, info.mirrored) == (rotation, mirrored)
        assert (info.height, info.width) == expected.shape[:2]
        frame = next(iter(read_frames(path)))
        assert frame.image.shape == expected.shape
        assert frame.image.flags.c_contiguous
        error = np.abs(frame.image.astype(int) - expected).mean()
        assert error < 6, (rotation, mirrored, error)


@pytest.mark.parametrize(
    ("matrix", "range_", "pixel_format"),
    [
        *((m, r, f) for m, r in [(1, 1), (6, 1), (9, 1), (1, 2), (6, 2), (2, 0)] for f in ("yuv420p", "yuv444p")),
        (1, 1, "yuv420p10le"),
        (9, 1, "yuv420p10le"),
    ],
)
def test_colors_follow_the_tags(tmp_path, matrix, range_, pixel_format):
    """Flat colors, stored lossless by the equations of H.273, come back as they were."""
    colors = np.array([[200, 60, 40], [40, 180, 90], [50, 70, 210], [128, 128, 128], [210, 190, 160], [20, 20, 20]])
    kr, kb = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(matrix, (0.299, 0.114))
    red, green, blue = colors.T / 255
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
    depth = 4 if pixel_format.endswith("10le") else 1
    if range_ == 2:
        planes = [luma * 255, *(c * 255 + 128 for c in chroma)]
    else:
        planes = [luma * 219 + 16, *(c * 224 + 128 for c in chroma)]
    path = tmp_path / "colors.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 16 * len(colors), 16, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, range_
        frame = av.VideoFrame(16 * len(colors), 16, pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(plane, np.uint16 if depth == 4 else np.uint8).reshape(plane.height, -1)
            rows[:, : plane.width] = np.rint(values * depth).repeat(plane.width // len(colors))
        frame.colorspace, frame.color_range = matrix, range_
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    (got,) = read_frames(path)
    error = got.image[8, 8::16].astype(int) - colors
    assert np.abs(error).max() <= 2, error
    assert abs(error.mean()) < 0.8, error.mean()


# -- damage -----------------------------------------------------------------------------------------------------------


def test_damaged_packets_are_counted_and_survived(tmp_path):
    path = synthetic_clip(tmp_path / "clip.mp4", count=60)
    packets = [content for _, content in packet_table(path)]
    data = bytearray(path.read_bytes())
    hurt = 0
    for packet in packets[20:26]:
        at = data.index(packet)
        data[at : at + len(packet)] = b"\xff" * len(packet)
        hurt += 1
    path.write_bytes(data)
    damage = Damage()
    frames = list(read_frames(path, damage=damage))
    assert frames[-1].pts == 59 * 512
    assert number_of(frames[-1].image) == 59
    assert 1 <= damage.frames_lost <= hurt
    assert len(frames) + damage.frames_lost == 60
    assert damage
    assert damage.errors >= 1
    assert damage.messages[0].startswith("decoding")
    assert "frames lost" in str(damage)
    pts = [frame.pts for frame in frames]
    assert pts == sorted(set(pts))


def test_a_clip_that_ends_in_the_middle_gives_what_it_has(tmp_path):
    path = tmp_path / "cut.mkv"
    whole = synthetic_clip(tmp_path / "whole.mkv", count=60).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    frames = list(read_frames(path))
    assert 10 < len(frames) < 60
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))


def test_a_clip_without_one_good_frame_is_refused(tmp_path):
    path = synthetic_clip(tmp_path / "clip.mp4", count=5)
    data = bytearray(path.read_bytes())
    for _, packet in packet_table(path):
        at = data.index(packet)
        data[at : at + len(packet)] = b"\xff" * len(packet)
    path.write_bytes(data)
    with pytest.raises(UserError, match="not one frame"):
        read_frames(path)


def test_random_damage_never_gives_a_traceback(tmp_path):
    random = np.random.default_rng(5)
    for suffix in (".mp4", ".mkv", ".ts"):
        whole = synthetic_clip(tmp_path / f"clip{suffix}", count=12, audio="aac").read_bytes()
        for _ in range(12):
            data = bytearray(whole)
            for at in random.integers(0, len(data), 40):
                data[at] = random.integers(0, 256)
            path = tmp_path / f"hurt{suffix}"
            path.write_bytes(data[: random.integers(len(data) // 2, len(data))])
            try:
                frames = list(read_frames(path, damage=Damage()))
            except UserError:
                continue
            assert all(frame.image.dtype == np.uint8 for frame in frames)


# -- the thread -------------------------------------------------------------------------------------------------------


def test_leaving_early_stops_the_thread(long_clip):
    for frame in read_frames(long_clip, prefetch=2):
        if frame.index == 3:
            break
    del frame
    frames = read_frames(long_clip)
    next(frames)
    started = time.monotonic()
    frames.close()
    assert time.monotonic() - started < 1
    deadline = time.monotonic() + 2
    while decoder_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not decoder_threads()

    frames = read_frames(long_clip, indices=[0, 249])  # nothing to hand over for long
    next(frames)
    frames.close()
    assert not decoder_threads()

    def failing() -> None:
        for _ in read_frames(long_clip):
            raise RuntimeError("of the consumer")

    with pytest.raises(RuntimeError, match="of the consumer"):
        failing()
    assert not decoder_threads()


def test_the_queue_is_bounded(long_clip, monkeypatch):
    from faceswap_hq.media import decoding

    made = []
    original = decoding.FrameMaker.__call__
    monkeypatch.setattr(decoding.FrameMaker, "__call__", lambda *a: made.append(1) or original(*a))
    frames = read_frames(long_clip, prefetch=4)
    for _ in range(3):
        next(frames)
    time.sleep(0.3)
    assert len(made) <= 3 + 4 + 1
    frames.close()


def test_errors_of_the_decoder_thread_reach_the_reader(long_clip, monkeypatch):
    from faceswap_hq.media import decoding

    def broken(*_):
        raise RuntimeError("of the decoder")

    monkeypatch.setattr(decoding.FrameMaker, "__call__", broken)
    with pytest.raises(RuntimeError, match="of the decoder"):
        list(read_frames(long_clip))


# -- real footage -----------------------------------------------------------------------------------------------------


@pytest.mark.footage
def test_truncated_and_damaged_footage(footage):
    damage = Damage()
    frames = list(read_frames(footage / "hard" / "truncated.mp4", damage=damage))
    assert len(frames) + damage.frames_lost == 157
    assert damage.frames_lost > 0
    damage = Damage()
    stamps = [frame.pts for frame in read_frames(footage / "hard" / "damaged.mpg", damage=damage)]
    assert len(stamps) > 60
    assert stamps == sorted(set(stamps))
    assert damage.frames_damaged > 0
