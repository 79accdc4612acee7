"""One trial's features on their way to disk, row by row and in any order."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

import numpy as np
from pydantic import JsonValue

from vaest.cache._atomic import StagedFolder, write_file, writing
from vaest.cache._groups import TrialGroups, chunk_sha256
from vaest.cache._names import checked_name
from vaest.cache.schema import TrialRecord, feature_layouts
from vaest.errors import CacheError, InputError


class TrialWriter:
    """Use as a context manager: leaving it without `commit` leaves nothing behind.

    Rows go to a file of the full size as they come, so memory does not grow with the trial. They
    are written, not mapped: on a full disk a write is an error where a mapped page is a SIGBUS.
    """

    def __init__(
        self, groups: TrialGroups[TrialRecord], backbone: str, trial: str, n_frames: int, dim: int
    ) -> None:
        self.trial = checked_name(trial)
        if n_frames < 1:
            raise InputError(f"trial {trial!r} has no frames")
        self._groups = groups
        self._backbone = backbone
        self._values, self._valid = feature_layouts(n_frames, dim)
        self._is_written = np.zeros(n_frames, dtype=bool)
        self._staged: StagedFolder | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> TrialWriter:
        assert self._staged is None, "a writer is used once"
        self._staged = self._groups.stage()
        try:
            with self._writing():
                chunk = self._staged.path / self._values.chunk
                chunk.parent.mkdir(parents=True)
                self._file = chunk.open("wb")
                self._file.truncate(self._values.n_bytes)
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._discard()

    def put(self, frames: np.ndarray, values: np.ndarray) -> None:
        """Store values (k, dim) as the rows `frames` (k,) and mark these valid.

        A row is put once. CacheError naming the frame if a value is not finite, or is not any
        more as a float16.
        """
        assert self._file is not None, "put is called within the context, before commit"
        assert values.shape == (len(frames), self._values.shape[1])
        rows = self._as_stored(frames, values)
        self._mark(frames)
        row_bytes = self._values.n_bytes // self._values.shape[0]
        with self._writing():
            for start, stop in _runs(frames):
                self._file.seek(int(frames[start]) * row_bytes)
                self._file.write(rows[start:stop].data)
            self._file.flush()

    def commit(self, source_digest: str, provenance: dict[str, JsonValue]) -> None:
        """Make the trial visible, whole. Rows never put are not valid.

        If another writer has committed the trial from the same source meanwhile, theirs is kept;
        features from another source are replaced.
        """
        assert self._staged is not None
        assert self._file is not None
        group = self._staged.path
        with self._writing():
            self._file.close()
            self._file = None
            write_file(group / self._valid.chunk, self._is_written.tobytes())
            record = TrialRecord(
                trial=self.trial,
                n_frames=self._values.shape[0],
                dim=self._values.shape[1],
                valid_frames=int(self._is_written.sum()),
                source_digest=source_digest,
                sha256={a.name: chunk_sha256(group, a) for a in (self._values, self._valid)},
                provenance=provenance,
            )
            self._groups.commit(
                self._staged, record, lambda: self._groups.is_done(self.trial, source_digest)
            )

    def _as_stored(self, frames: np.ndarray, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(values, dtype=self._values.stored_dtype)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            first = int(np.argmin(finite))
            overflow = np.isfinite(values[first]).all()
            raise CacheError(
                f"{self._backbone} gives "
                + ("a value beyond float16" if overflow else "a value that is not finite")
                + f" for trial {self.trial!r}, frame {int(frames[first])}",
                where=self._groups.path,
            )
        return rows

    def _mark(self, frames: np.ndarray) -> None:
        assert len(frames) == 0 or 0 <= frames.min() <= frames.max() < len(self._is_written)
        assert not self._is_written[frames].any(), "a frame is put once"
        before = int(self._is_written.sum())
        self._is_written[frames] = True
        assert int(self._is_written.sum()) == before + len(frames), "a frame is put once"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with writing(f"{self._backbone} features of trial {self.trial!r}", self._groups.path):
            yield

    def _discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # unwritten rows of a full disk: already reported
                self._file.close()
            self._file = None
        if self._staged is not None:
            self._staged.discard()
            self._staged = None


def _runs(frames: np.ndarray) -> Iterator[tuple[int, int]]:
    """Index ranges over which the frames are consecutive."""
    if len(frames) == 0:
        return
    edges = [0, *(np.flatnonzero(np.diff(frames) != 1) + 1).tolist(), len(frames)]
    yield from itertools.pairwise(edges)
