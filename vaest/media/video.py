"""Video to frames and their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vaest.errors import InputError
from vaest.media._container import Clock, decoded, first_stream, open_media

# Frame counts in real headers are off by one or two, durations by less than a second.
COUNT_SLACK = 2
DURATION_SLACK_S = 1.0
# Codecs of which every packet is one shown frame.
ONE_FRAME_A_PACKET = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "vp9", "av1"}


def frame_times(path: Path) -> np.ndarray:
    """When each frame is shown: (time,) float64 seconds since the container's start, never
    decreasing.

    Row i is the time of the frame that `decode` calls i. Nothing is decoded where the packets
    tell the times; streams with edit lists or without time stamps are.

    InputError if the file is not video, or its data end before what it announces.
    """
    scan = _scan(path)
    if scan.truncation:
        raise InputError(scan.truncation, where=path)
    if scan.time_s is not None:
        return scan.time_s
    return np.array([time_s for _, time_s, _ in _frames(path, scan)], dtype=np.float64)


def decode(path: Path) -> Iterator[tuple[int, float, np.ndarray]]:
    """Every frame in order: (index, time_s, (height, width, 3) uint8 RGB), turned upright.

    time_s is in seconds since the container's start. One frame is held at a time. A frame too
    damaged to decode is left out, and its index with it.

    InputError if the file is not video; and, after the last readable frame, if its data end
    before what it announces.
    """
    scan = _scan(path)
    for index, time_s, frame in _frames(path, scan):
        yield index, time_s, _upright(frame)
    if scan.truncation:
        raise InputError(scan.truncation, where=path)


@dataclass(frozen=True)
class _Scan:
    """What the packets of a video tell without decoding.

    time_s: (time,) when each frame is shown, or None where only a decoder knows.
    pts: (time,) the stamps by which a decoded frame is found in `time_s`, or None where its
    position alone tells.
    truncation: how the file ends too early, or nothing.
    """

    time_s: np.ndarray | None
    pts: np.ndarray | None
    truncation: str


def _scan(path: Path) -> _Scan:
    with open_media(path) as container:
        stream = _video_stream(container, path)
        packets = _demux(container, stream)
        truncation = _truncation(container, stream, packets)
        # AVI stores no presentation times, only the ticks of a constant rate.
        by_order = container.format.name == "avi"
        stamps = packets.dts if by_order else packets.pts
        if packets.irregular or not _each_is_a_frame(stream, stamps):
            return _Scan(None, None, truncation)
        pts = np.sort(np.array(stamps, dtype=np.int64))
        time_s = Clock(container, stream).seconds(pts)
        return _Scan(time_s, None if by_order else pts, truncation)


@dataclass
class _Packets:
    """The time stamps of a video's packets in file order, and where the last of any stream ends.

    whole: how many are not cut off. irregular: some are cut off or not to be shown.
    """

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    whole: int = 0
    irregular: bool = False
    end_s: float = 0.0


def _demux(container: InputContainer, stream: VideoStream) -> _Packets:
    found = _Packets()
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            if packet.pts is not None and packet.time_base is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                found.end_s = max(found.end_s, float(end))
            if packet.stream_index == stream.index:
                found.pts.append(packet.pts)
                found.dts.append(packet.dts)
                found.whole += not packet.is_corrupt
                found.irregular |= packet.is_corrupt or packet.is_discard
    except av.FFmpegError:
        found.irregular = True
    return found


def _each_is_a_frame(stream: VideoStream, stamps: list[int | None]) -> bool:
    return (
        stream.codec_context.name in ONE_FRAME_A_PACKET
        and None not in stamps
        and len(set(stamps)) == len(stamps) > 0
        # Pictures shown before the first key frame lean on one that is not there: dropped.
        and stamps[0] == min(s for s in stamps if s is not None)
    )


def _truncation(container: InputContainer, stream: VideoStream, packets: _Packets) -> str:
    announced_s = 0.0
    if "matroska" in container.format.name:  # counts nothing, notes the duration at the end
        announced_s = (container.duration or 0) / av.time_base
    elif container.format.name == "avi":  # counts the ticks of its clock, not frames
        announced_s = float(stream.frames * (stream.time_base or 0))
    elif packets.whole < stream.frames - COUNT_SLACK:
        return (
            f"the video is truncated: its data end after frame {packets.whole} of {stream.frames}"
        )
    if packets.end_s < announced_s - DURATION_SLACK_S:
        return (
            f"the video is truncated: its data end after frame {packets.whole}, "
            f"at {packets.end_s:.2f} s of {announced_s:.2f} s"
        )
    return ""


def _frames(path: Path, scan: _Scan) -> Iterator[tuple[int, float, VideoFrame]]:
    """Decoded frames with index and time. InputError if there is none."""
    index, time_s = -1, -np.inf
    with open_media(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        clock = Clock(container, stream)
        period_s = float(1 / (stream.average_rate or 25))
        for frame in decoded(container, stream):
            if scan.pts is not None and frame.pts is not None:
                index = int(np.searchsorted(scan.pts, frame.pts))
            else:
                index += 1
            if scan.time_s is not None and index >= len(scan.time_s):
                return  # the decoder repeats its last picture
            if scan.time_s is not None:
                time_s = float(scan.time_s[index])
            elif frame.pts is not None:
                time_s = max(time_s, clock.seconds(frame.pts))
            else:
                time_s = max(time_s + period_s, 0.0)
            yield index, time_s, frame
    if index < 0:
        raise InputError(scan.truncation or "no frame of the video can be decoded", where=path)


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = first_stream(container.streams.video)
    if stream is None:
        raise InputError(
            "the file has no video stream that can be decoded; is it complete?", where=path
        )
    return stream


def _upright(frame: VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
