"""Augmentation: the target is straight, the input shares everything with it but the bending, the seed decides all."""

from __future__ import annotations

import pytest
import torch

from faceswap_hq.errors import UserError
from faceswap_hq.training.augmentation import AugmentSettings, augment, central
from faceswap_hq.training.data import generator

STILL = AugmentSettings(rotation=0, zoom=0, shift=0, flip=0, warp=0, light=0, tint=0)


def with_only(**ranges: float) -> AugmentSettings:
    return AugmentSettings(**{**vars(STILL), **ranges})


def data(batch: int = 4, side: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth pictures, uint8, and two areas."""
    random = torch.Generator().manual_seed(5)
    coarse = torch.rand(batch, 5, 6, 6, generator=random) * 255
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255).byte()
    return fine[:, :3], fine[:, 3:]


def test_without_ranges_it_is_the_central_crop():
    images, weights = data()
    bent, target, areas, _ = augment(images, weights, 32, STILL, generator(0))
    assert bent.shape == target.shape == (4, 3, 32, 32)
    assert areas.shape == (4, 2, 32, 32)
    assert bent.dtype == target.dtype == areas.dtype == torch.float32
    middle = images[..., 4:36, 4:36].float() / 255
    torch.testing.assert_close(central(images, 32), middle, rtol=0, atol=0)
    for value, expected in ((bent, middle), (target, middle), (areas, weights[..., 4:36, 4:36].float() / 255)):
        torch.testing.assert_close(value, expected, atol=2e-5, rtol=0)


def test_the_target_stays_straight():
    """Bending changes the input alone, and by about as much as it is told."""
    images, weights = data()
    bent, target, areas, _ = augment(images, weights, 32, with_only(warp=0.05), generator(0))
    _, straight, straight_areas, _ = augment(images, weights, 32, STILL, generator(0))
    torch.testing.assert_close(target, straight, rtol=0, atol=0)
    torch.testing.assert_close(areas, straight_areas, rtol=0, atol=0)
    assert (bent - target).abs().mean() > 0.01


def test_the_bendings_size():
    """On a picture of coordinates the input tells where each pixel came from."""
    side, resolution, share = 80, 64, 0.04
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    images = torch.stack([x * 3, y * 3, x], 0)[None].repeat(64, 1, 1, 1).byte()
    weights = torch.zeros(64, 2, side, side, dtype=torch.uint8)
    bent, target, _, _ = augment(images, weights, resolution, with_only(warp=share), generator(3))
    moved = (bent - target)[:, :2, 16:48, 16:48] * 255 / 3  # pixels
    assert moved.mean().abs() < 0.3
    assert 0.6 * share * resolution < moved.std() < 1.1 * share * resolution  # between its nodes the field is smoother


@pytest.mark.parametrize(
    "ranges", [{"rotation": 20}, {"zoom": 0.1}, {"shift": 0.1}, {"flip": 1.0}, {"light": 0.2}, {"tint": 0.1}]
)
def test_input_and_target_share_everything_else(ranges):
    images, weights = data()
    bent, target, _, _ = augment(images, weights, 32, with_only(**ranges), generator(1))
    torch.testing.assert_close(bent, target, rtol=0, atol=0)
    assert (target - central(images, 32)).abs().mean() > 0.004


def test_areas_go_with_the_target():
    """Sampled from the same places: a picture that repeats the area stays equal to it."""
    _, weights = data()
    images = weights[:, :1].repeat(1, 3, 1, 1)
    settings = with_only(rotation=20, zoom=0.1, shift=0.1, flip=0.5, warp=0.05)
    _, target, areas, _ = augment(images, weights, 32, settings, generator(2))
    torch.testing.assert_close(target[:, :1], areas[:, :1])


def test_flip():
    images, weights = data()
    _, target, areas, _ = augment(images, weights, 32, with_only(flip=1.0), generator(0))
    torch.testing.assert_close(target, central(images, 32).flip(-1), atol=2e-5, rtol=0)
    torch.testing.assert_close(areas, central(weights, 32).flip(-1), atol=2e-5, rtol=0)
    many, areas = data(batch=400, side=20)
    _, target, _, _ = augment(many, areas, 16, with_only(flip=0.25), generator(1))
    mirrored = ((target - central(many, 16)).abs().mean((1, 2, 3)) > 1e-3).float().mean()
    assert 0.18 < mirrored < 0.32


def test_rotation_turns_without_stretching():
    """A small spot keeps its distance from the middle."""
    images = torch.zeros(30, 3, 80, 80, dtype=torch.uint8)
    images[:, :, 38:42, 58:62] = 255
    _, target, _, _ = augment(
        images, torch.zeros(30, 2, 80, 80, dtype=torch.uint8), 64, with_only(rotation=30), generator(0)
    )
    grid = torch.arange(64) - 31.5
    mass = target[:, 0].sum((1, 2))
    x, y = (target[:, 0] * grid).sum((1, 2)) / mass, (target[:, 0] * grid[:, None]).sum((1, 2)) / mass
    torch.testing.assert_close(torch.hypot(x, y), torch.full((30,), 20.0), atol=0.2, rtol=0)
    angles = torch.rad2deg(torch.atan2(y, x))
    assert angles.abs().max() <= 30.5
    assert angles.max() > 15
    assert angles.min() < -15


def test_light_stays_in_range():
    images, weights = data()
    bent, target, _, _ = augment(images, weights, 32, with_only(light=0.9, tint=0.9), generator(0))
    assert 0 <= bent.min() <= bent.max() <= 1
    assert 0 <= target.min() <= target.max() <= 1


def test_the_generator_decides_everything():
    images, weights = data()
    torch.manual_seed(1)
    first = augment(images, weights, 32, AugmentSettings(), generator(7, 3))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = augment(images, weights, 32, AugmentSettings(), generator(7, 3))
    other = augment(images, weights, 32, AugmentSettings(), generator(7, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are used up


def test_the_data_is_left_alone():
    images, weights = data()
    before = images.clone(), weights.clone()
    augment(images, weights, 32, AugmentSettings(), generator(0))
    assert torch.equal(images, before[0])
    assert torch.equal(weights, before[1])


@pytest.mark.parametrize(
    "change", [{"rotation": -1.0}, {"flip": 1.5}, {"warp": -0.1}, {"zoom": 1.0}, {"light": float("nan")}]
)
def test_ranges_that_make_no_sense(change):
    with pytest.raises(UserError):
        AugmentSettings(**change)
