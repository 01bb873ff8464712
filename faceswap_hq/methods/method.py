"""What all ways of making a fake have in common: whom it shows, and what is said about it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import faceswap_hq
from blending import settings_to_dict
from faceswap_hq import files, media, provenance, render
from faceswap_hq.drawing import Painter
from faceswap_hq.errors import UserError
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.planning import Advance, Plan, RenderSettings
from faceswap_hq.render import Counts, Swapped

Progress = Callable[[str, int | None], contextlib.AbstractContextManager[Advance]]


@contextlib.contextmanager
def silent(description: str, total: int | None) -> Iterator[Advance]:
    """A progress display that shows nothing."""
    yield lambda n=1, note="": None


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way of making fakes, made ready: who onto whom, and how."""

    settings: RenderSettings
    source: str
    """Name of the person whose face, or whose expression, is put in."""
    target: str
    """Name of the person it is put onto: the key by which people are kept apart in evaluation."""
    key: provenance.SigningKey | None = None
    parser: FaceParser | None = None
    progress: Progress = field(default=silent)
    consent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Person ► on what basis their footage is used; goes into credentials and manifest beside their name."""

    source_type: ClassVar[str] = "compositeSynthetic"
    """The IPTC's name of what the pictures are: here of several pictures, put together by a program."""
    joint: ClassVar[str] = "onto"
    """Stands between source and target in a fake's name."""

    @abstractmethod
    def watch(self, video: Path, advance: Advance) -> Plan:
        """First pass over the target clip."""

    @abstractmethod
    def painter(self, plan: Plan) -> Painter:
        """What makes the new faces of the planned clip; with ``settings.own``, the clip's own faces."""

    @abstractmethod
    def made_with(self) -> dict[str, Any]:
        """Facts that only this method has."""

    def plan(self, video: Path) -> Plan:
        """First pass over the target clip, with a progress display.

        Raises:
            UserError: If the video can't be used, shows no face, or has no such person or frames.
        """
        info = media.probe(video)
        total = info.frames
        if self.settings.frames is not None:
            total = self.settings.frames[1] - self.settings.frames[0]
        with self.progress(f"finding faces in {video.name}", total) as advance:
            return self.watch(video, advance)

    def frames(self, plan: Plan, seconds: dict[str, float] | None = None) -> Generator[Swapped, None, None]:
        """The finished frames of the planned clip in order; the stages' busy times are added to ``seconds``."""
        return render.painted_frames(plan, self.painter(plan), self.settings, seconds=seconds)

    def _person(self, name: str) -> dict[str, Any]:
        consent = self.consent.get(name)
        return {"person": name} if consent is None else {"person": name, "consent": dict(consent)}

    def facts(self, plan: Plan, counts: Counts, target_sha256: str) -> dict[str, Any]:
        """The facts that go into the content credentials and the manifest."""
        parsed = {} if self.parser is None else {"parser": files.sha256_file(self.parser.path)}
        return {
            "toolkit": f"faceswap-hq {faceswap_hq.__version__}",
            "source": self._person(self.source),
            "target": self._person(self.target) | {"clip": plan.info.path.name, "sha256": target_sha256},
            "frames": {"start": plan.start, "stop": plan.stop},  # a list of small numbers would be read back as bytes
            "counts": render.counts_dict(counts),
            **self.made_with(),
            "blending": settings_to_dict(self.settings.blend),
            **parsed,
        }


def check_landmarks(points: int, method: str) -> None:
    """Refuse landmarks that the net of triangles does not know.

    Args:
        points: Landmarks a face.
        method: Which method asks.

    Raises:
        UserError: If they are not 478.
    """
    if points != 478:
        raise UserError(f"--method {method} needs faces with mediapipe's 478 points.", "Use --backend mediapipe.")
