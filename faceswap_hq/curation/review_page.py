"""``review.html``: every fake beside its target, to be accepted or rejected by a person. No server, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from faceswap_hq.curation.review import FORMAT, VERSION
from faceswap_hq.curation.thresholds import WORDS

_FOLDER = Path(__file__).parent / "page"


def review_page(value: Mapping[str, Any], settings: Mapping[str, Any], places: Mapping[str, Mapping[str, str]]) -> str:
    """The page as a string. The videos are not in it: it names them by paths relative to the output directory.

    Args:
        value: ``curation.json``.
        settings: ``curation.yaml``.
        places: A fake's name ► ``sha256``, and the paths of ``fake`` and ``real`` from the output directory.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, *scripts = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "player.js", "review.js"))
    script = "\n" + "".join(scripts)
    rows = [_row(fake, value["people"], places) for fake in value["fakes"]]
    reals = {fake["target"]: fake["real"] for fake in rows}
    data = {
        "format": FORMAT, "version": VERSION, "criteria": _criteria(settings["thresholds"]["fake"]),
        "fakes": [{**fake, "look": reals.get(fake["source"])} for fake in rows],
    }  # fmt: skip
    return environment.get_template("review.html.j2").render(
        cast=settings["cast"], toolkit=value["toolkit"], fakes=rows, data=data, words=WORDS,
        people=sorted({name for fake in rows for name in (fake["source"], fake["target"])}),
        policy=_policy(script), style=Markup(style), script=Markup(script),  # noqa: S704 - our own files
    )  # fmt: skip


def _row(fake: Mapping[str, Any], people: Mapping[str, Any], places: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What the page knows of one fake."""
    place, (start, stop) = places[fake["id"]], fake["frames"]
    known = ("id", "source", "target", "rank", "round", "accepted", "reasons", "score", "values", "doubts")
    return {
        **{key: fake[key] for key in known},
        "automatic": fake.get("automatic", {key: fake[key] for key in ("accepted", "reasons")}),
        "review": fake.get("review"),
        "sha256": place["sha256"], "fake": quote(place["fake"]), "real": quote(place["real"]),
        "frames": stop - start, "rate": people[fake["target"]]["rate"],
    }  # fmt: skip


def _criteria(thresholds: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Everything that is measured, with the bounds of what is tested."""
    return [{"name": name, "words": words, **thresholds.get(name, {})} for name, words in WORDS.items()]


def _policy(script: str) -> str:
    """What the browser may do: play videos beside the page, and run this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; media-src 'self' file:; "
        "base-uri 'none'; form-action 'none'"
    )
