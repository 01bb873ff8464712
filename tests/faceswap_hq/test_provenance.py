"""Content credentials: what is signed verifies, what is changed afterwards does not, and nothing leaves unsigned."""

from __future__ import annotations

import contextlib
import errno
import http.server
import json
import os
import shutil
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from faceswap_hq import provenance
from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file
from faceswap_hq.media import read_frames
from faceswap_hq.provenance import describe, load_key, sidecar_path, sign_image, sign_video, signing, verify
from tests.faceswap_hq.clips import packet_table, synthetic_clip
from tests.faceswap_hq.credentials import FACTS, claim

pytestmark = pytest.mark.usefixtures("one_key")


@pytest.fixture(scope="module")
def clip(sounding_clip) -> Path:
    return sounding_clip


@pytest.fixture
def signed(clip, tmp_path) -> Path:
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip))
    return tmp_path / "fake.mp4"


# -- signing and reading back -----------------------------------------------------------------------------------------


def test_what_is_signed_reads_back(signed, clip, tmp_path):
    result = verify(signed)
    assert (result.state, result.trust, result.problems) == ("valid", "this installation", ())
    assert (result.action, result.description) == ("c2pa.edited", "AI face swap")
    assert result.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert result.title == "fake.mp4"
    assert result.generator is not None
    assert result.generator.startswith("faceswap-hq ")
    assert result.signer is not None
    assert result.signer.startswith("faceswap-hq local signer")
    assert [(i.title, i.relationship, i.signed) for i in result.ingredients] == [("target.mp4", "parentOf", False)]
    assert result.facts["facts"] == FACTS
    assert result.facts["parent"] == {"title": "target.mp4", "sha256": sha256_file(clip)}
    beside = json.loads(sidecar_path(signed).read_text())
    assert beside.pop("file") == {"name": "fake.mp4", "sha256": sha256_file(signed)}
    assert beside == result.facts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake.mp4", "fake.mp4.credentials.json"]


def test_credentials_are_in_the_metadata_only(signed, clip):
    assert packet_table(signed) == packet_table(clip)
    assert packet_table(signed, "audio") == packet_table(clip, "audio")
    for one, other in zip(read_frames(signed), read_frames(clip), strict=True):
        assert np.array_equal(one.image, other.image)
        assert one.pts == other.pts
    assert signed.stat().st_size - clip.stat().st_size < 20_000


def test_nothing_tells_where_and_by_whom_it_was_made(signed, tmp_path):
    content = signed.read_bytes() + sidecar_path(signed).read_bytes()
    for private in (str(tmp_path), str(Path.home()), os.environ["FACESWAP_HQ_HOME"], "PRIVATE KEY"):
        assert private.encode() not in content


@pytest.mark.parametrize(
    ("action", "source", "has_parent"),
    [("c2pa.transcoded", None, True), ("c2pa.created", "algorithmicMedia", False)],
)
def test_other_actions(clip, tmp_path, action, source, has_parent):
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "it.mp4", claim=claim(clip if has_parent else None, action, source))
    result = verify(tmp_path / "it.mp4")
    assert (result.state, result.action, result.source_type) == ("valid", action, source)
    assert len(result.ingredients) == has_parent


