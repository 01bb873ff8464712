"""A detector: its card and its network; loading, saving, and asking it for fake probabilities."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file, write_bytes
from stress.detectors.card import (
    HEADER_KEY,
    DetectorCard,
    card_from_header,
    card_path,
    read_card,
    write_card,
)
from stress.detectors.weights import load_into, named_tensors, read_checkpoint
from stress.detectors.zoo import build, default_card


@dataclass(kw_only=True)
class Detector:
    """A network that tells fakes from reals, with the card that says how to ask it.

    Args:
        card: What it wants and what its output means.
        module: From normalised (B, 3, S, S) to (B, card.outputs).
        name: For people to read, usually the file's stem.
    """

    card: DetectorCard
    module: nn.Module
    name: str = "detector"

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.module.parameters()).device

    def inputs(self, images: np.ndarray) -> torch.Tensor:
        """Crops as the network wants them.

        Args:
            images: (n, S, S, 3) uint8 RGB, S = ``card.input_size``.

        Returns:
            (n, 3, S, S) float32 on the network's device, channels last in memory.
        """
        size = self.card.input_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(f"images are uint8 (n, {size}, {size}, 3), not {images.dtype} {images.shape}")
        if self.card.color_order == "BGR":
            images = images[..., ::-1]
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        mean, std = (torch.tensor(value, device=x.device).view(1, 3, 1, 1) for value in (self.card.mean, self.card.std))
        return x.sub_(mean).div_(std)

    def fake_logit(self, x: torch.Tensor) -> torch.Tensor:
        """Log odds of "fake" for a ready batch, whatever the kind of head; differentiable.

        Args:
            x: From :meth:`inputs`.

        Returns:
            (n,) float32.
        """
        return fake_logit(self.module(x).float(), self.card)

    @torch.inference_mode()
    def fake_probability(self, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """Probability that each face is fake, by the network in evaluation mode.

        Args:
            images: (n, S, S, 3) uint8 RGB.
            batch: Images at a time.

        Returns:
            (n,) float64 in [0, 1].
        """
        was_training = self.module.training
        self.module.eval()
        parts = [self.fake_logit(self.inputs(images[i : i + batch])).cpu() for i in range(0, len(images), batch)]
        self.module.train(was_training)
        if not parts:
            return np.zeros(0)
        return torch.sigmoid(torch.cat(parts).double()).numpy()


def fake_logit(output: torch.Tensor, card: DetectorCard) -> torch.Tensor:
    """Log odds of "fake" from a network's output.

    Args:
        output: (n, card.outputs).
        card: Says what kind of head it is and which output means fake.

    Returns:
        (n,), such that its sigmoid is the fake probability.
    """
    if output.ndim == 1:
        output = output[:, None]
    if output.ndim != 2 or output.shape[1] != card.outputs:
        raise UserError(
            f"The network gives {tuple(output.shape[1:])} values an image; a {card.output} head gives {card.outputs}.",
            "Correct output in its card.",
        )
    if card.output in ("sigmoid", "softmax"):
        output = output.clamp(1e-7, 1 - 1e-7)
        output = torch.logit(output) if card.outputs == 1 else torch.log(output)
    if card.outputs == 1:
        return output[:, 0] if card.fake_index == 1 else -output[:, 0]
    return output[:, card.fake_index] - output[:, 1 - card.fake_index]


def new_detector(
    architecture: str = "small_cnn", *, pretrained: bool = False, seed: int = 0, device: str = "auto"
) -> Detector:
    """An untrained detector with one logit and its architecture's customary input.

    Args:
        architecture: ``small_cnn``, ``meso4`` or a timm model.
        pretrained: Start from timm's published weights (downloaded).
        seed: Of the initial weights.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises:
        UserError: Unknown architecture, or weights that cannot be had.
    """
    card = default_card(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(architecture, card.outputs, pretrained=pretrained)
    return Detector(card=card, module=_placed(module, device), name=architecture.removeprefix("timm:"))


def load_detector(
    path: str | Path, card: DetectorCard | str | Path | None = None, *, device: str = "auto"
) -> Detector:
    """Load a detector from its file.

    The card is the one given, or else ``NAME.card.json`` beside the file, or else the one in a safetensors header.

    Args:
        path: Safetensors or a PyTorch file of weights, told apart by content.
        card: Card or its file.
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``, ...

    Raises:
        UserError: No card; a checksum that differs from the card's; weights that do not fit; see
            :func:`stress.detectors.weights.read_checkpoint` for the file itself.
    """
    path = Path(path)
    content, metadata = read_checkpoint(path)
    card = _resolve_card(path, card, metadata)
    digest = sha256_file(path)
    if card.sha256 not in (None, digest):
        raise UserError(
            f"{path} is not the file its card describes: "
            f"its SHA-256 begins {digest[:12]}, the card's {str(card.sha256)[:12]}.",
            "Fetch the file again, or write a new card for it.",
        )
    module = build(card.architecture, card.outputs)
    load_into(module, named_tensors(content, card, path), path)
    detector = Detector(card=dataclasses.replace(card, sha256=digest), module=_placed(module, device), name=path.stem)
    _try_out(detector, path)
    return detector


def _resolve_card(path: Path, card: DetectorCard | str | Path | None, metadata: dict[str, str]) -> DetectorCard:
    if isinstance(card, DetectorCard):
        return card
    if card is not None:
        return read_card(card)
    if card_path(path).is_file():
        return read_card(card_path(path))
    embedded = card_from_header(metadata, path)
    if embedded is None:
        raise UserError(
            f"{path} has no card, so nobody knows what it wants to see and which output means fake.",
            f"Write a draft with   stress-test card {path}   and fill in {card_path(path).name}.",
        )
    return embedded


def _try_out(detector: Detector, path: Path) -> None:
    """One empty picture: a network that cannot take the card's input is found out here and not after the cropping."""
    size = detector.card.input_size
    try:
        value = detector.fake_probability(np.full((1, size, size, 3), 127, np.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: {detector.card.architecture} does not take {size} px: {reason}.",
            "Correct input_size in its card.",
        ) from error
    if not np.isfinite(value).all():
        raise UserError(f"{path} answers a grey picture with {value[0]}; its weights are of no use.")


def _placed(module: nn.Module, device: str) -> nn.Module:
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        place = torch.device(name)
        return module.to(place).to(memory_format=torch.channels_last).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"The device {device!r} cannot be used here: {str(error).splitlines()[0]}.") from error


def save_detector(detector: Detector, path: str | Path) -> DetectorCard:
    """Write a detector's weights and its card.

    Whatever the suffix, the file is safetensors with the card in its header; ``NAME.card.json`` beside it repeats the
    card with the file's SHA-256. A crash in between leaves a file that loads.

    Args:
        detector: What to write.
        path: Target; any suffix.

    Returns:
        The card as written, with ``sha256``.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a directory; a file name belongs here.")
    card = dataclasses.replace(detector.card, weights_key=None, strip_prefix=None, sha256=None)
    header = {HEADER_KEY: json.dumps(card.to_dict())}
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in detector.module.state_dict().items()
    }
    data = safetensors_bytes(tensors, header)
    card_path(path).unlink(missing_ok=True)  # the old card's checksum would not fit the new weights
    write_bytes(path, data)
    card = dataclasses.replace(card, sha256=sha256_file(path))
    write_card(card_path(path), card)
    return card
