"""Face crops and clips made of noise, for tests that need data with a known answer and nobody's face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stress.data.crops import Crops
from stress.data.layouts import Clip
from stress.detectors import Detector, new_detector


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


def sides(data: list[Crops]) -> tuple[list[Crops], list[Crops]]:
    """Reals and fakes, as training takes them."""
    return [item for item in data if item.clip.label == 0], [item for item in data if item.clip.label == 1]


def small_detector() -> Detector:
    return new_detector("small_cnn", device="cpu", input_size=32)


class WholePicture:
    """A landmark backend for which every picture that is not dark is one face, edge to edge."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        height, width = image.shape[:2]
        return [np.array([[0, 0, 0], [width, height, 0]], np.float32)] if image.mean() > 20 else []

    def close(self) -> None:
        pass
