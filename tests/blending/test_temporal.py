from __future__ import annotations

import numpy as np
import pytest

from blending.color import ColorStatistics
from blending.settings import TemporalSettings
from blending.state import BlendState
from blending.temporal import ExponentialFilter, OneEuroFilter, StatisticsFilter


def test_one_euro_steadies_what_rests() -> None:
    random = np.random.default_rng(0)
    points = 100 + random.normal(0, 1, (200, 30, 2))
    smooth = OneEuroFilter(min_cutoff=1.0, beta=0.01)
    filtered = np.array([smooth(value, index / 30) for index, value in enumerate(points)])
    assert filtered[30:].std(axis=0).mean() < 0.45 * points[30:].std(axis=0).mean()


def test_one_euro_follows_what_moves() -> None:
    times = np.arange(90) / 30
    path = np.where(times < 1, 0.0, (times - 1) * 600)[:, None]  # pixels: at rest, then 600 px/s
    quick, slow = OneEuroFilter(min_cutoff=1.0, beta=0.05), OneEuroFilter(min_cutoff=1.0, beta=0.0)
    moments = list(zip(path, times, strict=True))
    lag = [np.abs(np.array([smooth(*moment) for moment in moments]) - path)[60:].mean() for smooth in (quick, slow)]
    assert lag[0] < 10  # half a frame's motion
    assert lag[1] > 60


def test_one_euro_matches_the_papers_recursion() -> None:
    values, rate = np.random.default_rng(1).normal(0, 1, 20), 25.0
    smooth = OneEuroFilter(min_cutoff=0.7, beta=0.3, derivative_cutoff=1.3)

    def weight(cutoff: float) -> float:
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau * rate)

    position, speed = values[0], 0.0
    for index, value in enumerate(values):
        result = smooth(np.array([value]), index / rate)
        if index:
            speed += weight(1.3) * ((value - position) * rate - speed)
            a = weight(0.7 + 0.3 * abs(speed))
            position = a * value + (1 - a) * position
        assert result[0] == pytest.approx(position)


def test_one_euro_reset_shape_and_time() -> None:
    smooth = OneEuroFilter()
    smooth(np.zeros(3), 0.0)
    assert smooth(np.ones(3), 0.1)[0] < 1
    np.testing.assert_array_equal(smooth(np.full(3, 9.0), 0.1), smooth(np.full(3, -9.0), 0.05))  # no time has passed
    np.testing.assert_array_equal(smooth(np.ones(4), 0.2), 1)
    smooth.reset()
    np.testing.assert_array_equal(smooth(np.full(4, 5.0), 0.3), 5)
    with pytest.raises(ValueError, match="positive"):
        OneEuroFilter(min_cutoff=0)


def test_exponential_filter_has_its_time_constant() -> None:
    smooth = ExponentialFilter(10)
    smooth(np.zeros(2))
    for _ in range(10):
        result = smooth(np.ones(2))
    np.testing.assert_allclose(result, 1 - np.exp(-1))
    smooth.reset()
    np.testing.assert_array_equal(smooth(np.full(2, 7.0)), 7)
    np.testing.assert_array_equal(smooth(np.full(3, 2.0)), 2)
    unchanged = np.arange(3.0)
    assert ExponentialFilter(0)(unchanged) is unchanged
    with pytest.raises(ValueError, match="negative"):
        ExponentialFilter(-1)


def statistics(mean: float, spread: float = 0.05, weight: float = 100.0) -> ColorStatistics:
    return ColorStatistics(space="rgb", mean=np.full(3, mean), covariance=np.eye(3) * spread**2, weight=weight)


def test_statistics_are_steadied_and_start_anew_at_a_cut() -> None:
    smooth = StatisticsFilter(8, mean=8, cut=0.12)
    random = np.random.default_rng(0)
    raw = 0.5 + random.normal(0, 0.01, 100)
    means = np.array([smooth(statistics(value)).mean[0] for value in raw])
    assert means[20:].std() < 0.5 * raw[20:].std()
    assert smooth(statistics(0.9)).mean[0] == pytest.approx(0.9)
    smooth.reset()
    assert smooth(statistics(0.85)).mean[0] == pytest.approx(0.85)


def test_spread_is_steadied_while_the_mean_follows_at_once() -> None:
    smooth = StatisticsFilter(8)
    random = np.random.default_rng(0)
    raw = [(0.5 + random.normal(0, 0.01), random.uniform(0.04, 0.06)) for _ in range(100)]
    results = [smooth(statistics(mean, spread)) for mean, spread in raw]
    assert [result.mean[0] for result in results] == [mean for mean, _ in raw]
    spreads = np.array([result.std[0] for result in results])[20:]
    assert spreads.std() < 0.5 * np.std([spread for _, spread in raw][20:])
    assert spreads.mean() == pytest.approx(0.05, rel=0.05)


def test_an_empty_measurement_is_bridged() -> None:
    smooth = StatisticsFilter(8)
    assert smooth(statistics(0.0, weight=0.0)).weight == 0
    smooth(statistics(0.4))
    assert smooth(statistics(0.0, weight=0.0)).mean[0] == pytest.approx(0.4)


def test_curves_are_steadied_and_start_anew_with_their_statistics() -> None:
    state = BlendState(TemporalSettings(contrast=10))
    found = []
    for frame, mean in enumerate((0.5, 0.5, 0.5, 0.9, 0.9)):
        state.source_color(statistics(0.5))
        state.target_color(statistics(mean))
        found.append(state.color_curves(np.full((3, 5), float(frame)))[0, 0])
    share = 1 - np.exp(-1 / 10)
    np.testing.assert_allclose(found[:2], [0, share])
    assert found[2] < 0.5
    np.testing.assert_allclose(found[3:], [3, 3 + share])  # a cut
    state.reset()
    state.source_color(statistics(0.5))
    state.target_color(statistics(0.9))
    assert state.color_curves(np.full((3, 5), 7.0))[0, 0] == 7
