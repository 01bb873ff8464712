"""What a face does, in numbers that do not say whose face it is.

The encoder's code of a face also says whose face it is, so the code of B is not quite what A's decoder has learned to
draw from: the swap's mouth, eyes and gaze follow only in part. Landmarks can be freed of identity where pixels cannot:
turned to the front, measured against the person's own habits, they are the same numbers for anybody. They go to the
decoders beside the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import nnls

from faceswap_hq.faces import alignment
from faceswap_hq.sampling import evenly

_POSE_UNIT = 15.0  # degrees
_LIMIT = 4.0  # units beyond which nothing is told apart
_FLOOR = 0.04  # cm: smaller spreads than this are trembling, not expression
_AWAKE = 0.7  # the eyes count as widely open above this quantile of their opening
_LID_UNIT = 0.35  # of the open eye: closed is about -3
_SHUT = 0.15  # the mouth counts as closed below this quantile of its opening ...
_SHUT_GAP = 0.2  # ... and lips closer than this, cm, are closed lips
_WIDEST = 0.97  # quantile of the opening that counts as the widest
_JAW_UNITS = {"lips apart": 0.75, "mouth height": 0.75, "upper lip": 0.3, "lower lip": 0.6, "chin": 0.75}  # cm
_GAZE_UNIT = 0.12  # cm
_LOCALITY = 0.01  # weight of distance in a mixture of faces
_ONE = 100.0  # weight of its sum being 1

_X, _Y = 0, 1
_R68, _L68 = (36, 39), (45, 42)
_Points = tuple[tuple[int, ...], tuple[int, ...]]
# Of a frontal face in cm, x to the right of the picture, y down: along an axis, how far the middle of some points lies
# from the middle of others, among 478 points and among 68. Names with `right` and `left` come in pairs. There are no
# irises among the 68: the gaze stays with the encoder.
_SHAPES: dict[str, tuple[int, _Points, _Points | None]] = {
    "lips apart": (_Y, ((14,), (13,)), ((66,), (62,))),
    "mouth height": (_Y, ((17,), (0,)), ((57,), (51,))),
    "mouth width": (_X, ((291,), (61,)), ((54,), (48,))),
    "inner width": (_X, ((308,), (78,)), ((64,), (60,))),
    "upper lip": (_Y, ((13, 0), (2,)), ((62, 51), (33,))),
    "lower lip": (_Y, ((14, 17), (2,)), ((66, 57), (33,))),
    "chin": (_Y, ((152,), (2,)), ((8,), (33,))),
    "right corner": (_Y, ((61,), (13, 14)), ((48,), (62, 66))),
    "left corner": (_Y, ((291,), (13, 14)), ((54,), (62, 66))),
    "right eye": (_Y, ((145, 153), (159, 158)), ((40, 41), (37, 38))),
    "left eye": (_Y, ((374, 380), (386, 385)), ((46, 47), (43, 44))),
    "right gaze x": (_X, ((468,), (33, 133)), None),
    "left gaze x": (_X, ((473,), (263, 362)), None),
    "right gaze y": (_Y, ((468,), (33, 133)), None),
    "left gaze y": (_Y, ((473,), (263, 362)), None),
    "right inner brow": (_Y, ((107, 55), (33, 133)), ((20, 21), _R68)),
    "left inner brow": (_Y, ((336, 285), (263, 362)), ((22, 23), _L68)),
    "right outer brow": (_Y, ((70, 63, 105), (33, 133)), ((17, 18, 19), _R68)),
    "left outer brow": (_Y, ((300, 293, 334), (263, 362)), ((24, 25, 26), _L68)),
}
NAMES = ("yaw", "pitch", *_SHAPES)
"""What the numbers are, in order."""
COUNT = len(NAMES)
_WEIGHED = {"yaw": 3.0, "pitch": 3.0, "lips apart": 7.0, "mouth height": 2.5, "upper lip": 1.0, "lower lip": 1.0}
_WEIGHED |= {"mouth width": 0.7, "inner width": 0.7, "right corner": 0.7, "left corner": 0.7, "chin": 0.5}
_WEIGHED |= {"right eye": 4.0, "left eye": 4.0}
IMPORTANCE = tuple(_WEIGHED.get(name, 1.0) for name in NAMES)
"""How much a difference in each counts when faces are compared."""
POSE = 2
"""The first so many of them are the head's pose."""


def _mirrored_name(name: str) -> str:
    swapped = {"right": "left", "left": "right"}
    first, _, rest = name.partition(" ")
    return f"{swapped[first]} {rest}" if first in swapped else name


