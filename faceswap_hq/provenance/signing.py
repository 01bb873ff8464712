"""Put content credentials into a file and move it to its final place."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import faceswap_hq
from faceswap_hq.errors import UserError
from faceswap_hq.files import atomic_path, sha256_file, write_json
from faceswap_hq.provenance.keys import SigningKey, load_key
from faceswap_hq.provenance.verifying import FACTS_LABEL, SOURCE_TYPES, context, verify

ACTIONS = ("c2pa.edited", "c2pa.created", "c2pa.transcoded")
# The IPTC's vocabulary of digital source types, as far as C2PA knows it
KNOWN_SOURCE_TYPES = frozenset(
    {
        "algorithmicMedia", "compositeSynthetic", "compositeWithTrainedAlgorithmicMedia", "composite",
        "compositeCapture", "computationalCapture", "dataDrivenMedia", "digitalCapture", "digitalCreation",
        "humanEdits", "algorithmicallyEnhanced", "screenCapture", "trainedAlgorithmicMedia", "virtualRecording",
    }
)  # fmt: skip
_DESCRIPTIONS = {
    ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia"): "AI face swap",
    ("c2pa.edited", "compositeSynthetic"): "Fake face, put together from pictures by a program",
    ("c2pa.created", "algorithmicMedia"): "Virtual actor, drawn by a program",
    ("c2pa.transcoded", None): "Same pictures, encoded again",
    ("c2pa.edited", "algorithmicallyEnhanced"): "A person's own face, taken out and put back",
}
VIDEO_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_PARENT_TYPES = {**VIDEO_TYPES, **IMAGE_TYPES, ".avi": "video/avi"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What a file says about itself.

    Args:
        action: ``"c2pa.edited"`` or ``"c2pa.transcoded"`` (both made from ``parent``), or ``"c2pa.created"``.
        source_type: The IPTC's short name of how the pictures came to be, e.g.
            ``"compositeWithTrainedAlgorithmicMedia"`` for a face swap; None where nothing new is in them.
        parent: The file that it was made from; None only for ``"c2pa.created"``.
        title: Name of the file.
        facts: What else is known (model, settings, hashes, ...), JSON-able, no NaN.
    """

    action: str
    source_type: str | None
    parent: Path | None
    title: str
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action={self.action!r} is none of {', '.join(ACTIONS)}.")
        if self.source_type is not None and self.source_type not in KNOWN_SOURCE_TYPES:
            raise ValueError(f"source_type={self.source_type!r} is none of {', '.join(sorted(KNOWN_SOURCE_TYPES))}.")
        if self.action == "c2pa.created" and (self.source_type is None or self.parent is not None):
            raise ValueError("What is created has a source type and no parent.")
        if self.action != "c2pa.created" and self.parent is None:
            raise ValueError(f"What is {self.action.removeprefix('c2pa.')} has a parent.")
        json.dumps(self.facts, allow_nan=False)


def sign_video(
    unsigned: str | Path, final: str | Path, *, claim: Claim, key: SigningKey | None = None
) -> dict[str, Any]:
    """Sign a video and move it to its final place, with a readable copy of the facts beside it.

    ``final`` appears whole, signed and verified, or not at all. ``unsigned`` is removed in every case: an unmarked
    video is never left behind. No network is used; in particular the time is this machine's, not that of an authority.

    Args:
        unsigned: The video, MP4 or QuickTime.
        final: Where it shall be.
        claim: What it says about itself.
        key: The signing key; default: :func:`faceswap_hq.provenance.load_key`.

    Returns:
        The facts as they stand in the credentials; ``FINAL.credentials.json`` holds them and the file's SHA-256.

    Raises:
        UserError: The parent is missing, ``final`` is the parent, its suffix is none of a video, or the key is unfit.
        OSError: ``final`` cannot be written (``errno`` says why, e.g. ENOSPC for a full disk).
        RuntimeError: The credentials library failed.
    """
    return _sign(Path(unsigned), Path(final), claim, key, VIDEO_TYPES)


def sign_image(
    unsigned: str | Path, final: str | Path, *, claim: Claim, key: SigningKey | None = None
) -> dict[str, Any]:
    """Sign a picture (PNG, JPEG or WebP); everything else as in :func:`sign_video`."""
    return _sign(Path(unsigned), Path(final), claim, key, IMAGE_TYPES)


def sidecar_path(final: str | Path) -> Path:
    """Where the readable copy of a file's facts lies: ``FINAL.credentials.json``."""
    final = Path(final)
    return final.with_name(f"{final.name}.credentials.json")


