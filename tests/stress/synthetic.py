"""Face crops and clips made of noise, for tests that need data with a known answer and nobody's face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stress.data.crops import Crops
from stress.data.layouts import Clip


def clip(name: str, label: int, people: tuple[str, ...], path: Path = Path("nowhere.mp4")) -> Clip:
    return Clip(
        id=name,
        path=path,
        label=label,
        people=people,
        source_clip=people[-1],
        method="made" if label else "real",
        dataset="synthetic",
    )


def crops(people: int, *, artefact: float, size: int = 32, frames: int = 6, seed: int = 0) -> list[Crops]:
    """For every person one real and one fake of the next person onto them.

    Real and fake share the target's smooth picture; the fake carries a diagonal texture of ``artefact`` grey levels.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    texture = artefact * ((rows + columns) % 4 < 2)[..., None]
    found = []
    for number in range(people):
        coarse = rng.uniform(60, 190, (5, 5, 3)).astype(np.float32)
        picture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        target, source = f"s{seed}p{number}", f"s{seed}p{(number + 1) % people}"
        for label in (0, 1):
            noisy = picture + rng.normal(0, 5, (frames, size, size, 3)) + label * texture
            found.append(
                Crops(
                    clip=clip(f"{target}", label, (source, target) if label else (target,)),
                    frames=np.arange(frames) * 7,
                    images=np.clip(noisy, 0, 255).astype(np.uint8),
                )
            )
    return found
