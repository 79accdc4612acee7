from __future__ import annotations

import os
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vaest.errors import InputError
from vaest.media.video import decode, frame_times


def write_video(
    path: Path,
    images: list[np.ndarray],
    *,
    codec: str = "libx264",
    times_ms: list[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    silence_from_s: float | None = None,
) -> Path:
    """25 frames a second, or at the given times; with a silent second of sound if asked for."""
    times_ms = times_ms or [40 * i for i in range(len(images))]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", **(options or {})})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=16000, layout="mono") if silence_from_s else None
        for image, time_ms in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = int(Fraction(time_ms, 1000) / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None and silence_from_s is not None:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
            quiet.sample_rate, quiet.time_base = 16000, Fraction(1, 16000)
            quiet.pts = round(silence_from_s * 16000)
            container.mux(sound.encode(quiet))
            container.mux(sound.encode(None))
    return path


def greys(n: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Frame i is of the grey 20 + 3 i, so that it can be recognised."""
    return [np.full((*size, 3), 20 + 3 * i, np.uint8) for i in range(n)]


def noise(n: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, 96, 128, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.mp4", "mpeg4", {"bf": "2"}),
        ("a.mkv", "libx264", {"bf": "3"}),
        ("a.webm", "libvpx", {}),
        ("a.avi", "libx264", {"bf": "3"}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.ts", "libx264", {"bf": "3"}),
    ],
)
def test_frames_come_in_order_at_their_times(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    video = write_video(tmp_path / name, greys(60), codec=codec, options=options)
    frames = list(decode(video))
    assert [index for index, _, _ in frames] == list(range(60))
    np.testing.assert_allclose([t for _, t, _ in frames], np.arange(60) / 25, atol=1e-6)
    np.testing.assert_array_equal(frame_times(video), [t for _, t, _ in frames])
    found = [image.mean() for _, _, image in frames]
    np.testing.assert_allclose(found, 20 + 3 * np.arange(60), atol=8)


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [0, 33, 67, 400, 401, 1500, 3000]
    video = write_video(tmp_path / "v.mkv", greys(7), times_ms=times_ms)
    np.testing.assert_allclose(frame_times(video), np.array(times_ms) / 1000, atol=1e-9)


def test_the_clock_starts_with_the_earliest_stream(tmp_path: Path) -> None:
    late = [1000 + 40 * i for i in range(10)]
    video = write_video(tmp_path / "v.mkv", greys(10), times_ms=late, silence_from_s=0.25)
    assert frame_times(video)[0] == pytest.approx(0.75, abs=0.07)  # AAC starts 64 ms early
    alone = write_video(tmp_path / "alone.mkv", greys(10), times_ms=late)
    assert frame_times(alone)[0] == 0.0


def test_a_single_frame(tmp_path: Path) -> None:
    video = write_video(tmp_path / "one.mp4", greys(1))
    np.testing.assert_array_equal(frame_times(video), [0.0])
    ((index, time_s, image),) = decode(video)
    assert (index, time_s, image.shape, image.dtype) == (0, 0.0, (48, 64, 3), np.uint8)


def test_rotation_is_applied(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 255
    video = write_video(tmp_path / "r.mp4", [image] * 3, options={"crf": "1"})
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    # ISO 14496-12, 8.3.2: x' = -y + height, y' = x, a quarter turn clockwise.
    one, w = 1 << 16, 1 << 30
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, w)
    video.write_bytes(data)
    upright = next(decode(video))[2]
    assert upright.shape == (64, 48, 3)
    assert upright[:16, -16:].mean() > 240
    assert upright[:16, :16].mean() < 15


def test_truncated_mp4_gives_what_it_has_then_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "t.mp4", noise(50), container_options={"movflags": "faststart"})
    os.truncate(video, video.stat().st_size * 6 // 10)
    frames = []
    with pytest.raises(InputError, match=r"data end after frame (2\d|30|31) of 50") as caught:
        frames.extend(decode(video))
    assert caught.value.where == str(video)
    assert 20 <= len(frames) <= 31
    with pytest.raises(InputError, match="of 50"):
        frame_times(video)


@pytest.mark.parametrize("name", ["t.mkv", "t.avi"])
def test_truncated_files_without_a_frame_count_say_so(tmp_path: Path, name: str) -> None:
    video = write_video(tmp_path / name, noise(75), codec="mpeg4")
    os.truncate(video, video.stat().st_size // 2)
    with pytest.raises(InputError, match=r"at \d\.\d\d s of (2\.96|3\.0\d) s"):
        frame_times(video)


def test_a_damaged_packet_does_not_shift_the_frames_after_it(tmp_path: Path) -> None:
    video = write_video(tmp_path / "d.mp4", greys(60, (240, 320)), options={"bf": "2"})
    with av.open(str(video)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(video.read_bytes())
    for position, size in packets[15:18]:
        data[position : position + size] = b"\xff" * size
    video.write_bytes(data)
    found = {index: image.mean() for index, _, image in decode(video)}
    assert len(found) < 60
    assert len(frame_times(video)) == 60
    for index in range(36, 60):
        assert found[index] == pytest.approx(20 + 3 * index, abs=8)


def test_one_frame_is_held_at_a_time(tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.mp4", greys(60, (480, 640)))
    tracemalloc.start()
    for _ in decode(video):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * 480 * 640 * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zero bytes"),
        (b"these are only words\n" * 50, "not video or audio"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 64, "moov"),
    ],
)
def test_what_is_not_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    for read in (frame_times, lambda p: list(decode(p))):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert caught.value.where == str(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(InputError, match="no such media file"):
            frame_times(path)


def test_sound_alone_is_not_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InputError, match="no video stream"):
        frame_times(path)


def test_packets_tell_what_the_decoder_tells_on_real_clips(clips: Path) -> None:
    videos = sorted(p for p in clips.glob("*/*") if p.suffix in {".mp4", ".mov", ".mpg"})
    assert len(videos) >= 9
    for video in videos:
        times = frame_times(video)
        assert (np.diff(times) > 0).all()
        decoded = [(index, time_s) for index, time_s, _ in decode(video)]
        assert [index for index, _ in decoded] == list(range(len(times))), video
        np.testing.assert_array_equal(times, [time_s for _, time_s in decoded], str(video))


def test_times_of_real_clips(clips: Path) -> None:
    hamilton = frame_times(clips / "hard" / "short_hamilton_clip.mp4")
    assert hamilton[0] == pytest.approx(10214 / 11988 - 353 / 44100, abs=1e-6)
    without_the_discarded = frame_times(clips / "hard" / "no_face.mp4")
    assert len(without_the_discarded) == 95
    assert without_the_discarded[0] == 0.0
