"""Ways to fine-tune a detector: which layers, and whether its own data are replayed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(all|last)(?:-([1-9]\d?))?(\+replay)?")


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to fine-tune.

    Args:
        layers: ``"all"``, ``"last"`` (one weight layer), or the number of last weight layers.
        replay: Whether half of every batch is data that the detector was made for.
    """

    layers: str | int = "all"
    replay: bool = False

    def __post_init__(self) -> None:
        if self.layers not in ("all", "last") and not (isinstance(self.layers, int) and self.layers >= 1):
            raise ValueError(f'layers is "all", "last" or a number of layers, not {self.layers!r}')

    @property
    def name(self) -> str:
        """``all``, ``last``, ``last-3``, ``all+replay``, ..."""
        layers = f"last-{self.layers}" if isinstance(self.layers, int) else self.layers
        return f"{layers}+replay" if self.replay else layers

    @property
    def label(self) -> str:
        """In words, for a reader."""
        layers = {"all": "all layers", "last": "the last layer"}.get(str(self.layers), f"the last {self.layers} layers")
        return f"{layers}, with replay of its own data" if self.replay else layers


#: What is tried where nothing else is asked for; replay only where there are base data.
STRATEGIES = (
    Strategy(layers="all"),
    Strategy(layers="all", replay=True),
    Strategy(layers=3),
    Strategy(layers="last"),
)


def parse(text: str) -> Strategy:
    """A strategy by its name.

    >>> parse("last-3"), parse("all+replay").label
    (Strategy(layers=3, replay=False), 'all layers, with replay of its own data')

    Raises:
        ValueError: No strategy has this name.
    """
    match = _NAME.fullmatch(text.strip())
    if match is None or (match[1] == "all" and match[2]):
        raise ValueError(f"no strategy is called {text!r}; there are all, last, last-K (K layers), each with +replay")
    return Strategy(layers=int(match[2]) if match[2] else match[1], replay=bool(match[3]))
