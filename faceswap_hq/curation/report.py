"""What is written about a curation: settings, report data, the dataset card, and the plan on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faceswap_hq
from faceswap_hq import files
from faceswap_hq.curation import estimate
from faceswap_hq.curation.consent import Consent
from faceswap_hq.curation.plan import Pair
from faceswap_hq.curation.publish import (
    CARD,
    FORMAT,
    PAGE,
    REJECTED,
    REPORT,
    SETTINGS,
    SUMS,
    VERSION,
    WORK,
    Judged,
    judgement,
    write_sums,
)  # fmt: skip
from faceswap_hq.curation.review_page import review_page
from faceswap_hq.curation.settings import CurateSettings
from faceswap_hq.curation.thresholds import Thresholds

_NAMED = 6
"""Pairs that the plan names of those of which it says the same."""


def settings_dict(
    cast: Path, settings: CurateSettings, thresholds: Thresholds, model: Path | None, identity: Path | None
) -> dict[str, Any]:
    """``curation.yaml``: all that was asked for, with names and hashes instead of this machine's paths."""
    asked = settings.to_dict()
    asked |= {key: Path(asked[key]).name for key in ("preset", "blend")}  # of a YAML file the name: what it says is
    # in the model's settings in curation.json, and in the manifest
    unused = () if model is None else ("preset", "steps", "minutes")
    return {
        "format": FORMAT,
        "version": VERSION,
        "toolkit": faceswap_hq.__version__,
        "cast": cast.resolve().name,
        "model": None if model is None else {
            "run": model.resolve().name, "sha256": files.sha256_file(model / "model.safetensors")
        },
        "identity": None if identity is None else {"file": identity.name, "sha256": files.sha256_file(identity)},
        "settings": {key: value for key, value in asked.items() if key not in unused},
        "thresholds": thresholds.to_dict(),
    }  # fmt: skip


def people(extracted: Mapping[str, dict[str, Any]], consent: Mapping[str, Consent]) -> dict[str, dict[str, Any]]:
    """Name ► basis, clip, faces that trained, and frames that were held out."""
    kept = ("clip", "sha256", "faces", "held_out", "rate")
    return {
        name: {"consent": consent[name].facts(), **{key: found[key] for key in kept}}
        for name, found in extracted.items()
    }


def report(
    cast: dict[str, dict[str, Any]],
    pairs: Sequence[Pair],
    order: Sequence[Judged],
    rounds: list[dict[str, Any]],
    failed: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    """``curation.json``.

    Args:
        cast: From :func:`people`.
        pairs: All that were planned.
        order: The fakes, ranked.
        rounds: The model of each round.
        failed: (source, target) ► why it could not be rendered.
    """
    known = {(pair.source, pair.target): pair for pair in pairs}
    fakes = []
    for rank, item in enumerate(order, 1):
        pair = known[item.people]
        fakes.append(fake_row(item, rank, pair.known, pair.doubts))
    left_out = [
        {"source": pair.source, "target": pair.target, "reasons": list(pair.left_out)}
        for pair in pairs if pair.left_out
    ]  # fmt: skip
    left_out += [
        {"source": source, "target": target, "reasons": [why]} for (source, target), why in failed.items()
    ]
    return {
        "format": FORMAT, "version": VERSION, "toolkit": faceswap_hq.__version__, "people": cast, "rounds": rounds,
        "fakes": fakes, "left_out": left_out,
    }  # fmt: skip


def fake_row(item: Judged, rank: int, known: Mapping[str, float], doubts: Sequence[str]) -> dict[str, Any]:
    """All about one fake in ``curation.json``; ``known`` and ``doubts`` are the plan's."""
    return {
        "id": item.id, "source": item.people[0], "target": item.people[1], **judgement(item, rank),
        "frames": item.entry["frames"], "values": item.values, "quality": item.quality, "known": known,
        "doubts": list(doubts),
    }  # fmt: skip


def write(out: Path, value: dict[str, Any], order: Sequence[Judged]) -> None:
    """Write ``curation.json``, the dataset card, the page for reviewers, and at last the checksums.

    Args:
        out: The output directory, published, with ``curation.yaml``.
        value: From :func:`report`.
        order: The fakes, ranked.
    """
    settings = files.read_yaml(out / SETTINGS)
    files.write_json(out / REPORT, value)
    files.write_bytes(out / CARD, card(value, settings).encode())
    files.write_bytes(out / PAGE, review_page(value, settings, {item.id: _places(item) for item in order}).encode())
    write_sums(out)


def _places(item: Judged) -> dict[str, str]:
    """Hash and paths of a published fake."""
    folder = "" if item.verdict.accepted else f"{REJECTED}/"
    return {"sha256": item.sha256, **{kind: folder + item.entry[kind] for kind in ("fake", "real")}}


def plan_lines(pairs: Sequence[Pair], frames: int, stages: Mapping[str, float]) -> list[str]:
    """The plan for the screen.

    Args:
        pairs: With their doubts.
        frames: To be rendered, of all pairs together.
        stages: Stage ► seconds.
    """
    wanted = [pair for pair in pairs if not pair.left_out]
    lines = [f"{len(wanted)} of {len(pairs)} pairs, {frames} held-out frames"]
    groups: dict[tuple[str, str], list[str]] = {}  # what is said of one person holds for all of their pairs
    for pair in pairs:
        verdict, reasons = ("left out", pair.left_out) if pair.left_out else ("doubtful", pair.doubts)
        for why in reasons:
            groups.setdefault((verdict, why), []).append(f"{pair.source} onto {pair.target}")
    for (verdict, why), names in sorted(groups.items()):
        more = len(names) - _NAMED
        who = ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        if more > 0 and len(names) == len(pairs):
            who = f"all {len(names)} pairs"
        lines.append(f"  {verdict}: {who} ({why})")
    lines.append("  glasses, beards and hair are not known beforehand: look, or let the scores tell")
    parts = ", ".join(f"{stage} {estimate.spoken(value)}" for stage, value in stages.items() if value)
    total = estimate.spoken(sum(stages.values()))
    lines.append(f"about {total} ({parts}), and more for those that are trained further")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines] + [""]


