from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from blending import poisson
from tests.blending.scenes import disc, smooth_noise

SHAPE = (90, 101)


def direct(
    difference: np.ndarray, domain: np.ndarray, right: np.ndarray | None = None, screening: float = 0.0
) -> np.ndarray:
    """Sparse direct solution of laplace(m) - screening m = right in the domain; free at the array's borders."""
    height, width, channels = difference.shape
    ys, xs = np.nonzero(domain)
    index = np.full((height, width), -1)
    index[ys, xs] = np.arange(len(ys))
    diagonal = np.full(len(ys), float(screening))
    constant = np.zeros((len(ys), channels)) if right is None else -right[ys, xs].astype(np.float64)
    rows, columns = [np.arange(len(ys))], [np.arange(len(ys))]
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        ny, nx = ys + dy, xs + dx
        valid = np.nonzero((ny >= 0) & (ny < height) & (nx >= 0) & (nx < width))[0]
        diagonal[valid] += 1
        neighbour = index[ny[valid], nx[valid]]
        rows.append(valid[neighbour >= 0])
        columns.append(neighbour[neighbour >= 0])
        known = valid[neighbour < 0]
        constant[known] += difference[ny[known], nx[known]]
    values = np.concatenate([diagonal, -np.ones(sum(map(len, rows[1:])))])
    matrix = sparse.csc_matrix((values, (np.concatenate(rows), np.concatenate(columns))), shape=(len(ys),) * 2)
    result = difference.astype(np.float64)
    result[ys, xs] = spsolve(matrix, constant).reshape(-1, channels)
    return result


DOMAINS = {
    "disc": disc(SHAPE, (50, 45), 34, wobble=0.08),
    "one pixel": disc(SHAPE, (50, 45), 0.5),
    "off the frame": disc(SHAPE, (4, 80), 40),
    "two islands and a hole": disc(SHAPE, (25, 30), 15)
    | (disc(SHAPE, (70, 55), 25) & ~disc(SHAPE, (70, 55), 8))
    | disc(SHAPE, (60, 10), 4),
}


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("screening", [0.0, 0.003])
def test_import_matches_a_direct_solution(name: str, screening: float) -> None:
    frame, source, domain = smooth_noise(1, SHAPE), smooth_noise(2, SHAPE), DOMAINS[name]
    result = poisson.blend(frame, source, domain, screening=screening, accuracy=poisson.EXACT)
    expected = source + direct(frame - source, domain, screening=screening)
    inside = domain > 0
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-4)
    np.testing.assert_array_equal(result[~inside], frame[~inside])


def test_import_converges_at_a_faces_size() -> None:
    """Twenty thousand unknowns and a ragged outline: as many grids as a real face takes."""
    shape = (200, 170)
    frame, source = smooth_noise(1, shape, scale=5), smooth_noise(2, shape, scale=5)
    domain = disc(shape, (85, 100), 78, wobble=0.05) | disc(shape, (85, 3), 30)
    result = poisson.blend(frame, source, domain, accuracy=poisson.EXACT)
    expected = source + direct(frame - source, domain)
    assert np.count_nonzero(domain) > 20_000
    assert np.abs(result - expected)[domain > 0].max() < 1e-4


def test_a_few_unknowns_on_a_large_picture_cost_no_more_than_these() -> None:
    """A matrix of all the picture's pixels would take a terabyte."""
    shape = (600, 601)
    frame, source = smooth_noise(1, shape), smooth_noise(2, shape)
    domain = disc(shape, (598, 300), 1.5) | disc(shape, (40, 50), 0.5)
    result = poisson.blend(frame, source, domain, accuracy=poisson.EXACT)
    expected = source + direct(frame - source, domain)
    assert 5 < np.count_nonzero(domain) < 40
    np.testing.assert_allclose(result[domain > 0], expected[domain > 0], atol=1e-4)


