"""EfficientNet-B4 as DeepfakeBench runs it: padded for 380 px whatever the input, and not at all at the stem."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

_BUILT_FOR = 380


class _Padded(nn.Conv2d):
    """A strided convolution that adds fixed numbers of rows and columns, more of them at the end."""

    def __init__(self, like: nn.Conv2d, total: int) -> None:
        super().__init__(
            like.in_channels, like.out_channels, like.kernel_size, like.stride, 0, groups=like.groups,  # type: ignore[arg-type]
            bias=like.bias is not None,
        )  # fmt: skip
        self.load_state_dict(like.state_dict())
        self.sides = (total // 2, total - total // 2) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), padded, then convolved."""
        return super().forward(functional.pad(x, self.sides))


def efficientnet_b4_dfb(outputs: int = 1) -> nn.Module:
    """Make timm's tf_efficientnet_b4 with DeepfakeBench's padding.

    EfficientNet-PyTorch reckons "same" padding once, for pictures of 380 px, and DeepfakeBench gives it 256 px and
    replaces the stem by an unpadded convolution. So where timm pads for the picture at hand, this pads as theirs does.

    Args:
        outputs: Values per image.
    """
    import timm

    module: Any = timm.create_model("tf_efficientnet_b4", num_classes=outputs)
    module.conv_stem = _Padded(module.conv_stem, 0)
    side = -(-_BUILT_FOR // 2)
    for stage in module.blocks:
        for block in stage:
            stride, kernel = block.conv_dw.stride[0], block.conv_dw.kernel_size[0]
            if stride > 1:
                after = -(-side // stride)
                block.conv_dw = _Padded(block.conv_dw, max((after - 1) * stride + kernel - side, 0))
                side = after
    return module
