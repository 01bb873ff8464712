"""What an actor does: head motion, gaze, blinks, speech and expressions as curves over time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from faceswap_hq.actors.voice import VOWELS, envelope, syllables


@dataclass(frozen=True, kw_only=True)
class Performance:
    """A performance anyone can give.

    Attributes:
        seed: Seeds every curve and the voice.
        seconds: Length, > 0.
        fps: Frames a second.
        liveliness: Scales head motion and expressions; 1 reaches about 35 degrees of yaw, 18 of pitch and of roll.
    """

    seed: int
    seconds: float = 8.0
    fps: float = 25.0
    liveliness: float = 1.0

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.fps > 0 and 0 <= self.liveliness <= 1.5):
            raise ValueError("seconds and fps must be positive, liveliness between 0 and 1.5")

    @property
    def frames(self) -> int:
        """Number of frames, at least 1."""
        return max(1, int(round(self.seconds * self.fps)))


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One instant of a performance; independent of who gives it.

    Angles are degrees: positive yaw turns the face toward the picture's right, positive pitch down, positive roll
    clockwise in the picture. ``x``, ``y``, ``z`` shift the body in units of the eye distance. Expressions are 0 (rest)
    to 1; ``wide`` is -1 (pucker) to 1 (spread); ``gaze_x`` and ``gaze_y`` are degrees relative to the head.
    """

    time: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    jaw: float = 0.0
    wide: float = 0.0
    press: float = 0.0
    smile: float = 0.0
    smirk: float = 0.0
    frown: float = 0.0
    brow_up: float = 0.0
    brow_down: float = 0.0
    blink: float = 0.0
    squint: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    light: float = 0.0


def make_performance(seed: int, *, seconds: float = 8.0, fps: float = 25.0, liveliness: float = 1.0) -> Performance:
    """A performance of ``seconds`` at ``fps``; different seeds give different words, looks and motions."""
    return Performance(seed=int(seed), seconds=float(seconds), fps=float(fps), liveliness=float(liveliness))


def _drift(rng: np.random.Generator, times: np.ndarray, slowest: float, fastest: float) -> np.ndarray:
    """A smooth random curve of about unit amplitude: sines of random phase between two frequencies in hertz."""
    total = np.zeros(len(times))
    weight = 0.0
    for frequency in np.geomspace(slowest, fastest, 4) * rng.uniform(0.8, 1.25, 4):
        amplitude = rng.uniform(0.6, 1.0) * (slowest / frequency) ** 0.7
        total += amplitude * np.sin(2 * np.pi * (frequency * times + rng.random()))
        weight += amplitude
    return total / weight * 1.35


def _events(
    rng: np.random.Generator, times: np.ndarray, gap: tuple[float, float], hold: tuple[float, float]
) -> np.ndarray:
    """Soft plateaus of random height (0 to 1) that come and go."""
    out = np.zeros(len(times))
    start = float(rng.uniform(0, gap[1]))
    while start < times[-1]:
        length, height = float(rng.uniform(*hold)), float(rng.uniform(0.45, 1.0))
        rise = np.clip((times - start) / 0.35, 0, 1) * np.clip((start + length - times) / 0.5, 0, 1)
        out = np.maximum(out, height * rise * rise * (3 - 2 * rise))
        start += length + float(rng.uniform(*gap))
    return out