def _cell(value: object) -> str:
    return "–" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def card(value: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The dataset card, Markdown.

    Args:
        value: From :func:`report`.
        settings: From :func:`settings_dict`.
    """
    fakes = value["fakes"]
    accepted = [fake for fake in fakes if fake["accepted"]]
    masks = settings["settings"].get("masks", False)
    lines = [
        f"# Face swaps of {len(value['people'])} people: {len(accepted)} fakes",
        "",
        f"Made by `faceswap-hq curate` ({value['toolkit']}), seed {settings['settings']['seed']}. **Every video in"
        " `fakes/` is an AI face swap**; its content credentials say so (`faceswap-hq verify FILE`). Each fake has its"
        " matched real in `reals/` (the same frames through the same codec, face untouched) and a control in"
        " `controls/` (the target's own face taken out and put back by the same pipeline)"
        + (", and in `masks/` how much of every pixel is the new face." if masks else "."),
        "",
        f"`stress-test --detector CKPT --fakes DIR` takes this folder as it is. `sha256sum -c {SUMS}` checks it."
        f" `{WORK}/` is not part of the data set: it is what running the same command again starts from.",
        "",
        "For testing and mending detectors. Faces of recognisable people are personal data: keep and share them as"
        " their consent allows, with credentials and manifest.",
        "",
        "## People",
        "",
        *_table(
            ("person", "basis", "date", "note", "clip", "faces that trained", "held-out frames"),
            [
                (name, p["consent"]["basis"], p["consent"].get("date"), p["consent"].get("note"), p["clip"],
                 p["faces"], None if p["held_out"] is None else "{}–{}".format(*p["held_out"]))
                for name, p in value["people"].items()
            ],
        ),
        *_made(value, settings),
        "## Fakes",
        "",
        f"{len(accepted)} of {len(fakes)} were accepted; the others lie in `{REJECTED}/`. The score is the weighted"
        " mean of what was measured: 1 as good as can be, 0 just acceptable (thresholds in `curation.yaml`, all numbers"
        " in `curation.json`).",
        "",
        *_table(
            ("rank", "fake", "score", "identity", "features", "mouth", "eyes", "pose °", "seam", "sharpness", "flicker",
             "round"),
            [
                (fake["rank"], fake["id"], _number(fake["score"]),
                 *(_number(fake["values"].get(key)) for key in
                   ("identity", "features", "mouth", "eyes", "pose", "seam", "sharpness", "flicker")), fake["round"])
                for fake in accepted
            ],
        ),
        *_reviewed(fakes),
        *_rejections(fakes, value["left_out"]),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _made(value: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    rows = [
        (r["round"], r["model"], "given" if r["given"] else r["settings"]["preset"], r["step"], ", ".join(r["people"]))
        for r in value["rounds"]
    ]
    given = settings["model"] is not None
    lines = ["## Models", "", *_table(("round", "model", "preset", "steps", "people"), rows)]
    if given:
        lines += ["The first model was given. Whether its training saw the frames rendered here is not known.", ""]
    else:
        lines += ["No model was trained on a frame that is rendered here.", ""]
    if settings["identity"] is None:
        lines += ["Likeness was not measured: no recognition network was given.", ""]
    return lines


def _reviewed(fakes: Sequence[Mapping[str, Any]]) -> list[str]:
    reviewed = [fake for fake in fakes if "review" in fake]
    if not reviewed:
        return []
    rows = [
        (f["id"], f["review"]["verdict"], "accept" if f["automatic"]["accepted"] else "reject", f["review"]["time"],
         f["review"]["note"])
        for f in reviewed
    ]  # fmt: skip
    return ["## Reviewed by a person", "", *_table(("fake", "person", "thresholds", "time", "note"), rows)]


def _rejections(fakes: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]) -> list[str]:
    rejected = [fake for fake in fakes if not fake["accepted"]]
    lines: list[str] = []
    if rejected:
        kinds = Counter(reason.partition(":")[0] for fake in rejected for reason in fake["reasons"])
        most = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
        lines += ["## Rejected", "", f"By reason: {most}.", ""]
        lines += _table(("fake", "score", "why"),
                        [(f["id"], _number(f["score"]), "; ".join(f["reasons"])) for f in rejected])  # fmt: skip
    if left_out:
        lines += ["## Not rendered", ""]
        lines += _table(("source", "target", "why"),
                        [(f["source"], f["target"], "; ".join(f["reasons"])) for f in left_out])  # fmt: skip
    return lines
