"""The key that signs: given by the user, or made on first use and kept in the user's configuration directory."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faceswap_hq import places
from faceswap_hq.errors import UserError

KEY_VARIABLE, CERT_VARIABLE = "FACESWAP_HQ_SIGNING_KEY", "FACESWAP_HQ_SIGNING_CERT"
_OWN_FILE = "signing.pem"
_YEARS = 10
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key with its certificate chain, checked to fit together.

    Args:
        algorithm: C2PA's name of the signature algorithm, e.g. ``"es256"``.
        certificates: The chain in PEM, the signer's own certificate first.
        private_key: PKCS#8 in PEM, unencrypted. Not shown in ``repr``.
        name: Who signs, from the certificate.
        own: Whether it is the key that the toolkit made on this machine.
    """

    algorithm: str
    certificates: bytes
    private_key: bytes = dataclasses.field(repr=False)
    name: str
    own: bool = False


def load_key(signing_key: Path | None = None, signing_cert: Path | None = None) -> SigningKey:
    """The key to sign with.

    In this order: the arguments; the files named by ``$FACESWAP_HQ_SIGNING_KEY`` and ``$FACESWAP_HQ_SIGNING_CERT``; the
    toolkit's own, which is made on first use (ES256, valid for ten years, its file readable by the user alone).

    Args:
        signing_key: PEM file with the private key.
        signing_cert: PEM file with its certificate chain, the signer's own certificate first.

    Raises:
        UserError: One without the other, a file missing or unreadable, no PEM, protected by a passphrase, readable by
            everybody, of a kind that C2PA does not know, expired, not made for signing, or not belonging together.
    """
    if signing_key is None and signing_cert is None:
        key_name, cert_name = os.environ.get(KEY_VARIABLE), os.environ.get(CERT_VARIABLE)
        signing_key = Path(key_name) if key_name else None
        signing_cert = Path(cert_name) if cert_name else None
    if signing_key is None and signing_cert is None:
        path = _own_key_file()
        content = _read(path, private=True)
        return _checked(content, content, key_file=path, cert_file=path, own=True)
    if signing_key is None or signing_cert is None:
        missing = "private key" if signing_key is None else "certificate"
        raise UserError(
            f"To sign with your own credentials, give both the key and the certificate; the {missing} is missing.",
            f"Use --signing-key and --signing-cert together (or {KEY_VARIABLE} and {CERT_VARIABLE}).",
        )
    key, cert = _read(signing_key, private=True), _read(signing_cert, private=False)
    return _checked(key, cert, key_file=signing_key, cert_file=signing_cert, own=False)


def own_root() -> bytes | None:
    """The root certificate (PEM) of the toolkit's own key on this machine, or None if none was made yet."""
    path = places.config_dir() / _OWN_FILE
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return None
    return certificates[-1].public_bytes(serialization.Encoding.PEM)


def _read(path: Path, *, private: bool) -> bytes:
    what = "signing key" if private else "signing certificate"
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"The {what} {path} does not exist.") from None
    except OSError as error:
        raise UserError(f"The {what} {path} cannot be read: {error.strerror}.") from None
    if private and os.name == "posix" and mode & 0o007:
        raise UserError(
            f"The signing key {path} can be read or changed by everybody on this machine.", f"Run: chmod 600 {path}"
        )
    return content


