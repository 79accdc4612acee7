"""The extraction engine: pieces of many trials -> full batches -> rows of their arrays."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from vaest.align import to_frames
from vaest.backbones import Backbone
from vaest.backbones._base import Media, Piece
from vaest.errors import VaestError

QUEUED_BATCHES = 3


@dataclass(frozen=True)
class Job:
    """One trial to extract.

    `open` gives the writer of its rows, which keeps nothing when it is left uncommitted; `commit`
    makes them last. Both are called on the consuming side only.
    """

    trial: str
    media: Media
    open: Callable[[], AbstractContextManager[Any]]
    commit: Callable[[Any], None]


@dataclass
class _Open:
    """A trial under way: rows still in a batch, and whether its last piece has been seen."""

    job: Job
    pending: int = 0
    complete: bool = False

    def __post_init__(self) -> None:
        self.stack = ExitStack()
        self.writer = self.stack.enter_context(self.job.open())


@dataclass(frozen=True)
class _Started:
    job: Job


@dataclass(frozen=True)
class _Item:
    trial: str
    piece: Piece


@dataclass(frozen=True)
class _Ended:
    trial: str
    error: VaestError | None


_Event = _Started | _Item | _Ended


@dataclass
class _Progress:
    """The consuming side: open trials and the batch being filled."""

    backbone: Backbone
    trials: dict[str, _Open] = field(default_factory=dict)
    batch: list[_Item] = field(default_factory=list)
    finished: list[tuple[str, VaestError | None]] = field(default_factory=list)

    def take(self, event: _Event) -> None:
        if isinstance(event, _Started):
            try:
                self.trials[event.job.trial] = _Open(event.job)
            except VaestError as error:
                self.finished.append((event.job.trial, error))
        elif isinstance(event, _Item):
            if event.trial in self.trials:
                self.trials[event.trial].pending += 1
                self.batch.append(event)
            if len(self.batch) == self.backbone.batch_size:
                self.flush()
        elif event.trial in self.trials:
            if event.error is not None:
                self.fail(event.trial, event.error)
            else:
                self.trials[event.trial].complete = True
                self.finish(event.trial)

    def flush(self) -> None:
        """Run the batch, padded to its full size, so that a row never depends on how full it is."""
        if not self.batch:
            return
        items, self.batch = self.batch, []
        inputs = [item.piece.input for item in items]
        inputs += [inputs[-1]] * (self.backbone.batch_size - len(inputs))
        outputs = self.backbone.forward(inputs)
        frame_time_s = {t: o.job.media.timeline.time_s for t, o in self.trials.items()}
        for item, values in zip(items, outputs, strict=False):
            if item.trial not in self.trials:
                continue
            trial = self.trials[item.trial]
            frames = item.piece.frames
            times = frame_time_s[item.trial][frames]
            rows = to_frames(values, item.piece.step_time_s, times, self.backbone.policy)
            trial.pending -= 1
            try:
                trial.writer.put(frames, rows)
            except VaestError as error:
                self.fail(item.trial, error)
            else:
                self.finish(item.trial)

    def finish(self, trial_id: str) -> None:
        trial = self.trials[trial_id]
        if not trial.complete or trial.pending:
            return
        try:
            trial.job.commit(trial.writer)
        except VaestError as error:
            self.fail(trial_id, error)
        else:
            self.trials.pop(trial_id).stack.close()
            self.finished.append((trial_id, None))

    def fail(self, trial_id: str, error: VaestError) -> None:
        self.trials.pop(trial_id).stack.close()
        self.batch = [item for item in self.batch if item.trial != trial_id]
        self.finished.append((trial_id, error))


def run(backbone: Backbone, jobs: Iterable[Job]) -> Iterator[tuple[str, VaestError | None]]:
    """Extract every job; yields each trial as it is committed, or with the error that ended it.

    Media are decoded and cut in a thread of their own, a few batches ahead of the model.
    """
    events: queue.Queue[_Event | BaseException | None] = queue.Queue(
        QUEUED_BATCHES * backbone.batch_size
    )
    stop = threading.Event()
    producer = threading.Thread(
        target=_produce, args=(backbone, jobs, events, stop), name="vaest-media", daemon=True
    )
    producer.start()
    progress = _Progress(backbone)
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            progress.take(event)
            yield from _drain(progress)
        progress.flush()
        yield from _drain(progress)
    finally:
        stop.set()
        for trial in progress.trials.values():
            trial.stack.close()
        producer.join()


def _drain(progress: _Progress) -> Iterator[tuple[str, VaestError | None]]:
    while progress.finished:
        yield progress.finished.pop(0)


def _produce(
    backbone: Backbone,
    jobs: Iterable[Job],
    events: queue.Queue[_Event | BaseException | None],
    stop: threading.Event,
) -> None:
    """Decode and cut. Our own bugs travel to the consumer instead of dying with the thread."""

    def send(event: _Event | BaseException | None) -> None:
        while not stop.is_set():
            try:
                events.put(event, timeout=0.1)
            except queue.Full:
                continue
            return

    try:
        for job in jobs:
            send(_Started(job))
            try:
                for piece in backbone.pieces(job.media):
                    send(_Item(job.trial, piece))
                    if stop.is_set():
                        return
            except VaestError as error:
                send(_Ended(job.trial, error))
            else:
                send(_Ended(job.trial, None))
        send(None)
    except BaseException as error:
        send(error)
