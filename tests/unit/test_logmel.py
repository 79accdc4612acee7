"""Log-mel features against torchaudio, and against what is known of the sound."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchaudio

from vaest.backbones.logmel import FLOOR, Logmel
from vaest.types import Audio, Timeline


@pytest.fixture(scope="module")
def logmel() -> Logmel:
    backbone = Logmel(Logmel.Config())
    backbone.load()
    return backbone


def noise(duration_s: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(round(duration_s * 16_000))).astype(np.float32)


@pytest.mark.parametrize("duration_s", [0.004, 3.0, 20.0, 65.123])
def test_windows_join_without_a_seam(logmel: Logmel, duration_s: float) -> None:
    samples = noise(duration_s)
    reference = torchaudio.transforms.MelSpectrogram(
        16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=128,
        mel_scale="slaney",
        pad_mode="constant",
    )(torch.from_numpy(samples))
    reference = torch.log(torch.clamp(reference, min=1e-6)).T.numpy()
    # One frame a step, and frame times free of rounding: frame j is sample 160 j.
    time_s = np.arange(len(samples) // 160) * 0.01 if duration_s > 0.01 else np.zeros(1)
    media = SimpleNamespace(
        timeline=Timeline("noise", time_s, np.zeros(len(time_s), dtype=bool)),
        audio=lambda: Audio(samples, 16_000, 0.0),
    )
    seen = 0
    for piece in logmel.pieces(media):
        steps = logmel.forward([piece.input])[0]
        first = round(piece.step_time_s[0] * 100)
        np.testing.assert_allclose(piece.step_time_s, (first + np.arange(len(steps))) * 0.01)
        np.testing.assert_allclose(
            steps[piece.frames - first], reference[piece.frames], atol=1e-5, rtol=1e-5
        )
        seen += len(piece.frames)
    assert seen == len(time_s)


def test_a_louder_sound_adds_the_logarithm_of_its_power(logmel: Logmel) -> None:
    quiet, loud = logmel.forward([noise(1.0), 10 * noise(1.0)])
    np.testing.assert_allclose(loud - quiet, np.log(100), atol=1e-3)


def test_silence_is_the_floor(logmel: Logmel) -> None:
    (steps,) = logmel.forward([np.zeros(16_000, dtype=np.float32)])
    np.testing.assert_allclose(steps, np.log(FLOOR), rtol=1e-6)


def test_a_higher_tone_peaks_in_a_higher_band_and_no_band_is_dead(logmel: Logmel) -> None:
    time_s = np.arange(16_000) / 16_000
    tones_hz = np.geomspace(300, 7_900, 24)
    tones = [np.sin(2 * np.pi * tone_hz * time_s).astype(np.float32) for tone_hz in tones_hz]
    peaks = [steps[50].argmax() for steps in logmel.forward(tones)]
    assert (np.diff(peaks) > 0).all()
    (steps,) = logmel.forward([noise(1.0)])
    assert steps.min() > np.log(FLOOR)
