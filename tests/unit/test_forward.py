"""The extraction engine: batches across trials, failures that stay alone, nothing half-written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from vaest.backbones._base import Backbone, Media, Piece, Weights
from vaest.errors import CacheError, InputError, VaestError
from vaest.extract.forward import Job, run
from vaest.types import Timeline


class Counter(Backbone):
    """Feature of a frame: its trial's number and its own."""

    name = "counter"
    modality = "visual"
    dim = 2
    rate = "frame"
    source = "test"
    policy = "nearest"
    batch_size = 4

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def weights(self) -> Weights:
        return Weights("none", "none")

    def load(self) -> None: ...

    def pieces(self, media: Media) -> Iterator[Piece]:
        for frame, image in media.crops():
            yield Piece(image, np.array([frame]), media.timeline.time_s[[frame]])

    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        self.batches.append(list(inputs))
        return [np.array([x], dtype=np.float32) for x in inputs]


@dataclass
class FakeMedia:
    number: int
    frames: int
    broken_at: int | None = None
    error: Exception = field(default_factory=lambda: InputError("broken file"))

    @property
    def timeline(self) -> Timeline:
        return Timeline(str(self.number), np.arange(self.frames) / 25, np.ones(self.frames, bool))

    def crops(self) -> Iterator[tuple[int, Any]]:
        for frame in range(self.frames):
            if frame == self.broken_at:
                raise self.error
            yield frame, (self.number, frame)


@dataclass
class FakeWriter:
    refuse_frame: int | None = None
    rows: dict[int, tuple[float, ...]] = field(default_factory=dict)
    committed: bool = False
    left: bool = False

    def __enter__(self) -> FakeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True

    def put(self, frames: np.ndarray, values: np.ndarray) -> None:
        for frame, row in zip(frames.tolist(), values.tolist(), strict=True):
            if frame == self.refuse_frame:
                raise CacheError("overflow")
            assert frame not in self.rows
            self.rows[frame] = tuple(row)

    def commit(self) -> None:
        self.committed = True


def extract(
    media: list[FakeMedia], writers: list[FakeWriter]
) -> tuple[dict[str, VaestError | None], Counter]:
    backbone = Counter()
    jobs = [
        Job(str(m.number), m, open=lambda w=w: w, commit=lambda w: w.commit())
        for m, w in zip(media, writers, strict=True)
    ]
    return dict(run(backbone, jobs)), backbone


def test_every_row_lands_in_its_trial_and_batches_are_full() -> None:
    media = [FakeMedia(i, frames) for i, frames in enumerate([3, 0, 7, 1])]
    writers = [FakeWriter() for _ in media]
    outcome, backbone = extract(media, writers)
    assert outcome == dict.fromkeys("0123")
    for m, w in zip(media, writers, strict=True):
        assert w.rows == {f: (m.number, f) for f in range(m.frames)}
        assert w.committed
        assert w.left
    assert [len(b) for b in backbone.batches] == [4, 4, 4]
    assert backbone.batches[0] == [(0, 0), (0, 1), (0, 2), (2, 0)]


def test_a_broken_trial_ends_alone_and_is_not_committed() -> None:
    media = [FakeMedia(0, 5), FakeMedia(1, 6, broken_at=5), FakeMedia(2, 2)]
    writers = [FakeWriter() for _ in media]
    outcome, _ = extract(media, writers)
    assert outcome["0"] is None
    assert outcome["2"] is None
    assert "broken file" in str(outcome["1"])
    assert [w.committed for w in writers] == [True, False, True]
    assert all(w.left for w in writers)
    assert writers[2].rows == {0: (2, 0), 1: (2, 1)}


def test_a_refused_row_ends_its_trial_alone() -> None:
    media = [FakeMedia(0, 9), FakeMedia(1, 3)]
    writers = [FakeWriter(refuse_frame=2), FakeWriter()]
    outcome, _ = extract(media, writers)
    assert isinstance(outcome["0"], CacheError)
    assert outcome["1"] is None
    assert [w.committed for w in writers] == [False, True]


def test_our_own_bug_is_raised_not_swallowed_and_open_trials_are_left() -> None:
    media = [FakeMedia(0, 3), FakeMedia(1, 9, broken_at=2, error=ZeroDivisionError("bug"))]
    writers = [FakeWriter(), FakeWriter()]
    with pytest.raises(ZeroDivisionError, match="bug"):
        extract(media, writers)
    assert writers[1].left
    assert not writers[1].committed


def test_stopping_early_does_not_leave_the_producer_blocked() -> None:
    backbone = Counter()
    writer = FakeWriter()
    endless = [FakeMedia(i, 100) for i in range(50)]
    jobs = [Job(str(m.number), m, open=lambda: writer, commit=lambda w: None) for m in endless]
    results = run(backbone, jobs)
    writer.refuse_frame = -1
    next(results)
    results.close()
    assert writer.left
