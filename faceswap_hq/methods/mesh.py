"""A swap without learning: the source's nearest face, bent triangle by triangle onto the target's landmarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from faceswap_hq import media, planning, provenance
from faceswap_hq.drawing import Painter
from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression, mesh
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.faceset import Faceset
from faceswap_hq.methods.choice import cheapest_path, distances, faded
from faceswap_hq.methods.method import Method, Progress, check_landmarks, silent
from faceswap_hq.methods.warping import COVERAGE, landmarks_of, starts_of, warp_painter
from faceswap_hq.planning import Advance, Plan, RenderSettings
from faceswap_hq.sampling import evenly

_FINER = 1.25  # the painted crop's pixels for each of the faceset's, along a side


@dataclass(frozen=True, kw_only=True)
class MeshSettings:
    """How the source's faces are chosen and bent."""

    change: float = 12.0
    """Cost of showing another of them than in the frame before, in the unit of :func:`choice.distances`."""
    stiffness: float = 2.0
    """How far the source's own shape resists being bent; see :func:`faceswap_hq.faces.mesh.relaxed`."""
    fade: int = 2
    """Frames before and after such a change in which one fades into the other."""
    most: int = 1000
    """So many of the faceset's faces, evenly spread, are chosen from."""

    def __post_init__(self) -> None:
        if not (self.change >= 0 and self.stiffness >= 0 and self.fade >= 0 and self.most >= 1):
            raise ValueError("change, stiffness and fade are at least 0, most at least 1")


@dataclass(frozen=True, kw_only=True)
class MeshSwap(Method):
    """A mesh-warp swap made ready: see :func:`open_mesh`."""

    faceset: Faceset
    mesh_settings: MeshSettings

    joint = "warped_onto"

    def watch(self, video: Path, advance: Advance) -> Plan:
        """See :class:`Method`."""
        return planning.watch(video, self.settings, round(_FINER * COVERAGE * self.faceset.size), COVERAGE, advance)

    def made_with(self) -> dict[str, Any]:
        """See :class:`Method`."""
        made_from = [source["sha256"] for source in self.faceset.meta.get("made_from", {}).get("sources", [])]
        return {"method": "mesh", "faces": {"made_from": made_from, **asdict(self.mesh_settings)}}

    def painter(self, plan: Plan) -> Painter:
        """See :class:`Method`."""
        chosen, every = self.mesh_settings, self.faceset.rows
        rows = [every[i] for i in evenly(len(every), chosen.most)]
        frames, faces = landmarks_of(plan)
        starts = starts_of(plan, frames)
        done = np.stack([expression.measured(row.landmarks) for row in rows])
        wanted = plan.measured[np.isin(plan.person.frames, frames)]
        costs = distances(expression.Calibration.fit(plan.measured)(wanted), expression.Calibration.fit(done)(done))
        path = cheapest_path(costs, starts, chosen.change)
        shares = dict(zip(frames, faded(path, starts, chosen.fade), strict=True))
        targets = dict(zip(frames, faces, strict=True))
        back = mesh.between(self.faceset.size, plan.size, COVERAGE)

        @lru_cache(maxsize=8)
        def known(number: int) -> tuple[np.ndarray, np.ndarray]:
            return self.faceset.image(rows[number]), mesh.vertices(rows[number].landmarks_crop / self.faceset.size)

        def bend(frame: media.Frame) -> np.ndarray:
            face = targets[frame.index]
            out = np.zeros((plan.size, plan.size, 3), np.float32)
            for number, share in shares[frame.index].items():
                picture, source = known(number)
                points = mesh.relaxed(source[: mesh.FACE_POINTS], face[: mesh.FACE_POINTS, :2], chosen.stiffness)
                where = mesh.warp_map(
                    mesh.to_pixels(source, self.faceset.size),
                    mesh.to_pixels(mesh.vertices(points), plan.size, COVERAGE),
                    mesh.depths(face), plan.size, back,
                )  # fmt: skip
                out += mesh.bent(picture, where) * np.float32(share / 255)
            return out

        return warp_painter(plan, bend, own=self.settings.own, parser=self.parser)


def open_mesh(
    faceset: Faceset,
    settings: RenderSettings,
    *,
    target: str,
    source: str | None = None,
    mesh_settings: MeshSettings | None = None,
    key: provenance.SigningKey | None = None,
    parser: Path | None = None,
    progress: Progress = silent,
) -> MeshSwap:
    """Settle who is put onto whom.

    Args:
        faceset: The faces of the person whose face is put in.
        settings: How to render.
        target: Name of the person in the video.
        source: Name of the source; default the faceset's.
        mesh_settings: How faces are chosen and bent.
        key: Signing key; default the user's own.
        parser: A face-parsing network, see :mod:`faceswap_hq.faces.parsing`.
        progress: Opens progress displays.

    Raises:
        UserError: For a faceset without the 478 points, a damaged parser, or one person onto themselves.
    """
    check_landmarks(len(faceset.rows[0].landmarks), "mesh")
    if settings.backend != "mediapipe":
        check_landmarks(0, "mesh")
    source = source or faceset.name
    if source == target:
        raise UserError(
            f"{source!r} cannot be put onto themselves.", "Choose another --source, or name them --source-person."
        )
    return MeshSwap(
        faceset=faceset, mesh_settings=mesh_settings or MeshSettings(), settings=settings, source=source,
        target=target, key=key, parser=None if parser is None else FaceParser(parser), progress=progress,
    )  # fmt: skip
