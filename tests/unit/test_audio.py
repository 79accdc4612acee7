from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vaest.errors import InputError
from vaest.media.audio import load_audio
from vaest.media.video import frame_times
from vaest.types import Audio

CLICKS_S = (0.5, 1.25, 2.0)


def write_sound(
    path: Path,
    pieces: Sequence[tuple[float, np.ndarray]],
    *,
    codec: str,
    rate_hz: int,
    with_video: bool = False,
) -> Path:
    """Pieces of (start_s, (channels, n) float32); with 3 s of grey video if asked for."""
    channels = pieces[0][1].shape[0]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg2video", rate=25) if with_video else None
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            rng = np.random.default_rng(0)
            for i in range(75):
                image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for start_s, samples in pieces:
            for first in range(0, samples.shape[1], 4096):
                part = np.ascontiguousarray(samples[:, first : first + 4096])
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
                frame.pts = round(start_s * rate_hz) + first
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clicks(
    duration_s: float, rate_hz: int, channels: int = 1, at_s: Sequence[float] = CLICKS_S
) -> np.ndarray:
    samples = np.zeros((channels, round(duration_s * rate_hz)), np.float32)
    samples[:, [round(t * rate_hz) for t in at_s]] = 0.9
    return samples


def heard_s(audio: Audio, near_s: float) -> float:
    """When the loudest sample within 0.1 s of `near_s` is heard."""
    first = round((near_s - 0.1 - audio.start_s) * audio.rate_hz)
    window = np.abs(audio.samples[first : first + round(0.2 * audio.rate_hz)])
    return audio.start_s + (first + int(window.argmax())) / audio.rate_hz


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("a.mp4", "aac", 44_100, 2),
        ("a.mkv", "aac", 48_000, 1),
        ("a.mkv", "mp2", 44_100, 2),
        ("a.mkv", "libopus", 48_000, 2),
        ("a.mkv", "flac", 44_100, 6),
        ("a.mp4", "libmp3lame", 44_100, 2),
        ("a.wav", "pcm_s16le", 44_100, 2),
        ("a.wav", "pcm_f32le", 16_000, 1),
        ("a.wav", "pcm_u8", 8_000, 1),
        ("a.avi", "pcm_s16le", 44_100, 2),
    ],
)
def test_a_click_is_heard_when_it_was_made(
    tmp_path: Path, name: str, codec: str, rate_hz: int, channels: int
) -> None:
    made = clicks(3.0, rate_hz, channels)
    audio = load_audio(write_sound(tmp_path / name, [(0.0, made)], codec=codec, rate_hz=rate_hz))
    assert audio is not None
    assert audio.rate_hz == 16_000
    assert audio.samples.dtype == np.float32
    assert audio.end_s == pytest.approx(3.0, abs=0.05)
    for click_s in CLICKS_S:
        assert heard_s(audio, click_s) == pytest.approx(click_s, abs=0.001)


