"""Long sound in overlapping windows, so that no answer comes from the edge of one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaest.backbones._base import Media, Piece
from vaest.types import Audio

RATE_HZ = 16_000


def sound_pieces(
    media: Media, *, window_samples: int, context_samples: int, step_samples: int
) -> Iterator[Piece]:
    """A trial's 16 kHz sound for a model whose step i is centred on sample i * step_samples.

    Inputs are (n,) float32, n <= window_samples, and answer in `step_count(n, step_samples)`
    steps. They overlap by twice `context_samples`, the last by more: it ends with the sound, so
    that only sound shorter than a window leaves one unfilled. A frame belongs to the window in
    which it lies furthest from an inner edge; frames before the sound starts or after it ends
    belong to none. All windows start on one grid of `step_samples`. Only slices of the samples
    are read.
    """
    audio = media.audio()
    if audio is None or len(audio.samples) == 0:
        return
    assert audio.rate_hz == RATE_HZ
    starts = _window_starts(len(audio.samples), window_samples, context_samples, step_samples)
    seams = (starts[1:] + starts[:-1] + window_samples) / 2
    window_of_frame = _window_of_frame(audio, seams, media.timeline.time_s)
    for index, start in enumerate(starts.tolist()):
        frames = np.flatnonzero(window_of_frame == index)
        if len(frames):
            samples = np.array(audio.samples[start : start + window_samples], dtype=np.float32)
            steps = np.arange(step_count(len(samples), step_samples))
            step_time_s = audio.start_s + (start + steps * step_samples) / RATE_HZ
            yield Piece(samples, frames, step_time_s)


def step_count(samples: int, step_samples: int) -> int:
    """How many of the samples 0, step_samples, 2 * step_samples, ... lie within `samples`."""
    return -(-samples // step_samples)


def _window_starts(
    total_samples: int, window_samples: int, context_samples: int, step_samples: int
) -> np.ndarray:
    hop_samples = window_samples - 2 * context_samples
    assert hop_samples > 0
    assert hop_samples % step_samples == 0
    excess = max(total_samples - window_samples, 0)
    starts = hop_samples * np.arange(-(-excess // hop_samples) + 1)
    starts[-1] = -(-excess // step_samples) * step_samples
    return starts


def _window_of_frame(audio: Audio, seams: np.ndarray, frame_time_s: np.ndarray) -> np.ndarray:
    """(frames,) int64: the window a frame belongs to, -1 where there is no sound."""
    heard = (audio.start_s <= frame_time_s) & (frame_time_s <= audio.end_s)
    index = np.searchsorted(audio.start_s + seams / RATE_HZ, frame_time_s, side="right")
    return np.where(heard, index, -1)