def _blinks(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Lids: closing in about 80 ms, opening in about 170 ms, every 1.5 to 5 seconds, some of them double."""
    out = np.zeros(len(times))
    start = float(rng.uniform(0.4, 1.6))
    while start < times[-1]:
        close, closed, reopen = rng.uniform(0.07, 0.10), rng.uniform(0.02, 0.07), rng.uniform(0.13, 0.2)
        t = times - start
        curve = np.where(t < close, t / close, np.where(t < close + closed, 1.0, 1 - (t - close - closed) / reopen))
        curve = np.clip(curve, 0, 1)
        out = np.maximum(out, curve * curve * (3 - 2 * curve))
        start += 0.34 if rng.random() < 0.12 else float(rng.uniform(1.5, 4.6))
    return out


@lru_cache(maxsize=32)
def moments(performance: Performance) -> tuple[Moment, ...]:
    """All moments of a performance, one a frame; drawn at a fixed 120 Hz so that fps does not change the motion."""
    rng = np.random.default_rng([performance.seed, 21])
    fine = np.arange(0, performance.seconds + 0.5, 1 / 120)
    live = performance.liveliness
    curves = {
        "yaw": np.clip(27 * _drift(rng, fine, 0.09, 0.6), -35, 35) * live,
        "pitch": np.clip(10 * _drift(rng, fine, 0.11, 0.9) + 1, -18, 18) * live,
        "roll": np.clip(8 * _drift(rng, fine, 0.08, 0.5), -18, 18) * live,
        "x": 0.10 * _drift(rng, fine, 0.07, 0.4) * live,
        "y": 0.05 * _drift(rng, fine, 0.10, 0.5) * live,
        "z": 0.30 * _drift(rng, fine, 0.05, 0.3) * live,
        "light": _drift(rng, fine, 0.05, 0.2),
    }
    spoken = syllables(performance.seed, performance.seconds)
    jaw, wide, press = np.zeros(len(fine)), np.zeros(len(fine)), np.zeros(len(fine))
    for s in spoken:
        phase = (fine - s.start) / s.duration
        bump = np.where((phase > 0) & (phase < 1), np.sin(np.pi * np.clip(phase, 0, 1)), 0.0)
        jaw = np.maximum(jaw, bump * VOWELS[s.vowel][1] * (0.4 + 0.6 * s.loudness))
        soft = np.exp(-0.5 * ((phase - 0.5) / 0.45) ** 2)
        wide += soft * VOWELS[s.vowel][2] * 0.8
        if s.labial:
            press = np.maximum(press, np.exp(-0.5 * ((fine - s.start) / 0.035) ** 2))
    kernel = np.hanning(9)
    curves["jaw"] = np.convolve(jaw, kernel / kernel.sum(), "same") * (1 - press)
    # now and then the mouth opens wide (laughing, surprise)
    gape = _events(rng, fine, (3.5, 8.0), (0.5, 0.9)) * live
    curves["jaw"] = np.clip(np.maximum(curves["jaw"] * 0.62, gape), 0, 1)
    curves["wide"] = np.clip(wide, -1, 1) * (1 - gape)
    curves["press"] = press * 0.6
    curves["smile"] = _events(rng, fine, (1.5, 4.5), (0.9, 2.6)) * live
    curves["smirk"] = 0.6 * _drift(rng, fine, 0.1, 0.4) * curves["smile"]
    curves["frown"] = _events(rng, fine, (4.0, 9.0), (0.6, 1.5)) * (1 - curves["smile"]) * live
    curves["brow_up"] = (
        np.clip(_events(rng, fine, (1.2, 4.0), (0.4, 1.4)) * 0.9 + 0.25 * envelope(spoken, fine), 0, 1) * live
    )
    curves["brow_down"] = _events(rng, fine, (3.0, 7.0), (0.6, 1.6)) * (1 - curves["brow_up"]) * live
    curves["blink"] = _blinks(rng, fine)
    curves["squint"] = np.clip(0.5 * curves["smile"] + 0.4 * curves["brow_down"], 0, 1)
    # the eyes jump, then rest; they partly make up for the turning head
    jumps = np.cumsum(rng.uniform(0.35, 1.6, int(performance.seconds / 0.35) + 8))
    place = np.searchsorted(jumps, fine)
    targets = rng.normal(0, [[9.0, 5.0]], (len(jumps) + 1, 2)).clip(-22, 14)
    saccade = np.hanning(7)
    for k, name in enumerate(("gaze_x", "gaze_y")):
        padded = np.pad(targets[place, k], 3, mode="edge")
        curves[name] = np.convolve(padded, saccade / saccade.sum(), "valid")
    curves["gaze_x"] -= 0.45 * curves["yaw"]
    curves["gaze_y"] -= 0.35 * curves["pitch"]
    names = [f.name for f in fields(Moment) if f.name != "time"]
    times = np.arange(performance.frames) / performance.fps
    table = np.stack([np.interp(times, fine, curves[name]) for name in names], -1)
    return tuple(
        Moment(time=float(t), **dict(zip(names, map(float, row), strict=True)))
        for t, row in zip(times, table, strict=True)
    )
