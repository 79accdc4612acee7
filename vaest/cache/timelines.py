"""The annotation clock of every trial, kept once per corpus and committed like features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaest.cache._atomic import write_file, writing
from vaest.cache._groups import TrialGroups, chunk_sha256
from vaest.cache._names import checked_name
from vaest.cache.schema import SCHEMA_VERSION, TimelineRecord, timeline_layouts
from vaest.errors import InputError
from vaest.types import Timeline, Trial


class TimelineStore:
    """`timeline.zarr/<trial>/{time_s,crop_present,labels}`; `labels` only where there are any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        root = {"kind": "timeline", "schema_version": SCHEMA_VERSION}
        self._groups = TrialGroups(path, root, TimelineRecord, "vaest extract")

    def trials(self) -> list[str]:
        """The ids of the complete trials, sorted."""
        return self._groups.names()

    def is_done(self, trial_id: str, source_digest: str) -> bool:
        """Complete, and made from this source."""
        return self._groups.is_done(trial_id, source_digest)

    def record(self, trial_id: str) -> TimelineRecord:
        """What is known of the trial; CacheError if it is missing or damaged."""
        return self._groups.record(trial_id)

    def read(self, trial_id: str) -> Timeline:
        """The timeline, in memory and verified; CacheError if it is missing or damaged."""
        return self._groups.of_one_version(trial_id, lambda: self._load(trial_id))

    def write(self, timeline: Timeline, trial: Trial, source_digest: str) -> None:
        """Commit the timeline of `trial`, replacing one of another source or content."""
        assert timeline.trial == trial.id
        name = checked_name(trial.id)
        if len(timeline) == 0:
            raise InputError(f"trial {name!r} has no frames", where=trial.labels or trial.video)
        layouts = timeline_layouts(len(timeline), timeline.labels is not None)
        with writing(f"the timeline of trial {name!r}", self.path):
            staged = self._groups.stage()
            try:
                for layout in layouts:
                    array = np.asarray(getattr(timeline, layout.name), dtype=layout.stored_dtype)
                    write_file(staged.path / layout.chunk, array.tobytes())
                record = TimelineRecord(
                    trial=name,
                    video_id=trial.video_id,
                    partition=trial.partition,
                    subject=trial.subject,
                    n_frames=len(timeline),
                    labelled=timeline.labels is not None,
                    source_digest=source_digest,
                    sha256={layout.name: chunk_sha256(staged.path, layout) for layout in layouts},
                )
                self._groups.commit(staged, record, lambda: self._holds(record))
            finally:
                staged.discard()

    def _load(self, trial_id: str) -> Timeline:
        record = self._groups.record(trial_id)
        arrays = {}
        for layout in record.layouts:
            stored = self._groups.read(trial_id, record, layout)
            self._groups.verify(trial_id, record, layout, stored)
            arrays[layout.name] = stored.astype(layout.dtype)
        return Timeline(trial_id, **arrays)

    def _holds(self, record: TimelineRecord) -> bool:
        return self.is_done(record.trial, record.source_digest) and (
            self.record(record.trial) == record
        )
