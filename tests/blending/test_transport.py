from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment

from blending import transport
from blending.transport import Curves

COVARIANCE = np.array([[0.010, 0.008, 0.006], [0.008, 0.009, 0.006], [0.006, 0.006, 0.008]])


def gaussian(seed: int, covariance: np.ndarray, count: int) -> np.ndarray:
    """(3, count) with exactly this covariance and mean 0."""
    cloud = np.random.default_rng(seed).standard_normal((3, count))
    cloud -= cloud.mean(axis=1, keepdims=True)
    whiten = np.linalg.inv(np.linalg.cholesky(cloud @ cloud.T / count))
    return np.linalg.cholesky(covariance) @ whiten @ cloud


def banana(seed: int, count: int) -> np.ndarray:
    """(3, count) bent and skewed: nothing that a linear map makes of a Gaussian."""
    random = np.random.default_rng(seed)
    light = random.exponential(0.1, count)
    return np.stack([0.3 + light, 0.25 + 2 * light**2, 0.2 + 0.5 * light]) + random.normal(0, 0.01, (3, count))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Sliced Wasserstein distance of clouds of one size, over directions of its own."""
    directions = np.random.default_rng(99).standard_normal((200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return float(np.sqrt(((np.sort(directions @ a) - np.sort(directions @ b)) ** 2).mean()))


def test_along_each_axis_it_is_the_best_assignment() -> None:
    source, target = np.random.default_rng(0).random((2, 3, 40))
    moved = transport.marginal(source, target)
    for before, after, wanted in zip(source, moved, target, strict=True):
        _, partner = linear_sum_assignment((before[:, None] - wanted) ** 2)
        np.testing.assert_array_equal(after, wanted[partner])


def test_clouds_of_other_sizes_are_matched_by_quantiles() -> None:
    random = np.random.default_rng(1)
    source, target = random.random((3, 500)), random.gamma(2.0, 1.0, (3, 2000))
    shares = np.linspace(0.02, 0.98, 25)
    moved = transport.marginal(source, target)
    np.testing.assert_allclose(np.quantile(moved, shares, axis=1), np.quantile(target, shares, axis=1), atol=0.06)


def test_the_first_step_of_idt_matches_the_axes() -> None:
    source, target = banana(1, 300), gaussian(2, COVARIANCE, 300)
    moved = transport.iterative(source, target, steps=1)
    np.testing.assert_allclose(np.sort(moved), np.sort(target), atol=1e-12)


@pytest.mark.parametrize(("solve", "excess"), [(transport.iterative, 0.25), (transport.sliced, 0.05)])
def test_between_gaussians_it_is_the_monge_kantorovich_map(solve, excess: float) -> None:  # noqa: ANN001
    wanted = np.array([[0.012, -0.004, 0.001], [-0.004, 0.006, 0.0], [0.001, 0.0, 0.01]])
    source, target = gaussian(3, COVARIANCE, 2000), gaussian(4, wanted, 2000)
    moved = solve(source, target, steps=30)
    np.testing.assert_allclose(moved.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(moved @ moved.T / 2000, wanted, atol=3e-4)
    root = sqrtm(COVARIANCE)
    cost = np.trace(COVARIANCE + wanted - 2 * sqrtm(root @ wanted @ root))  # of optimal transport
    assert ((moved - source) ** 2).sum(axis=0).mean() == pytest.approx(cost, rel=excess)
    best = np.linalg.inv(root) @ sqrtm(root @ wanted @ root) @ np.linalg.inv(root) @ source
    # of which idt falls short: it stops as soon as the distributions agree
    assert np.sqrt(((moved - best) ** 2).sum(axis=0).mean() / cost) < 1.4 * np.sqrt(excess)


def test_each_step_brings_the_sliced_distance_down() -> None:
    source, target = gaussian(5, COVARIANCE, 600), banana(6, 600)
    linear = np.linalg.cholesky(np.cov(target)) @ np.linalg.inv(np.linalg.cholesky(np.cov(source)))
    start = linear @ source + target.mean(axis=1, keepdims=True)
    for solve in (transport.iterative, transport.sliced):
        left = [distance(start, target)] + [distance(solve(start, target, steps=n), target) for n in range(1, 7)]
        assert left[-1] < 0.25 * left[0]
        if solve is transport.sliced:
            assert (np.diff(left) < 0).all()


def test_a_sample_is_drawn_in_proportion() -> None:
    colors = np.random.default_rng(7).random((3, 4))
    drawn = transport.draw(colors, np.array([1.0, 0.0, 2.0, 5.0]), 800)
    counts = [(drawn == color[:, None]).all(axis=0).sum() for color in colors.T]
    assert counts == [100, 0, 200, 500]
    many = np.random.default_rng(8).random((3, 5000))
    brightness = np.quantile(transport.draw(many, np.ones(5000)).sum(axis=0), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(brightness, np.quantile(many.sum(axis=0), [0.1, 0.5, 0.9]), atol=4e-3)


def fitted(method: str) -> tuple[Curves, np.ndarray, np.ndarray]:
    """Curves from a Gaussian to a bent cloud, with the source sample and the linear map."""
    target = banana(9, 512)
    target -= target.mean(axis=1, keepdims=True)
    source = gaussian(10, COVARIANCE, 512)
    gain = np.diag(np.sqrt(np.diag(np.cov(target)) / np.diag(COVARIANCE)))
    covariance = COVARIANCE + np.eye(3) * 0.01**2
    values = transport.fit(method, source, target, gain, covariance, 0.01)
    return Curves(method=method, values=values, covariance=covariance, center=np.full(3, 0.5)), source, gain


@pytest.mark.parametrize("method", transport.SOLVERS)
def test_the_table_says_what_the_curves_say(method: str) -> None:
    curves, source, _ = fitted(method)
    directions = np.eye(3) if method == "histogram" else transport.bases(5).reshape(-1, 3)
    expected = np.zeros_like(source)
    for direction, values in zip(directions, curves.values, strict=True):
        ends = 3.5 * np.sqrt(direction @ curves.covariance @ direction)
        along = np.interp(direction @ source, np.linspace(-ends, ends, len(values)), values)
        expected += along * direction[:, None] * 3 / len(directions)
    found = transport.look_up((source + 0.5).T[None].astype(np.float32), curves)[0].T
    assert np.abs(expected).max() > 0.05
    assert np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()) < (0.02 if method == "histogram" else 0.2)


@pytest.mark.parametrize("method", transport.SOLVERS)
def test_slopes_are_bounded_and_means_kept(method: str) -> None:
    curves, source, gain = fitted(method)
    gain = np.diag(np.clip(np.diag(gain), 0.8, 1.4))
    held = transport.centered(transport.bounded(curves, gain, 1.5), source)
    random = np.random.default_rng(11)
    places = random.random((4000, 3))
    step = random.standard_normal((4000, 3))
    step *= 0.02 / np.linalg.norm(step, axis=1, keepdims=True)

    def stretch(some: Curves) -> np.ndarray:
        ends = [transport.look_up(at[None].astype(np.float32), some)[0] + at @ gain.T for at in (places, places + step)]
        return np.linalg.norm(ends[1] - ends[0], axis=1) / 0.02

    limit = 1.5 * (1.01 if method == "histogram" else 1.25)
    assert stretch(curves).max() > 2
    assert stretch(held).max() < limit
    assert stretch(held).min() > 1 / limit
    mean = transport.look_up((source + 0.5).T[None].astype(np.float32), held)[0].mean(axis=0)
    np.testing.assert_allclose(mean, 0, atol=0.5 / 255)


def test_curves_within_the_bounds_stay_as_they_are() -> None:
    curves, _, _ = fitted("sliced")
    gentle = Curves(
        method="sliced", values=0.02 * curves.values, covariance=curves.covariance, center=curves.center
    )
    np.testing.assert_allclose(transport.bounded(gentle, np.eye(3), 2.0).values, gentle.values, atol=1e-12)
