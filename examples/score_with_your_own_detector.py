"""Stress a detector of your own, here a deliberately poor one: any function from faces to fake probabilities will do.

python examples/score_with_your_own_detector.py OUT RESULT

OUT is what `faceswap-hq render` wrote, or a folder with subfolders `fakes/` and `reals/`.
"""

import sys

import numpy as np

import stress


def smoothness(faces: np.ndarray) -> np.ndarray:
    """Fake probability from how smooth a face is: an autoencoder loses the finest detail, and so does a soft camera.

    Args:
        faces: (n, S, S, 3) uint8 RGB.

    Returns:
        (n,) in [0, 1].
    """
    grey = faces.mean(axis=3)
    detail = np.abs(np.diff(grey, 2, axis=2)).mean(axis=(1, 2))
    return 1 / (1 + detail / 4)


fakes, result = sys.argv[1:]
outcome = stress.evaluate(smoothness, fakes=fakes, output=result)
auc = outcome.results["conditions"]["before"]["video"]["auc"]
print(f"AUC by video {auc['value']:.3f}, 95 % interval {auc['low']} to {auc['high']}; see {result}/report.html")
