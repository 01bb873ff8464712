"""An order of clips of which every beginning shows everybody about as often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def spread(people: Sequence[Sequence[str]], seed: int) -> list[int]:
    """Order clips so that whoever was seen least comes next.

    Each step takes, of the clips left, the one whose most seen person was seen least; then the one whose people were
    seen least in sum; where that is equal, chance decides. The first k clips are also the first k of a longer choice.

    >>> order = spread([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")], seed=0)
    >>> {i // 2 for i in order[:2]} == {0, 1}
    True

    Args:
        people: Of each clip, at least one.
        seed: Of chance.

    Returns:
        Every clip's place once.
    """
    seen: Counter[str] = Counter()
    left = [int(i) for i in np.random.default_rng([seed, 3]).permutation(len(people))]
    order = []
    while left:
        best = min(left, key=lambda i: (max(seen[name] for name in people[i]), sum(seen[name] for name in people[i])))
        left.remove(best)
        seen.update(set(people[best]))
        order.append(best)
    return order
