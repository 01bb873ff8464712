"""make(pair): a fake rendered and scored, whole where it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faceswap_hq.curation.records import perform, perform_alone
from faceswap_hq.curation.tasks import RenderTask, ScoreTask
from faceswap_hq.engines import Tools


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """Render a pair, then score what was rendered."""

    place: str
    """Which of how many, for the person who waits."""
    render: RenderTask
    source_faces: str
    """The source's faceset."""
    source_digest: str
    identity: str | None
    """The recognition network's file; None leaves likeness out."""
    identity_sha256: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a pair."""

    entry: dict[str, Any]
    """The manifest's."""
    values: dict[str, float | None]
    """What thresholds test."""
    quality: dict[str, Any]
    """Everything that was measured."""


def make(task: PairTask, tools: Tools) -> Made | str:
    """Render and score a pair; or why it cannot be rendered."""
    render = task.render
    tools.say(f"{task.place}: {render.source} onto {render.target}")
    rendered = perform_alone(render, tools)
    if rendered["entry"] is None:
        tools.warn(f"{render.source} onto {render.target} cannot be rendered: {rendered['error']}")
        return str(rendered["error"])
    entry = render.wanted(rendered["entry"])
    score = ScoreTask(
        number=render.number, entry=entry, source_faces=task.source_faces, source_digest=task.source_digest,
        identity=task.identity, identity_sha256=task.identity_sha256, work_dir=render.work_dir,
    )  # fmt: skip
    scored = perform(score, tools)
    return Made(entry=entry, values=scored["values"], quality=scored["quality"])
