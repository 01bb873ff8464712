"""The zoo against its publications: numbers of parameters, shapes, and gradients that reach the first layer."""

from __future__ import annotations

import pytest
import torch

from stress.detectors.meso import Meso4, MesoInception4
from stress.detectors.shallownet import ShallowNet
from stress.detectors.zoo import build, default_card, same_network

PUBLISHED = [
    ("meso4", 1, 27_977, 0),  # Afchar et al. 2018, section III
    ("mesoinception4", 1, 28_615, 0),  # the same
    ("legacy_xception", 1000, 22_855_952, 0),  # Chollet 2017, table 3
    ("xception", 1000, 22_855_952, 0),
    ("timm:resnet50", 1000, 25_557_032, 0),  # torchvision's resnet50; He et al. 2016 give none
    ("timm:efficientnet_b0", 1000, 5.3e6, 0.05e6),  # Tan and Le 2019, table 2, rounded there
    ("timm:tf_efficientnet_b0", 1000, 5.3e6, 0.05e6),
    ("timm:efficientnet_b4", 1000, 19e6, 0.5e6),
    ("timm:tf_efficientnet_b4", 1000, 19e6, 0.5e6),
    ("timm:efficientnet_b7", 1000, 66e6, 0.5e6),
    ("timm:tf_efficientnet_b7", 1000, 66e6, 0.5e6),
]


@pytest.mark.parametrize(("name", "outputs", "parameters", "rounded"), PUBLISHED)
def test_parameters_are_as_many_as_published(name, outputs, parameters, rounded):
    with torch.device("meta"):
        module = build(name, outputs)
    assert abs(sum(value.numel() for value in module.parameters()) - parameters) <= rounded


def test_shallownets_parameters_are_those_of_its_layers():
    """No published count was found: convolutions, 32 maps of 60 x 60 into 1024, norm, one output, summed by hand."""
    convolutions = [(3, 32, 5), (32, 32, 1), (32, 32, 1), (32, 64, 3), (64, 64, 1), (64, 64, 1), (64, 128, 3)]
    counted = sum(inputs * width * side**2 + width for inputs, width, side in [*convolutions, (128, 32, 1)])
    counted += 32 * 60 * 60 * 1024 + 1024 + 2 * 1024 + 1024 + 1
    with torch.device("meta"):
        module = build("shallownet")
    assert sum(value.numel() for value in module.parameters()) == counted == 118_078_241


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (Meso4, 256),
        (MesoInception4, 256),
        (lambda outputs: ShallowNet(outputs, side=32), 32),
        (lambda outputs: build("xception", outputs), 64),
        (lambda outputs: build("timm:tf_efficientnet_b0", outputs), 64),
        (lambda outputs: build("timm:efficientnet_b0", outputs), 64),
    ],
    ids=["meso4", "mesoinception4", "shallownet", "xception", "tf_efficientnet_b0", "efficientnet_b0"],
)
def test_every_layer_learns_and_the_output_has_its_shape(make, side):
    module = make(2)
    output = module(torch.randn(2, 3, side, side))
    assert output.shape == (2, 2)
    output[:, 0].sum().backward()
    weights = [value for value in module.parameters() if value.ndim > 1]
    assert all(value.grad is not None for value in weights)
    assert weights[0].grad.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["timm:resnet50", "timm:efficientnet_b4", "timm:efficientnet_b7", "efficientnet_b4_dfb", "shallownet"]
)
def test_the_large_ones_learn_too(name):
    module = build(name, 1)
    side = 256 if name == "shallownet" else 64
    module(torch.rand(2, 3, side, side)).sum().backward()
    first = next(value for value in module.parameters() if value.ndim > 1)
    assert first.grad.any()


def test_the_dilated_branches_look_two_and_three_pixels_away():
    block = MesoInception4().inception1
    for branch, reach in enumerate((1, 2, 3)):
        x = torch.zeros(1, block.spread[branch].in_channels, 9, 9, requires_grad=True)
        block.spread[branch](x)[0, :, 4, 4].sum().backward()
        rows = x.grad[0].abs().sum((0, 2)).nonzero()[:, 0].tolist()
        assert rows == [4 - reach, 4, 4 + reach]


def test_older_names_and_tags_mean_the_same_network():
    assert same_network("xception", "timm:legacy_xception.tf_in1k")
    assert not same_network("timm:efficientnet_b4", "timm:tf_efficientnet_b4")
    card = default_card("xception")
    assert (card.input_size, card.mean) == (299, (0.5, 0.5, 0.5))  # timm has none under the older name
