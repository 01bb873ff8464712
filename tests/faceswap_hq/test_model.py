"""The autoencoder: shapes, ranges, who is drawn, and settings that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.model import ModelSettings, SwapAutoencoder
from faceswap_hq.model.autoencoder import MEMORIES, UNKNOWN
from faceswap_hq.training.settings import load_preset, preset_names
from tests.faceswap_hq.helpers import MODEL


@pytest.fixture(scope="module")
def model() -> SwapAutoencoder:
    torch.manual_seed(0)
    return SwapAutoencoder(MODEL, ["anna", "ben", "cem"])


def faces(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def doing(count: int = 2) -> torch.Tensor:
    """Measures of expression."""
    return torch.randn(count, expression.COUNT, generator=torch.Generator().manual_seed(2))


def test_shapes_and_ranges(model):
    code = model.encode(faces(), doing())
    assert code.shape == (2, MODEL.base_channels, 8, 8)
    for person in range(3):
        face, mask = model(faces(), doing(), person)
        assert face.shape == (2, 3, 32, 32)
        assert mask.shape == (2, 1, 32, 32)
        for value in (face, mask):
            assert value.dtype == torch.float32
            assert 0 <= value.min() <= value.max() <= 1
    _, logits = model.decode(code, 0)
    torch.testing.assert_close(torch.sigmoid(logits), model(faces(), doing(), 0)[1])


def test_each_person_has_a_decoder_and_all_share_the_encoder(model):
    drawn = [model(faces(), doing(), person)[0] for person in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    model.zero_grad()
    drawn[1].sum().backward()
    touched = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None
    }
    assert touched == {"encoder.convolutions", "encoder.dense", "opening.dense", "opening.expression", "decoders.1"}


def test_people_share_the_first_doublings_where_they_are_told_to():
    """They are there once, learn from everybody, and whoever loads the model has each person's own."""
    torch.manual_seed(0)
    apart, together = (SwapAutoencoder(MODEL, ["anna", "ben"]) for _ in range(2))
    together.share(1)
    once = sum(p.numel() for p in apart.decoders[0].stages.parameters())
    assert sum(p.numel() for p in together.parameters()) + once == sum(p.numel() for p in apart.parameters())
    for person in range(2):
        together.zero_grad()
        together(faces(), doing(), person)[0].sum().backward()
        assert float(together.decoders[0].stages[0].convolution.weight.grad.abs().sum()) > 0
    apart.load_state_dict(together.state_dict())
    for person in range(2):
        torch.testing.assert_close(apart(faces(), doing(), person), together(faces(), doing(), person))
    assert apart.decoders[0].stages[0] is not apart.decoders[1].stages[0]


def test_the_code_carries_no_place(model):
    """The bottleneck is the only way through: what the decoder draws depends on nothing else of the picture."""
    code = model.encoder(faces())
    assert code.shape == (2, MODEL.bottleneck)
    drawn, _ = model.decode(model.opening(code, doing()), 2)
    torch.testing.assert_close(drawn, model(faces(), doing(), 2)[0])


def test_memory_format_changes_nothing(model):
    lasting = model(faces().contiguous(memory_format=torch.channels_last), doing(), 1)[0]
    torch.testing.assert_close(lasting, model(faces(), doing(), 1)[0], atol=1e-5, rtol=1e-4)


