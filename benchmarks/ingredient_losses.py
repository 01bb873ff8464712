"""Losses that are not in the product, for ``ingredients.py``: focal frequency, perceptual, a patch discriminator."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceswap_hq.errors import UserError


def focal_frequency(face: Tensor, target: Tensor, area: Tensor, alpha: float = 1.0) -> Tensor:
    """Focal frequency loss (Jiang, Dai, Wu, Loy 2021, ICCV, arXiv 2012.12821) of the pictures times an area.

    mean(w |F(x) − F(y)|²) with F the orthonormal 2D Fourier transform and w = |F(x) − F(y)|^α over its largest value
    in the channel, held constant: frequencies that are hard to draw count more. Of a whole picture, not of patches.

    Args:
        face: (B, 3, S, S) drawn, in [0, 1].
        target: Same shape.
        area: (B, 1, S, S) in [0, 1].
        alpha: Exponent of the weights; 0 makes it the mean squared error.
    """
    apart = torch.view_as_real(torch.fft.fft2(((face - target) * area).float(), norm="ortho")).square().sum(-1)
    with torch.no_grad():
        weights = apart.sqrt() ** alpha
        weights = weights / weights.amax((-2, -1), keepdim=True).clamp_min(1e-12)
    return (weights * apart).mean()


_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which such networks were trained with


class Perceptual(nn.Module):
    """Distance of two faces in the eyes of a network trained for something else, which stays as it is.

    Squared difference of its first maps, each pixel's channels brought to length 1, as in LPIPS (Zhang et al. 2018,
    CVPR), without that one's learned weights.

    Args:
        weights: State dict of a network of timm or torchvision (safetensors, or a .pt that holds tensors only). Not
            of a network that the swaps are then measured with.
        network: Its name in timm, such as ``resnet18`` or ``vgg16``.
        levels: Which of the network's maps are compared.

    Raises:
        UserError: If the file cannot be read or is another network's.
    """

    def __init__(self, weights: Path, network: str, levels: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__()
        import timm

        try:
            self.net = timm.create_model(network, pretrained=False, num_classes=0)
            self.levels = self.net.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=True)
            missing = self.net.load_state_dict(_state(weights), strict=False).missing_keys
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{weights} holds no weights of {network}: {str(error).splitlines()[0]}.") from error
        if missing:
            raise UserError(f"{weights} holds no weights of {network}: {missing[0]} is missing.")
        self.net.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(_SPREAD).view(1, 3, 1, 1))

    def forward(self, face: Tensor, target: Tensor, area: Tensor) -> Tensor:
        """(B, 3, S, S) each and (B, 1, S, S), all in [0, 1] ► the distance where the area is."""
        drawn = self._maps(face)
        with torch.no_grad():
            wanted = self._maps(target)
        total = torch.zeros((), device=face.device)
        for x, y in zip(drawn, wanted, strict=True):
            here = F.interpolate(area, x.shape[-2:], mode="area")
            total = total + ((x - y).square().sum(1, keepdim=True) * here).sum() / here.sum().clamp_min(1e-6)
        return total / len(drawn)

    def _maps(self, image: Tensor) -> list[Tensor]:
        maps = self.net.forward_intermediates(
            (image - self.mean) / self.spread, indices=self.levels, stop_early=True, intermediates_only=True
        )
        return [F.normalize(part.float(), dim=1) for part in maps]


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)


class PatchDiscriminator(nn.Module):
    """Tells drawn patches of faces from real ones: PatchGAN (Isola et al. 2017, CVPR), one for all people.

    Three halvings with spectral normalisation (Miyato et al. 2018) and no other; an answer sees 38 × 38 pixels.

    Args:
        width: Channels after the first halving.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in (width, 2 * width, 4 * width):
            convolution = nn.Conv2d(before, channels, 4, stride=2, padding=1)
            layers += [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2, inplace=True)]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, face: Tensor, area: Tensor) -> Tensor:
        """(B, 3, S, S) and (B, 1, S, S), both in [0, 1] ► (B, 1, S / 8, S / 8): higher looks more real."""
        return self.layers((face * 2 - 1) * area)


class Adversary:
    """A discriminator, its optimizer and the two losses.

    Args:
        kind: ``hinge`` (Lim, Ye 2017) or ``lsgan`` (Mao et al. 2017).
        seed: Of its first weights.
        learning_rate: Adam's, constant.
        device: Where it is.
    """

    def __init__(self, kind: str, seed: int, learning_rate: float = 4e-4, device: torch.device | str = "cpu") -> None:
        if kind not in ("hinge", "lsgan"):
            raise ValueError(f"There is no adversarial loss {kind!r}.")
        self.kind = kind
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PatchDiscriminator()
        self.net.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=learning_rate, betas=(0.5, 0.99))

    def fooled(self, face: Tensor, area: Tensor) -> Tensor:
        """What drawing a face costs; the discriminator itself gets no gradient from it."""
        self.net.requires_grad_(False)
        answers = self.net(face, area)
        self.net.requires_grad_(True)
        return -answers.mean() if self.kind == "hinge" else (answers - 1).square().mean()

    def learn(self, drawn: Tensor, real: Tensor, area: Tensor) -> float:
        """One step of the discriminator on drawn and real faces under the same areas; returns its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        answers = self.net(torch.cat([drawn.detach(), real]), torch.cat([area, area]))
        fake, true = answers.chunk(2)
        if self.kind == "hinge":
            loss = (F.relu(1 + fake).mean() + F.relu(1 - true).mean()) / 2
        else:
            loss = (fake.square().mean() + (true - 1).square().mean()) / 2
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())
