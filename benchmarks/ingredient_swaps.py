"""Measures held-out swaps of one model after another, for ``ingredients.py``, doing once what all models share.

The numbers are those of ``swap_quality.py actors``. What does not depend on the model is done once a clip, not once a
pair and model: following the target's face, finding it again to compare, the sharpness of the source's real faces. And
only frames that are measured are swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import swap_quality

from faceswap_hq import planning, quality
from faceswap_hq.faces.landmarks import LandmarkBackend, open_backend
from faceswap_hq.model import SwapAutoencoder
from faceswap_hq.planning import Plan


class RememberingFinder:
    """A landmark backend that looks at each picture once: the second time it says what it said the first time.

    Args:
        inner: What looks. It follows faces from frame to frame, so one finder is for one clip, watched in order.
    """

    def __init__(self, inner: LandmarkBackend) -> None:
        self.inner, self.name, self.points = inner, inner.name, inner.points
        self.known: dict[bytes, list[np.ndarray]] = {}

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """See :class:`LandmarkBackend`."""
        key = image.tobytes()
        if key not in self.known:
            self.known[key] = self.inner.detect(image)
        return [face.copy() for face in self.known[key]]

    def reset(self) -> None:
        """See :class:`LandmarkBackend`."""
        self.inner.reset()

    def close(self) -> None:
        """See :class:`LandmarkBackend`."""
        self.inner.close()


class Measurer:
    """Measures models of the same people, size and coverage.

    Args:
        cases: What is swapped; no runs.
        size: Side of the models' pictures, pixels.
        coverage: Share of the crop's side that they show.
        identity: Face-recognition network.
        every: Swap and measure every so many frames; flicker compares frames that far apart.
    """

    def __init__(
        self, cases: Sequence[swap_quality.Case], size: int, coverage: float, identity: Any, every: int
    ) -> None:
        self.cases, self.size, self.coverage, self.identity, self.every = cases, size, coverage, identity, every
        self.watched: dict[Any, tuple[Plan, RememberingFinder]] = {}
        self.own: dict[str, float] = {}

    def rows(self, model: SwapAutoencoder) -> list[dict[str, Any]]:
        """One row a case, see :func:`swap_quality.row_of`."""
        with model.evaluating():
            return [self._row(model, case) for case in self.cases]

    def _row(self, model: SwapAutoencoder, case: swap_quality.Case) -> dict[str, Any]:
        settings = swap_quality.raw(case)
        if case.clip not in self.watched:
            found = planning.watch(case.clip, settings, self.size, self.coverage)
            self.watched[case.clip] = found, RememberingFinder(open_backend())
        if case.faceset.name not in self.own:
            self.own[case.faceset.name] = swap_quality.real_sharpness(case.faceset, self.size, self.coverage)
        found, finder = self.watched[case.clip]
        plan = planning.aimed(found, model, settings)
        return swap_quality.measured_by(
            model, case, plan, settings, self.own[case.faceset.name], self.identity, 1,
            indices=list(range(case.first, plan.stop, self.every)), finder=finder,
        )  # fmt: skip

    def exact(self) -> list[dict[str, Any]]:
        """The exact swaps measured with the same instruments."""
        return [
            swap_quality.exact(case.name, case.clip, case.truth, case.looks, self.identity, self.every)
            for case in self.cases
            if case.truth is not None
        ]


def cases_of(
    found: list[dict[str, Any]], identity: quality.IdentityModel | None
) -> list[swap_quality.Case]:
    """Cases as :func:`swap_quality.actor_cases` tells them, with what the sources look like."""
    looks: dict[str, np.ndarray] = {}
    if identity is not None:
        for case in found:
            name = case["faceset"].name
            if name not in looks:
                looks[name] = swap_quality.looks_of(case["faceset"], identity)
    return [swap_quality.Case(run=None, looks=looks.get(case["faceset"].name), **case) for case in found]
