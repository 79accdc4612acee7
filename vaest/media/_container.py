"""Opening media files, and the clock that video and audio share.

Times are seconds since the start of the container: the earliest start of its audio and video
streams. Sound that begins later than the pictures, or the reverse, keeps its delay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream

from vaest.errors import InputError

S = TypeVar("S", bound=Stream)
T = TypeVar("T", float, np.ndarray)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """The file opened for demuxing. InputError if it is absent, empty, cut short or not media."""
    if not path.is_file():
        raise InputError("there is no such media file", where=path)
    if path.stat().st_size == 0:
        raise InputError("the media file is empty: zero bytes", where=path)
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        raise InputError(_why_unreadable(path, error), where=path) from None
    with container:
        yield container


def first_stream(streams: Sequence[S]) -> S | None:
    """The first of `streams` that plays over time and can be decoded; cover pictures do not."""
    return next((s for s in streams if s.codec_context is not None and _is_timed(s)), None)


def decoded(container: InputContainer, stream: Stream) -> Iterator[Any]:
    """The stream's frames in order. A damaged packet costs its own frame, not those after it."""
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            frames: list[Any] = []
            with suppress(av.FFmpegError):
                frames = packet.decode()
            yield from frames


class Clock:
    """Time stamps of one stream to seconds since the container's start."""

    def __init__(self, container: InputContainer, stream: Stream) -> None:
        assert stream.time_base is not None
        timed = [*container.streams.video, *container.streams.audio]
        starts = [
            s.start_time * s.time_base
            for s in timed
            if _is_timed(s) and s.start_time is not None and s.time_base is not None
        ]
        origin = min(starts, default=Fraction(0))
        # One integer numerator and one division: times such as 0.04 come out exact.
        self.denominator = math.lcm(stream.time_base.denominator, origin.denominator)
        self.per_tick = int(stream.time_base * self.denominator)
        self.origin = int(origin * self.denominator)

    def seconds(self, pts: T) -> T:
        """float64 seconds of an integer stamp, or of an int64 array of them."""
        return (pts * self.per_tick - self.origin) / self.denominator


def _is_timed(stream: Stream) -> bool:
    return not stream.disposition & Disposition.attached_pic


def _why_unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4 and isinstance(error, av.error.InvalidDataError):
        return "the MP4 file has no index (moov): it is truncated, or was never finished"
    if isinstance(error, av.error.InvalidDataError):
        return "the file is not video or audio that FFmpeg recognises"
    return f"the media file cannot be opened: {error}"
