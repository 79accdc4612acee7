"""The cache's formats: exported as committed, frozen once released, readable for ever."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from vaest.cache import FeatureCache, FeatureSpec, FeatureStore, TimelineRecord, TrialRecord, _zarr
from vaest.cache.export_schemas import export_schemas
from vaest.cache.schema import feature_layouts, parse, timeline_layouts
from vaest.digest import digest
from vaest.errors import CacheError
from vaest.resources import resource_folder
from vaest.types import Timeline, Trial

SCHEMAS = resource_folder("cache_schemas")
GOLDEN = SCHEMAS / "golden" / "v1"

# A released schema never changes: a new field is a new version, with a new file.
RELEASED = {
    "feature_spec.v1.json": "bad3d54649a5968927cb3f050563e6c732186ebd5253cf8cc4988b371339e484",
    "timeline_record.v1.json": "7abab090424def1421b812da43aa237fceac21838b84a41867005ae98728db1e",
    "trial_record.v1.json": "e683bfb714b6525832a4fa86a031bc6f1fe5838d676db48df57e2a0c459efd79",
}

SPEC = FeatureSpec(
    modality="visual",
    backbone="golden",
    version=1,
    config={"size_px": 112, "scale": 0.5, "layers": ["a", "b"], "window_s": None},
    weights="0" * 64,
    media={"crop": "112x112"},
)


@pytest.mark.parametrize("name", sorted(export_schemas()))
def test_the_committed_schema_is_the_exported_one(name: str) -> None:
    assert (SCHEMAS / name).read_text(encoding="utf-8") == export_schemas()[name]


@pytest.mark.parametrize(("name", "sha256"), sorted(RELEASED.items()))
def test_a_released_schema_never_changes(name: str, sha256: str) -> None:
    assert hashlib.sha256((SCHEMAS / name).read_bytes()).hexdigest() == sha256


def test_the_module_command_writes_the_schemas(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaest.cache.export_schemas", str(tmp_path / "new")]
    subprocess.run(command, check=True)
    assert {p.name: p.read_text() for p in (tmp_path / "new").iterdir()} == export_schemas()


def test_the_digest_names_the_store_and_survives_json() -> None:
    again = FeatureSpec.model_validate(json.loads(SPEC.model_dump_json()))
    assert again == SPEC
    assert again.digest == SPEC.digest == digest(SPEC.model_dump(mode="json"))
    assert SPEC.store_name == f"golden-{SPEC.digest[:12]}.zarr"


@pytest.mark.parametrize(
    "change",
    [
        {"modality": "audio"},
        {"backbone": "other"},
        {"version": 2},
        {"config": {}},
        {"weights": "1" * 64},
        {"media": {"crop": "48x48"}},
    ],
)
def test_everything_that_changes_numbers_changes_the_digest(change: dict[str, object]) -> None:
    assert FeatureSpec(**{**SPEC.model_dump(), **change}).digest != SPEC.digest


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda"},
        {"backbone": "../x"},
        {"modality": "smell"},
        {"schema_version": 2},
        {"dtype": "float32"},
        {"version": "1"},
    ],
)
def test_a_spec_refuses_what_does_not_belong_to_it(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeatureSpec(**{**SPEC.model_dump(), **change})


def test_a_newer_version_is_named_with_its_cure(tmp_path: Path) -> None:
    attributes = {**SPEC.model_dump(), "schema_version": 2}
    with pytest.raises(CacheError, match="schema version 2") as caught:
        parse(FeatureSpec, attributes, tmp_path)
    assert caught.value.fix == "pip install --upgrade vaest"
    assert caught.value.where == str(tmp_path)


def test_an_incomplete_record_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="complete"):
        parse(TrialRecord, {**_golden_record(), "complete": False}, tmp_path)


@pytest.mark.parametrize("layout", [*feature_layouts(5, 3), *timeline_layouts(4, True)])
def test_the_metadata_is_what_zarr_itself_writes(layout: _zarr.Layout, tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "array",
        shape=layout.shape,
        chunks=layout.shape,
        dtype=layout.dtype,
        fill_value=layout.metadata["fill_value"] is not False and np.nan,
        compressors=None,
        dimension_names=layout.dimensions,
    )
    assert json.loads((tmp_path / "array" / "zarr.json").read_text()) == layout.metadata


def test_group_metadata_is_what_zarr_itself_writes(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "group", attributes={"a": [1, None]})
    written = json.loads((tmp_path / "group" / "zarr.json").read_text())
    assert written == _zarr.group_metadata({"a": [1, None]})


def test_the_golden_features_are_read_exactly() -> None:
    (store,) = FeatureCache(GOLDEN, "golden").stores()
    assert isinstance(store, FeatureStore)
    assert store.spec == SPEC
    assert store.trials() == ["clip_left", "clip_right"]
    for trial in store.trials():
        values, valid = _golden_features(trial)
        features = store.read(trial)
        np.testing.assert_array_equal(features.values, values)
        np.testing.assert_array_equal(features.valid, valid)
        assert store.record(trial).provenance == {"made": "by hand"}
        assert store.is_done(trial, digest(trial))


def test_the_golden_timelines_are_read_exactly() -> None:
    timelines = FeatureCache(GOLDEN, "golden").timelines
    assert timelines.trials() == ["clip_left", "clip_right"]
    for name in timelines.trials():
        timeline, trial = _golden_timeline(name)
        read = timelines.read(name)
        np.testing.assert_array_equal(read.time_s, timeline.time_s)
        np.testing.assert_array_equal(read.crop_present, timeline.crop_present)
        if timeline.labels is None:
            assert read.labels is None
        else:
            np.testing.assert_array_equal(read.labels, timeline.labels)
        record = timelines.record(name)
        assert isinstance(record, TimelineRecord)
        assert (record.video_id, record.partition) == (trial.video_id, trial.partition)
        assert (record.subject, record.n_frames) == (trial.subject, len(timeline))


def test_version_1_is_still_written_to_the_byte(tmp_path: Path) -> None:
    write_golden(tmp_path)
    assert _contents(tmp_path / "golden") == _contents(GOLDEN / "golden")


def write_golden(root: Path) -> None:
    """What lies in `cache_schemas/golden/v1`."""
    cache = FeatureCache(root, "golden")
    for name in ("clip_right", "clip_left"):
        timeline, trial = _golden_timeline(name)
        cache.timelines.write(timeline, trial, digest(name))
        values, valid = _golden_features(name)
        with cache.store(SPEC).writer(name, *values.shape) as writer:
            frames = np.flatnonzero(valid)
            writer.put(frames, values[frames].astype(np.float32))
            writer.commit(digest(name), {"made": "by hand"})


def _golden_features(trial: str) -> tuple[np.ndarray, np.ndarray]:
    n_frames = {"clip_left": 6, "clip_right": 4}[trial]
    valid = np.arange(n_frames) % 3 != 1
    values = np.arange(n_frames * 3, dtype=np.float16).reshape(n_frames, 3) / 8 - 1
    return np.where(valid[:, None], values, 0).astype(np.float16), valid


def _golden_timeline(name: str) -> tuple[Timeline, Trial]:
    n_frames = {"clip_left": 6, "clip_right": 4}[name]
    labels = np.linspace(-1, 1, 2 * n_frames, dtype=np.float32).reshape(n_frames, 2)
    labels[2] = np.nan
    is_left = name == "clip_left"
    timeline = Timeline(
        trial=name,
        time_s=np.arange(n_frames) / 29.97,
        crop_present=np.arange(n_frames) != 1,
        labels=labels if is_left else None,
    )
    if is_left:
        return timeline, Trial(name, "clip", partition="train", subject="s1")
    return timeline, Trial(name, "clip")


def _golden_record() -> dict[str, object]:
    return FeatureCache(GOLDEN, "golden").store(SPEC).record("clip_left").model_dump()


def _contents(store: Path) -> dict[str, bytes]:
    """Every file except the writers' staging areas."""
    files = (p for p in store.rglob("*") if p.is_file())
    relative = {str(p.relative_to(store)): p.read_bytes() for p in files}
    return {name: content for name, content in relative.items() if ".partial/" not in name}
