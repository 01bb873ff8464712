from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from stress.evaluation.audit import pairs as tested
from stress.evaluation.audit.pairs import holm, match, paired_test

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import audit_power
from audit_power import clip, flagged, swaps

NOWHERE = Path("nowhere.mp4")


def study(design="couples", people=16):
    reals = [clip(f"r{i}", (i,), NOWHERE) for i in range(people)]
    return match([clip(f"f{i}_{j}", (i, j), NOWHERE) for i, j in swaps(design, people)], reals)


def numbers(found, columns=4, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    footage = 3 * rng.normal(size=(found.blocks.max() + 1, columns))
    values = footage[found.blocks] + rng.normal(size=(len(found.clips), columns))
    values[found.fakes, 0] += shift
    return values


def test_every_fake_has_its_real_and_no_person_is_on_both_sides() -> None:
    for design, people in (("couples", 12), ("all", 6), ("ring", 12)):
        found = study(design, people)
        for f, r in zip(found.fakes, found.reals, strict=True):
            assert found.clips[f].source_clip == found.clips[r].source_clip
            assert (found.clips[f].label, found.clips[r].label) == (1, 0)
        tests = np.concatenate([test for _, test in found.folds])
        assert len(tests) == len(set(tests))
        for fit, test in found.folds:
            sides = [{p for i in rows for p in found.people[i]} for rows in (fit, test)]
            assert sides[0].isdisjoint(sides[1])


def test_a_real_of_the_same_id_is_preferred_and_the_rest_is_named() -> None:
    reals = [clip("x", (1,), NOWHERE), clip("f", (1,), NOWHERE)]
    found = match([clip("f", (0, 1), NOWHERE), clip("g", (0, 2), NOWHERE)], reals)
    assert [found.clips[i].id for i in found.reals] == ["f"]
    assert found.unmatched == ("g",)
    assert found.reason


def test_solving_agrees_with_lapack() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 9, 9))
    inner, right = root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(9), rng.normal(size=(5, 9))
    np.testing.assert_allclose(tested._solved(inner, right), np.linalg.solve(inner, right[..., None])[..., 0])


@pytest.mark.parametrize("columns", [5, 29, 30, 31, 50])
def test_the_rule_is_ridge_regression_of_rows_on_one(columns) -> None:
    from sklearn.linear_model import Ridge

    rows = np.random.default_rng(1).normal(0.4, 1, (2, 30, columns))
    for each, found in zip(rows, tested._fit(rows), strict=True):
        spread = np.sqrt(each.var(axis=0) + tested._SMALL)
        oracle = Ridge(alpha=30 * tested.RIDGE, fit_intercept=False).fit(each / spread, np.ones(30))
        np.testing.assert_allclose(found, oracle.coef_ / spread, atol=1e-12)


def test_area_agrees_with_scikit_learn_and_ties_count_half() -> None:
    scores = np.round(np.random.default_rng(2).normal(0.3, 1, (3, 17)), 1)
    for row, found in zip(scores, tested._area(scores), strict=True):
        assert found == pytest.approx(roc_auc_score([1] * 17 + [0] * 17, np.concatenate([row, -row])))
    assert tested._area(np.zeros((1, 4)))[0] == 0.5


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_permutations_stay_within_source_clips() -> None:
    found = study("all", 6)
    used = np.arange(len(found.clips))
    orders = tested._permuted(found.blocks, used, 400, np.random.default_rng(0))
    assert (found.blocks[orders] == found.blocks).all()
    assert (np.sort(orders, axis=1) == used).all()
    real = found.reals[0]
    shares = np.bincount(orders[:, real], minlength=len(used))[found.blocks == found.blocks[real]] / 400
    assert shares == pytest.approx(np.full(6, 1 / 6), abs=0.06)


def test_a_shift_within_pairs_is_found_under_ten_times_larger_differences_of_clips() -> None:
    for design, people in (("couples", 16), ("all", 8)):
        found = study(design, people)
        test = paired_test(numbers(found, shift=8.0), found, level=0.05 / 12, permutations=499, resamples=300)
        assert test.enough
        assert test.auc > 0.95
        assert test.p <= 0.05 / 12
        assert test.low > 0.5
        assert np.argmax(test.weights) == 0


def test_a_small_consistent_shift_shows_in_pairs_only() -> None:
    found = study("couples", 16)
    values = numbers(found)
    values[found.fakes] = values[found.reals]
    values[found.fakes, 0] -= 0.01 * np.random.default_rng(0).uniform(0.5, 1.5, len(found.fakes))
    test = paired_test(values, found, permutations=299, resamples=300)
    assert test.auc == 1
    assert abs(test.alone - 0.5) < 0.1


def test_p_values_are_uniform_where_nothing_differs() -> None:
    found = study("couples", 12)
    p = [paired_test(numbers(found, seed=s), found, permutations=99, resamples=100, seed=s).p for s in range(100)]
    assert np.mean(np.array(p) <= 0.05) <= 0.09
    assert np.mean(np.array(p) <= 0.3) <= 0.42


def test_what_one_source_brings_along_is_no_shortcut() -> None:
    """Every fake of a person brighter: permutations alone would find that; people are few, so it shows nothing."""
    found = study("all", 6)
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values, brought = numbers(found, seed=seed), 6 * rng.normal(size=(6, 4))
        for f in found.fakes:
            values[f] += brought[int(found.clips[f].people[0][1:])]
        alarms += paired_test(values, found, permutations=199, resamples=200, seed=seed).p <= 0.05 / 10
    assert alarms <= 1


def test_too_few_is_not_enough_and_the_same_is_the_same() -> None:
    few = study("couples", 8)
    test = paired_test(numbers(few, shift=50), few, level=0.05 / 12, permutations=99, resamples=100)
    assert not test.enough
    assert "by chance" in test.reason
    for people in (10, 14):
        test = paired_test(numbers(study("couples", people), shift=50), study("couples", people), level=0.05 / 12)
        assert test.enough == (people == 14)  # never "enough" where a blatant shortcut would pass unflagged
        assert (test.p <= 0.05 / 12) == test.enough
    none = study("couples", 2)
    assert not paired_test(numbers(none), none).enough
    same = paired_test(np.ones((len(few.clips), 3)), few)
    assert (same.auc, same.p, same.varies) == (0.5, 1.0, False)
    lost = paired_test(np.full((len(few.clips), 3), np.nan), few)
    assert (lost.auc, lost.enough) == (None, False)


def test_pairs_of_which_one_side_is_lost_take_no_part() -> None:
    found = study("couples", 16)
    values = numbers(found, shift=8.0)
    values[found.reals[3]] = np.nan
    test = paired_test(values, found, permutations=99, resamples=100)
    assert test.tested == 15
    assert test.auc > 0.9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_alarm_in_95_of_100_of_40_runs_and_a_shift_is_caught() -> None:
    designs = list(audit_power.DESIGNS.values())
    runs = [audit_power.drawn_audit(*designs[seed % 4], 100 + seed) for seed in range(40)]
    assert sum(bool(flagged([*features, *probes])) for features, probes in runs) <= 2
    for seed in range(8):
        features, probes = audit_power.drawn_audit(*designs[seed % 4], 200 + seed, shift=60.0)
        assert flagged(probes), (seed, stats.describe([row["p"] for row in probes]))
