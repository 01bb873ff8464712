"""Read content credentials back and say whether they hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from faceswap_hq.errors import UserError
from faceswap_hq.provenance.keys import own_root

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACTS_LABEL = "org.faceswap-hq.facts"
_UNTRUSTED = "signingCredential.untrusted"
# First bytes -> type, for files that can carry credentials; the bytes decide, not the name
_TYPES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "video/mp4"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (8, b"AVI ", "video/avi"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
)

State = Literal["valid", "changed", "invalid", "unsigned", "damaged"]
Trust = Literal["this installation", "trust list", "unknown"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ingredient:
    """A file that another one was made from.

    Args:
        title: Its name.
        relationship: ``"parentOf"`` or ``"componentOf"``.
        signed: Whether it had content credentials of its own.
    """

    title: str
    relationship: str
    signed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What a file's content credentials say, and whether they hold.

    Args:
        path: The file.
        state: ``"valid"``: signed and not changed since. ``"changed"``: signed, but file or credentials were changed
            afterwards. ``"invalid"``: signed, but the credentials break the rules (e.g. an expired certificate).
            ``"unsigned"``: no credentials. ``"damaged"``: the file or its credentials cannot be read.
        signer: Name in the signer's certificate. Anybody can write any name into one: see ``trust``.
        trust: ``"this installation"``: the key that the toolkit made here. ``"trust list"``: certificates that the
            caller trusts. ``"unknown"``: nobody vouches for the signer. None when there is no signature.
        title: What the file called itself when it was signed.
        generator: The program that signed.
        action: The last action, e.g. ``"c2pa.edited"``.
        description: That action in words.
        source_type: The IPTC's short name of how the pictures came to be.
        facts: What faceswap-hq wrote: title, parent with its SHA-256, model, settings, ...; empty for other signers.
        ingredients: What it was made from.
        problems: What is wrong, in the library's words.
    """

    path: Path
    state: State
    signer: str | None = None
    trust: Trust | None = None
    title: str | None = None
    generator: str | None = None
    action: str | None = None
    description: str | None = None
    source_type: str | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    ingredients: tuple[Ingredient, ...] = ()
    problems: tuple[str, ...] = ()


def context(anchors: bytes | None = None) -> Any:
    """Settings for c2pa: no network (no remote manifests, no OCSP), no thumbnails, trust only what is given.

    Args:
        anchors: Root certificates in PEM whose signers count as trusted.
    """
    import c2pa

    settings: dict[str, Any] = {
        "version": 1,
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors.decode()}
    return c2pa.Context.from_dict(settings)


