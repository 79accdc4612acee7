"""The timeline store: exact, verified, replaced when its source or content changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from vaest.cache import FeatureCache, TimelineStore
from vaest.errors import CacheError, InputError
from vaest.types import Timeline, Trial

TRIAL = Trial("t1_left", "t1", partition="validation", subject="anna")


@pytest.fixture
def store(tmp_path: Path) -> TimelineStore:
    return FeatureCache(tmp_path, "demo").timelines


def make(n_frames: int = 9, labelled: bool = True) -> Timeline:
    rng = np.random.default_rng(n_frames)
    labels = rng.uniform(-1, 1, (n_frames, 2)).astype(np.float32)
    labels[:2] = np.nan
    return Timeline(
        TRIAL.id,
        time_s=0.021 + np.arange(n_frames) / 29.97,
        crop_present=rng.random(n_frames) > 0.3,
        labels=labels if labelled else None,
    )


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_written_is_read(store: TimelineStore, labelled: bool) -> None:
    timeline = make(labelled=labelled)
    store.write(timeline, TRIAL, "s1")
    read = store.read(TRIAL.id)
    assert read.trial == TRIAL.id
    assert read.time_s.dtype == np.float64
    np.testing.assert_array_equal(read.time_s, timeline.time_s)
    np.testing.assert_array_equal(read.crop_present, timeline.crop_present)
    np.testing.assert_array_equal(read.label_valid, timeline.label_valid)
    if timeline.labels is None:
        assert read.labels is None
    else:
        assert read.labels is not None
        np.testing.assert_array_equal(read.labels, timeline.labels)


def test_the_record_carries_what_folds_need(store: TimelineStore) -> None:
    store.write(make(), TRIAL, "s1")
    record = store.record(TRIAL.id)
    assert (record.video_id, record.partition, record.subject) == ("t1", "validation", "anna")
    assert (record.n_frames, record.labelled, record.source_digest) == (9, True, "s1")
    assert store.trials() == [TRIAL.id]


def test_done_means_from_this_source(store: TimelineStore) -> None:
    assert not store.is_done(TRIAL.id, "s1")
    store.write(make(), TRIAL, "s1")
    assert store.is_done(TRIAL.id, "s1")
    assert not store.is_done(TRIAL.id, "s2")


def test_other_content_replaces_even_from_the_same_source(store: TimelineStore) -> None:
    timeline = make()
    store.write(timeline, TRIAL, "s1")
    store.write(replace(timeline, crop_present=~timeline.crop_present), TRIAL, "s1")
    np.testing.assert_array_equal(store.read(TRIAL.id).crop_present, ~timeline.crop_present)
    store.write(make(4), TRIAL, "s2")
    assert len(store.read(TRIAL.id)) == 4


def test_the_same_content_is_left_alone(store: TimelineStore) -> None:
    store.write(make(), TRIAL, "s1")
    before = (store.path / TRIAL.id).stat().st_ino
    store.write(make(), TRIAL, "s1")
    assert (store.path / TRIAL.id).stat().st_ino == before


def test_a_missing_trial_names_the_command(store: TimelineStore) -> None:
    with pytest.raises(CacheError, match="t1_left") as caught:
        store.read(TRIAL.id)
    assert caught.value.fix == "vaest extract --only t1_left"


@pytest.mark.parametrize("array", ["time_s/c/0", "crop_present/c/0", "labels/c/0/0"])
def test_a_flipped_bit_is_found(store: TimelineStore, array: str) -> None:
    store.write(make(), TRIAL, "s1")
    chunk = store.path / TRIAL.id / array
    content = bytearray(chunk.read_bytes())
    content[0] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(CacheError, match=f"t1_left.*content of {array.split('/')[0]}"):
        store.read(TRIAL.id)


def test_no_frames_are_no_timeline(store: TimelineStore) -> None:
    with pytest.raises(InputError, match="no frames"):
        store.write(make(0), TRIAL, "s1")


def test_zarr_opens_it_with_named_dimensions(store: TimelineStore) -> None:
    timeline = make()
    store.write(timeline, TRIAL, "s1")
    labels = zarr.open_array(store.path / TRIAL.id / "labels", mode="r")
    assert labels.metadata.to_dict()["dimension_names"] == ("time", "target")
    np.testing.assert_array_equal(labels[...], timeline.labels)
