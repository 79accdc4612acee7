"""The sound track: speech, spoilt where the schedule says so; and how open the mouth is."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import resample_poly

from vaest.corpora.demo.espeak import RATE_HZ
from vaest.corpora.demo.schedule import Stretch

NOISE_RMS = 0.25
FADE_S = 0.02
OPENING_WINDOW_S = 0.08
OPEN_RMS = 0.15


def spoil(speech: np.ndarray, stretches: list[Stretch], rng: np.random.Generator) -> np.ndarray:
    """(n,) float32 at RATE_HZ: noise is louder than the speech, silence drops it."""
    time_s = np.arange(len(speech)) / RATE_HZ
    sound = speech.copy()
    babble = _babble(speech, rng)
    for stretch in stretches:
        inside = _window(stretch, time_s)
        if stretch.kind == "silence":
            sound *= 1 - inside
        if stretch.kind == "noise":
            sound += inside * babble
    return np.clip(sound, -1, 1)


def mouth_opening(speech: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """(time,) in [0, 1] from the level of the speech around each time."""
    power = uniform_filter1d(speech.astype(np.float64) ** 2, round(OPENING_WINDOW_S * RATE_HZ))
    level = np.sqrt(np.maximum(power, 0))
    index = np.clip((time_s * RATE_HZ).astype(int), 0, len(speech) - 1)
    return np.asarray(np.clip(level[index] / OPEN_RMS, 0, 1))


def resample(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """(n,) float32 from RATE_HZ to rate_hz."""
    common = np.gcd(rate_hz, RATE_HZ)
    return np.asarray(resample_poly(sound, rate_hz // common, RATE_HZ // common), dtype=np.float32)


def _babble(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The speech backwards on top of itself at three delays, in white noise."""
    backwards = speech[::-1]
    voices = sum(np.roll(backwards, shift) for shift in rng.integers(0, len(speech), 3))
    mixed = voices / (speech.std() + 1e-9) + 1.5 * rng.standard_normal(len(speech))
    return np.asarray(NOISE_RMS * mixed / mixed.std(), dtype=np.float32)


def _window(stretch: Stretch, time_s: np.ndarray) -> np.ndarray:
    """(n,) float32: 1 inside the stretch, with short ramps against clicks."""
    rise = (time_s - stretch.start_s) / FADE_S
    fall = (stretch.end_s - time_s) / FADE_S
    return np.clip(np.minimum(rise, fall), 0, 1).astype(np.float32)
