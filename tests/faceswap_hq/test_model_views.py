"""Pictures that a decoder bends and mixes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from faceswap_hq.faces import expression
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.model.views import Views
from faceswap_hq.training.data import MARGIN, PersonData, outstanding
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.trainer import Trainer
from tests.faceswap_hq.helpers import MODEL, SETTINGS


def views(count: int = 3, side: int = 16) -> tuple[Views, torch.Tensor]:
    """Pictures, used as the biases say, and what they began with."""
    made = Views(4, count, side)
    nn.init.zeros_(made.use.weight)
    nn.init.zeros_(made.use.bias)
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    made.begin_with(images)
    return made, images


ANYTHING = torch.ones(2, 4, 8, 8)


def test_one_picture_straight_is_that_picture():
    made, images = views()
    made.use.bias.data[2 + 1] = 50
    drawn = torch.sigmoid(made(ANYTHING))
    assert drawn.shape == (2, 3, 16, 16)
    torch.testing.assert_close(drawn, images[1].expand(2, -1, -1, -1), atol=1e-5, rtol=0)


def test_equal_shares_are_the_mean():
    made, images = views()
    torch.testing.assert_close(made(ANYTHING), torch.logit(images).mean(0).expand(2, -1, -1, -1), atol=1e-5, rtol=0)


def test_a_flow_takes_from_beside():
    """One pixel to the right and two down: what is drawn is moved to the left and up; borders stay."""
    made, images = views(1)
    pixel = 2 / 16 / 0.1
    made.use.bias.data[:2] = torch.tensor([pixel, 2 * pixel])
    drawn = torch.sigmoid(made(ANYTHING))[0]
    torch.testing.assert_close(drawn[:, :-2, :-1], images[0, :, 2:, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(drawn[:, -1, :-1], images[0, :, -1, 1:], atol=1e-4, rtol=0)


def test_black_and_white_are_finite():
    made, _ = views(2)
    made.begin_with(torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)]))
    assert torch.isfinite(made(ANYTHING)).all()


def test_gradients():
    """Of what is drawn with respect to the map, the pictures, and what the pictures' use is read with."""
    torch.manual_seed(0)
    made = Views(2, 2, 4).double()
    nn.init.normal_(made.pictures)
    nn.init.uniform_(made.use.bias, -1, 1)  # away from where bilinear sampling has corners
    given = torch.randn(2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in made.named_parameters()]

    def drawn(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(made, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(drawn, (given, *made.parameters()))


def test_decoders_without_views_have_none():
    model = SwapAutoencoder(dataclasses.replace(MODEL, views=0), ["anna"])
    assert not [name for name in model.state_dict() if "pictures" in name]
    with pytest.raises(ValueError, match="no views"):
        model.show(0, torch.rand(2, 3, 32, 32))


def person(name: str, count: int = 9) -> PersonData:
    random = torch.Generator().manual_seed(len(name))
    side = round(MODEL.resolution * MARGIN)
    measures = torch.randn(count, expression.COUNT, generator=random)
    return PersonData(
        name=name, images=torch.randint(0, 256, (count, 3, side, side), generator=random, dtype=torch.uint8),
        weights=torch.full((count, 3, side, side), 255, dtype=torch.uint8), measures=measures,
        calibration=expression.Calibration.fit(measures.numpy()),
    )  # fmt: skip


class TestWhatTheyBeginWith:
    def test_the_most_usual_face_and_those_least_like_it(self):
        measures = torch.zeros(9, expression.COUNT)
        lips = expression.NAMES.index("lips apart")
        measures[3, lips], measures[5, lips] = 3, -2
        picks = outstanding(dataclasses.replace(person("anna"), measures=measures), 3).tolist()
        assert picks[1:] == [3, 5]
        assert picks[0] not in (3, 5)

    def test_more_views_than_faces(self):
        assert len(outstanding(person("anna", 2), 4)) == 4

    def test_a_trainer_begins_with_real_faces(self):
        them = [person("anna"), person("ben")]
        trainer = Trainer(SETTINGS, them, open_fabric(torch.device("cpu"), "float32"))
        side = MODEL.resolution
        for decoder, one in zip(trainer.model.decoders, them, strict=True):
            shown = torch.sigmoid(decoder.views.pictures).view(2, 3, side, side)
            offset = (one.images.shape[-1] - side) // 2
            real = one.images[outstanding(one, 2), :, offset : offset + side, offset : offset + side].float() / 255
            torch.testing.assert_close(shown, real.clamp(0.01, 0.99), atol=1e-4, rtol=0)
