"""Signing keys: made once and for the user alone, given ones checked, nobody trusted for a name."""

from __future__ import annotations

import datetime
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faceswap_hq import places
from faceswap_hq.errors import UserError
from faceswap_hq.provenance import describe, load_key, sign_video, verify
from tests.faceswap_hq.credentials import claim

pytestmark = pytest.mark.usefixtures("one_key")


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
def test_given_keys_sign_and_are_trusted_by_their_root_only(sounding_clip, tmp_path, kind):
    private = {
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }[kind]()
    key = load_key(*make_key(tmp_path, private))
    assert not key.own
    unsigned = Path(shutil.copy(sounding_clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(sounding_clip), key=key)
    result = verify(tmp_path / "fake.mp4")
    assert (result.state, result.signer, result.trust) == ("valid", "Lab", "unknown")
    assert "not on a trust list" in describe(result)
    assert verify(tmp_path / "fake.mp4", trust_anchors=tmp_path / "root.pem").trust == "trust list"
    other = tmp_path / "other"
    other.mkdir()
    make_key(other, ec.generate_private_key(ec.SECP256R1()))
    assert verify(tmp_path / "fake.mp4", trust_anchors=other / "root.pem").trust == "unknown"


def test_a_signer_of_our_name_is_not_us(sounding_clip, tmp_path):
    """The name in a certificate proves nothing: only the chain to our own root does."""
    name = load_key().name
    key = load_key(*make_key(tmp_path, ec.generate_private_key(ec.SECP256R1()), name=name))
    unsigned = Path(shutil.copy(sounding_clip, tmp_path / "unsigned.mp4"))
    sign_video(unsigned, tmp_path / "fake.mp4", claim=claim(sounding_clip), key=key)
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
