"""A detector: its card and its network; saving it, and asking it for fake probabilities."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from faceswap_hq.errors import UserError
from faceswap_hq.files import sha256_file, write_bytes
from stress.detectors.card import (
    HEADER_KEY,
    DetectorCard,
    card_path,
    write_card,
)
from stress.detectors.zoo import build, default_card


@dataclass(kw_only=True)
class Detector:
    """A network that tells fakes from reals, with the card that says how to ask it.

    Args:
        card: What it wants and what its output means.
        module: From normalised (B, 3, S, S) to (B, card.outputs).
        name: For people to read, usually the file's stem.
        own_data: Where its card says that data of its own kind lie; None where it does not.
    """

    card: DetectorCard
    module: nn.Module
    name: str = "detector"
    own_data: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        first = next(self.module.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def trainable(self) -> bool:
        """Whether there is anything to fine-tune; ONNX files and frozen TorchScript have no parameters."""
        return any(value.is_floating_point() for value in self.module.parameters())

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
        output = self.module(x)
        if not isinstance(output, torch.Tensor):
            raise UserError(f"The network of {self.name} gives a {type(output).__name__}, not one tensor.")
        return fake_logit(output.float(), self.card)

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
        (n,), such that its sigmoid is the fake probability; the card's score transform is in it.
    """
    slope, offset = card.score_transform
    return slope * _log_odds(output, card) + offset


def _log_odds(output: torch.Tensor, card: DetectorCard) -> torch.Tensor:
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


def require_trainable(detector: object) -> None:
    """Stop before any work is done if a detector is to be fine-tuned and cannot be.

    Raises:
        UserError: It has no weights that could be trained.
    """
    if not getattr(detector, "trainable", True):
        raise UserError(
            f"{getattr(detector, 'name', 'The detector')} cannot be fine-tuned: its file keeps no weights that can be.",
            "Score it with --no-finetune, or give the weights it was exported from.",
        )


def require_savable(detector: Detector) -> None:
    """Stop if a detector's weights alone would not bring it back.

    Raises:
        UserError: Its network came with its file or from a library whose names change.
    """
    if detector.card.architecture.partition(":")[0] in ("onnx", "torchscript", "transformers"):
        raise UserError(
            f"{detector.name} cannot be saved: weights alone do not make {detector.card.architecture} again.",
            "Train a timm model instead: --arch timm:NAME.",
        )


def new_detector(
    architecture: str = "small_cnn",
    *,
    pretrained: bool = False,
    seed: int = 0,
    device: str = "auto",
    input_size: int | None = None,
    crop_margin: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: str | None = None,
) -> Detector:
    """An untrained detector.

    Args:
        architecture: ``small_cnn``, ``meso4`` or a timm model.
        pretrained: Start from timm's published weights (downloaded).
        seed: Of the initial weights.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        input_size: Side of the crops in pixels; None for the architecture's customary one.
        crop_margin: Of the crops; None for the customary one.
        mean: As in the card; None for the customary one.
        std: As in the card; None for the customary one.
        output: Kind of head as in the card; None for one logit.

    Raises:
        UserError: Unknown architecture, or weights that cannot be had, or a value that no card can have.
    """
    wanted = {"input_size": input_size, "crop_margin": crop_margin, "mean": mean, "std": std, "output": output}
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    try:
        card = dataclasses.replace(default_card(architecture), **given)
    except ValueError as error:
        raise UserError(f"There is no such detector: {error}.") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(architecture, card.outputs, pretrained=pretrained)
    return Detector(card=card, module=placed(module, device), name=architecture.removeprefix("timm:"))


def placed(module: nn.Module, device: str) -> nn.Module:
    """The network on a device, in evaluation mode, channels last in memory.

    Raises:
        UserError: The device cannot be used.
    """
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
    require_savable(detector)
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