_LIDS = tuple(i for i, name in enumerate(NAMES) if name.endswith("eye"))
_GAZE = tuple(i for i, name in enumerate(NAMES) if "gaze" in name)
JAW = tuple(NAMES.index(name) for name in _JAW_UNITS)
"""Those that tell how far the mouth is open."""
_LIPS = NAMES.index("lips apart")

MIRROR_ORDER = tuple(NAMES.index(_mirrored_name(name)) for name in NAMES)
MIRROR_SIGN = tuple(-1.0 if name == "yaw" or name.endswith("gaze x") else 1.0 for name in NAMES)
"""A mirrored face has ``x[..., MIRROR_ORDER] * MIRROR_SIGN``."""


def measured(landmarks: np.ndarray) -> np.ndarray:
    """Pose in degrees and the shape of mouth, eyes, gaze and brows in cm of the canonical face.

    478 points are turned to the front with their depth; 68 points, which have none, only upright.

    Args:
        landmarks: (478 or 68, 2 or 3) points in frame pixels.

    Returns:
        float32 (COUNT,).
    """
    yaw, pitch, _ = alignment.pose(landmarks)
    front = alignment.frontal(landmarks)
    used, weights = _readings(len(landmarks))
    return np.array([yaw, pitch, *(weights @ front[used].ravel())], np.float32)


@lru_cache
def _readings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``count`` frontal points are used, (K,), and what turns their coordinates, flattened, into shapes."""
    chosen = [(axis, of_68 if count == 68 else of_478) for axis, of_478, of_68 in _SHAPES.values()]
    used = sorted({point for _, sides in chosen if sides for side in sides for point in side})
    weights = np.zeros((len(chosen), len(used), 2))
    for row, (axis, sides) in zip(weights, chosen, strict=True):
        for side, sign in zip(sides or (), (1, -1), strict=False):
            row[[used.index(point) for point in side], axis] += sign / len(side)
    return np.array(used), weights.reshape(len(chosen), -1)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One person's habits: where each measure rests, and how far it swings.

    No more than that. How a measure shifts with the head's pose was fitted to each person before, and is habit, not
    shape: somebody who tilts the head to read lowers the lids with it, and was then drawn with wide eyes whenever
    somebody else tilted the head (`docs/results.md`).

    Args:
        rest: float32 (COUNT,). Of pose zero. Lids and gaze rest where the eyes are widely open, lips and jaw where the
            mouth is closed.
        spread: float32 (COUNT,): what counts as one. Of brows and the mouth's width, the standard deviation; of pose,
            degrees; of the lids, a share of the open eye; of gaze, lips and jaw, centimetres.
    """

    rest: np.ndarray
    spread: np.ndarray

    @staticmethod
    def fit(values: np.ndarray) -> Calibration:
        """Learn a person's habits from (N, COUNT) measures of their faces, N at least 1."""
        values = values.astype(np.float64)
        rest = np.median(values, axis=0)
        rest[:POSE] = 0
        spread = np.maximum(values.std(axis=0), _FLOOR)
        spread[:POSE] = _POSE_UNIT
        # Lids and gaze rest where the eyes are open, not where they usually are: somebody filmed reading looks down in
        # most frames, and is not to look down when somebody else looks straight ahead.
        opening = values[:, _LIDS].mean(axis=1)
        awake = opening >= np.quantile(opening, _AWAKE)
        eyes = [*_LIDS, *_GAZE]
        rest[eyes] = np.median(values[awake][:, eyes], axis=0)
        spread[list(_LIDS)] = np.maximum(_LID_UNIT * rest[list(_LIDS)], _FLOOR)
        spread[list(_GAZE)] = _GAZE_UNIT
        # So do lips and jaw where the mouth is closed, which is the same for everybody: somebody who is silent for most
        # of a clip has hardly any swing, somebody who laughs through it never rests.
        apart = values[:, _LIPS]
        closed = apart <= max(float(np.quantile(apart, _SHUT)), _SHUT_GAP)
        rest[list(JAW)] = np.median(values[closed][:, JAW], axis=0)
        rest[_LIPS] = min(rest[_LIPS], _SHUT_GAP)
        spread[list(JAW)] = list(_JAW_UNITS.values())
        return Calibration(rest=rest.astype(np.float32), spread=spread.astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N, COUNT) measures ► float32 (N, COUNT) in the units of ``spread``, ±4."""
        return np.clip((values - self.rest) / self.spread, -_LIMIT, _LIMIT).astype(np.float32)


def jaw_reach(doing: np.ndarray, known: np.ndarray) -> np.ndarray:
    """By how much lips and jaw have to move less for one person to do what another does.

    Whoever opens the mouth further than the source was ever seen to would be drawn with the same widest mouth most of
    the time; scaled to the source's reach the mouth would always move, but small openings would close. This is half of
    that way, the square root: it followed best on two pairs of people, one with much more to say than the other.

    Args:
        doing: (N, COUNT) calibrated measures of the target.
        known: (M, COUNT) those that the source's decoder has learned from.

    Returns:
        float32 (COUNT,): factors, 1 but for lips and jaw, which share one between 0.3 and 1.
    """
    widest, possible = (max(float(np.quantile(x[:, _LIPS], _WIDEST)), 1e-3) for x in (doing, known))
    factors = np.ones(COUNT, np.float32)
    factors[list(JAW)] = np.sqrt(np.clip(possible / widest, 0.1, 1))
    return factors


def adapted(measures: np.ndarray, habit: np.ndarray, known: np.ndarray) -> np.ndarray:
    """One person's measures, brought to where another was seen.

    Args:
        measures: (N, COUNT) calibrated measures.
        habit: (M, COUNT) of the same person, of as much as is known of them.
        known: (K, COUNT) those that the other's decoder has learned from.

    Returns:
        float32 (N, COUNT): poses turned (:func:`meeting_point`), mouths opened less wide where the other never opens it
        so wide (:func:`jaw_reach`).
    """
    out = measures * jaw_reach(habit, known)
    out[:, :POSE] += meeting_point(habit[:, :POSE], known[:, :POSE])
    return out.astype(np.float32)


def mixture(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Shares in which ``known`` faces make up each ``wanted`` one, preferring near ones.

    For each wanted x, over shares w ≥ 0 that sum to 1, the least ``|Kᵀw - x|² + μ² (Σ wᵢ |kᵢ - x|²)²``, distances
    weighted by :data:`IMPORTANCE`: the coding of Wang et al. 2010 (locality-constrained linear coding, CVPR), held to a
    mixture, as non-negative least squares (Lawson and Hanson 1974). So a half open mouth is made of a closed and an
    open one where it was never seen, and what lies beyond all that was seen is answered with the nearest.

    Args:
        wanted: (N, COUNT) calibrated measures.
        known: (M, COUNT).

    Returns:
        float32 (N, M); rows sum to 1.
    """
    scale = np.array(IMPORTANCE)
    faces = known * scale
    out = np.zeros((len(wanted), len(known)), np.float32)
    for row, x in zip(out, wanted * scale, strict=True):
        away = faces - x
        squares = (away**2).sum(1)
        system = np.vstack([away.T, _LOCALITY * squares, np.full(len(faces), _ONE)])
        try:
            shares, _ = nnls(system, np.append(np.zeros(COUNT + 1), _ONE), maxiter=20 * len(faces))
            row[:] = shares / shares.sum()
        except RuntimeError:  # too many iterations: the nearest will do
            row[squares.argmin()] = 1
    return out