def test_the_history_of_a_signed_parent_is_kept(signed, tmp_path):
    unsigned = Path(shutil.copy(signed, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "again.mp4", claim=claim(signed))
    result = verify(tmp_path / "again.mp4")
    assert result.state == "valid"
    assert [i.signed for i in result.ingredients] == [True]


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mpg", "garbage.mp4"])
def test_parents_that_cannot_be_read_are_known_by_their_hash(clip, tmp_path, name):
    parent = tmp_path / name
    if name == "garbage.mp4":
        parent.write_bytes(b"\x00\x00\x40\x00ftypisom" + bytes(range(256)))
    else:
        base = {"count": 3, "time_base": Fraction(1, 25)}
        synthetic_clip(parent, codec="mpeg1video" if name == "a.mpg" else "mpeg4", options={}, **base)
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    facts = sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(parent))
    result = verify(tmp_path / "fake.mp4")
    assert result.state == "valid"
    assert [i.title for i in result.ingredients] == [name]
    assert result.facts == facts
    assert facts["parent"]["sha256"] == sha256_file(parent)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures(clip, tmp_path, suffix):
    unsigned = tmp_path / f"unsigned{suffix}"
    frame = next(read_frames(clip)).image
    with av.open(str(unsigned), "w", format="image2", options={"update": "1"}) as output:
        stream = output.add_stream("png" if suffix == ".png" else "mjpeg", rate=1)
        stream.height, stream.width = frame.shape[:2]
        stream.pix_fmt = "rgb24" if suffix == ".png" else "yuvj420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    before = unsigned.read_bytes()
    final = tmp_path / f"preview{suffix}"
    sign_image(unsigned, final, claim=claim(clip))
    assert verify(final).state == "valid"
    data = bytearray(final.read_bytes())
    at = data.rindex(before[-200:-180])
    data[at] ^= 1
    final.write_bytes(data)
    assert verify(final).state == "changed"


# -- changes afterwards -----------------------------------------------------------------------------------------------


def test_one_changed_bit_of_the_video_is_noticed(signed, clip, tmp_path):
    data = signed.read_bytes()
    for _, packet in packet_table(clip)[::4] + packet_table(clip, "audio")[::9]:
        changed = bytearray(data)
        changed[data.index(packet) + len(packet) // 2] ^= 1
        (tmp_path / "changed.mp4").write_bytes(changed)
        result = verify(tmp_path / "changed.mp4")
        assert result.state == "changed"
        assert "mismatch" in " ".join(result.problems)
        assert result.trust == "unknown"
        assert "CHANGED" in describe(result)


def test_changed_words_are_noticed(signed, tmp_path):
    data = signed.read_bytes()
    for words in (b"AI face swap", b"compositeWithTrained", b"a-b", b"target.mp4"):
        assert words in data
        (tmp_path / "changed.mp4").write_bytes(data.replace(words, words[::-1]))
        assert verify(tmp_path / "changed.mp4").state in ("changed", "damaged"), words


def test_without_its_credentials_a_file_is_unsigned(clip, tmp_path):
    assert verify(clip).state == "unsigned"
    assert verify(clip).signer is None
    mkv = synthetic_clip(tmp_path / "a.mkv", count=2)
    assert verify(mkv).state == "unsigned"
    (tmp_path / "notes.txt").write_text("hello")
    assert verify(tmp_path / "notes.txt").state == "unsigned"


def test_damaged_and_hostile_files_give_a_state_and_never_a_lie(signed, clip, tmp_path):
    data = signed.read_bytes()
    random = np.random.default_rng(3)
    path = tmp_path / "hurt.mp4"
    states = set()
    for length in (8, 40, 700, 3000, 9000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        states.add(verify(path).state)
    original = packet_table(clip)
    for _ in range(80):
        changed = bytearray(data)
        for at in random.integers(0, 12_000 if random.random() < 0.7 else len(data), random.integers(1, 12)):
            changed[at] = random.integers(0, 256)
        path.write_bytes(changed)
        result = verify(path)
        states.add(result.state)
        assert isinstance(describe(result), str)
        if result.state == "valid":  # free space and the like may differ
            assert packet_table(path) == original
            assert result.facts["facts"] == FACTS
    assert {"changed", "damaged"} <= states


def test_missing_empty_and_folder_are_user_errors(tmp_path):
    (tmp_path / "empty.mp4").touch()
    for path in (tmp_path / "no.mp4", tmp_path / "empty.mp4", tmp_path):
        with pytest.raises(UserError):
            verify(path)


def test_a_manifest_elsewhere_is_not_fetched(tmp_path, clip):
    """A file may say that its credentials lie at some address; reading it must not call there."""
    import c2pa

    called = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            called.append(self.path)
            self.send_error(404)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        key = load_key()
        address = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        made = claim(None, "c2pa.created", "algorithmicMedia")
        with c2pa.Builder(signing.manifest(made, {"made": "2026-01-01T00:00:00Z"})) as builder:
            builder.set_no_embed()
            builder.set_remote_url(address)
            picture = tmp_path / "a.jpg"
            frame = next(read_frames(clip)).image
            with av.open(str(picture), "w", format="image2", options={"update": "1"}) as output:
                stream = output.add_stream("mjpeg", rate=1)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuvj420p"
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                output.mux(stream.encode(None))
            info = c2pa.C2paSignerInfo(key.algorithm, key.certificates, key.private_key, None)
            with picture.open("rb") as source, (tmp_path / "b.jpg").open("w+b") as target:
                builder.sign(c2pa.Signer.from_info(info), "image/jpeg", source, target)
        assert address.encode() in (tmp_path / "b.jpg").read_bytes()
        result = verify(tmp_path / "b.jpg")
        assert result.state in ("unsigned", "damaged")
        assert not called
    finally:
        server.shutdown()
        server.server_close()


def test_describe_speaks_plainly_and_keeps_the_terminal_safe(signed):
    text = describe(verify(signed))
    for words in ("not changed since", "AI face swap", "compositeWithTrainedAlgorithmicMedia", "target.mp4", "a-b"):
        assert words in text
    hostile = provenance.Verification(
        path=Path("x\x1b[2J.mp4"), state="valid", signer="\x1b]0;own\x07", trust="unknown", facts={"a": "\u202e\x9b1m"}
    )
    assert not set("\x1b\x07\x9b\u202e") & set(describe(hostile))


# -- nothing leaves unsigned ------------------------------------------------------------------------------------------


def test_no_final_file_when_signing_fails(clip, tmp_path, monkeypatch):
    import c2pa

    def broken(*_):
        raise c2pa.C2paError.Other("Other: nothing works today")

    monkeypatch.setattr(c2pa.Builder, "sign", broken)
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    (tmp_path / "fake.mp4").write_bytes(b"the one from before")
    with pytest.raises(RuntimeError, match="nothing works today"):
        sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip))
    assert [p.name for p in tmp_path.iterdir()] == ["fake.mp4"]
    assert (tmp_path / "fake.mp4").read_bytes() == b"the one from before"


