"""Every audio backbone puts a sound on the frame that hears it, whatever the window it is in."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from vaest.align import to_frames
from vaest.backbones import Backbone, backbones
from vaest.types import Audio, Features, Timeline, Word

NAMES = [name for name in backbones.names() if backbones.get(name).modality == "audio"]
RATES_HZ = [25.0, 30_000 / 1001, 7.5]
SOUND_RATE_HZ = 16_000


@dataclass(frozen=True)
class SoundMedia:
    """A trial that is sound alone, with frames from second 0 until a second after it ends."""

    samples: np.ndarray
    rate_hz: float
    start_s: float = 0.0

    @property
    def timeline(self) -> Timeline:
        end_s = self.start_s + len(self.samples) / SOUND_RATE_HZ + 1.0
        time_s = np.arange(int(end_s * self.rate_hz)) / self.rate_hz
        return Timeline("sound", time_s, np.zeros(len(time_s), dtype=bool))

    def crops(self) -> Iterator[tuple[int, np.ndarray]]:
        return iter(())

    def audio(self) -> Audio:
        return Audio(self.samples, SOUND_RATE_HZ, self.start_s)

    def words(self) -> list[Word]:
        return []


@functools.cache
def loaded(name: str) -> Backbone:
    kind = backbones.get(name)
    backbone = kind(kind.Config())
    backbone.load()
    return backbone


@functools.cache
def voice(duration_s: float) -> np.ndarray:
    """Like speech to a model: pulses of gliding pitch through three formants, in syllables."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(duration_s * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    knots = np.arange(0, duration_s + 0.2, 0.2)
    pitch_hz = np.interp(time_s, knots, rng.uniform(90, 180, len(knots)))
    loudness = np.interp(time_s, knots, rng.uniform(0, 1, len(knots)) ** 2)
    phase = np.cumsum(pitch_hz) / SOUND_RATE_HZ
    sound = np.zeros_like(time_s)
    for low_hz, high_hz in ((300, 800), (900, 2200), (2300, 3000)):
        formant_hz = np.interp(time_s, knots, rng.uniform(low_hz, high_hz, len(knots)))
        for harmonic in range(1, 30):
            distance = (harmonic * pitch_hz - formant_hz) / 120
            sound += np.exp(-0.5 * distance**2) * np.sin(2 * np.pi * harmonic * phase)
    noise = 0.003 * rng.standard_normal(len(time_s))
    return (0.1 * loudness * sound + noise).astype(np.float32)


def with_click(samples: np.ndarray, at_s: float) -> np.ndarray:
    """`samples` and 5 ms of a loud tone centred on second `at_s`."""
    clicked = samples.copy()
    tone = np.sin(2 * np.pi * 2500 * np.arange(80) / SOUND_RATE_HZ)
    start = round(at_s * SOUND_RATE_HZ) - 40
    clicked[start : start + 80] += (0.8 * tone).astype(np.float32)
    return clicked


def features(backbone: Backbone, media: SoundMedia) -> Features:
    time_s = media.timeline.time_s
    values = np.zeros((len(time_s), backbone.dim), dtype=np.float32)
    valid = np.zeros(len(time_s), dtype=bool)
    for piece in backbone.pieces(media):
        steps = backbone.forward([piece.input])[0]
        values[piece.frames] = to_frames(
            steps, piece.step_time_s, time_s[piece.frames], backbone.policy
        )
        valid[piece.frames] = True
    return Features(values, valid)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("start_s", [0.0, 1.3])
def test_a_click_lands_on_the_nearest_frame(name: str, rate_hz: float, start_s: float) -> None:
    samples = voice(12.0)
    before = features(loaded(name), SoundMedia(samples, rate_hz, start_s))
    time_s = SoundMedia(samples, rate_hz, start_s).timeline.time_s
    # Early, late and on the dot for its frame, clear of the boundary to the next one.
    for about_s, offset in ((2.5, 0.15), (6.3, 0.0), (11.9, -0.15)):
        frame = np.searchsorted(time_s, about_s)
        at_s = time_s[frame] + offset / rate_hz
        clicked = SoundMedia(with_click(samples, at_s - start_s), rate_hz, start_s)
        after = features(loaded(name), clicked)
        # The median over features: a model with attention answers a little everywhere.
        change = np.median(np.abs(after.values - before.values), axis=1)
        assert change.argmax() == frame


@pytest.mark.parametrize("name", NAMES)
def test_only_frames_with_sound_are_valid(name: str) -> None:
    media = SoundMedia(voice(12.0), 25.0, start_s=1.3)
    time_s = media.timeline.time_s
    heard = (time_s >= 1.3) & (time_s <= 13.3)
    assert (features(loaded(name), media).valid == heard).all()


@pytest.mark.parametrize("name", NAMES)
def test_late_sound_moves_the_features_and_changes_nothing_else(name: str) -> None:
    samples, rate_hz = voice(12.0), RATES_HZ[1]
    prompt = features(loaded(name), SoundMedia(samples, rate_hz))
    late = features(loaded(name), SoundMedia(samples, rate_hz, start_s=36 / rate_hz))
    assert late.valid.sum() == prompt.valid.sum()
    np.testing.assert_array_equal(late.values[late.valid], prompt.values[prompt.valid])


@pytest.mark.parametrize("name", NAMES)
def test_where_windows_are_cut_matters_less_than_the_next_frame_does(name: str) -> None:
    """70 s against the same sound without its first 7 s, whose windows lie elsewhere."""
    samples = voice(70.0)
    whole = features(loaded(name), SoundMedia(samples, 25.0))
    shifted = features(loaded(name), SoundMedia(samples[7 * SOUND_RATE_HZ :], 25.0, start_s=7.0))
    both = slice(10 * 25, 69 * 25)
    error = np.linalg.norm(whole.values[both] - shifted.values[both], axis=1).mean()
    change = np.linalg.norm(np.diff(whole.values[both], axis=0), axis=1).mean()
    print(f"{name}: window placement {error:.3g}, frame to frame {change:.3g}")
    assert error < 0.6 * change


@pytest.mark.parametrize("name", NAMES)
def test_mapped_samples_are_only_sliced(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sound") / "sound.npy"
    np.save(path, voice(12.0))
    mapped = features(loaded(name), SoundMedia(np.load(path, mmap_mode="r"), 25.0))
    held = features(loaded(name), SoundMedia(voice(12.0), 25.0))
    assert mapped.values.tobytes() == held.values.tobytes()