@pytest.mark.parametrize("name", ["v.mpg", "v.ts", "v.mkv"])
def test_sound_and_pictures_share_a_clock(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_sound(path, [(0.0, clicks(3.0, 44_100, 2))], codec="mp2", rate_hz=44_100, with_video=True)
    audio, first_frame_s = load_audio(path), frame_times(path)[0]
    assert audio is not None
    for click_s in CLICKS_S:
        assert heard_s(audio, click_s) - first_frame_s == pytest.approx(click_s, abs=0.001)


def test_late_sound_starts_late(tmp_path: Path) -> None:
    late = [(1.5, clicks(1.0, 16_000, at_s=[0.25]))]
    path = tmp_path / "v.mkv"
    write_sound(path, late, codec="pcm_s16le", rate_hz=16_000, with_video=True)
    audio = load_audio(path)
    assert audio is not None
    assert audio.start_s == pytest.approx(1.5, abs=0.001)
    assert audio.end_s == pytest.approx(2.5, abs=0.001)
    assert heard_s(audio, 1.75) == pytest.approx(1.75, abs=0.001)


def test_a_hole_is_silence_and_what_follows_stays_in_place(tmp_path: Path) -> None:
    before, after = np.full((1, 8000), 0.5, np.float32), clicks(1.0, 16_000, at_s=[0.5])
    path = tmp_path / "hole.mkv"
    write_sound(path, [(0.0, before), (2.0, after)], codec="pcm_s16le", rate_hz=16_000)
    audio = load_audio(path)
    assert audio is not None
    assert len(audio.samples) == 3 * 16_000
    np.testing.assert_allclose(audio.samples[:8000], 0.5, atol=1e-3)
    assert not audio.samples[8000:32000].any()
    assert heard_s(audio, 2.5) == pytest.approx(2.5, abs=0.001)


def test_jitter_of_time_stamps_opens_no_hole(tmp_path: Path) -> None:
    tone = np.full((1, 8000), 0.5, np.float32)
    path = tmp_path / "jitter.mkv"
    write_sound(path, [(0.0, tone), (0.51, tone)], codec="pcm_s16le", rate_hz=16_000)
    audio = load_audio(path)
    assert audio is not None
    assert len(audio.samples) == 16_000
    np.testing.assert_allclose(audio.samples, 0.5, atol=1e-3)


def test_channels_are_averaged_and_clipped(tmp_path: Path) -> None:
    left, right = np.full(8000, 0.8), np.full(8000, -0.2)
    stereo = np.stack([left, right]).astype(np.float32)
    audio = load_audio(
        write_sound(tmp_path / "s.wav", [(0.0, stereo)], codec="pcm_f32le", rate_hz=16_000)
    )
    assert audio is not None
    np.testing.assert_allclose(audio.samples, 0.3, atol=1e-6)
    loud = np.full((1, 8000), 1.5, np.float32)
    audio = load_audio(
        write_sound(tmp_path / "l.wav", [(0.0, loud)], codec="pcm_f32le", rate_hz=16_000)
    )
    assert audio is not None
    assert audio.samples.max() == 1.0


def test_a_tone_keeps_its_pitch_and_level(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44_100) / 44_100)
    path = tmp_path / "t.wav"
    write_sound(path, [(0.0, tone[None].astype(np.float32))], codec="pcm_s16le", rate_hz=44_100)
    audio = load_audio(path)
    assert audio is not None
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    assert np.abs(audio.samples[400:-400] - expected[400:-400]).max() < 2e-3


def test_ten_minutes_do_not_drift_and_stay_out_of_memory(tmp_path: Path) -> None:
    at_s = [1.0, 300.0, 599.0]
    path = tmp_path / "long.mp4"
    made = clicks(600.0, 44_100, at_s=at_s)
    write_sound(path, [(0.0, made)], codec="aac", rate_hz=44_100)
    del made
    tracemalloc.start()
    audio = load_audio(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert audio is not None
    assert peak < 2 * 2**20
    assert isinstance(audio.samples, np.memmap)
    assert audio.samples.nbytes > 38_000_000
    for click_s in at_s:
        assert heard_s(audio, click_s) == pytest.approx(click_s, abs=0.001)


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        image = np.zeros((48, 64, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert load_audio(path) is None


def test_an_audio_track_without_a_packet_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "empty.mkv"
    with av.open(str(path), "w") as container:
        container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height = 64, 48
        image = np.zeros((48, 64, 3), np.uint8)
        container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    assert load_audio(path) is None


def test_sound_that_is_damaged_throughout(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_sound(path, [(0.0, clicks(1.0, 16_000, at_s=[0.5]))], codec="aac", rate_hz=16_000)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(InputError, match="no sound") as caught:
        load_audio(path)
    assert caught.value.where == str(path)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    broken = np.zeros((1, 8000), np.float32)
    broken[0, 4000] = np.nan
    path = tmp_path / "nan.wav"
    write_sound(path, [(0.0, broken)], codec="pcm_f32le", rate_hz=16_000)
    with pytest.raises(InputError, match="not finite") as caught:
        load_audio(path)
    assert caught.value.where == str(path)


def test_what_is_not_media(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(InputError, match="zero bytes"):
        load_audio(path)


def test_starts_of_real_clips(clips: Path) -> None:
    late = load_audio(clips / "hard" / "face_noface.mov")
    assert late is not None
    assert late.start_s == pytest.approx(107164 / 44100, abs=1e-4)
    earlier_than_its_video = load_audio(clips / "hard" / "short_hamilton_clip.mp4")
    assert earlier_than_its_video is not None
    assert earlier_than_its_video.start_s == 0.0
    spoken = load_audio(clips / "grid" / "bbaf2n.mpg")
    assert spoken is not None
    assert 0.05 < np.abs(spoken.samples).max() <= 1.0
