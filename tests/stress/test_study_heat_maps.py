from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from faceswap_hq.errors import UserError
from stress.detectors import Detector, new_detector
from stress.detectors.zoo import default_card
from stress.evaluation.comparison import Bootstrap
from stress.study.grad_cam import grad_cam
from stress.study.heat_maps import BINS, agreement, finish, similarity, strangers

QUICK = Bootstrap(resamples=100, confidence=0.95, seed=0)


class _Averaged(nn.Module):
    """Convolutions, an activation in place, the mean over places, one dense layer: here Grad-CAM is CAM."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(True), nn.Conv2d(4, 6, 3, 2))
        self.head = nn.Linear(6, outputs)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def _detector(module: nn.Module, **changes) -> Detector:
    card = default_card("small_cnn")
    return Detector(card=card.__class__(**{**card.__dict__, "input_size": 32, **changes}), module=module.eval())


def _pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("fake_index", [0, 1])
@pytest.mark.parametrize("outputs", [1, 2])
def test_behind_a_mean_and_one_dense_layer_grad_cam_is_the_class_activation_map(outputs, fake_index):
    module = _Averaged(outputs)
    detector = _detector(module, output="logit" if outputs == 1 else "two_logits", fake_index=fake_index)
    pictures = _pictures(5)
    found = grad_cam(detector, pictures, batch=2)
    with torch.no_grad():
        maps = module.body(detector.inputs(pictures))
        if outputs == 1:
            weights = module.head.weight[0] * (1 if fake_index == 1 else -1)
        else:
            weights = module.head.weight[fake_index] - module.head.weight[1 - fake_index]
        cam = torch.einsum("k,bkhw->bhw", weights, maps) / (maps.shape[2] * maps.shape[3])
    np.testing.assert_allclose(found, cam.numpy(), atol=1e-6)


def test_an_activation_in_place_and_frozen_weights_change_nothing():
    module = _Averaged()
    pictures = _pictures(2)
    wanted = grad_cam(_detector(module), pictures)
    module.body.append(nn.ReLU(True))
    with torch.no_grad():
        maps = module.body[:3](_detector(module).inputs(pictures))
    slopes = module.head.weight[0][None, :, None, None] * (maps > 0) / (maps.shape[2] * maps.shape[3])
    inplace = (slopes.mean((2, 3), keepdim=True) * maps).sum(1).detach().numpy()
    module.requires_grad_(False)
    found = grad_cam(_detector(module), pictures)
    np.testing.assert_allclose(found, inplace, atol=1e-6)
    assert not np.allclose(found, wanted)
    assert not module.body[0]._forward_hooks


@pytest.mark.parametrize("architecture", ["small_cnn", "xception", "efficientnet_b0"])
def test_the_studys_networks_have_maps(architecture):
    found = grad_cam(new_detector(architecture, device="cpu", input_size=64), np.zeros((2, 64, 64, 3), np.uint8))
    assert found.shape[0] == 2
    assert found.shape[1] > 1
    assert np.isfinite(found).all()


def test_a_network_without_convolutions_has_no_maps():
    dense = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    with pytest.raises(UserError, match="no convolution"):
        grad_cam(_detector(dense), _pictures(1))


def test_finished_maps_are_cut_off_at_zero_and_reach_one_and_empty_ones_are_known():
    maps = np.array([[[-1.0, 0.5], [0.25, -2.0]], [[-1.0, -0.5], [-0.25, -2.0]]])
    found = finish(maps, 2, "corrected")
    np.testing.assert_allclose(found[0, 0], [[0, 1], [0.5, 0]])
    assert np.isnan(found[1]).all()
    coloured = finish(maps, 2, "faithful")
    assert coloured.shape == (2, 3, 2, 2)
    assert np.isfinite(coloured).all()  # published maps are not cut off: nothing is empty
    np.testing.assert_array_equal(finish(-maps, 2, "faithful", real_first=True), coloured)


def test_similarity_is_one_of_equals_and_unknown_beside_an_empty_map():
    generator = np.random.default_rng(0)
    maps = generator.random((4, 1, 24, 24)).astype(np.float32)
    other = generator.random((4, 1, 24, 24)).astype(np.float32)
    other[3] = np.nan
    for mode in ("faithful", "corrected"):
        np.testing.assert_allclose(similarity(maps, maps, mode), 1, atol=1e-5)
        found = similarity(maps, other, mode, batch=3)
        assert (np.abs(found[:3]) < 0.3).all()
        assert np.isnan(found[3])


def test_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    generator = np.random.default_rng(1)
    one = generator.random((1, 1, 40, 40))
    other = np.clip(one + generator.normal(0, 0.1, one.shape), 0, 1)
    wanted = metrics.structural_similarity(
        one[0, 0], other[0, 0], data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert similarity(one, other, "corrected")[0] == pytest.approx(wanted, abs=1e-6)
    wanted = metrics.structural_similarity(one[0, 0], other[0, 0], data_range=1.0, use_sample_covariance=False)
    assert similarity(one, other, "faithful")[0] == pytest.approx(wanted, abs=1e-6)


def test_agreement_counts_pictures_in_three_bins_and_knows_what_strangers_share():
    generator = np.random.default_rng(0)
    people = [(f"p{i // 2}",) for i in range(16)]
    clips = [i // 2 for i in range(16)]
    one = generator.random((16, 1, 32, 32)).astype(np.float32)
    other = one.copy()
    other[:4] = generator.random((4, 1, 32, 32))
    empty = one.copy()
    empty[15] = np.nan
    found = agreement({"one": one, "other": other, "empty": empty}, people, clips, QUICK, "corrected")
    assert found["n"] == {"pictures": 15, "clips": 8, "people": 8}
    assert found["empty"] == 1
    assert [found["bins"][name]["value"] for name in BINS] == pytest.approx([4 / 15, 0, 11 / 15])
    pairs = [similarity(a, b, "corrected") for a, b in ((one, other), (one, empty), (other, empty))]
    assert found["ssim"]["value"] == pytest.approx(float(np.nanmean(np.mean(pairs, axis=0))))
    assert found["ssim"]["low"] < found["ssim"]["value"] < found["ssim"]["high"] <= 1
    assert abs(found["strangers"]["value"]) < 0.1
    nothing = agreement({"a": one * np.nan, "b": one}, people, clips, QUICK, "corrected")
    assert nothing["ssim"] is None
    assert nothing["empty"] == 16


def test_strangers_share_nobody():
    people = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "c")]
    found = strangers(people, 0)
    assert found.tolist() == [2, -1, 0, -1]
