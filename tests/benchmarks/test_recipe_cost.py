"""What a recipe costs, from the rounds that were measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import recipe_cost


def rounds(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"ms": ms, "peak_mib": peak} for ms, peak in values]


def test_medians_and_quotients_of_the_same_round():
    found = recipe_cost.summarised(
        {
            "plain": rounds((10, 500), (20, 510), (10, 490)),
            "adversarial-blur": rounds((40, 800), (50, 900), (45, 700)),
        }
    )
    blur = found["adversarial-blur"]
    assert (blur["step"]["median"], blur["step"]["unit"]) == (45, "ms")
    assert (blur["peak"]["median"], blur["peak"]["max"], blur["peak"]["unit"]) == (800, 900, "MiB")
    assert blur["over plain"]["values"] == pytest.approx([4, 2.5, 4.5])  # no quotient of medians: those took turns
    assert blur["over plain"]["median"] == 4
    assert set(found["plain"]) == {"step", "peak"}


def test_a_recipe_stands_beside_plain_training_of_its_own_network_or_alone():
    one = rounds((10, 500))
    found = recipe_cost.summarised({"plain": one, "locate-and-verify": rounds((30, 700))})
    assert set(found["locate-and-verify"]) == {"step", "peak"}
    found = recipe_cost.summarised({"plain, two streams": one, "locate-and-verify": rounds((30, 700))})
    assert found["locate-and-verify"]["over plain, two streams"]["median"] == 3
