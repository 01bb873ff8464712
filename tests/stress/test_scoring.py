from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stress.detectors import new_detector
from stress.evaluation.scoring import COLUMNS, score
from tests.stress.synthetic import crops


def test_one_row_a_frame_with_everything_the_statistics_need(tmp_path):
    data = crops(3, artefact=0, frames=4)
    table = score(lambda images: images.mean((1, 2, 3)) / 255, data)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3 * 2 * 4
    fake = table[(table["clip"] == "s0p1") & (table.label == 1)]
    assert fake.frame.tolist() == [0, 7, 14, 21]
    assert set(fake.people) == {"s0p2|s0p1"}
    assert set(fake.source_clip) == {"s0p1"}
    expected = next(c for c in data if c.clip.id == "s0p1" and c.clip.label == 1).images.mean((1, 2, 3)) / 255
    np.testing.assert_array_equal(fake.score, expected)
    table.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), table)


def test_a_detector_scores_as_its_function_does():
    detector = new_detector(device="cpu")
    data = crops(2, artefact=0, size=128, frames=2)
    table = score(detector, data)
    np.testing.assert_allclose(table.score[:2], detector.fake_probability(data[0].images))


def test_no_clips_give_an_empty_table_with_the_columns():
    assert tuple(score(lambda images: images, []).columns) == COLUMNS


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda images: np.zeros((len(images), 2)), r"\(4,\), not \(4, 2\)"),
        (lambda images: np.full(len(images), np.nan), "finite"),
        (lambda images: np.full(len(images), 1.5), "between 0 and 1"),
    ],
)
def test_functions_that_answer_something_else_are_found_out(wrong, message):
    with pytest.raises(ValueError, match=message):
        score(wrong, crops(2, artefact=0, frames=4))
