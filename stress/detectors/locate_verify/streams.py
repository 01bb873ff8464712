"""Backbones of the two streams, each as seven stages at strides 2, 4, 8, 16, 16, 16 and 32."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

XCEPTION = (64, 128, 256, 728, 728, 728, 2048)
SMALL = (16, 24, 32, 64, 64, 64, 96)
"""Channels after each stage."""


def xception_stages(*, pretrained: bool = False) -> list[nn.Module]:
    """The stages of timm's ``legacy_xception``, its stem padded by 1 as the authors' is.

    From 299 px their sides are 150, 75, 38, 19, 19, 19 and 10.

    Args:
        pretrained: Start from timm's ImageNet weights, which are downloaded; the padding changes no weight.
    """
    import timm

    net: Any = timm.create_model("legacy_xception", pretrained=pretrained, num_classes=0)
    net.conv1.padding = net.conv2.padding = (1, 1)
    return [
        nn.Sequential(net.conv1, net.bn1, net.act1, net.conv2, net.bn2, net.act2),
        net.block1,
        net.block2,
        net.block3,
        nn.Sequential(net.block4, net.block5, net.block6, net.block7),
        nn.Sequential(net.block8, net.block9, net.block10, net.block11),
        nn.Sequential(net.block12, net.conv3, net.bn3, net.act3, net.conv4, net.bn4),
    ]


def small_stages() -> list[nn.Module]:
    """A few convolutions a stage, for two cores."""
    a, b, c, d, e, f, g = SMALL
    return [
        nn.Sequential(_unit(3, a), _unit(a, a, stride=2)),
        _unit(a, b, stride=2),
        nn.Sequential(_unit(b, c, stride=2), _Residual(c)),
        _unit(c, d, stride=2),
        _Residual(e),
        _Residual(f),
        _unit(f, g, stride=2),
    ]


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _unit(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)))
