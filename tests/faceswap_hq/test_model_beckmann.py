"""The published model: its sizes, its own code as the default, exact resume although layers are left out at random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.faces import expression
from faceswap_hq.model import ModelSettings, SwapAutoencoder
from faceswap_hq.training.data import load_person
from faceswap_hq.training.devices import open_fabric
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.losses import LossSettings
from faceswap_hq.training.preview import sheet
from faceswap_hq.training.run import load_model
from faceswap_hq.training.settings import load_preset
from faceswap_hq.training.trainer import Trainer
from tests.faceswap_hq.helpers import SETTINGS, write_faceset
from tests.faceswap_hq.test_training_loop import same, stop_at

LITTLE = ModelSettings(
    design="beckmann2023", resolution=32, bottleneck=16, base_channels=8, decoder_channels=(8,), residual=(1,)
)
TRAIN = replace(SETTINGS, model=LITTLE, loss=LossSettings(cut_out=True), warp_until=0.5, epsilon=1e-7)

CPU = open_fabric(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def model() -> SwapAutoencoder:
    torch.manual_seed(0)
    return SwapAutoencoder(LITTLE, ["anna", "ben"]).eval()


@pytest.fixture
def forgetful(monkeypatch) -> None:
    """EfficientNet looks at 512 remembered faces for every preview: minutes, for nothing that is tested here."""
    monkeypatch.setattr(Trainer, "remember", lambda self: None)
    monkeypatch.setattr(Trainer, "judge", lambda self: None)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("facesets")
    return [write_faceset(folder / f"{name}.faceset", seed=seed) for name, seed in (("anna", 1), ("ben", 2))]


def test_looking_at_a_model_leaves_its_frozen_encoder_in_evaluation(pair, tmp_path):
    """Its batch statistics are everybody's: they must not move while a person is added."""
    base = SwapAutoencoder(LITTLE, ["anna", "ben"])
    cem = load_person(write_faceset(tmp_path / "cem.faceset", seed=3), 32, TRAIN.coverage)
    trainer = Trainer(TRAIN, [cem], CPU, base=base)
    assert trainer.model.training
    assert not trainer.model.encoder.training
    few = replace(cem, images=cem.images[:2], weights=cem.weights[:2], measures=cem.measures[:2])
    trainer.people = [few]
    for look in (trainer.judge, lambda: sheet(trainer.model, [few], rows=1, first=2)):
        look()
        assert trainer.model.training
        assert not any(module.training for module in trainer.model.encoder.modules())


def test_the_preset_has_the_published_sizes():
    settings = load_preset("beckmann2023")
    with torch.device("meta"):
        model = SwapAutoencoder(settings.model, ["a", "b"])
    assert model.encoder.dense.weight.shape == (1024, 1792 * 8 * 8)
    assert model.opening.dense.weight.shape == (81920, 1024)
    image = torch.zeros(1, 3, 256, 256, device="meta")
    code = model.encode(image, torch.zeros(1, expression.COUNT, device="meta"))
    assert code.shape == (1, 1280, 16, 16)
    stages = [module.convolution for module in model.decoders[0].stages if hasattr(module, "convolution")]
    assert [stage.out_channels // 4 for stage in stages] == [512, 384, 256, 128]
    assert sum(hasattr(module, "second") for module in model.decoders[0].stages) == 6
    face, mask = model.decode(code, 1)
    assert face.shape == (1, 3, 256, 256)
    assert mask.shape == (1, 1, 256, 256)
    assert (settings.learning_rate, settings.epsilon, settings.warp_until) == (5e-5, 1e-7, 0.5)
    assert (settings.loss.cut_out, settings.loss.eyes, settings.loss.mouth) == (True, 3, 2)


def test_the_mask_is_left_to_the_targets_outline(model):
    _, mask = model(torch.rand(2, 3, 32, 32), torch.randn(2, expression.COUNT), 0)
    assert mask.min() > 0.999


def test_by_default_it_draws_from_the_targets_own_code(model):
    image, measures = torch.rand(2, 3, 32, 32), torch.randn(2, expression.COUNT)
    assert model.retargets == 0
    own = model.decode(model.encode(image, measures), 1)[0]
    torch.testing.assert_close(model.swap(image, measures, 1)[0], own)
    with pytest.raises(ValueError, match="picture is needed"):
        model.swap(None, measures, 1)


@pytest.mark.slow
def test_remembering_leaves_the_normalisation_alone(model):
    model.train()
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    model.learn_codes(0, torch.rand(256, 3, 32, 32).split(32))
    assert model.encoder.training
    model.eval()
    assert all(torch.equal(value, before[key]) for key, value in model.encoder.state_dict().items())


@pytest.mark.slow
def test_a_person_added_later_leaves_the_encoder_alone(pair, tmp_path, forgetful):
    """Its normalisation too, although previews are drawn on the way."""
    train(tmp_path / "base", pair, TRAIN, Budget(steps=2), device="cpu")
    cem = write_faceset(tmp_path / "cem.faceset", seed=3)
    train(tmp_path / "grown", [cem], TRAIN, Budget(steps=2), device="cpu", base=tmp_path / "base")
    old, new = (load_model(tmp_path / name)[0].encoder.state_dict() for name in ("base", "grown"))
    assert all(torch.equal(value, new[key]) for key, value in old.items())


@pytest.mark.slow
def test_stopped_and_resumed_is_the_same(pair, tmp_path, forgetful):
    settings = replace(TRAIN, ema=0.9)
    train(tmp_path / "a", pair, settings, Budget(steps=4), device="cpu")
    train(tmp_path / "b", pair, settings, Budget(steps=4), device="cpu", report=stop_at(2))
    train(tmp_path / "b", pair, settings, Budget(steps=4), device="cpu")
    assert same(tmp_path / "a", tmp_path / "b")
    assert load_model(tmp_path / "a")[1].model == LITTLE


def test_inputs_are_warped_in_the_first_part_only(pair):
    from faceswap_hq.training.data import load_person

    people = [load_person(faceset, 32, SETTINGS.coverage) for faceset in pair]
    trainer = Trainer(TRAIN, people, CPU)
    for share, warped in ((0.0, True), (0.49, True), (0.5, False), (1.0, False)):
        bent, target, _, _ = trainer.batch(3, share)
        assert torch.equal(bent, target) != warped


def test_imagenet_weights_that_cannot_be_downloaded(pair, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match="could not be loaded: no network") as caught:
        train(tmp_path / "run", pair, replace(TRAIN, pretrained=True), Budget(steps=1), device="cpu")
    assert "pretrained: false" in str(caught.value)


def test_pretrained_weights_are_for_this_design_only():
    with pytest.raises(UserError, match="pretrained"):
        replace(SETTINGS, pretrained=True)
