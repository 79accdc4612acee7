"""Sound to samples on the video's clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from vaest.errors import InputError
from vaest.media._container import Clock, decoded, first_stream, open_media
from vaest.types import Audio

# Time stamps of sound jitter by a packet; a larger step is a hole.
GAP_S = 0.05


def load_audio(path: Path, rate_hz: int = 16_000) -> Audio | None:
    """The first audio stream, mono (mean of the channels) and resampled; None where no sound is.

    The samples lie in an unlinked temporary file that is memory-mapped, so that memory does not
    grow with length. Sample i is heard at start_s + i / rate_hz on the clock of `frame_times`,
    and start_s is where the sound begins, not zero. A hole inside the stream is silence; before
    start_s and after the last sample there is nothing at all.

    InputError if the file is not media, the sound cannot be decoded, or a sample is not finite.
    """
    with open_media(path) as container, tempfile.TemporaryFile() as file:
        stream = first_stream(container.streams.audio)
        if stream is None:
            return None
        start_s = _write_samples(container, stream, file, rate_hz, path)
        if file.tell() == 0:
            container.seek(0)
            if any(packet.size > 0 for packet in container.demux(stream)):
                raise InputError("no sound of the audio stream can be decoded", where=path)
            return None
        return Audio(np.memmap(file, np.float32, "r"), rate_hz, start_s)


def _write_samples(
    container: InputContainer, stream: AudioStream, file: BinaryIO, rate_hz: int, path: Path
) -> float:
    """Write float32 samples, each at its time after the first one's; return that one's time."""
    clock = Clock(container, stream)
    resampler: _MonoResampler | None = None
    start_s: float | None = None
    end_s = 0.0
    for frame in decoded(container, stream):
        time_s = end_s if frame.pts is None else clock.seconds(frame.pts)
        if start_s is None:
            start_s = end_s = time_s
        if time_s < end_s - GAP_S:
            continue
        if resampler is None or not resampler.continues(frame) or time_s > end_s + GAP_S:
            if resampler is not None:
                file.write(resampler.rest())
            resampler = _MonoResampler(frame, rate_hz, path)
            file.seek(round((time_s - start_s) * rate_hz) * np.float32().itemsize)
            end_s = time_s
        file.write(resampler.resample(frame))
        end_s += frame.samples / frame.sample_rate
    if resampler is not None:
        file.write(resampler.rest())
    return start_s or 0.0


class _MonoResampler:
    """Sound of one format to mono float32 bytes. InputError for samples that are not finite."""

    def __init__(self, first: AudioFrame, rate_hz: int, path: Path) -> None:
        self.format = _format(first)
        self.path = path
        # The channels are averaged here: FFmpeg's own downmix weighs them, and can exceed 1.
        self.resampler = av.AudioResampler(format="fltp", layout=first.layout, rate=rate_hz)

    def continues(self, frame: AudioFrame) -> bool:
        return _format(frame) == self.format

    def resample(self, frame: AudioFrame | None) -> bytes:
        chunks = [f.to_ndarray() for f in self.resampler.resample(frame) if f is not None]
        if not chunks:
            return b""
        mono = np.concatenate(chunks, axis=1).mean(axis=0, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise InputError("the sound holds samples that are not finite numbers", where=self.path)
        return np.clip(mono, -1.0, 1.0).tobytes()

    def rest(self) -> bytes:
        """What the resampler still holds back."""
        return self.resample(None)


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
