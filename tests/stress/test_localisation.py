"""Maps measured by exact masks: cells, overlap, AUC, means over clips; in the results, the tables and the report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stress.evaluation.comparison import Bootstrap
from stress.evaluation.localisation import exact_cells, figures, located
from stress.experiment import ExperimentSettings, run
from stress.report import render_report
from stress.report.tidy import tidy
from tests.stress.standin import quiet, study
from tests.stress.test_locate_and_verify import sides, small, squares

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0, video_score="mean")


def drawn(data, noise: float, seed: int = 0):
    """Maps that are the exact cells, or nothing for reals, with noise."""
    rng = np.random.default_rng(seed)
    known = {item.images.tobytes(): item for item in data}

    def locate(images):
        item = known[images.tobytes()]
        exact = np.zeros((len(images), 4, 4)) if item.masks is None else exact_cells(item.masks, 4)
        return np.clip(exact + noise * rng.normal(size=exact.shape), 0, 1).astype(np.float32)

    return locate


@pytest.mark.parametrize(("side", "grid"), [(32, 4), (30, 4), (299, 19)])
def test_a_cell_is_forged_where_any_pixel_is_more_than_half_fake(side, grid):
    mask = np.random.default_rng(0).choice(np.array([0, 127, 128], np.uint8), (2, side, side), p=[0.6, 0.398, 0.002])
    size = -(-side // grid)
    before = (grid * size - side) // 2
    want = np.zeros((2, grid, grid), bool)
    for n, row, column in zip(*np.nonzero(mask > 127), strict=True):
        want[n, (row + before) // size, (column + before) // size] = True
    assert 0 < want.mean() < 1
    np.testing.assert_array_equal(exact_cells(mask, grid), want)


def test_overlap_and_auc_of_a_clip_by_hand():
    fake = sides(squares(2, frames=3))[1][0]
    masks = np.zeros_like(fake.masks)
    masks[:2, :16, :32] = 255  # two cells of 4 x 4; nothing in the third face
    item = type(fake)(clip=fake.clip, frames=fake.frames, images=fake.images, masks=masks)
    maps = np.random.default_rng(1).uniform(0, 0.4, (3, 4, 4)).astype(np.float32)
    maps[0, 0, 0], maps[1, 0, :3], maps[2] = 0.5, 0.9, 1.0
    found = located(item, maps)
    np.testing.assert_allclose(found.ious, [1 / 2, 2 / 3, np.nan])
    assert found.iou == pytest.approx(7 / 12)
    exact = np.zeros((2, 4, 4), int)
    exact[:, 0, :2] = 1
    assert found.cell_auc == pytest.approx(roc_auc_score(exact.ravel(), maps[:2].ravel()))
    real = located(sides(squares(2, frames=3))[0][0], maps)
    assert real.false_area == pytest.approx((1 + 3 + 16) / 48)
    assert np.isnan(real.iou)


def test_figures_are_means_over_clips_with_intervals_around_them():
    data = squares(8)
    found, locate = figures(drawn(data, 0.5), data, BOOTSTRAP), drawn(data, 0.5)
    again = [located(item, locate(item.images)) for item in data]
    for name in ("iou", "cell_auc", "false_area"):
        mean = np.nanmean([getattr(one, name) for one in again])
        assert found[name]["value"] == pytest.approx(mean, abs=1e-6)
        assert found[name]["low"] < mean < found[name]["high"]
    assert found["n"] == {"fakes": 8, "reals": 8, "faces": 32}
    assert (found["grid"], len(found["clips"]), len(found["faces"])) == (4, 16, 6)
    ious = [face["iou"] for face in found["faces"]]
    assert ious[0] < ious[-1]
    perfect = figures(drawn(data, 0.0), data, BOOTSTRAP)
    assert (perfect["iou"]["value"], perfect["cell_auc"]["value"], perfect["false_area"]["value"]) == (1, 1, 0)
    assert perfect["iou"]["low"] < 1  # eight people do not prove perfection


def test_without_maps_or_masks_there_is_nothing_to_say():
    data = squares(4)
    assert figures(None, data, BOOTSTRAP) is None
    bare = squares(4, masks=False)
    assert figures(drawn(bare, 0.0), bare, BOOTSTRAP) is None


def said(trained: bool | None):
    """A detector with a map, and a card that says whether it was trained."""
    detector = small()
    detector.card = dataclasses.replace(detector.card, map_trained=trained)
    return detector


@pytest.mark.parametrize("trained", [False, None])
def test_a_map_that_nobody_says_was_trained_is_not_reported(trained):
    data = squares(4, frames=1)
    settings = ExperimentSettings(finetune=False, resamples=100, shuffles=0)
    outcome = run(said(trained), *reversed(sides(data)), settings=settings, progress=quiet)
    assert outcome.results["localisation"] is None
    assert 'id="where"' not in render_report(outcome.results, outcome.scores, crops=data)
    assert any("map_trained" in text for text in outcome.results["warnings"]) == (trained is None)


def test_results_tables_and_report_say_where_the_forgery_is():
    detector, data = said(True), squares(4, frames=2)
    reals, fakes = sides(data)
    settings = ExperimentSettings(finetune=False, resamples=100, shuffles=0)
    outcome = run(detector, fakes, reals, settings=settings, progress=quiet)
    found = outcome.results["localisation"]
    assert found["n"]["fakes"] == 4
    assert 0 <= found["iou"]["low"] <= found["iou"]["value"] <= found["iou"]["high"] <= 1
    page = render_report(outcome.results, outcome.scores, crops=data)
    assert 'id="where"' in page
    assert page.count("exact mask and map") == 4
    assert 'id="where"' in render_report(outcome.results, outcome.scores)  # without faces the figures remain
    rows = tidy(outcome.results).query("section == 'localisation'")
    assert rows[(rows.item == "") & (rows.metric == "iou")].value.item() == pytest.approx(found["iou"]["value"])
    assert len(rows[rows.item != ""]) == 2 * 4 + 4


def test_a_detector_without_a_map_has_no_such_section():
    fakes, reals, _ = study(4)
    from tests.stress.standin import StandIn

    outcome = run(StandIn(), fakes, reals, settings=ExperimentSettings(finetune=False, resamples=100), progress=quiet)
    assert outcome.results["localisation"] is None
    assert 'id="where"' not in render_report(outcome.results, outcome.scores)
