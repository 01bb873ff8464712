"""Content credentials: what is signed verifies, what is changed afterwards does not, and nothing leaves unsigned."""

from __future__ import annotations

import contextlib
import datetime
import errno
import http.server
import json
import os
import shutil
import stat
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faceswap_hq import places, provenance
from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file
from faceswap_hq.media import read_frames
from faceswap_hq.provenance import Claim, describe, load_key, sidecar_path, sign_image, sign_video, signing, verify
from tests.faceswap_hq.clips import packet_table, synthetic_clip

FACTS = {"model": {"run": "a-b", "sha256": "ab" * 32, "step": 1000}, "blending": {"mode": "best", "blur": 2.5}}


@pytest.fixture(autouse=True)
def _home(tmp_path_factory, monkeypatch):
    """One key for the tests of this file; those about making keys set their own home."""
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path_factory.getbasetemp() / "provenance-home"))
    monkeypatch.delenv("FACESWAP_HQ_SIGNING_KEY", raising=False)
    monkeypatch.delenv("FACESWAP_HQ_SIGNING_CERT", raising=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return synthetic_clip(tmp_path_factory.mktemp("clips") / "target.mp4", count=20, audio="aac")


def claim(parent: Path | None, action="c2pa.edited", source="compositeWithTrainedAlgorithmicMedia", **more) -> Claim:
    return Claim(action=action, source_type=source, parent=parent, title="fake.mp4", **{"facts": FACTS, **more})


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


# -- keys -------------------------------------------------------------------------------------------------------------


def make_key(folder: Path, private, *, issuer=None, days=(-1, 30), ca=False, usage=True, purpose=True, name="Lab"):
    """Write KEY and CERT files for a private key; the certificate is issued by a throw-away root unless given one."""
    root = issuer or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    bits = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )

    def subject(common):
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def certificate(who, public, is_ca, span):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(who))
            .issuer_name(subject("Root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=span[0]))
            .not_valid_after(now + datetime.timedelta(days=span[1]))
            .add_extension(x509.BasicConstraints(is_ca, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
        )
        sign = usage if not is_ca else False
        extra = {"encipher_only": False, "decipher_only": False}
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=sign, key_cert_sign=is_ca, **bits, **extra), True
        )
        if purpose and not is_ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root, hashes.SHA256())

    chain = [certificate(name, private.public_key(), ca, days), certificate("Root", root.public_key(), True, (-9, 99))]
    key_file, cert_file = folder / "key.pem", folder / "cert.pem"
    key_file.touch(0o600)
    key_file.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    cert_file.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain))
    (folder / "root.pem").write_bytes(chain[1].public_bytes(serialization.Encoding.PEM))
    return key_file, cert_file


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_own_key_is_made_once_and_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "home"))
    assert not places.config_dir().exists()
    keys = []
    barrier = threading.Barrier(6)

    def make():
        barrier.wait()
        keys.append(load_key())

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.private_key for key in keys}) == 1
    assert len(keys) == 6
    assert load_key() == keys[0]
    assert keys[0].own
    assert "PRIVATE" not in repr(keys[0])
    (file,) = places.config_dir().iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.config_dir().stat().st_mode) == 0o700
    leaf = x509.load_pem_x509_certificates(keys[0].certificates)[0]
    assert leaf.not_valid_after_utc > datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3640)
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path / "other"))
    assert load_key().private_key != keys[0].private_key


def test_a_damaged_own_key_is_reported_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESWAP_HQ_HOME", str(tmp_path))
    load_key()
    (file,) = places.config_dir().iterdir()
    file.write_bytes(file.read_bytes()[:150])
    with pytest.raises(UserError, match="cannot be used") as caught:
        load_key()
    assert caught.value.hint is not None
    assert "a new one will be made" in caught.value.hint
    assert file.stat().st_size == 150


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "Ed25519", "RSA"])
def test_given_keys_sign_and_are_trusted_by_their_root_only(clip, tmp_path, kind):
    private = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }[kind]()
    key = load_key(*make_key(tmp_path, private))
    assert not key.own
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip), key=key)
    result = verify(tmp_path / "fake.mp4")
    assert (result.state, result.signer, result.trust) == ("valid", "Lab", "unknown")
    assert "not on a trust list" in describe(result)
    assert verify(tmp_path / "fake.mp4", trust_anchors=tmp_path / "root.pem").trust == "trust list"
    other = tmp_path / "other"
    other.mkdir()
    make_key(other, ec.generate_private_key(ec.SECP256R1()))
    assert verify(tmp_path / "fake.mp4", trust_anchors=other / "root.pem").trust == "unknown"