def test_faces_of_a_batch_do_not_touch(model):
    pairs = zip(faces(4), doing(4), strict=True)
    one_by_one = torch.cat([model(face[None], does[None], 0)[0] for face, does in pairs])
    torch.testing.assert_close(model(faces(4), doing(4), 0)[0], one_by_one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", preset_names())
def test_presets_build(name):
    """On the meta device: shapes are computed, no memory is used."""
    settings = load_preset(name).model
    with torch.device("meta"):
        model = SwapAutoencoder(settings, ["a", "b"])
        picture = torch.empty(1, 3, settings.resolution, settings.resolution)
        face, mask = model(picture, torch.empty(1, expression.COUNT), 1)
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
        ({"views": -1}, "views"),
        ({"design": "beckmann2023"}, "views"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(UserError, match=message):
        ModelSettings(**{**vars(MODEL), **change})


@pytest.mark.parametrize("people", [[], ["anna", "anna"]])
def test_people_need_names(people):
    with pytest.raises(UserError, match="distinct names"):
        SwapAutoencoder(MODEL, people)


def remembering() -> tuple[SwapAutoencoder, torch.Tensor, torch.Tensor]:
    """A model that knows what its people did, with the pictures and the measures of the second."""
    torch.manual_seed(0)
    fresh = SwapAutoencoder(MODEL, ["anna", "ben", "cem"]).eval()
    rng = np.random.default_rng(0)
    habits = expression.Calibration.fit(rng.normal(size=(50, expression.COUNT)))
    pictures, seen = faces(MEMORIES), doing(MEMORIES)
    fresh.learn_habits(1, habits, seen)
    fresh.learn_codes(1, pictures.split(32))
    return fresh, pictures, seen


def test_a_model_of_before_it_knew_its_errors_can_be_read():
    """And takes nothing for something in front: by how much it is usually off is not known."""
    model, _, _ = remembering()
    model.usual[:] = 0
    values = model.state_dict()
    del values["usual"]
    other = SwapAutoencoder(MODEL, ["anna", "ben", "cem"])
    other.load_state_dict(values)
    assert other.usual.min() == UNKNOWN


class TestRetarget:
    def test_what_was_seen_is_found_again(self):
        """The code of the very face that does what is asked for."""
        model, pictures, seen = remembering()
        with torch.no_grad():
            code, known = model.retarget(seen[[3, 200]], 1)
            torch.testing.assert_close(known, seen[[3, 200]], atol=1e-3, rtol=0)
            torch.testing.assert_close(code, model.encoder(pictures[[3, 200]]), atol=1e-3, rtol=1e-3)

    def test_between_two_there_is_a_third(self):
        """Half an open mouth where only closed and wide open ones were seen."""
        model, _, _ = remembering()
        lips = expression.NAMES.index("lips apart")
        seen = torch.zeros(MEMORIES, expression.COUNT)
        seen[::2, lips] = 2
        model.seen[1] = seen
        wanted = torch.zeros(1, expression.COUNT)
        wanted[0, lips] = 0.8
        _, known = model.retarget(wanted, 1)
        assert float(known[0, lips]) == pytest.approx(0.8, abs=0.1)

    def test_it_stays_within_what_was_seen(self):
        """However wild the target: a weighted mean of what the source did."""
        model, _, seen = remembering()
        _, known = model.retarget(doing(20) * 3, 1)
        assert (known <= seen.amax(0) + 1e-5).all()
        assert (known >= seen.amin(0) - 1e-5).all()

    def test_importance(self):
        """Of two faces equally far away, the one that differs in what counts less is taken."""
        model, _, _ = remembering()
        lips, chin = expression.NAMES.index("lips apart"), expression.NAMES.index("chin")
        seen = torch.full((MEMORIES, expression.COUNT), 9.0)
        seen[:8] = seen[8:16] = 0
        seen[:8, lips], seen[8:16, chin] = 1, 1
        model.seen[1] = seen
        _, known = model.retarget(torch.zeros(1, expression.COUNT), 1)
        assert known[0, chin] > 10 * known[0, lips]

    def test_strength(self):
        model, pictures, seen = remembering()
        image, does = 1 - pictures[:2], doing(2) * 0.5
        with torch.no_grad():
            torch.testing.assert_close(model.swap(image, does, 1, 0.0)[0], model(image, does, 1)[0])
            full = model.swap(image, does, 1)
            torch.testing.assert_close(full[0], model.swap(pictures[:2], does, 1, 1.0)[0])
            assert not torch.allclose(full[0], model.swap(image, does, 1, 0.5)[0])
        assert full[1].shape == (2, 1, 32, 32)
        assert 0 <= full[1].min() <= full[1].max() <= 1


def test_habits_travel_with_the_weights():
    model, _, seen = remembering()
    other = SwapAutoencoder(MODEL, ["anna", "ben", "cem"])
    other.load_state_dict(model.state_dict())
    values = np.random.default_rng(1).normal(size=(5, expression.COUNT))
    np.testing.assert_array_equal(other.calibration(1)(values), model.calibration(1)(values))
    np.testing.assert_array_equal(other.adapted(values, values, 1), model.adapted(values, values, 1))
    with torch.no_grad():
        torch.testing.assert_close(other.retarget(seen[:3], 1), model.retarget(seen[:3], 1))
