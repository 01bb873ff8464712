from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import kstest, rankdata
from sklearn.metrics import roc_auc_score

from stress.evaluation.exchange import exchange_test
from stress.records import independent


def _study(rng: np.random.Generator, units: int, gain: float = 0.0):
    """Each unit a fake and a real with a shift in common; the second scoring separates better by ``gain``."""
    labels = np.tile([1, 0], units)
    names = [f"p{i // 2}" for i in range(2 * units)]
    shift = np.repeat(rng.normal(size=units), 2)
    first = shift + 0.5 * labels + rng.normal(size=2 * units)
    second = shift + (0.5 + gain) * labels + rng.normal(size=2 * units)
    return first, second, labels, names


def test_every_exchange_of_a_small_study_by_brute_force():
    first, second, labels, names = _study(np.random.default_rng(3), 6, 1.0)
    a, b = rankdata(first), rankdata(second)
    found, far = roc_auc_score(labels, second) - roc_auc_score(labels, first), 0
    for coins in product([False, True], repeat=6):
        swap = np.repeat(coins, 2)
        one, two = np.where(swap, b, a), np.where(swap, a, b)
        far += abs(roc_auc_score(labels, two) - roc_auc_score(labels, one)) >= abs(found) - 1e-12
    assert exchange_test(first, second, labels, names) == pytest.approx(far / 64)


def test_p_is_uniform_without_a_change_and_small_with_one():
    rng = np.random.default_rng(0)
    none = [exchange_test(*_study(rng, 20), draws=200) for _ in range(200)]
    assert kstest(none, "uniform").pvalue > 0.01
    assert np.mean([p < 0.05 for p in none]) < 0.1
    assert np.median([exchange_test(*_study(rng, 20, 3.0), draws=200) for _ in range(20)]) < 0.05


def test_scale_and_several_detectors_do_not_matter():
    first, second, labels, names = _study(np.random.default_rng(1), 20, 2.0)
    p = exchange_test(first, second, labels, names)
    assert exchange_test(first, np.exp(3 * second) + 7, labels, names) == p
    assert exchange_test(first, np.stack([second, second]), labels, names) == p
    assert exchange_test(first, first, labels, names) == 1


def test_couples_are_one_unit_each_and_linked_people_are_their_own():
    couples = [("a", "b"), ("b", "a"), ("a",), ("c", "d"), ("d",)]
    units = independent(couples)
    assert len({*units[:3]}) == 1
    assert len({*units[3:]}) == 1
    assert units[0] != units[3]
    assert independent([("a", "b"), ("b", "c"), ("c", "a"), ("b",)]) == ["b", "c", "a", "b"]


def test_too_few_people_get_no_p():
    first, second, labels, names = _study(np.random.default_rng(1), 4, 9.0)
    assert exchange_test(first, second, labels, names) is None