def test_a_signer_of_our_name_is_not_us(clip, tmp_path):
    """The name in a certificate proves nothing: only the chain to our own root does."""
    name = load_key().name
    key = load_key(*make_key(tmp_path, ec.generate_private_key(ec.SECP256R1()), name=name))
    unsigned = Path(shutil.copy(clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(clip), key=key)
    result = verify(tmp_path / "fake.mp4")
    assert (result.signer, result.trust) == (name, "unknown")


def test_keys_by_environment(tmp_path, monkeypatch):
    key_file, cert_file = make_key(tmp_path, ec.generate_private_key(ec.SECP256R1()), name="By environment")
    monkeypatch.setenv("FACESWAP_HQ_SIGNING_KEY", str(key_file))
    monkeypatch.setenv("FACESWAP_HQ_SIGNING_CERT", str(cert_file))
    assert load_key().name == "By environment"
    monkeypatch.delenv("FACESWAP_HQ_SIGNING_CERT")
    with pytest.raises(UserError, match="certificate is missing"):
        load_key()


def test_unfit_keys_are_refused_with_the_reason(tmp_path):
    def curve():
        return ec.generate_private_key(ec.SECP256R1())

    cases = {
        "today": {"days": (-30, -1)},
        "not today": {"days": (1, 30)},
        "certificate authority": {"ca": True},
        "digitalSignature": {"usage": False},
        "extended key usage": {"purpose": False},
    }
    for words, settings in cases.items():
        files = make_key(tmp_path, curve(), **settings)
        with pytest.raises(UserError, match=words):
            load_key(*files)
    weak = (rsa.generate_private_key(65537, 1024), dsa.generate_private_key(1024))
    for private in (*weak, ec.generate_private_key(ec.SECP192R1())):
        with pytest.raises(UserError, match="kind"):
            load_key(*make_key(tmp_path, private))
    key_file, cert_file = make_key(tmp_path, curve())
    good = load_key(key_file, cert_file)
    cert = cert_file.read_bytes()
    leaf, root = good.certificates.split(b"-----END CERTIFICATE-----\n", 1)
    cert_file.write_bytes(root + leaf + b"-----END CERTIFICATE-----\n")
    with pytest.raises(UserError, match="does not belong"):
        load_key(key_file, cert_file)
    (tmp_path / "x").mkdir()
    _, stranger = make_key(tmp_path / "x", curve())
    cert_file.write_bytes(leaf + b"-----END CERTIFICATE-----\n" + stranger.read_bytes())
    with pytest.raises(UserError, match="no chain"):
        load_key(key_file, cert_file)
    cert_file.write_bytes(cert)
    for missing in ((key_file, None), (None, cert_file)):
        with pytest.raises(UserError, match="is missing"):
            load_key(*missing)
    with pytest.raises(UserError, match="does not exist"):
        load_key(tmp_path / "no.pem", cert_file)
    cert_file.chmod(0o600)
    with pytest.raises(UserError, match=r"cert\.pem cannot be used"):
        load_key(cert_file, key_file)
    encrypted = serialization.load_pem_private_key(good.private_key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    key_file.write_bytes(encrypted)
    with pytest.raises(UserError, match="passphrase"):
        load_key(key_file, cert_file)
    key_file.write_bytes(good.private_key)
    if os.name == "posix":
        key_file.chmod(0o644)
        with pytest.raises(UserError, match="everybody") as caught:
            load_key(key_file, cert_file)
        assert caught.value.hint is not None
        assert "chmod 600" in caught.value.hint
