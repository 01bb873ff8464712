from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from blending import color
from tests.blending.scenes import disc, smooth_noise

SHAPE = (60, 70)
FULL = np.ones(SHAPE, np.float32)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    return smooth_noise(1, SHAPE, low=0.3, high=0.7), smooth_noise(2, SHAPE, low=0.35, high=0.6)


@pytest.mark.parametrize("method", ["covariance", "mkl"])
def test_full_covariance_transfer_reaches_the_targets_moments(method: color.ColorMethod) -> None:
    source, target = pictures()
    measured = color.measure(source, FULL), color.measure(target, FULL)
    moved = color.transfer(source, *measured, method=method).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(moved.mean(axis=0), target.reshape(-1, 3).mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(np.cov(moved.T, bias=True), np.cov(target.reshape(-1, 3).T, bias=True), atol=3e-5)


def test_mkl_is_the_symmetric_solution() -> None:
    source, target = pictures()
    a, b = color.measure(source, FULL), color.measure(target, FULL)
    gain = color.affine(a, b, method="mkl", floor=1e-6)[:, :3].astype(np.float64)
    np.testing.assert_allclose(gain, gain.T, atol=1e-6)
    assert (np.linalg.eigvalsh(gain) > 0).all()
    np.testing.assert_allclose(gain @ a.covariance @ gain, b.covariance, atol=1e-7)


def test_reinhard_agrees_with_scikit_image() -> None:
    source, target = pictures()
    a, b = rgb2lab(source), rgb2lab(target)
    expected = (a - a.mean((0, 1))) / a.std((0, 1)) * b.std((0, 1)) + b.mean((0, 1))
    measured = [color.measure(image, FULL, space="lab") for image in (source, target)]
    result = color.transfer(source, measured[0], measured[1], method="reinhard")
    np.testing.assert_allclose(result, np.clip(lab2rgb(expected), 0, 1), atol=4e-3)


def test_mean_and_mean_std_per_channel() -> None:
    source, target = pictures()
    a, b = color.measure(source, FULL), color.measure(target, FULL)
    shifted = color.transfer(source, a, b, method="mean")
    np.testing.assert_allclose(shifted - source, np.broadcast_to(b.mean - a.mean, source.shape), atol=1e-5)
    matched = color.transfer(source, a, b, method="mean-std")
    np.testing.assert_allclose(matched.std((0, 1)), target.std((0, 1)), rtol=2e-3)


@pytest.mark.parametrize("method", color.METHODS)
@pytest.mark.parametrize("anchor", [0.0, 0.1])
def test_same_statistics_change_nothing(method: color.ColorMethod, anchor: float) -> None:
    source, _ = pictures()
    own = color.measure(source, FULL, space=color.space_of(method))
    np.testing.assert_allclose(color.transfer(source, own, own, method=method, anchor=anchor), source, atol=2e-3)


@pytest.mark.parametrize("method", color.METHODS)
def test_strength_goes_from_nothing_to_everything(method: color.ColorMethod) -> None:
    source, target = pictures()
    space = color.space_of(method)
    a, b = color.measure(source, FULL, space=space), color.measure(target, FULL, space=space)
    np.testing.assert_array_equal(color.affine(a, b, method=method, strength=0), np.eye(3, 4, dtype=np.float32))
    whole, half = (color.affine(a, b, method=method, strength=s) for s in (1.0, 0.5))
    np.testing.assert_allclose(half, (whole + np.eye(3, 4)) / 2, atol=1e-5)


def test_only_what_lies_under_the_mask_counts() -> None:
    source, _ = pictures()
    mask = disc(SHAPE, (35, 30), 15).astype(np.float32) / 255
    spoilt = source.copy()
    spoilt[mask == 0] = 1.0
    a, b = color.measure(source, mask), color.measure(spoilt, mask)
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.covariance, b.covariance)
    inside = source[mask > 0].astype(np.float64)
    np.testing.assert_allclose(a.mean, inside.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(a.covariance, np.cov(inside.T, bias=True), atol=1e-9)


def test_trimming_finds_the_skin_under_a_beard() -> None:
    random = np.random.default_rng(0)
    skin = (0.7, 0.5, 0.4) + random.normal(0, 0.03, (*SHAPE, 3))
    bearded = skin.copy()
    bearded[42:] = (0.15, 0.1, 0.1) + random.normal(0, 0.03, (18, 70, 3))
    bearded, skin = bearded.astype(np.float32), skin.astype(np.float32)
    plain = color.measure(bearded, FULL)
    trimmed = color.measure(bearded, FULL, trim=2.0)
    assert np.abs(plain.mean - skin.mean((0, 1))).max() > 0.1
    np.testing.assert_allclose(trimmed.mean, skin.mean((0, 1)), atol=0.005)
    np.testing.assert_allclose(trimmed.std, 0.03, rtol=0.25)


def test_anchor_keeps_black_black() -> None:
    random = np.random.default_rng(0)
    pale = ((0.85, 0.7, 0.65) + random.normal(0, 0.05, (*SHAPE, 3))).astype(np.float32)
    flat = ((0.6, 0.45, 0.4) + random.normal(0, 0.01, (*SHAPE, 3))).astype(np.float32)
    a, b = color.measure(pale, FULL), color.measure(flat, FULL)
    loose, held = (color.affine(a, b, anchor=anchor) for anchor in (0.0, 0.1))
    assert np.abs(loose[:, 3]).max() > 0.2  # black would turn grey
    assert np.abs(held[:, 3]).max() < 0.05
    for matrix in (loose, held):
        np.testing.assert_allclose(matrix[:, :3] @ a.mean + matrix[:, 3], b.mean, atol=1e-5)


def test_constant_region_does_not_have_its_noise_blown_up() -> None:
    random = np.random.default_rng(0)
    flat = np.full((*SHAPE, 3), 0.5, np.float32) + random.normal(0, 1e-4, (*SHAPE, 3)).astype(np.float32)
    _, target = pictures()
    for method in ("mean-std", "covariance", "mkl"):
        moved = color.transfer(flat, color.measure(flat, FULL), color.measure(target, FULL), method=method)
        assert moved.std((0, 1)).max() < 1e-3
        np.testing.assert_allclose(moved.mean((0, 1)), target.mean((0, 1)), atol=1e-3)
    back = color.transfer(target, color.measure(target, FULL), color.measure(flat, FULL))
    assert np.isfinite(back).all()


@pytest.mark.parametrize("method", color.METHODS)
def test_tiny_and_empty_regions(method: color.ColorMethod) -> None:
    source, target = pictures()
    space = color.space_of(method)
    whole = color.measure(target, FULL, space=space)
    empty = color.measure(source, np.zeros(SHAPE, np.float32), space=space, trim=2.0)
    np.testing.assert_array_equal(color.affine(empty, whole, method=method), np.eye(3, 4, dtype=np.float32))
    few = np.zeros(SHAPE, np.float32)
    few[30, 30:33] = 1
    tiny = color.measure(source, few, space=space, trim=2.0)
    matrix = color.affine(tiny, whole, method=method)
    np.testing.assert_allclose(matrix[:, :3], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(tiny.mean + matrix[:, 3], whole.mean, rtol=1e-5, atol=1e-5)


def test_wrong_space_and_unknown_method_are_refused() -> None:
    source, _ = pictures()
    with pytest.raises(ValueError, match="lab"):
        color.affine(color.measure(source, FULL), color.measure(source, FULL), method="reinhard")
    with pytest.raises(ValueError, match="sorcery"):
        color.affine(color.measure(source, FULL), color.measure(source, FULL), method="sorcery")  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(color.METHODS), st.floats(0, 1), st.integers(1, 400))
def test_result_is_always_a_picture(seed: int, method: color.ColorMethod, strength: float, pixels: int) -> None:
    random = np.random.default_rng(seed)
    source, target = (random.random((20, 20, 3), dtype=np.float32) ** random.uniform(0.2, 5) for _ in range(2))
    mask = np.zeros(400, np.float32)
    mask[:pixels] = random.random(pixels)
    space = color.space_of(method)
    measured = [color.measure(image, mask.reshape(20, 20), space=space, trim=2.0) for image in (source, target)]
    result = color.transfer(source, measured[0], measured[1], method=method, strength=strength, anchor=0.05)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1
