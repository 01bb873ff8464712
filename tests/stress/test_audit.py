from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from stress.evaluation.audit import audit, clip_facts, one_feature
from tests.stress.standin import crops


def test_one_feature_agrees_with_oracles() -> None:
    rng = np.random.default_rng(0)
    fakes, reals = rng.normal(0.8, 1, 14), np.round(rng.normal(0, 1, 11), 1)
    area, p = one_feature(fakes, reals)
    expected = roc_auc_score([1] * 14 + [0] * 11, np.concatenate([fakes, reals]))
    assert area == pytest.approx(max(expected, 1 - expected))
    assert one_feature(-fakes, -reals)[0] == pytest.approx(area)
    assert p == pytest.approx(stats.mannwhitneyu(fakes, reals).pvalue, abs=0.02)


def test_no_difference_is_no_alarm() -> None:
    rng = np.random.default_rng(1)
    assert one_feature(np.ones(6), np.ones(9)) == (0.5, 1.0)
    alarms = 0
    for i in range(200):
        a, p = one_feature(rng.normal(size=8), rng.normal(size=8), permutations=400, seed=i)
        alarms += a >= 0.8 and p < 0.01
    assert alarms <= 6


def pictures(folder, label, size, count, quality):
    rng = np.random.default_rng(size)
    items = []
    for i in range(count):
        item = crops(f"{'f' if label else 'r'}{i}", label, [f"p{i}"], f"p{i}", 0.4, 0.4, folder=folder, seed=i)
        path = item.clip.path.with_suffix(".jpg")
        image = rng.integers(0, 255, (size, size, 3), np.uint8)
        assert cv2.imwrite(str(path), cv2.GaussianBlur(image, (0, 0), 3), [cv2.IMWRITE_JPEG_QUALITY, quality])
        items.append(replace(item, clip=replace(item.clip, path=path)))
    return items


def test_a_planted_shortcut_is_caught(tmp_path) -> None:
    fakes, reals = pictures(tmp_path, 1, 64, 8, 50), pictures(tmp_path, 0, 64, 8, 95)
    found = audit(fakes, reals)
    flagged = {row["name"] for row in found["features"] if row["flag"]}
    assert flagged == {"bits_per_pixel"}
    assert "bits per pixel" in found["warnings"][0]
    clean = audit(pictures(tmp_path, 1, 64, 8, 80), pictures(tmp_path, 0, 64, 8, 80))
    assert not any(row["flag"] for row in clean["features"])


def test_a_few_clips_are_too_few_to_tell(tmp_path) -> None:
    found = audit(pictures(tmp_path, 1, 64, 3, 30), pictures(tmp_path, 0, 32, 3, 95))
    assert not any(row["enough"] or row["flag"] for row in found["features"])


def test_facts_of_a_picture(tmp_path) -> None:
    item = pictures(tmp_path, 1, 48, 1, 90)[0]
    facts = clip_facts(item)
    assert (facts["width"], facts["height"], facts["codec"]) == (48, 48, "jpeg")
    assert facts["bits_per_pixel"] == pytest.approx(item.clip.path.stat().st_size * 8 / 48**2)
    assert facts["rate"] is None
    assert facts["brightness"] == pytest.approx(0.4 * 255 * (0.299 + 0.587), abs=3)


def test_a_missing_file_leaves_the_crops_to_speak() -> None:
    facts = clip_facts(crops("gone", 1, ["p"], "p", 0.5, 0.5))
    assert facts["width"] is None
    assert facts["brightness"] > 0


def test_matching_is_by_source_clip() -> None:
    fakes = [crops("f0", 1, ["a", "b"], "b", 0.5, 0.5), crops("f1", 1, ["a", "c"], "c", 0.5, 0.5)]
    reals = [crops("b", 0, ["b"], "b", 0.5, 0.5), crops("z", 0, ["z"], "z", 0.5, 0.5)]
    found = audit(fakes, reals, [crops("q", 0, ["a"], "q", 0.1, 0.1)])
    assert found["unmatched_fakes"] == ["f1"]
    assert found["compared"] == {"fakes": 2, "reals": 1, "matched": True, "pairs": 1}
    assert found["people_in_base"] == ["a"]
    assert len(found["warnings"]) == 2
