"""Losses against plain numpy windows and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from sklearn.metrics import log_loss

from faceswap_hq.errors import UserError
from faceswap_hq.training.losses import (
    LossSettings,
    pixel_weights,
    reconstruction_loss,
    small_window_ssim,
    ssim_map,
)


def pictures(seed: int, batch: int = 2, side: int = 24) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def ssim_by_hand(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Wang et al. 2004 on one channel, 8 × 8 windows 4 pixels apart, population moments."""
    side = x.shape[0] // 4 - 1
    out = np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            a, b = (z[4 * i : 4 * i + 8, 4 * j : 4 * j + 8].ravel() for z in (x, y))
            covariance = np.mean((a - a.mean()) * (b - b.mean()))
            luminance = (2 * a.mean() * b.mean() + 0.01**2) / (a.mean() ** 2 + b.mean() ** 2 + 0.01**2)
            out[i, j] = luminance * (2 * covariance + 0.03**2) / (a.var() + b.var() + 0.03**2)
    return out


def test_ssim_by_hand():
    x, y = pictures(0), (0.7 * pictures(0) + 0.3 * pictures(1))
    found = ssim_map(x, y)
    assert found.shape == (2, 1, 5, 5)
    for n in range(2):
        expected = np.mean([ssim_by_hand(x[n, c].double().numpy(), y[n, c].double().numpy()) for c in range(3)], axis=0)
        np.testing.assert_allclose(found[n, 0], expected, atol=2e-4)


def test_ssim_of_equals_is_one():
    torch.testing.assert_close(ssim_map(pictures(0), pictures(0)), torch.ones(2, 1, 5, 5), atol=1e-5, rtol=0)
    flat = torch.full((1, 3, 16, 16), 0.5)
    torch.testing.assert_close(ssim_map(flat, flat), torch.ones(1, 1, 3, 3))
    assert ssim_map(pictures(0), 1 - pictures(0)).max() < 0


def test_weights_of_pixels():
    settings = LossSettings(background=0.1, details=2.0)
    face_eyes_mouth = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0.5, 0, 0]]
    areas = torch.tensor(face_eyes_mouth).T[None, :, :, None]
    found = pixel_weights(areas, settings)[0, 0, :, 0]
    torch.testing.assert_close(found, torch.tensor([0.1, 1.0, 3.0, 3.0, 0.1, 0.55]))


def areas(side: int = 24) -> torch.Tensor:
    out = torch.zeros(2, 3, side, side)
    out[:, 0, 4:20, 4:20] = 1
    out[:, 1, 8:12, 8:12] = 1
    out[:, 2, 14:18, 8:12] = 1
    return out


def test_terms_add_up_and_perfection_costs_nothing():
    target, mask = pictures(0), areas()[:, :1]
    terms = reconstruction_loss(target, mask * 60 - 30, target, areas(), LossSettings())
    assert set(terms) == {"l1", "dssim", "dssim_coarse", "mask", "total"}
    for value in terms.values():
        assert abs(float(value)) < 1e-5
    worse = reconstruction_loss(pictures(1), mask * 0, target, areas(), LossSettings())
    assert float(worse["total"]) == pytest.approx(sum(float(v) for k, v in worse.items() if k != "total"), rel=1e-6)
    assert all(float(value) > 0.01 for value in worse.values())


def test_absolute_error_as_a_weighted_mean():
    target, face = pictures(0), pictures(1)
    settings = LossSettings(l1=3.0)
    weights = pixel_weights(areas(), settings).numpy()
    error = np.abs(face.numpy() - target.numpy()).mean(1, keepdims=True)
    found = reconstruction_loss(face, areas()[:, :1], target, areas(), settings)["l1"]
    assert float(found) == pytest.approx(3.0 * np.average(error, weights=weights), rel=1e-5)


def test_mask_as_scikit_learns_log_loss():
    logits = torch.randn(2, 1, 24, 24, generator=torch.Generator().manual_seed(2))
    found = reconstruction_loss(pictures(0), logits, pictures(0), areas(), LossSettings(mask=0.5))["mask"]
    expected = 0.5 * log_loss(areas()[:, 0].ravel().numpy(), torch.sigmoid(logits).ravel().double().numpy())
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_mistake_in_the_eyes_costs_more_than_one_in_the_background():
    target = pictures(0) * 0.5

    def cost(rows: slice, columns: slice) -> float:
        face = target.clone()
        face[:, :, rows, columns] += 0.4
        return float(reconstruction_loss(face, areas()[:, :1], target, areas(), LossSettings(mask=0))["total"])

    eyes, cheek, wall = (
        cost(slice(8, 12), slice(8, 12)),
        cost(slice(14, 18), slice(14, 18)),
        cost(slice(0, 4), slice(0, 4)),
    )
    assert eyes > 1.5 * cheek > 3 * wall > 0


def test_terms_can_be_left_out():
    settings = LossSettings(dssim=0, dssim_coarse=0, mask=0)
    assert set(reconstruction_loss(pictures(1), areas()[:, :1], pictures(0), areas(), settings)) == {"l1", "total"}


@pytest.mark.parametrize("change", [{"l1": -1.0}, {"background": -0.5}, {"details": float("nan")}])
def test_weights_that_make_no_sense(change):
    with pytest.raises(UserError):
        LossSettings(**change)


class TestCutOut:
    """The published loss: face, eyes and mouth, each times its mask and by itself."""

    SETTINGS = LossSettings(cut_out=True, eyes=3.0, mouth=2.0)

    def test_small_window_ssim_by_hand(self):
        x, y = pictures(0), pictures(1)
        line = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * 1.5**2))
        window = np.outer(line, line) / line.sum() ** 2

        def mean(a):
            return np.stack([[convolve2d(c, window, mode="valid") for c in image] for image in a])

        a, b = x.double().numpy(), y.double().numpy()
        ma, mb = mean(a), mean(b)
        va, vb, ab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        expected = (2 * ma * mb + 1e-4) * (2 * ab + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
        assert float(small_window_ssim(x, y)) == pytest.approx(expected.mean(), abs=1e-4)
        assert float(small_window_ssim(x, x)) == pytest.approx(1, abs=1e-5)

    def test_the_sum_of_its_parts(self):
        face, target, masks = pictures(1), pictures(0), areas()
        terms = reconstruction_loss(face, masks[:, :1], target, masks, self.SETTINGS)
        squares = (face - target).square().mean(1, keepdim=True)
        parts = [float((squares * mask**2).mean()) for mask in masks.split(1, 1)]
        assert float(terms["mse"]) == pytest.approx(parts[0] + 3 * parts[1] + 2 * parts[2], rel=1e-4)
        assert float(terms["total"]) == pytest.approx(float(terms["mse"] + terms["dssim"]), rel=1e-6)

    def test_outside_the_face_nothing_counts(self):
        target = pictures(0)
        face = target.clone()
        face[:, :, :4] = 1
        assert float(reconstruction_loss(face, face[:, :1], target, areas(), self.SETTINGS)["total"]) < 1e-5
