"""One Zarr group per trial: what feature stores and the timeline store have in common."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from vaest.cache import _zarr
from vaest.cache._atomic import StagedFolder, StagingArea, write_file, writing
from vaest.cache._names import checked_name
from vaest.cache._zarr import METADATA, Layout
from vaest.cache.schema import TimelineRecord, TrialRecord, parse
from vaest.errors import CacheError

R = TypeVar("R", TrialRecord, TimelineRecord)
T = TypeVar("T")


class TrialGroups(Generic[R]):
    """The trials of the store at `path`, whose root attributes are `root`.

    `command` is what produces a missing trial when `--only TRIAL` is added to it.
    """

    def __init__(self, path: Path, root: Mapping[str, Any], kind: type[R], command: str) -> None:
        self.path = path
        self._root = dict(root)
        self._kind: type[R] = kind
        self._command = command
        self._area = StagingArea(path)
        self._root_checked = False
        self._area_open = False

    def names(self) -> list[str]:
        """The complete trials, sorted."""
        if not self.path.is_dir():
            return []
        return sorted(p.name for p in self.path.iterdir() if p.is_dir() and self._is_complete(p))

    def folder(self, trial: str) -> Path:
        return self.path / checked_name(trial)

    def record(self, trial: str) -> R:
        """The trial's record; CacheError if it is missing or damaged."""
        return self.of_one_version(trial, lambda: self._record(trial))

    def of_one_version(self, trial: str, load: Callable[[], T]) -> T:
        """What `load` returns or raises, repeated if a writer replaced the trial meanwhile."""
        while True:
            version = self._version(trial)
            try:
                loaded = load()
            except CacheError:
                if self._version(trial) == version:
                    raise
            else:
                if self._version(trial) == version:
                    return loaded

    def is_done(self, trial: str, source_digest: str) -> bool:
        """Complete, from this source, every array file there with the length it must have."""
        folder = self.folder(trial)
        try:
            record = self._parse_record(folder)
            return record.source_digest == source_digest and all(
                _has_right_length(folder, layout) for layout in record.layouts
            )
        except (OSError, ValueError, CacheError):
            return False

    def read(self, trial: str, record: R, layout: Layout) -> np.ndarray:
        """One array, read-only: mapped where it is raw, else through zarr and then verified."""
        folder = self.folder(trial)
        try:
            if _zarr.is_raw(folder, layout):
                return _zarr.read_raw(folder, layout)
            # zarr returns fill values for a chunk that is not there: only the content can tell.
            values = _zarr.read_any(folder, layout)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.damaged(trial, str(error)) from error
        self.verify(trial, record, layout, values)
        return values

    def verify(self, trial: str, record: R, layout: Layout, values: np.ndarray) -> None:
        """CacheError unless the array has the content that was committed."""
        if hashlib.sha256(values.data).hexdigest() != record.sha256.get(layout.name):
            raise self.damaged(trial, f"the content of {layout.name} is not what was written")

    def stage(self) -> StagedFolder:
        """A folder to build a trial in. The store and its area are made on the first call."""
        with writing(f"the store {self.path.name}", self.path):
            if not self._area_open:
                self._area.open(METADATA, _zarr.encode(_zarr.group_metadata(self._root)))
                self._area_open = True
            self._check_root()
            return self._area.begin()

    def commit(self, staged: StagedFolder, record: R, is_current: Callable[[], bool]) -> None:
        """Describe the arrays in `staged`, mark them complete last, and move them in whole.

        What is there already is kept if `is_current` says so, and replaced otherwise.
        """
        for layout in record.layouts:
            write_file(staged.path / layout.name / METADATA, _zarr.encode(layout.metadata))
        attributes = _zarr.group_metadata(record.model_dump(mode="json"))
        write_file(staged.path / METADATA, _zarr.encode(attributes))
        self._area.publish(staged, record.trial, is_current)

    def damaged(self, trial: str, why: str) -> CacheError:
        """What to raise for a trial that is there and cannot be used."""
        folder = self.folder(trial)
        return CacheError(
            f"trial {trial!r} of the store {self.path.name} is damaged: {why}",
            where=folder,
            fix=f"rm -r {shlex.quote(str(folder))} && {self._produce(trial)}",
        )

    def _record(self, trial: str) -> R:
        folder = self.folder(trial)
        self._check_root()
        try:
            return self._parse_record(folder)
        except FileNotFoundError:
            if folder.exists():
                raise self.damaged(trial, "it is incomplete") from None
            raise CacheError(
                f"trial {trial!r} is not in the store", where=self.path, fix=self._produce(trial)
            ) from None
        except CacheError as error:
            raise self.damaged(trial, error.what) from None
        except (OSError, ValueError) as error:
            raise self.damaged(trial, f"its record cannot be read: {error}") from error

    def _version(self, trial: str) -> tuple[int, int] | None:
        try:
            status = self.folder(trial).stat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns

    def _produce(self, trial: str) -> str:
        return f"{self._command} --only {shlex.quote(trial)}"

    def _is_complete(self, folder: Path) -> bool:
        try:
            self._parse_record(folder)
        except (OSError, ValueError, CacheError):
            return False
        return True

    def _parse_record(self, folder: Path) -> R:
        record = parse(self._kind, _zarr.read_attributes(folder), folder)
        if record.trial != folder.name:
            raise ValueError(f"it is the record of {record.trial!r}")
        return record

    def _check_root(self) -> None:
        """The name of a store is only a short digest; its root says in full what it holds."""
        if self._root_checked or not self.path.exists():
            return
        try:
            found = _zarr.read_attributes(self.path)
        except (OSError, ValueError) as error:
            raise CacheError(f"not a store of vaest: {error}", where=self.path) from error
        if found != self._root:
            raise CacheError(
                "the store was written with another specification than asked for", where=self.path
            )
        self._root_checked = True


def chunk_sha256(group: Path, layout: Layout) -> str:
    """SHA-256 of an array's bytes as they lie in its chunk file."""
    with (group / layout.chunk).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_right_length(group: Path, layout: Layout) -> bool:
    n_bytes = (group / layout.chunk).stat().st_size
    return n_bytes == layout.n_bytes or not _zarr.is_raw(group, layout)
