from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import match_histograms

from blending import color
from tests.blending.scenes import disc, smooth_noise

SHAPE = (60, 70)
FULL = np.ones(SHAPE, np.float32)


def measure(image: np.ndarray, mask: np.ndarray, method: color.ColorMethod, **more: float) -> color.ColorStatistics:
    return color.measure(image, mask, space=color.space_of(method), sample=method in color.SHAPE_METHODS, **more)


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


def test_mkl_and_covariance_agree_with_their_closed_forms() -> None:
    source, target = pictures()
    clouds = [image.reshape(-1, 3).T.astype(np.float64) for image in (source, target)]
    (a, b), (mean_a, mean_b) = [np.cov(cloud, bias=True) for cloud in clouds], [cloud.mean(axis=1) for cloud in clouds]
    root = sqrtm(a)
    mkl = np.linalg.inv(root) @ sqrtm(root @ b @ root) @ np.linalg.inv(root)
    cholesky = np.linalg.cholesky(b) @ np.linalg.inv(np.linalg.cholesky(a))
    measured = color.measure(source, FULL), color.measure(target, FULL)
    for method, gain in (("mkl", mkl), ("covariance", cholesky)):
        found = color.affine(*measured, method=method, floor=1e-6)
        np.testing.assert_allclose(found, np.column_stack([gain, mean_b - gain @ mean_a]), atol=1e-5)


def test_histogram_agrees_with_scikit_image() -> None:
    source, target = pictures()
    target = (target**2 * 1.5).astype(np.float32)  # skewed
    expected = match_histograms(source, target, channel_axis=2)
    a, b = (measure(image, FULL, "histogram") for image in (source, target))
    error = np.abs(color.transfer(source, a, b, method="histogram") - expected)
    linear = np.abs(color.transfer(source, a, b, method="mean-std") - expected)
    assert error.mean() < 1 / 255
    assert linear.mean() > 2 * error.mean()


@pytest.mark.parametrize("method", ["idt", "sliced"])
def test_nonlinear_transport_comes_closer_than_any_linear_one(method: color.ColorMethod) -> None:
    source, target = pictures()
    light = np.clip((target[..., 0] - 0.35) / 0.25, 0, 1) ** 3  # mostly dark, and redder where it is bright
    target = (0.3 + light[..., None] * (0.5, 0.3, 0.1) + 0.1 * target).astype(np.float32)
    a, b = (measure(image, FULL, method) for image in (source, target))

    def left(by: color.ColorMethod) -> float:
        directions = np.random.default_rng(0).standard_normal((3, 100))
        directions /= np.linalg.norm(directions, axis=0)
        pair = color.transfer(source, a, b, method=by, max_gain=10.0), target
        moved, wanted = (np.sort(image.reshape(-1, 3) @ directions, axis=0) for image in pair)
        return float(np.sqrt(((moved - wanted) ** 2).mean()))

    assert left(method) < 0.7 * min(left("mkl"), left("covariance"), left("mean-std"))


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
    expected = (source - source.mean((0, 1))) / source.std((0, 1)) * target.std((0, 1)) + target.mean((0, 1))
    np.testing.assert_allclose(matched, expected, atol=2e-4)


@pytest.mark.parametrize("method", color.METHODS)
@pytest.mark.parametrize("anchor", [0.0, 0.1])
def test_same_statistics_change_nothing(method: color.ColorMethod, anchor: float) -> None:
    source, _ = pictures()
    own = measure(source, FULL, method)
    np.testing.assert_allclose(color.transfer(source, own, own, method=method, anchor=anchor), source, atol=2e-3)


@pytest.mark.parametrize("method", color.METHODS)
def test_strength_goes_from_nothing_to_everything(method: color.ColorMethod) -> None:
    source, target = pictures()
    space = color.space_of(method)
    a, b = color.measure(source, FULL, space=space), color.measure(target, FULL, space=space)
    np.testing.assert_array_equal(color.affine(a, b, method=method, strength=0), np.eye(3, 4, dtype=np.float32))
    whole, half = (color.affine(a, b, method=method, strength=s) for s in (1.0, 0.5))
    np.testing.assert_allclose(half, (whole + np.eye(3, 4)) / 2, atol=1e-5)


