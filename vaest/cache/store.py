"""Feature stores: reading, and where they lie.

`<root>/<corpus>/<modality>/<backbone>-<digest>.zarr/<trial>/{values,valid}`, Zarr v3, one
uncompressed chunk per array: any Zarr reader opens them, and this one maps the bytes. No array
spans trials, so writers of different trials never meet.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vaest.cache import _zarr
from vaest.cache._groups import TrialGroups
from vaest.cache._names import checked_name
from vaest.cache.ledger import Ledger
from vaest.cache.schema import FeatureSpec, TrialRecord, parse
from vaest.cache.timelines import TimelineStore
from vaest.cache.writer import TrialWriter
from vaest.errors import CacheError
from vaest.types import MODALITIES, Features, Modality

_VALUES_CHUNK = "values/c/0/0"
_Identity = tuple[int, int, int]


class FeatureCache:
    """Everything kept of one corpus under `root`. Making one touches no disk."""

    def __init__(self, root: Path, corpus: str) -> None:
        self.path = Path(root) / checked_name(corpus)

    @property
    def timelines(self) -> TimelineStore:
        return TimelineStore(self.path / "timeline.zarr")

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "ledger")

    def store(self, spec: FeatureSpec) -> FeatureStore:
        """The store of `spec`, whether it is there or not."""
        return FeatureStore(self.path / spec.modality / spec.store_name, spec)

    def stores(self, modality: Modality | None = None) -> list[FeatureStore]:
        """The stores on disk, sorted by modality and name. CacheError for a damaged one."""
        wanted = MODALITIES if modality is None else (modality,)
        return [
            FeatureStore.open(path)
            for folder in sorted(wanted)
            for path in sorted((self.path / folder).glob("[!.]*.zarr"))
        ]


class FeatureStore:
    """The features of one spec, by trial.

    Instances may be shared by threads, inherited by forks and pickled; the arrays they return
    are read-only views of mapped files, opened once per trial.
    """

    def __init__(self, path: Path, spec: FeatureSpec) -> None:
        self.path = path
        self.spec = spec
        command = f"vaest extract --modality {spec.modality}"
        self._groups = TrialGroups(path, spec.model_dump(mode="json"), TrialRecord, command)
        self._mapped: dict[str, tuple[_Identity, Features]] = {}

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path, FeatureSpec]]:
        return FeatureStore, (self.path, self.spec)  # never the mapped arrays

    @classmethod
    def open(cls, path: Path) -> FeatureStore:
        """The store at `path`, with the spec it says it has."""
        try:
            attributes = _zarr.read_attributes(path)
        except (OSError, ValueError) as error:
            raise CacheError(f"not a feature store: {error}", where=path) from error
        return cls(path, parse(FeatureSpec, attributes, path))

    def trials(self) -> list[str]:
        """The ids of the complete trials, sorted."""
        return self._groups.names()

    def is_done(self, trial_id: str, source_digest: str) -> bool:
        """Complete, and made from this source. Reads one small file."""
        return self._groups.is_done(trial_id, source_digest)

    def record(self, trial_id: str) -> TrialRecord:
        """What is known of the trial; CacheError if it is missing or damaged."""
        return self._groups.record(trial_id)

    def read(self, trial_id: str) -> Features:
        """values (time, dim) float16, read-only and mapped, and valid (time,) bool.

        CacheError naming trial, store and the command to run if the trial is missing, incomplete
        or of the wrong length. The mask's content is verified, the values' only where a
        compressed store makes zarr read them whole.
        """
        identity = self._identity(trial_id)
        known = self._mapped.get(trial_id)
        if known is not None and known[0] == identity:
            return known[1]
        features = self._groups.of_one_version(trial_id, lambda: self._load(trial_id))
        if identity is not None and isinstance(features.values.base, np.memmap):
            self._mapped[trial_id] = identity, features
        return features

    def writer(self, trial_id: str, n_frames: int, dim: int) -> TrialWriter:
        """A context manager that takes rows in any order; nothing is visible before `commit`."""
        return TrialWriter(self._groups, self.spec.backbone, trial_id, n_frames, dim)

    def _load(self, trial_id: str) -> Features:
        record = self._groups.record(trial_id)
        values, valid = record.layouts
        mask = self._groups.read(trial_id, record, valid)
        self._groups.verify(trial_id, record, valid, mask)
        in_memory = mask.copy()  # small, and half the mappings: their number is limited
        in_memory.setflags(write=False)
        return Features(self._groups.read(trial_id, record, values), in_memory)

    def _identity(self, trial_id: str) -> _Identity | None:
        try:
            # Once per clip in training: a pathlib path would cost as much as the call itself.
            status = os.stat(f"{self.path}/{trial_id}/{_VALUES_CHUNK}")
        except (OSError, ValueError):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