@pytest.mark.parametrize("name", ["disc", "off the frame"])
def test_mixed_gradients_match_a_direct_solution(name: str) -> None:
    frame, source, domain = smooth_noise(1, SHAPE), smooth_noise(2, SHAPE, low=0.35, high=0.65), DOMAINS[name]
    result = poisson.blend(frame, source, domain, gradients="mixed", accuracy=poisson.EXACT)
    # The guidance field, written down once more, pixel pair by pixel pair, for the unknown picture itself.
    divergence = np.zeros(frame.shape)
    for axis in (0, 1):
        for low in np.ndindex(*SHAPE):
            high = (low[0] + 1, low[1]) if axis == 0 else (low[0], low[1] + 1)
            if high[0] >= SHAPE[0] or high[1] >= SHAPE[1]:
                continue
            of_frame, of_source = frame[high] - frame[low], source[high] - source[low]
            flow = of_frame if (of_frame**2).sum() > (of_source**2).sum() else of_source
            divergence[low] += flow
            divergence[high] -= flow
    expected = direct(frame, domain, right=divergence)
    inside = domain > 0
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-4)
    assert np.abs(result - poisson.blend(frame, source, domain))[inside].max() > 0.01  # it is not the same thing


def test_default_accuracy() -> None:
    """Stopping early costs a few hundredths of the boundary's difference; what is left sits next to the boundary."""
    frame, source, domain = smooth_noise(1, SHAPE), smooth_noise(2, SHAPE), DOMAINS["disc"]
    spread = (frame - source)[poisson.boundary(domain) > 0].std()
    error = np.abs(poisson.blend(frame, source, domain) - source - direct(frame - source, domain)) / spread
    depth = cv2.distanceTransform(domain, cv2.DIST_L2, 5)
    assert error[domain > 0].mean() < 0.03
    assert error[depth > 5].max() < 0.15
    assert error[domain > 0].max() < 0.3


@pytest.mark.parametrize("grid", [2, 3, 4])
def test_coarse_grid_is_close_for_smooth_differences(grid: int) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    source = smooth_noise(2, SHAPE, low=0.3, high=0.6)
    frame = source + (0.1 + 0.1 * np.sin(x / 25) * np.cos(y / 30))[..., None]
    domain = DOMAINS["disc"]
    exact = poisson.blend(frame, source, domain, accuracy=poisson.EXACT)
    coarse = poisson.blend(frame, source, domain, grid=grid)
    assert np.abs(exact - coarse)[domain > 0].max() < 3 / 255


def test_constant_difference_is_removed_exactly() -> None:
    frame = smooth_noise(1, SHAPE, low=0.3, high=0.9)
    for grid in (1, 4):
        result = poisson.blend(frame, frame - np.float32(0.2), DOMAINS["disc"], grid=grid, smoothing=3, limit=0.1)
        np.testing.assert_allclose(result, frame, atol=1e-5)


def test_no_boundary_means_no_change() -> None:
    frame, source = smooth_noise(1, (40, 50)), smooth_noise(2, (40, 50))
    result = poisson.blend(frame, source, np.ones((40, 50), bool), accuracy=poisson.EXACT)
    np.testing.assert_allclose(result, source, atol=1e-5)
    np.testing.assert_array_equal(poisson.blend(frame, source, np.zeros((40, 50), bool)), frame)


def test_moving_the_domain_by_a_pixel_does_not_move_the_picture() -> None:
    """OpenCV's clone is placed by the mask's bounding box and drifts with it; this one is anchored to the frame."""
    frame = smooth_noise(1, (120, 120))
    source = np.clip(frame * 0.9 + 0.08, 0, 1)
    first, second = (disc((120, 120), (x, 60), 35) for x in (60, 61))
    both = (cv2.erode(first, np.ones((7, 7), np.uint8)) & cv2.erode(second, np.ones((7, 7), np.uint8))) > 0
    results = [poisson.blend(frame, source, domain, grid=3, smoothing=2) for domain in (first, second)]
    assert np.abs(results[0] - results[1])[both].mean() < 0.5 / 255


def test_a_strand_of_hair_on_the_boundary_does_not_bleed() -> None:
    source = np.full((*SHAPE, 3), 0.6, np.float32)
    frame = np.full((*SHAPE, 3), 0.65, np.float32)
    domain = DOMAINS["disc"]
    frame[:, 70:] = 0.05  # dark hair over a third of the boundary
    truth = 0.65
    loose = poisson.blend(frame, source, domain)[45, 55]
    steady = poisson.blend(frame, source, domain, grid=3, smoothing=3, limit=0.1)[45, 55]
    assert np.abs(loose - truth).max() > 0.1
    assert np.abs(steady - truth).max() < 0.05


def test_unknown_gradients_are_refused() -> None:
    picture = smooth_noise(1, SHAPE)
    with pytest.raises(ValueError, match="known"):
        poisson.blend(picture, picture, DOMAINS["disc"], gradients="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="grid"):
        poisson.blend(picture, picture, DOMAINS["disc"], gradients="mixed", grid=2)