@pytest.mark.parametrize("method", color.SHAPE_METHODS)
def test_strength_of_the_nonlinear_methods(method: color.ColorMethod) -> None:
    source, target = pictures()
    a, b = measure(source, FULL, method), measure(target**2, FULL, method)
    none, half, whole = (color.transfer(source, a, b, method=method, strength=s) for s in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, source)
    np.testing.assert_allclose(half, (source + whole) / 2, atol=1e-5)
    assert np.abs(whole - color.apply(source, color.affine(a, b, method=method))).max() > 0.02


def test_only_what_lies_under_the_mask_counts() -> None:
    source, _ = pictures()
    mask = disc(SHAPE, (35, 30), 15).astype(np.float32) / 255
    spoilt = source.copy()
    spoilt[mask == 0] = 1.0
    for trim in (2.0, None):
        a, b = (color.measure(image, mask, trim=trim, sample=True) for image in (source, spoilt))
        np.testing.assert_array_equal(a.mean, b.mean)
        np.testing.assert_array_equal(a.covariance, b.covariance)
        np.testing.assert_array_equal(a.sample, b.sample)
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
    sample = color.measure(bearded, FULL, trim=2.0, sample=True).sample
    assert sample is not None
    np.testing.assert_allclose(sample.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(sample.std(axis=1), trimmed.std, rtol=0.1)


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
    for method in ("mean-std", "covariance", "mkl", *color.SHAPE_METHODS):
        moved = color.transfer(flat, measure(flat, FULL, method), measure(target, FULL, method), method=method)
        assert moved.std((0, 1)).max() < 1e-3
        np.testing.assert_allclose(moved.mean((0, 1)), target.mean((0, 1)), atol=1e-3)
        back = color.transfer(target, measure(target, FULL, method), measure(flat, FULL, method), method=method)
        assert np.isfinite(back).all()
        np.testing.assert_allclose(back.mean((0, 1)), 0.5, atol=2e-3)
        black = np.zeros_like(flat)
        same = color.transfer(black, *[measure(black, FULL, method)] * 2, method=method)
        np.testing.assert_array_equal(same, black)


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


@pytest.mark.parametrize(("method", "simpler"), [("histogram", "mean-std"), ("idt", "mkl"), ("sliced", "mkl")])
@pytest.mark.parametrize(("pixels", "linear"), [(0, True), (3, True), (40, True), (400, False)])
def test_small_regions_have_no_shape(
    method: color.ColorMethod, simpler: color.ColorMethod, pixels: int, linear: bool
) -> None:
    source, target = pictures()
    mask = np.zeros(SHAPE[0] * SHAPE[1], np.float32)
    mask[:pixels] = 1
    a, b = measure(source, mask.reshape(SHAPE), method), measure(target, FULL, method)
    for pair in ((a, b), (b, a)):
        found, plain = (color.transfer(source, *pair, method=name) for name in (method, simpler))
        assert np.array_equal(found, plain) == linear


@pytest.mark.parametrize("method", color.METHODS)
def test_shifting_picture_and_mask_shifts_the_result(method: color.ColorMethod) -> None:
    source, target = pictures()
    mask = disc(SHAPE, (35, 30), 15).astype(np.float32) / 255

    def shifted(by: tuple[int, int]) -> np.ndarray:
        at = np.roll(mask, by, (0, 1))
        images = [np.roll(image, by, (0, 1)) for image in (source, target)]
        return color.transfer(images[0], *(measure(image, at, method, trim=2.0) for image in images), method=method)

    np.testing.assert_allclose(np.roll(shifted((0, 0)), (7, -9), (0, 1)), shifted((7, -9)), atol=1e-6)


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
    measured = [measure(image, mask.reshape(20, 20), method, trim=2.0) for image in (source, target)]
    result = color.transfer(source, measured[0], measured[1], method=method, strength=strength, anchor=0.05)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1
