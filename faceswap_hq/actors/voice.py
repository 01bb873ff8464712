"""A synthetic voice: syllables that both the sound and the mouth follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16000
# First three formants in hertz (rounded textbook values for an adult), and how far jaw and lips go for each vowel.
VOWELS = {
    "a": ((730.0, 1150.0, 2450.0), 1.00, 0.05),
    "e": ((530.0, 1840.0, 2480.0), 0.55, 0.45),
    "i": ((280.0, 2250.0, 2950.0), 0.25, 0.70),
    "o": ((500.0, 900.0, 2400.0), 0.60, -0.60),
    "u": ((320.0, 870.0, 2250.0), 0.30, -0.90),
}


@dataclass(frozen=True, kw_only=True)
class Syllable:
    """One syllable: when (seconds), which vowel, how loud (0 to 1), and whether the lips close before it."""

    start: float
    duration: float
    vowel: str
    loudness: float
    labial: bool
    pitch: float


def syllables(seed: int, seconds: float) -> list[Syllable]:
    """Phrases of syllables with pauses between, until ``seconds`` are full."""
    rng = np.random.default_rng([seed, 11])
    time, out = float(rng.uniform(0.1, 0.35)), []
    while time < seconds:
        count = int(rng.integers(4, 13))
        for k in range(count):
            duration = float(rng.uniform(0.13, 0.27)) * (1.35 if k == count - 1 else 1.0)
            out.append(
                Syllable(
                    start=time,
                    duration=duration,
                    vowel=str(rng.choice(list(VOWELS), p=(0.32, 0.24, 0.16, 0.17, 0.11))),
                    loudness=float(rng.uniform(0.55, 1.0)),
                    labial=bool(rng.random() < 0.3),
                    pitch=float(1.12 - 0.24 * k / count + rng.normal(0, 0.04)),
                )
            )
            time += duration * float(rng.uniform(0.92, 1.06))
        time += float(rng.uniform(0.25, 0.75))
    return out


def envelope(spoken: list[Syllable], times: np.ndarray) -> np.ndarray:
    """Loudness (0 to 1) at ``times`` in seconds, (T,) float64."""
    out = np.zeros(len(times))
    for s in spoken:
        phase = (times - s.start) / s.duration
        inside = (phase > 0) & (phase < 1)
        out[inside] = np.maximum(out[inside], s.loudness * np.sin(np.pi * phase[inside]) ** 0.8)
    return out


def synthesize(seed: int, seconds: float, *, pitch: float = 120.0) -> np.ndarray:
    """The voice as float32 samples in [-1, 1] at :data:`SAMPLE_RATE`.

    Harmonics of a gliding pitch, weighted by the response of the vowels' formants (second-order resonances) and by the
    -12 dB an octave of a glottal pulse; noise at the syllables' beginnings.

    Args:
        seed: The performance's seed; the same seed moves the mouth.
        seconds: Length.
        pitch: Mean pitch in hertz.
    """
    spoken = syllables(seed, seconds)
    rng = np.random.default_rng([seed, 12])
    times = np.arange(int(round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    coarse = np.arange(0, seconds + 0.02, 0.01)
    loud = np.interp(times, coarse, envelope(spoken, coarse))
    centers = np.array([s.start + s.duration / 2 for s in spoken] or [0.0])
    formants = np.array([VOWELS[s.vowel][0] for s in spoken] or [VOWELS["a"][0]])
    rise = np.array([s.pitch for s in spoken] or [1.0])
    f0 = pitch * np.interp(coarse, centers, rise) * (1 + 0.012 * np.sin(2 * np.pi * 5.2 * coarse))
    tract = np.stack([np.interp(coarse, centers, formants[:, k]) for k in range(3)]) * (1.0 if pitch < 160 else 1.15)
    phase = 2 * np.pi * np.cumsum(np.interp(times, coarse, f0)) / SAMPLE_RATE
    out = np.zeros(len(times))
    for k in range(1, int(3800 / pitch) + 1):
        frequency = k * f0
        gain = np.zeros(len(coarse))
        for formant, width, level in zip(tract, (80.0, 110.0, 160.0), (1.0, 0.6, 0.25), strict=True):
            gain += level / np.sqrt((1 - (frequency / formant) ** 2) ** 2 + (frequency * width / formant**2) ** 2)
        out += np.interp(times, coarse, gain / k**1.1) * np.sin(k * phase)
    hiss = np.zeros(len(times))
    for s in spoken:
        near = np.exp(-0.5 * ((times - s.start - 0.02) / 0.018) ** 2)
        hiss += near * s.loudness * (0.3 if s.labial else 1.0)
    voice = out / (np.abs(out).max() + 1e-9) * loud
    return (0.6 * voice + 0.03 * hiss * rng.normal(0, 1, len(times))).clip(-1, 1).astype(np.float32)