def _checked(key_pem: bytes, cert_pem: bytes, *, key_file: Path, cert_file: Path, own: bool) -> SigningKey:
    renew = f"Move {key_file} away, and a new one will be made." if own else None
    try:
        private = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise UserError(f"The signing key {key_file} is protected by a passphrase.", "Give one without.") from None
    except Exception as error:  # the library has many; all mean that this is no key it can use
        hint = renew or "A private key in PEM format is needed."
        raise UserError(f"The signing key {key_file} cannot be used: {_first_line(error)}.", hint) from None
    try:
        certificates = x509.load_pem_x509_certificates(cert_pem)
    except ValueError as error:
        hint = renew or "A certificate chain in PEM format is needed, the signer's own first."
        raise UserError(f"The certificate {cert_file} cannot be used: {_first_line(error)}.", hint) from None
    leaf = certificates[0]
    if _public_bytes(leaf.public_key()) != _public_bytes(private.public_key()):
        raise UserError(
            f"The signing key {key_file} does not belong to the certificate {cert_file}.",
            renew or "The signer's own certificate must come first in the file.",
        )
    now = datetime.datetime.now(datetime.timezone.utc)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        span = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise UserError(f"The certificate {cert_file} is valid from {span}, not today.", renew or "Renew it.")
    _check_purpose(leaf, cert_file)
    _check_order(certificates, cert_file)
    return SigningKey(
        algorithm=_algorithm(private, key_file),
        certificates=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates),
        private_key=private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        name=_name(leaf),
        own=own,
    )


def _algorithm(private: Any, key_file: Path) -> str:
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return "ps256"
    raise UserError(
        f"The signing key {key_file} is of a kind that content credentials cannot use.",
        "Use EC (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits or more.",
    )


def _check_purpose(leaf: x509.Certificate, cert_file: Path) -> None:
    """C2PA's demands on a signer's certificate (specification 2.x, 14.5): no CA, made for signing, with a purpose."""

    def extension(kind: type[Any]) -> Any:
        try:
            return leaf.extensions.get_extension_for_class(kind).value
        except (x509.ExtensionNotFound, ValueError):
            return None

    basic, usage, purpose = extension(x509.BasicConstraints), extension(x509.KeyUsage), extension(x509.ExtendedKeyUsage)
    problem = None
    if basic is not None and basic.ca:
        problem = "is that of a certificate authority, which must not sign files itself"
    elif usage is None or not usage.digital_signature:
        problem = "is not made for signing (its key usage lacks digitalSignature)"
    elif purpose is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purpose:
        problem = "has no extended key usage that content credentials accept, e.g. emailProtection or documentSigning"
    if problem:
        raise UserError(f"The certificate {cert_file} {problem}.", "Ask its issuer for one made for C2PA signing.")


def _check_order(chain: list[x509.Certificate], cert_file: Path) -> None:
    for certificate, issuer in zip(chain, chain[1:], strict=False):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise UserError(
                f"The certificates in {cert_file} are no chain: {_name(certificate)} was not issued by the next one.",
                "Put the signer's own certificate first, then its issuer, and so on.",
            ) from None


def _name(certificate: x509.Certificate) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(oid):
            return str(attribute.value)
    return certificate.subject.rfc4514_string()


def _public_bytes(public: Any) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# -- the toolkit's own key --------------------------------------------------------------------------------------------


def _own_key_file() -> Path:
    """The file with the toolkit's own key and certificates; made if there is none.

    Key and certificates share one file, which appears whole or not at all: of two processes that make one at the same
    time, the first wins and both use its key.
    """
    path = places.config_dir() / _OWN_FILE
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=".signing.", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_new_key())
            stream.flush()
            os.fsync(stream.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        except OSError:  # a file system without links: the last one wins, and is whole
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _new_key() -> bytes:
    """A new private key, its certificate, and that of the root that issued it (whose key is thrown away), in PEM."""
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = now - datetime.timedelta(days=1), now + datetime.timedelta(days=365 * _YEARS)
    mark = secrets.token_hex(4)  # no user's or machine's name: it is in every file that is handed on
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(name: str, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        usage = x509.KeyUsage(
            digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(name))
            .issuer_name(_subject(f"faceswap-hq local root {mark}"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )

    root = certificate(f"faceswap-hq local root {mark}", root_key.public_key(), ca=True)
    leaf = certificate(f"faceswap-hq local signer {mark}", key.public_key(), ca=False).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = [builder.sign(root_key, hashes.SHA256()) for builder in (leaf, root)]
    return private + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "faceswap-hq, local installation"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