def test_no_final_file_when_what_was_written_does_not_verify(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(signing, "_embed", lambda unsigned, target, *_: shutil.copy(unsigned, target))
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    with pytest.raises(RuntimeError, match="unsigned"):
        sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_os_error_with_its_number(clip, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def full(target):
        link = tmp_path / "link.mp4"
        link.symlink_to("/dev/full")
        try:
            yield link
        finally:
            link.unlink()

    monkeypatch.setattr(signing, "atomic_path", full)
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    with pytest.raises(OSError, match="space") as caught:
        sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip))
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_misuse_is_refused_and_leaves_nothing_unsigned(clip, tmp_path):
    parent = Path(shutil.copy(clip, tmp_path / "parent.mp4"))
    for final, made_from, words in (
        (parent, parent, "made from"),
        (tmp_path / "fake.mkv", parent, "must end in"),
        (tmp_path / "fake.mp4", tmp_path / "gone.mp4", "missing"),
    ):
        unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
        with pytest.raises(UserError, match=words):
            sign_video(unsigned, final, claim=claim(made_from))
        assert [p.name for p in tmp_path.iterdir()] == ["parent.mp4"]
    assert sha256_file(parent) == sha256_file(clip)
    with pytest.raises(ValueError, match="in place"):
        sign_video(parent, parent, claim=claim(clip))
    assert parent.exists()
    for wrong in (
        {"action": "c2pa.published"},
        {"source": "photoshopped"},
        {"parent": None},
        {"action": "c2pa.created"},
        {"facts": {"score": float("nan")}},
    ):
        with pytest.raises(ValueError, match="."):
            claim(**{"parent": clip, **wrong})
