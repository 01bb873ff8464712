"""The autoencoder: shapes, ranges, who is drawn, and settings that do not fit."""

from __future__ import annotations

import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.model import ModelSettings, SwapAutoencoder
from faceswap_hq.training.settings import load_preset, preset_names
from tests.faceswap_hq.helpers import MODEL


@pytest.fixture(scope="module")
def model() -> SwapAutoencoder:
    torch.manual_seed(0)
    return SwapAutoencoder(MODEL, ["anna", "ben", "cem"])


def faces(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_shapes_and_ranges(model):
    code = model.encode(faces())
    assert code.shape == (2, MODEL.base_channels, 8, 8)
    for person in range(3):
        face, mask = model(faces(), person)
        assert face.shape == (2, 3, 32, 32)
        assert mask.shape == (2, 1, 32, 32)
        for value in (face, mask):
            assert value.dtype == torch.float32
            assert 0 <= value.min() <= value.max() <= 1
    _, logits = model.decode(code, 0)
    torch.testing.assert_close(torch.sigmoid(logits), model(faces(), 0)[1])


def test_each_person_has_a_decoder_and_all_share_the_encoder(model):
    drawn = [model(faces(), person)[0] for person in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    model.zero_grad()
    drawn[1].sum().backward()
    touched = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None
    }
    assert touched == {"encoder.convolutions", "encoder.dense", "opening.dense", "decoders.1"}


def test_the_code_carries_no_place(model):
    """The bottleneck is the only way through: what the decoder draws depends on nothing else of the picture."""
    code = model.encoder(faces())
    assert code.shape == (2, MODEL.bottleneck)
    torch.testing.assert_close(model.decode(model.opening(code), 2)[0], model(faces(), 2)[0])


def test_memory_format_changes_nothing(model):
    lasting = model(faces().contiguous(memory_format=torch.channels_last), 1)[0]
    torch.testing.assert_close(lasting, model(faces(), 1)[0], atol=1e-5, rtol=1e-4)


def test_faces_of_a_batch_do_not_touch(model):
    one_by_one = torch.cat([model(face[None], 0)[0] for face in faces(4)])
    torch.testing.assert_close(model(faces(4), 0)[0], one_by_one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", preset_names())
def test_presets_build(name):
    """On the meta device: shapes are computed, no memory is used."""
    settings = load_preset(name).model
    with torch.device("meta"):
        model = SwapAutoencoder(settings, ["a", "b"])
        face, mask = model(torch.empty(1, 3, settings.resolution, settings.resolution), 1)
    assert face.shape == (1, 3, settings.resolution, settings.resolution)
    assert mask.shape == (1, 1, settings.resolution, settings.resolution)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 100}, "make 32 pixels, not 100"),
        ({"residual": (1, 1)}, "one number for each"),
        ({"encoder_channels": (8,) * 6}, "cannot be halved 6 times"),
        ({"bottleneck": 0}, "bottleneck"),
        ({"base_channels": -8}, "base_channels"),
        ({"encoder_channels": (8, 0)}, "encoder_channels"),
        ({"decoder_channels": (0,)}, "decoder_channels"),
        ({"residual": (-1,)}, "residual"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(UserError, match=message):
        ModelSettings(**{**vars(MODEL), **change})


@pytest.mark.parametrize("people", [[], ["anna", "anna"]])
def test_people_need_names(people):
    with pytest.raises(UserError, match="distinct names"):
        SwapAutoencoder(MODEL, people)
