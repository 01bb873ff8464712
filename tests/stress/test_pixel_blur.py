"""The pixel-wise blur against unfolding, closed forms and numerical gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from stress.training.adversary.pixel_blur import pixel_blur, strength


def unfolded(x, s, window):
    """The definition, with all neighbourhoods side by side."""
    r = window // 2
    near = functional.unfold(functional.pad(x, (r, r, r, r), mode="reflect"), window)
    near = near.view(*x.shape[:2], window**2, *x.shape[2:])
    offsets = torch.arange(-r, r + 1).to(x)
    squares = (offsets[:, None] ** 2 + offsets**2).reshape(1, 1, -1, 1, 1)
    weights = torch.exp(-squares * s[:, :, None] / 2)
    return (near * weights).sum(2) / weights.sum(2)


def _given(channels, size=(7, 9), dtype=torch.float64):
    x = torch.rand(2, 3, *size, dtype=dtype, requires_grad=True)
    s = (3 * torch.rand(2, channels, *size, dtype=dtype)).requires_grad_()
    return x, s


@pytest.mark.parametrize(("window", "channels"), itertools.product([1, 3, 5, 7, 11], [1, 3]))
def test_value_and_gradients_are_those_of_unfolding(window, channels):
    x, s = _given(channels)
    towards = torch.rand_like(x)
    ours, theirs = (f(x, s, window) for f in (pixel_blur, unfolded))
    assert torch.allclose(ours, theirs, atol=1e-14)
    for one, other in zip(*(torch.autograd.grad((y * towards).sum(), (x, s)) for y in (ours, theirs)), strict=True):
        assert torch.allclose(one, other, atol=1e-13)


@pytest.mark.parametrize(("window", "channels"), [(3, 3), (5, 1)])
def test_gradients_are_those_of_finite_differences(window, channels):
    x, s = _given(channels, (3, 4))
    assert torch.autograd.gradcheck(lambda x, s: pixel_blur(x, s, window), (x, s))
    assert torch.autograd.gradcheck(lambda x: pixel_blur(x, s.detach(), window), (x,))
    assert torch.autograd.gradcheck(lambda s: pixel_blur(x.detach(), s, window), (s,))


def test_one_pixel_by_hand():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    s = torch.full_like(x, 1.4)
    y = pixel_blur(x, s)
    side, corner = np.exp(-0.7), np.exp(-1.4)
    total = 1 + 4 * side + 4 * corner
    found = y[0, 0, 1:4, 1:4].numpy()
    assert found == pytest.approx(np.array([[corner, side, corner], [side, 1, side], [corner, side, corner]]) / total)
    assert not y[0, 0, 0].any()


def test_no_width_leaves_the_picture_and_a_great_one_is_the_mean():
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(pixel_blur(x, torch.full((2, 1, 8, 8), 1e12)), x)
    mean = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    assert torch.allclose(pixel_blur(x, torch.zeros(2, 1, 8, 8)), mean, atol=1e-6)
    assert torch.allclose(strength(torch.zeros(2, 1, 8, 8)), torch.ones(2, 1, 8, 8))
    assert not strength(torch.full((2, 3, 8, 8), 1e12)).any()


def test_each_pixel_has_its_own_width_and_even_pictures_stay():
    x = torch.rand(1, 3, 8, 8)
    s = torch.full((1, 1, 8, 8), 1e12)
    s[0, 0, 3, 5] = 0.5
    changed = (pixel_blur(x, s) != x).any(1)[0].nonzero().tolist()
    assert changed == [[3, 5]]
    even = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(pixel_blur(even, torch.rand(1, 1, 8, 8)), even)


def test_memory_layout_does_not_matter():
    x, s = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    assert torch.equal(pixel_blur(x.to(memory_format=torch.channels_last), s), pixel_blur(x, s))


@pytest.mark.parametrize(
    ("s", "window"),
    [((2, 1, 8, 8), 4), ((2, 1, 8, 8), 17), ((2, 2, 8, 8), 3), ((1, 1, 8, 8), 3), ((2, 1, 8, 7), 3), ((2, 8, 8), 3)],
)
def test_what_does_not_go_together_is_refused(s, window):
    with pytest.raises(ValueError, match="window|widths"):
        pixel_blur(torch.rand(2, 3, 8, 8), torch.rand(s), window)
