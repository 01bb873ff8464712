"""A detector whose score is written into the picture: mean brightness, seen through a strength that training raises."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from stress.data.crops import Crops
from stress.data.layouts import Clip


@dataclass(frozen=True)
class Card:
    threshold: float = 0.5
    threshold_source: str = "half-way"
    architecture: str = "stand-in"
    sha256: str = "0" * 64
    base_metrics: dict | None = None


@dataclass
class StandIn:
    """Red is what the detector was made for, green what fine-tuning teaches it; each a score in [0, 1] by frame."""

    card: Card = field(default_factory=Card)
    green: float = 0.0
    name: str = "stand-in"
    own_data: Path | None = None
    trained_on: list = field(default_factory=list)

    def fake_probability(self, images: np.ndarray) -> np.ndarray:
        mean = images.mean((1, 2)) / 255
        return (1 - self.green) * mean[:, 0] + self.green * mean[:, 1]


def finetune(detector, reals, fakes, settings, progress, **more):
    assert {item.clip.label for item in reals} == {0}
    assert {item.clip.label for item in fakes} == {1}
    progress()
    detector.trained_on.append([item.clip for item in (*reals, *fakes)])
    card = replace(detector.card, threshold=0.45, threshold_source="fine-tuned")
    return StandIn(card=card, green=0.9, name=detector.name)


@contextmanager
def quiet(description, total=None, *, unit=""):
    yield lambda n=1, note="": None


def crops(name, label, people, source, red, green, *, frames=4, dataset="stress", seed=0, folder=Path("none")):
    rng = np.random.default_rng(seed)
    images = np.zeros((frames, 8, 8, 3), np.uint8)
    for channel, mean in ((0, red), (1, green)):
        values = np.clip(255 * (mean + rng.normal(0, 0.02, frames)), 0, 255)
        images[..., channel] = values[:, None, None].astype(np.uint8)
    clip = Clip(
        id=name,
        path=folder / f"{name}.mp4",
        label=label,
        people=tuple(people),
        source_clip=source,
        method="test" if label else "real",
        dataset=dataset,
    )
    return Crops(clip=clip, frames=np.arange(frames), images=images)


def study(people=8, *, pairs="couples", seed=0, prefix="p"):
    """Stress fakes that look real in red and fake in green, their reals, and base data that is easy in red."""
    rng = np.random.default_rng(seed)
    names = [f"{prefix}{i}" for i in range(people)]
    edges = {
        "couples": [(i, i ^ 1) for i in range(people)],
        "all": [(i, j) for i in range(people) for j in range(people) if i != j],
    }[pairs]
    reals = [
        crops(name, 0, [name], name, rng.uniform(0.1, 0.55), rng.uniform(0.05, 0.3), seed=i)
        for i, name in enumerate(names)
    ]
    fakes = []
    for k, (source, target) in enumerate(edges):
        who = [names[source], names[target]]
        red, green = rng.uniform(0.2, 0.65), rng.uniform(0.6, 0.95)
        fakes.append(crops("_".join(who), 1, who, names[target], red, green, seed=99 + k))
    own = []
    for i in range(10):
        who = [f"b{i}", f"b{(i + 1) % 10}"]
        own.append(crops(f"b{i}", 0, who[:1], who[0], rng.uniform(0.02, 0.3), 0.3, dataset="base", seed=i))
        own.append(crops(f"b{i}x", 1, who[::-1], who[0], rng.uniform(0.6, 0.98), 0.4, dataset="base", seed=i))
    return fakes, reals, own
