"""What happens in a trial and when: valence and arousal, corruption, failed detections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vaest.types import MODALITIES

Kind = Literal["clean", "occlusion", "noise", "silence"]

SHORTEST_PERIOD_S = 8.0
LONGEST_PERIOD_S = 32.0
PEAK = 0.9

# One cycle of a corruption schedule; shuffled and stretched, then repeated.
CYCLE: tuple[tuple[Kind, float], ...] = (
    ("occlusion", 2.8),
    ("occlusion", 2.8),
    ("noise", 4.0),
    ("silence", 2.4),
    ("clean", 2.0),
    ("clean", 2.0),
)
SPOILS: dict[Kind, tuple[str, ...]] = {
    "clean": (),
    "occlusion": ("visual",),
    "noise": ("audio", "text"),  # words are not recognised under noise either
    "silence": ("audio", "text"),
}


@dataclass(frozen=True)
class Trajectory:
    """Smooth valence and arousal: (waves, 2) sines, added to (2,) and squashed."""

    period_s: np.ndarray
    phase: np.ndarray
    amplitude: np.ndarray
    offset: np.ndarray

    def __call__(self, time_s: np.ndarray) -> np.ndarray:
        """(time, 2) float64 valence and arousal in [-0.9, 0.9] at time_s."""
        angle = 2 * np.pi * time_s[:, None, None] / self.period_s + self.phase
        return np.asarray(PEAK * np.tanh(self.offset + (self.amplitude * np.sin(angle)).sum(1)))

    def leaning(self, other: Trajectory, weight: float = 0.5) -> Trajectory:
        """This one with some of `other` added before squashing."""
        return Trajectory(
            np.concatenate([self.period_s, other.period_s]),
            np.concatenate([self.phase, other.phase]),
            np.concatenate([0.8 * self.amplitude, weight * other.amplitude]),
            0.8 * self.offset + weight * other.offset,
        )


@dataclass(frozen=True)
class Stretch:
    kind: Kind
    start_s: float
    end_s: float

    def covers(self, time_s: np.ndarray) -> np.ndarray:
        """(time,) bool."""
        return (self.start_s <= time_s) & (time_s < self.end_s)


def trajectory(rng: np.random.Generator, waves: int = 4) -> Trajectory:
    """Band-limited: periods of 8 to 32 s, from peak to trough in 4 to 16 s."""
    shortest, longest = np.log([SHORTEST_PERIOD_S, LONGEST_PERIOD_S])
    amplitude = rng.uniform(0.5, 1.0, (waves, 2))
    return Trajectory(
        period_s=np.exp(rng.uniform(shortest, longest, (waves, 2))),
        phase=rng.uniform(0, 2 * np.pi, (waves, 2)),
        amplitude=1.1 * amplitude / np.sqrt((amplitude**2).sum(axis=0)),
        offset=rng.uniform(-0.35, 0.35, 2),
    )


def corruption(rng: np.random.Generator, duration_s: float) -> list[Stretch]:
    """Stretches of about 2 to 5 s, one after the other, over the whole duration."""
    stretches: list[Stretch] = []
    start_s = 0.0
    while start_s < duration_s:
        for index in rng.permutation(len(CYCLE)):
            kind, mean_s = CYCLE[index]
            end_s = start_s + mean_s * rng.uniform(0.8, 1.3)
            stretches.append(Stretch(kind, start_s, end_s))
            start_s = end_s
    return stretches


def spoilt(stretches: list[Stretch], time_s: np.ndarray) -> dict[str, np.ndarray]:
    """Per modality (time,) float32: 1 where it is corrupted, else 0."""
    level: dict[str, np.ndarray] = {m: np.zeros(len(time_s), np.float32) for m in MODALITIES}
    for stretch in stretches:
        for modality in SPOILS[stretch.kind]:
            level[modality][stretch.covers(time_s)] = 1.0
    return level


def runs(
    rng: np.random.Generator, frames: int, count: int, shortest: int, longest: int
) -> np.ndarray:
    """(frames,) bool, True in `count` runs of `shortest` to `longest` frames."""
    inside = np.zeros(frames, dtype=bool)
    for _ in range(count):
        length = int(rng.integers(shortest, longest + 1))
        start = int(rng.integers(0, max(1, frames - length)))
        inside[start : start + length] = True
    return inside
