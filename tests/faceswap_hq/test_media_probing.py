"""What is known of a file before its frames are read, and what is refused."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest

from faceswap_hq.errors import UserError
from faceswap_hq.media import probe, read_frames
from tests.faceswap_hq.clips import sound_blocks, synthetic_clip


def test_probe_says_what_is_there(tmp_path):
    path = synthetic_clip(tmp_path / "clip.mp4", count=10, audio="aac", color=(1, 1))
    info = probe(path)
    assert (info.width, info.height, info.rotation, info.frames) == (160, 96, 0, 10)
    assert (info.rate, info.time_base) == (25, Fraction(1, 12800))
    assert info.duration == pytest.approx(0.4, abs=1e-6)
    assert (info.has_audio, info.codec, info.pixel_format) == (True, "h264", "yuv420p")
    assert (info.color.matrix, info.color.range) == (1, 1)
    assert not probe(synthetic_clip(tmp_path / "silent.mp4")).has_audio


def test_probe_refuses_what_is_no_video(tmp_path):
    picture = io.BytesIO()
    with av.open(picture, "w", format="image2pipe") as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        output.mux(stream.encode(av.VideoFrame(32, 32, "rgb24")))
        output.mux(stream.encode(None))
    whole = synthetic_clip(tmp_path / "whole.mp4").read_bytes()
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        sound = output.add_stream("aac", rate=44100)
        for block in sound_blocks(0.2, 44100):
            output.mux(sound.encode(block))
        output.mux(sound.encode(None))
    cases = {
        "picture.mp4": (picture.getvalue(), "picture (PNG)"),
        "text.mp4": (b"Dear diary, today I wrote a film script.\n" * 200, "cannot be read as a video"),
        "empty.mp4": (b"", "empty"),
        "zeros.mp4": (bytes(5000), "cannot be read as a video"),
        "cut.mp4": (whole[: len(whole) // 2], "cut short"),
        "sound.mp4": ((tmp_path / "sound.mp4").read_bytes(), "no video stream"),
        "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nwhole.mp4\n", "playlist"),
    }
    for name, (content, expected) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name.replace(".", r"\.")) as caught:
            probe(tmp_path / name)
        assert expected in caught.value.message, name
        assert caught.value.hint, name
    with pytest.raises(UserError, match="does not exist"):
        probe(tmp_path / "missing.mp4")
    with pytest.raises(UserError, match="is a folder"):
        probe(tmp_path)


@pytest.mark.parametrize("name", ["list.mp4", "list.mkv"])
def test_files_that_name_other_files_are_not_followed(tmp_path, name):
    """Playlists and references reach neither the disk nor the network, also where no signature gives them away."""
    secret = synthetic_clip(tmp_path / "secret.mp4")
    texts = [
        f"\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f" ffconcat version 1.0\nfile '{secret}'\n",
        f"[playlist]\nFile1={secret}\n",
        f'<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>',
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n{secret}",
    ]
    for text in texts:
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError):
            probe(tmp_path / name)
    for address in (f"concat:{secret}", f"subfile,,start,0,end,0,,:{secret}", "http://127.0.0.1:1/x.mp4"):
        with pytest.raises(UserError, match="does not exist"):
            probe(address)


def test_names_with_odd_characters(tmp_path):
    path = synthetic_clip(tmp_path / "plain.mp4", count=2)
    for name in ("a b.mp4", "100%d.mp4", "concat:x|y.mp4", "é漢字.mp4", "http:x.mp4", "-i.mp4", "[a]*?.mp4"):
        odd = path.rename(tmp_path / name)
        assert len(list(read_frames(odd))) == 2, name
        odd.rename(path)


@pytest.mark.parametrize(("width", "height"), [(20000, 16), (16, 20000), (12000, 12000)])
def test_unbelievable_size_is_refused(tmp_path, width, height):
    path = tmp_path / "huge.mp4"
    path.write_bytes(b"YUV4MPEG2 W%d H%d F25:1 C420jpeg\nFRAME\n" % (width, height) + bytes(4096))
    with pytest.raises(UserError, match=f"{width}x{height}"):
        probe(path)
