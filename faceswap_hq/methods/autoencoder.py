"""The swap by a trained model: one encoder, a decoder for each person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from faceswap_hq import planning, provenance, render
from faceswap_hq.drawing import Painter
from faceswap_hq.errors import UserError
from faceswap_hq.faces.parsing import FaceParser
from faceswap_hq.methods.method import Method, Progress, silent
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Advance, Plan, RenderSettings
from faceswap_hq.training.devices import choose_device
from faceswap_hq.training.run import ModelCard, load_model


@dataclass(frozen=True, kw_only=True)
class Swap(Method):
    """A model made ready to be rendered: who onto whom, and how."""

    run: Path
    model: SwapAutoencoder
    card: ModelCard
    device: str

    source_type: ClassVar[str] = "compositeWithTrainedAlgorithmicMedia"

    def watch(self, video: Path, advance: Advance) -> Plan:
        """See :class:`Method`; the plan also says what the decoder is asked for."""
        return planning.plan(video, self.model, self.card.coverage, self.settings, advance)

    def painter(self, plan: Plan) -> Painter:
        """See :class:`Method`."""
        return render.model_painter(plan, self.model, self.settings, parser=self.parser)

    def made_with(self) -> dict[str, Any]:
        """See :class:`Method`."""
        return {
            "model": {"run": self.run.resolve().name, "sha256": self.card.sha256, "step": self.card.step},
            "retarget": self.model.retargets if self.settings.retarget is None else self.settings.retarget,
        }


def open_swap(
    run: Path,
    settings: RenderSettings,
    *,
    source: str | None = None,
    target: str | None = None,
    device: str | None = None,
    key: provenance.SigningKey | None = None,
    parser: Path | None = None,
    progress: Progress = silent,
) -> Swap:
    """Load a model and settle who is put onto whom.

    Args:
        run: Model directory.
        settings: How to render; its ``source`` is replaced by the decoder of ``source``.
        source: Name of a person of the model; default its first.
        target: Name of the person in the video; default the model's other person, if it has just two.
        device: Where the model runs.
        key: Signing key; default the user's own.
        parser: A face-parsing network, see :mod:`faceswap_hq.faces.parsing`.
        progress: Opens progress displays.

    Raises:
        UserError: For a model or parser that can't be loaded or a person it doesn't know.
    """
    model, card = load_model(run)
    source = source or card.people[0]
    if source not in card.people:
        raise UserError(f"{run} knows no {source!r}.", f"Its people: {', '.join(card.people)}.")
    if target is None:
        others = [name for name in card.people if name != source]
        if len(others) != 1:
            raise UserError(
                f"{run} knows {len(card.people)} people; say which of them the video shows.", "--target-person NAME"
            )
        target = others[0]
    if target == source:
        raise UserError(
            f"{source!r} cannot be put onto themselves.", "Choose another --source-person or --target-person."
        )
    place = choose_device(device)
    known = card.people.index(target) if target in card.people else None  # anybody can be the target
    return Swap(
        run=run, model=model.to(place), card=card, device=str(place), source=source, target=target, key=key,
        settings=replace(settings, source=card.people.index(source), target=known),
        parser=None if parser is None else FaceParser(parser),
        progress=progress,
    )  # fmt: skip
