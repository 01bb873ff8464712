"""A method by its name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from faceswap_hq import extract, facesets, provenance
from faceswap_hq.errors import UserError
from faceswap_hq.methods.autoencoder import open_swap
from faceswap_hq.methods.expression import open_expression
from faceswap_hq.methods.mesh import open_mesh
from faceswap_hq.methods.method import Method, Progress, silent
from faceswap_hq.options import check_method, find_model
from faceswap_hq.planning import RenderSettings


def open_method(
    name: str,
    video: Path,
    settings: RenderSettings,
    *,
    given: Path | None = None,
    model: Path | None = None,
    source: str | None = None,
    target: str | None = None,
    device: str | None = None,
    key: provenance.SigningKey | None = None,
    parser: Path | None = None,
    progress: Progress = silent,
    report: Callable[[extract.Report], None] = lambda report: None,
) -> Method:
    """Make a method ready.

    Args:
        name: One of :data:`faceswap_hq.methods.METHODS`.
        video: The target clip, whose name is the target's where nothing else is said.
        settings: How to render.
        given: Not for the autoencoder: the other person's video; for ``mesh`` also a folder or faceset.
        model: Run directory, for the autoencoder; default the only one under ``models/``.
        source: Name of the other person.
        target: Name of the person in the video.
        device: Where a model runs.
        key: Signing key; default the user's own.
        parser: A face-parsing network, see :mod:`faceswap_hq.faces.parsing`.
        progress: Opens progress displays.
        report: Is told what an extraction found.

    Raises:
        UserError: For a name, clip, model, person or combination that can't be used.
    """
    check_method(name, given, {"model": model, "retarget": settings.retarget, "device": device})
    if given is None:
        return open_swap(
            find_model(model), settings, source=source, target=target, device=device, key=key, parser=parser,
            progress=progress,
        )  # fmt: skip
    target = target or facesets.person_name(video)
    if name == "mesh":
        faceset, found = facesets.open_person(given, extract.ExtractSettings(backend=settings.backend), progress)
        if found is not None:
            report(found)
        return open_mesh(
            faceset, settings, source=source, target=target, key=key, parser=parser, progress=progress
        )
    if given.is_dir():
        raise UserError(f"{given} is no video.", "--method expression is driven by a video: --source VIDEO.")
    return open_expression(
        given, settings, source=source or facesets.person_name(given), target=target, key=key, parser=parser,
        progress=progress,
    )  # fmt: skip