def meeting_point(poses: np.ndarray, known: np.ndarray, reach: float = 0.4, comfort: float = 0.7) -> np.ndarray:
    """The smallest turn of the head that brings one person's poses to where another's were seen.

    A decoder cannot draw its person from sides that it never saw. Where A was only filmed from below and B looks
    straight, drawing A from below is right in every way but one; drawing what was never seen is mush. The turn is the
    same for all faces, so the head still moves as B's does.

    Args:
        poses: (N, 2) calibrated yaw and pitch of the target.
        known: (M, 2) those that the source's decoder has learned from.
        reach: Width of the kernels by which the source's poses are known, pose units.
        comfort: Width of the Gaussian that prefers small turns, pose units.

    Returns:
        float32 (2,): what to add to ``poses``; zeros where they already meet.
    """
    steps = np.arange(-10, 11, dtype=np.float32) * np.float32(0.2)
    turns = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    some, known = (x[evenly(len(x), most)].astype(np.float32) for x, most in ((poses, 48), (known, 96)))
    # exp(-(x² + y²)) is a product, so each axis' 21 turns are enough: (axis, turn, pose, known)
    gaps = steps[None, :, None, None] + (some[:, None] - known[None]).transpose(2, 0, 1)[:, None]
    kernels = np.exp(-(gaps**2) / np.float32(2 * reach**2))
    seen = np.einsum("ipk,jpk->ijp", *kernels).reshape(len(turns), -1) / len(known)  # (turns, poses)
    # The mean of the logarithm: a turn that leaves some poses unseen is worse than one that serves all half as well
    gain = np.log(seen + 1e-3).mean(axis=1) - (turns**2).sum(1) / (2 * comfort**2)
    return turns[int(np.argmax(gain))].astype(np.float32)