def _sign(unsigned: Path, final: Path, claim: Claim, key: SigningKey | None, types: dict[str, str]) -> dict[str, Any]:
    if final.exists() and unsigned.exists() and final.samefile(unsigned):
        raise ValueError(f"{final} cannot be signed in place.")
    try:
        kind = types.get(final.suffix.lower())
        if kind is None:
            raise UserError(f"{final} must end in one of {', '.join(types)}: other files cannot carry credentials.")
        key = key or load_key()
        facts = _facts(claim, final)
        with atomic_path(final) as temporary:
            _embed(unsigned, temporary, kind, claim, facts, key)
            if (state := verify(temporary).state) != "valid":
                raise RuntimeError(f"The credentials written for {final} do not verify: {state}.")
            write_json(sidecar_path(final), {**facts, "file": {"name": final.name, "sha256": sha256_file(temporary)}})
        return facts
    finally:
        unsigned.unlink(missing_ok=True)


def _facts(claim: Claim, final: Path) -> dict[str, Any]:
    parent = None
    if claim.parent is not None:
        if not claim.parent.is_file():
            raise UserError(f"{claim.parent}, from which {final} was made, is missing, so {final} cannot be signed.")
        if final.exists() and final.samefile(claim.parent):
            raise UserError(f"{final} is the file it was made from.", "Choose another name for the output.")
        stat = claim.parent.stat()
        parent = {"title": claim.parent.name, "sha256": _digest(claim.parent, stat.st_size, stat.st_mtime_ns)}
    return {
        "format": "faceswap-hq credentials",
        "version": 1,
        "toolkit": f"faceswap-hq {faceswap_hq.__version__}",
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "title": claim.title,
        "action": claim.action,
        "digital_source_type": claim.source_type,
        "parent": parent,
        "facts": claim.facts,
    }


@functools.lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _mtime: int) -> str:
    """SHA-256 of a file that was not changed since: one target clip is the parent of many files."""
    return sha256_file(path)


def manifest(claim: Claim, facts: dict[str, Any]) -> dict[str, Any]:
    """The C2PA manifest definition of a claim, for c2pa's builder; without the parent ingredient itself.

    Args:
        claim: The claim.
        facts: What :func:`sign_video` returns.
    """
    agent = {"name": "faceswap-hq", "version": faceswap_hq.__version__}
    main: dict[str, Any] = {"action": claim.action, "when": facts["made"], "softwareAgent": agent}
    if claim.source_type is not None:
        main["digitalSourceType"] = SOURCE_TYPES + claim.source_type
    if description := _DESCRIPTIONS.get((claim.action, claim.source_type)):
        main["description"] = description
    actions = [main]
    if claim.parent is not None:
        actions.insert(0, {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}})
    return {
        "title": claim.title,
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": FACTS_LABEL, "data": facts},
        ],
    }


def _embed(
    unsigned: Path, target: Path, kind: str, claim: Claim, facts: dict[str, Any], key: SigningKey
) -> None:
    import c2pa

    settings = context()
    builder = _builder(claim, manifest(claim, facts), settings)
    with unsigned.open("rb") as source, target.open("w+b") as raw:
        output = _Recording(raw)
        try:
            information = c2pa.C2paSignerInfo(key.algorithm, key.certificates, key.private_key, None)
            with c2pa.Signer.from_info(information) as signer:
                builder.sign(signer, kind, source, output)
            raw.flush()
        except c2pa.C2paError as error:
            if output.error is not None:  # the library reports only that writing failed
                raise output.error from None
            if isinstance(error, c2pa.C2paError.Signature):
                raise UserError(
                    f"The signing key of {key.name} was refused: {error.message}", "Ask for one made for C2PA signing."
                ) from None
            raise RuntimeError(f"Signing {target} failed: {error.message}") from error
        finally:
            builder.close()


def _builder(claim: Claim, definition: dict[str, Any], settings: Any) -> Any:
    """A builder with the parent as ingredient: with its own credentials where it has some, else by its name."""
    import c2pa

    if claim.parent is None:
        return c2pa.Builder(definition, context=settings)
    ingredient = {"title": claim.parent.name, "relationship": "parentOf", "instance_id": "parent", "label": "parent"}
    kind = _PARENT_TYPES.get(claim.parent.suffix.lower())
    if kind is not None:
        builder = c2pa.Builder(definition, context=settings)
        try:
            with claim.parent.open("rb") as stream:
                builder.add_ingredient(ingredient, kind, stream)
            return builder
        except c2pa.C2paError:  # damaged, or not what its name says: still the parent, known by its hash in the facts
            builder.close()
    kind = kind or "application/octet-stream"
    return c2pa.Builder({**definition, "ingredients": [{**ingredient, "format": kind}]}, context=settings)


class _Recording(io.RawIOBase):
    """A stream that remembers why writing failed, which the credentials library does not tell."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, and keep the error if that fails."""
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush, and keep the error if that fails."""
        try:
            self._stream.flush()
        except OSError as error:
            self.error = error
            raise

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Position in the stream."""
        return self._stream.tell()
