"""Masks of frequencies, pixels and patches, against numpy's own spectrum and counts taken one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stress.training.recipes.masks import (
    BANDS,
    MODES,
    band_places,
    hide_frequencies,
    hide_patches,
    hide_pixels,
    without_frequencies,
)

SIZES = (16, 27, 30, 64)


def noise(size: int, low: int = 0, high: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (size, size, 3)).astype(np.uint8)


def grating(size: int, row: int, column: int) -> np.ndarray:
    """Grey 128 with a wave of 80 grey levels, of ``row`` periods down and ``column`` across."""
    y, x = np.mgrid[:size, :size]
    wave = 128 + 80 * np.cos(2 * np.pi * (row * y + column * x) / size)
    return np.repeat(np.rint(wave)[..., None], 3, axis=2).astype(np.uint8)


def spread(image: np.ndarray) -> float:
    return float(image.astype(float).std())


@pytest.mark.parametrize("size", SIZES)
def test_corrected_bands_are_rings_counted_one_by_one(size: int) -> None:
    for band, low, high in (("low", 0, 1), ("mid", 1, 2), ("high", 2, 99), ("all", 0, 99)):
        found = band_places(size, band, "corrected")
        for i in range(size):
            for j in range(size):
                u, v = min(i, size - i), min(j, size - j)  # periods over the picture; Nyquist is size / 2
                inside = low**2 * size**2 <= 36 * (u**2 + v**2) < high**2 * size**2 and (i, j) != (0, 0)
                assert found[i, j] == inside, (band, i, j)


@pytest.mark.parametrize("size", SIZES)
def test_faithful_bands_are_squares_of_unshifted_indices(size: int) -> None:
    quarter, rest = size // 4, 3 * size // 4
    for band, first, last in (("low", 0, quarter), ("mid", quarter, rest), ("high", rest, size), ("all", 0, size)):
        expected = [(i, j) for i in range(first, last) for j in range(first, last)]
        assert np.argwhere(band_places(size, band, "faithful")).tolist() == [list(place) for place in expected]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("mode", MODES)
def test_the_share_of_a_band_is_hidden_and_nothing_else(size: int, band: str, mode: str) -> None:
    places = band_places(size, band, mode)
    for seed, ratio in enumerate((0.0, 0.01, 0.15, 0.5, 1.0)):
        hidden = hide_frequencies(size, band, ratio, mode, np.random.default_rng(seed))
        wanted = math.ceil(round(ratio * int(places.sum()), 6))
        assert not (hidden & ~places).any()
        assert int(hidden.sum()) - wanted in ({0} if mode == "faithful" or ratio in (0, 1) else {0, 1})


def test_a_share_that_is_whole_is_not_rounded_up() -> None:
    """0.07 * 100 is 7.000000000000001 in floating point."""
    assert hide_pixels(10, 0.07, np.random.default_rng(0)).sum() == 7
    assert hide_pixels(10, 0.071, np.random.default_rng(0)).sum() == 8


@pytest.mark.parametrize("size", SIZES)
def test_corrected_masks_are_hermitian_and_faithful_ones_are_not(size: int) -> None:
    places = np.arange(size)
    mirrored = np.ix_(-places % size, -places % size)
    for band in BANDS:
        hidden = hide_frequencies(size, band, 0.15, "corrected", np.random.default_rng(1))
        assert np.array_equal(hidden, hidden[mirrored])
        inverse = np.fft.ifft2(np.where(hidden, 0, np.fft.fft2(noise(size)[..., 0])))
        assert np.abs(inverse.imag).max() < 1e-9
    hidden = hide_frequencies(size, "all", 0.15, "faithful", np.random.default_rng(1))
    assert not np.array_equal(hidden, hidden[mirrored])


def test_every_coefficient_is_hidden_as_often_as_another() -> None:
    for mode in MODES:
        generator = np.random.default_rng(3)
        drawn = np.mean([hide_frequencies(16, "mid", 0.25, mode, generator) for _ in range(800)], axis=0)
        inside = drawn[band_places(16, "mid", mode)]
        assert 0.18 < inside.min() <= inside.max() < 0.34


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("band", BANDS)
def test_corrected_pictures_are_numpys_rounded_and_clipped(size: int, band: str) -> None:
    image = noise(size)
    hidden = hide_frequencies(size, band, 0.3, "corrected", np.random.default_rng(2))
    found = without_frequencies(image, hidden, "corrected")
    clipped = 0
    for channel in range(3):
        exact = np.fft.ifft2(np.fft.fft2(image[..., channel]) * ~hidden).real
        clipped += int(((exact < 0) | (exact > 255)).sum())
        assert np.abs(found[..., channel] - np.clip(exact, 0, 255)).max() < 0.5 + 1e-3
    assert clipped or band == "low"
    assert found.dtype == np.uint8


@pytest.mark.parametrize("size", SIZES)
def test_faithful_pictures_wrap_around(size: int) -> None:
    image = noise(size, 0, 2) * np.uint8(255)
    hidden = hide_frequencies(size, "all", 0.3, "faithful", np.random.default_rng(2))
    hidden[0, 0] = False
    found = without_frequencies(image, hidden, "faithful")
    below = above = 0
    for channel in range(3):
        exact = np.fft.ifft2(np.fft.fft2(image[..., channel]) * ~hidden).real
        below, above = below + int((exact <= -1).sum()), above + int((exact >= 256).sum())
        for value, got in zip(exact.ravel().tolist(), found[..., channel].ravel().tolist(), strict=True):
            assert got == int(value) % 256
    assert below
    assert above


def test_a_dark_and_a_bright_pixel_wrap_to_the_other_end() -> None:
    """Without their mean of 10, 14 and 6 are 4 and -4, or a hair less far from 0, whose decimals are cut off."""
    image = np.full((16, 16, 3), 10, np.uint8)
    image[3, 5], image[8, 8] = 14, 6
    mean = np.zeros((16, 16), bool)
    mean[0, 0] = True
    found = without_frequencies(image, mean, "faithful")
    assert set(found[3, 5].tolist()) <= {3, 4}
    assert set(found[8, 8].tolist()) <= {252, 253}
    assert set(np.delete(found[..., 0].ravel(), [53, 136]).tolist()) <= {0}


def test_masks_are_the_same_in_three_channels() -> None:
    """A grey picture stays grey."""
    grey = np.repeat(noise(32)[..., :1], 3, axis=2)
    for mode in MODES:
        hidden = hide_frequencies(32, "all", 0.3, mode, np.random.default_rng(0))
        found = without_frequencies(grey, hidden, mode)
        assert (found == found[..., :1]).all()
        assert not np.array_equal(found, grey)


@pytest.mark.parametrize(
    ("band", "row", "column"), [("low", 3, 4), ("low", 4, -3), ("mid", 0, 14), ("mid", 12, -12), ("high", 24, 20)]
)
def test_a_corrected_band_takes_its_own_waves_and_leaves_the_others(band: str, row: int, column: int) -> None:
    image = grating(64, row, column)
    for other in BANDS[1:]:
        hidden = hide_frequencies(64, other, 1.0, "corrected", np.random.default_rng(0))
        found = without_frequencies(image, hidden, "corrected")
        assert abs(float(found.mean()) - 128) < 0.5  # as bright as before
        assert spread(found) == pytest.approx(0 if other == band else spread(image), abs=0.5)


def test_faithful_bands_halve_waves_of_like_signs_only() -> None:
    """``low`` holds (3, 4), ``high`` its conjugate (-3, -4), and neither (3, -4) nor (-3, 4)."""
    alike, unlike = grating(64, 3, 4), grating(64, 3, -4)
    keep_mean = np.ones((64, 64), bool)
    keep_mean[0, 0] = False
    for band in ("low", "high"):
        hidden = hide_frequencies(64, band, 1.0, "faithful", np.random.default_rng(0)) & keep_mean
        assert spread(without_frequencies(alike, hidden, "faithful")) == pytest.approx(spread(alike) / 2, abs=0.5)
        assert spread(without_frequencies(unlike, hidden, "faithful")) == pytest.approx(spread(unlike), abs=0.5)
    finest = grating(64, 31, 31)  # is in the band called mid
    hidden = hide_frequencies(64, "mid", 1.0, "faithful", np.random.default_rng(0))
    assert spread(without_frequencies(finest, hidden, "faithful")) < 1


def test_the_energy_that_is_missing_is_that_of_the_hidden_coefficients() -> None:
    """Parseval, on a picture far from black and white; rounding adds 1/12 a pixel."""
    image = noise(64, 110, 146)
    hidden = hide_frequencies(64, "high", 0.5, "corrected", np.random.default_rng(0))
    found = without_frequencies(image, hidden, "corrected").astype(float)
    energy = np.abs(np.fft.fft2(image.astype(float), axes=(0, 1))) ** 2
    left = np.abs(np.fft.fft2(found, axes=(0, 1))) ** 2
    floor = 64**2 / 12
    assert left[hidden].mean() < 2 * floor < energy[hidden].mean() / 50
    assert left[~hidden].sum() == pytest.approx(energy[~hidden].sum(), rel=1e-4)


@pytest.mark.parametrize(("size", "side"), [(32, 16), (48, 16), (30, 15), (38, 2), (27, 9), (31, 1), (299, 13)])
def test_patches_are_of_the_largest_side_that_divides(size: int, side: int) -> None:
    hidden = hide_patches(size, 0.3, "corrected", np.random.default_rng(0))
    across = size // side
    cells = hidden.reshape(across, side, across, side).transpose(0, 2, 1, 3).reshape(across**2, -1)
    assert (cells.all(1) | ~cells.any(1)).all()
    assert cells.any(1).sum() == math.ceil(0.3 * across**2)


def test_faithful_patches_reach_one_pixel_further() -> None:
    for seed in range(5):
        plain, wide = (hide_patches(64, 0.2, mode, np.random.default_rng(seed)) for mode in MODES)
        grown = np.zeros((65, 65), bool)
        for down in (0, 1):
            for right in (0, 1):
                grown[down : down + 64, right : right + 64] |= plain
        assert np.array_equal(wide, grown[:64, :64])


def test_pixels_are_counted() -> None:
    for ratio in (0.0, 0.15, 1.0):
        hidden = hide_pixels(27, ratio, np.random.default_rng(0))
        assert hidden.shape == (27, 27)
        assert hidden.sum() == math.ceil(ratio * 27 * 27)


def test_nothing_hidden_is_the_picture_itself() -> None:
    image = noise(32)
    for mode in MODES:
        assert np.array_equal(without_frequencies(image, np.zeros((32, 32), bool), mode), image)