def verify(path: str | Path, *, trust_anchors: Path | None = None) -> Verification:
    """Read a file's content credentials and check them; no network is used.

    Args:
        path: A video or picture.
        trust_anchors: PEM file with root certificates that you trust, e.g. a published trust list.

    Raises:
        UserError: The file is missing, a folder or empty, or ``trust_anchors`` cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name one file.")
    with path.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise UserError(f"{path} is empty (0 bytes).")
    listed: bytes | None = None
    if trust_anchors is not None:
        try:
            listed = trust_anchors.read_bytes()
            listed.decode("ascii")
        except (OSError, ValueError) as error:
            raise UserError(f"The certificates in {trust_anchors} cannot be read: {error}.") from None
    kind = next((kind for at, mark, kind in _TYPES if head[at : at + len(mark)] == mark), None)
    if kind is None:
        return Verification(path=path, state="unsigned", problems=("Files of this type carry no content credentials.",))
    root = own_root()
    store, problem = _read(path, kind, root)
    if store is None:
        if problem is None:
            return Verification(path=path, state="unsigned")
        return Verification(path=path, state="damaged", problems=(problem,))
    trust: Trust = "this installation" if root and store.get("validation_state") == "Trusted" else "unknown"
    if listed and trust == "unknown":
        again, _ = _read(path, kind, listed)
        trust = "trust list" if again and again.get("validation_state") == "Trusted" else "unknown"
    return _summary(path, store, trust)


def _read(path: Path, kind: str, anchors: bytes | None) -> tuple[dict[str, Any] | None, str | None]:
    """(manifest store, None), (None, None) for no credentials, or (None, what is wrong)."""
    import c2pa

    try:
        with path.open("rb") as stream, c2pa.Reader(kind, stream, context=context(anchors)) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None, None
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return None, _line(getattr(error, "message", "") or str(error))
    return (store, None) if isinstance(store, dict) else (None, "The manifest store is no JSON object.")


def _summary(path: Path, store: dict[str, Any], trust: Trust) -> Verification:
    manifests = _mapping(store.get("manifests"))
    active = _mapping(manifests.get(_text(store.get("active_manifest")) or ""))
    failures = [
        status
        for status in map(_mapping, _sequence(store.get("validation_status")))
        if status.get("code") != _UNTRUSTED
    ]
    problems = tuple(_line(f"{s.get('code')}: {s.get('explanation') or ''}".rstrip(": ")) for s in failures)
    state = _state(store, active, failures)
    actions: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for assertion in map(_mapping, _sequence(active.get("assertions"))):
        label, data = _text(assertion.get("label")) or "", _mapping(assertion.get("data"))
        if label.split("__")[0] in ("c2pa.actions", "c2pa.actions.v2"):
            actions += [_mapping(action) for action in _sequence(data.get("actions"))]
        elif label.split("__")[0] == FACTS_LABEL:
            facts = data
    last = actions[-1] if actions else {}
    source = _text(last.get("digitalSourceType"))
    signature = _mapping(active.get("signature_info"))
    generator = _mapping(next(iter(_sequence(active.get("claim_generator_info"))), {}))
    return Verification(
        path=path,
        state=state,
        signer=_text(signature.get("common_name")) or _text(signature.get("issuer")),
        trust=trust if state == "valid" else "unknown",
        title=_text(active.get("title")),
        generator=" ".join(filter(None, (_text(generator.get("name")), _text(generator.get("version"))))) or None,
        action=_text(last.get("action")),
        description=_text(last.get("description")),
        source_type=source.removeprefix(SOURCE_TYPES) if source else None,
        facts=facts,
        ingredients=tuple(
            Ingredient(
                title=_text(item.get("title")) or "unnamed",
                relationship=_text(item.get("relationship")) or "unknown",
                signed="active_manifest" in item,
            )
            for item in map(_mapping, _sequence(active.get("ingredients")))
        ),
        problems=problems,
    )


def _state(store: dict[str, Any], active: dict[str, Any], failures: list[dict[str, Any]]) -> State:
    if not active:
        return "damaged"
    if store.get("validation_state") in ("Valid", "Trusted"):
        return "valid"
    codes = [_text(status.get("code")) or "" for status in failures]
    return "changed" if any(code.lower().endswith(("mismatch", "missing")) for code in codes) else "invalid"


def describe(verification: Verification) -> str:
    """A verification in words, several lines.

    Control characters that a hostile file may carry are replaced, so that it cannot play with the terminal.
    """
    v = verification
    verdicts = {
        "valid": "signed, and not changed since",
        "changed": "CHANGED since it was signed: what it says about itself cannot be relied on",
        "invalid": "signed, but its credentials do not hold",
        "unsigned": "no content credentials: it says nothing about how it was made",
        "damaged": "the file or its content credentials are damaged and cannot be read",
    }
    lines = [f"{v.path}: {verdicts[v.state]}"]
    if v.signer is not None:
        trust = {
            "this installation": "the key of this installation of faceswap-hq",
            "trust list": "on the trust list that you gave",
            "unknown": "not on a trust list: anybody could have used that name",
            None: "",
        }
        lines.append(f"  signer: {v.signer} ({trust[v.trust]})")
    if v.action is not None:
        what = v.action.removeprefix("c2pa.")
        lines.append(f"  action: {what}{f' ({v.description})' if v.description else ''}")
    if v.source_type is not None:
        lines.append(f"  digital source type: {v.source_type}")
    if v.generator is not None:
        lines.append(f"  made with: {v.generator}")
    for item in v.ingredients:
        role = "made from" if item.relationship == "parentOf" else item.relationship
        lines.append(f"  {role}: {item.title} ({'with' if item.signed else 'without'} content credentials)")
    if v.facts:
        text = json.dumps(v.facts, indent=2, ensure_ascii=False, default=str)
        lines += ["  facts:", *(f"    {line}" for line in text.splitlines())]
    lines += [f"  problem: {problem}" for problem in v.problems]
    return "\n".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _line(message: str) -> str:
    return " ".join(message.split())[:300]
