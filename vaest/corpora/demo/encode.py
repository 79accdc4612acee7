"""Frames and sound to a video file whose bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from vaest.types import Audio

# AVI has no presentation times: readers guess those of H.264, and it takes no AAC.
VIDEO_CODEC = {".mp4": "libx264", ".avi": "mpeg4"}
AUDIO_CODEC = {".mp4": "aac", ".avi": "libmp3lame"}
VIDEO_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "23", "threads": "1"},
    "mpeg4": {"b": "1000000", "threads": "1"},
}
AUDIO_BITRATE = 64_000


def encode(
    path: Path, frames: Iterator[np.ndarray], rate_hz: Fraction, audio: Audio | None
) -> None:
    """Write `frames`, blocks of (n, height, width, 3) uint8, and the sound beside them."""
    # MP3 begins 25 ms before zero. Muxers would shift everything by that; in AVI, which counts
    # frames instead of stamping them, a frame would be missing. So AVI's sound is 25 ms late.
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", options=options) as container:
        first = next(frames)
        video = _video_stream(container, path.suffix, rate_hz, first.shape[2], first.shape[1])
        sound = _Sound(container, path.suffix, audio) if audio is not None else None
        written = 0
        for block in chain([first], frames):
            for picture in block:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = written, 1 / rate_hz
                container.mux(video.encode(frame))
                written += 1
            if sound is not None:
                sound.write_until(float(written / rate_hz))
        container.mux(video.encode(None))
        if sound is not None:
            sound.finish()


class _Sound:
    """The audio stream, written a block at a time so that it lies beside the pictures."""

    def __init__(self, container: OutputContainer, suffix: str, audio: Audio) -> None:
        self._container = container
        self._audio = audio
        stream = container.add_stream(AUDIO_CODEC[suffix], rate=audio.rate_hz, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.codec_context.flags |= Flags.bitexact
        stream.bit_rate = AUDIO_BITRATE
        self._stream = stream
        self._done = 0

    def write_until(self, time_s: float) -> None:
        audio = self._audio
        stop = min(len(audio.samples), round((time_s - audio.start_s) * audio.rate_hz))
        if stop <= self._done:
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio.samples[None, self._done : stop]),
            format="fltp",
            layout="mono",
        )
        frame.sample_rate = audio.rate_hz
        frame.time_base = Fraction(1, audio.rate_hz)
        frame.pts = round(audio.start_s * audio.rate_hz) + self._done
        self._container.mux(self._stream.encode(frame))
        self._done = stop

    def finish(self) -> None:
        self.write_until(self._audio.end_s)
        self._container.mux(self._stream.encode(None))


def _video_stream(
    container: OutputContainer, suffix: str, rate_hz: Fraction, width: int, height: int
) -> VideoStream:
    codec = VIDEO_CODEC[suffix]
    stream = container.add_stream(codec, rate=rate_hz, options=VIDEO_OPTIONS[codec])
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.flags |= Flags.bitexact
    return stream
