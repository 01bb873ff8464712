"""Make the README's picture: target, source and exact swap of two virtual actors.

python benchmarks/actor_picture.py docs/images/actor_swap.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from faceswap_hq.actors import ground_truth_swap, render
from faceswap_hq.actors.clip import plan_cast


def main(path: Path) -> None:
    cast = plan_cast(5, seconds=4, seed=0, size=320)
    source, target = cast[0], cast[4]
    swap = ground_truth_swap(source.identity, target.identity, target.performance, target.scene, 40, match_skin=True)
    other = render(source.identity, source.performance, source.scene, 40)
    picture = np.concatenate([swap.target.image, other.image, swap.swapped.image], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
