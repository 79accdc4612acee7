"""Feature stores: what goes in comes out, and anything else is refused by name."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from vaest.cache import FeatureCache, FeatureSpec, FeatureStore
from vaest.errors import CacheError, InputError

SPEC = FeatureSpec(
    modality="visual", backbone="onet", version=1, config={}, weights="w", media={"crop": 112}
)
N_FRAMES, DIM = 20, 6


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", "demo")


@pytest.fixture
def store(cache: FeatureCache) -> FeatureStore:
    return cache.store(SPEC)


def write(
    store: FeatureStore, trial: str = "t1", source: str = "s1", seed: int = 0, n: int = N_FRAMES
) -> np.ndarray:
    """Commit random features with every fourth frame missing; returns the expected values."""
    values = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float16)
    frames = np.flatnonzero(np.arange(n) % 4)
    with store.writer(trial, n, DIM) as writer:
        writer.put(frames[::2], values[frames[::2]])
        writer.put(frames[1::2], values[frames[1::2]].astype(np.float32))
        writer.commit(source, {"vaest": "0"})
    values[::4] = 0
    return values


def test_what_is_written_is_read(store: FeatureStore) -> None:
    expected = write(store)
    features = store.read("t1")
    np.testing.assert_array_equal(features.values, expected)
    np.testing.assert_array_equal(features.valid, np.arange(N_FRAMES) % 4 != 0)
    assert features.values.dtype == np.float16
    assert not features.values.flags.writeable
    assert not features.valid.flags.writeable


def test_values_are_mapped_once_per_trial(store: FeatureStore) -> None:
    write(store)
    assert isinstance(store.read("t1").values.base, np.memmap)
    assert store.read("t1") is store.read("t1")


def test_the_record_says_what_is_there(store: FeatureStore) -> None:
    write(store)
    record = store.record("t1")
    assert (record.n_frames, record.dim, record.valid_frames) == (N_FRAMES, DIM, 15)
    assert record.provenance == {"vaest": "0"}
    assert record.source_digest == "s1"
    chunk = store.path / "t1" / "values" / "c" / "0" / "0"
    listed = subprocess.run(["sha256sum", chunk], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[0] == record.sha256["values"]


def test_done_means_complete_and_from_this_source(store: FeatureStore) -> None:
    assert not store.is_done("t1", "s1")
    write(store)
    assert store.is_done("t1", "s1")
    assert not store.is_done("t1", "s2")
    assert not store.is_done("t2", "s1")


def test_making_and_asking_touch_no_disk(cache: FeatureCache) -> None:
    store = cache.store(SPEC)
    assert store.trials() == []
    assert cache.stores() == []
    assert not store.is_done("t1", "s1")
    assert not cache.path.exists()


def test_stores_lists_what_is_on_disk(cache: FeatureCache) -> None:
    changes: list[dict[str, object]] = [{}, {"version": 2}, {"modality": "audio"}]
    specs = [SPEC.model_copy(update=change) for change in changes]
    for spec in specs:
        write(cache.store(spec))
    found = [store.spec for store in cache.stores()]
    assert sorted(s.digest for s in found) == sorted(s.digest for s in specs)
    assert [s.modality for s in found] == ["audio", "visual", "visual"]
    assert [s.spec for s in cache.stores("audio")] == [specs[2]]
    assert cache.stores("text") == []


def test_zarr_opens_the_store_with_named_dimensions(store: FeatureStore) -> None:
    expected = write(store)
    write(store, "t2")
    root = zarr.open_group(store.path, mode="r")
    assert sorted(root.group_keys()) == ["t1", "t2"]
    assert root.attrs["backbone"] == "onet"
    for name, dimensions in [("values", ("time", "feature")), ("valid", ("time",))]:
        array = root[f"t1/{name}"]
        assert isinstance(array, zarr.Array)
        assert array.metadata.to_dict()["dimension_names"] == dimensions
    np.testing.assert_array_equal(zarr.open_array(store.path / "t1" / "values")[...], expected)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_consolidated_store_is_the_same_store(store: FeatureStore) -> None:
    expected = write(store)
    zarr.consolidate_metadata(store.path)
    np.testing.assert_array_equal(FeatureStore.open(store.path).read("t1").values, expected)


def test_a_mask_of_nothing_but_false_has_its_file(store: FeatureStore) -> None:
    with store.writer("t1", N_FRAMES, DIM) as writer:
        writer.commit("s1", {})
    assert (store.path / "t1" / "valid" / "c" / "0").read_bytes() == bytes(N_FRAMES)
    features = store.read("t1")
    assert not features.valid.any()
    assert features.values.shape == (N_FRAMES, DIM)


def test_leaving_without_commit_leaves_nothing(store: FeatureStore) -> None:
    with store.writer("t1", N_FRAMES, DIM) as writer:
        writer.put(np.arange(3), np.ones((3, DIM)))
        assert len(_leftovers(store)) == 1
    assert store.trials() == []
    assert _leftovers(store) == []


def test_nothing_is_visible_before_commit(store: FeatureStore) -> None:
    with store.writer("t1", N_FRAMES, DIM) as writer:
        writer.put(np.arange(N_FRAMES), np.ones((N_FRAMES, DIM)))
        assert store.trials() == []
        assert not store.is_done("t1", "s1")
        with pytest.raises(CacheError, match="not in the store"):
            store.read("t1")
        writer.commit("s1", {})
    assert store.trials() == ["t1"]
    assert _leftovers(store) == []


def test_another_source_replaces_and_open_readers_follow(store: FeatureStore) -> None:
    before = write(store)
    held = store.read("t1")
    after = write(store, source="s2", seed=1)
    np.testing.assert_array_equal(held.values, before)
    np.testing.assert_array_equal(store.read("t1").values, after)
    assert store.is_done("t1", "s2")
    assert not store.is_done("t1", "s1")
    assert _leftovers(store) == []


def test_the_first_of_two_equal_writers_is_kept(store: FeatureStore) -> None:
    with store.writer("t1", N_FRAMES, DIM) as late:
        first = write(store)
        late.commit("s1", {"late": True})
    np.testing.assert_array_equal(store.read("t1").values, first)
    assert store.record("t1").provenance == {"vaest": "0"}


def test_a_damaged_trial_is_not_done_and_written_anew(store: FeatureStore) -> None:
    write(store)
    (store.path / "t1" / "values" / "c" / "0" / "0").unlink()
    assert not store.is_done("t1", "s1")
    expected = write(store)
    np.testing.assert_array_equal(store.read("t1").values, expected)


def test_what_float16_cannot_hold_is_refused_by_frame(store: FeatureStore) -> None:
    values = np.zeros((3, DIM), dtype=np.float32)
    values[1, 2] = 7e4
    with store.writer("t1", N_FRAMES, DIM) as writer:
        with pytest.raises(CacheError, match=r"onet .* beyond float16 .* 't1', frame 8"):
            writer.put(np.array([7, 8, 9]), values)
        values[1, 2] = np.nan
        with pytest.raises(CacheError, match=r"onet .* not finite .* 't1', frame 8"):
            writer.put(np.array([7, 8, 9]), values)
        values[1, 2] = 65504
        writer.put(np.array([7, 8, 9]), values)


def test_no_rows_are_no_rows(store: FeatureStore) -> None:
    with store.writer("t1", N_FRAMES, DIM) as writer:
        writer.put(np.zeros(0, dtype=np.int64), np.zeros((0, DIM)))
        writer.commit("s1", {})
    assert store.record("t1").valid_frames == 0


@pytest.mark.parametrize("frames", [[0, 0], [N_FRAMES], [-1]])
def test_a_frame_put_twice_or_outside_is_a_bug(store: FeatureStore, frames: list[int]) -> None:
    with store.writer("t1", N_FRAMES, DIM) as writer, pytest.raises(AssertionError):
        writer.put(np.array(frames), np.ones((len(frames), DIM)))


@pytest.mark.parametrize(
    "trial", ["a/b", "..", "", ".hidden", "a\\b", "a\0b", "zarr.json", "é" * 121, "\udcff", "a:b"]
)
def test_names_that_are_no_plain_names_are_refused(cache: FeatureCache, trial: str) -> None:
    store = cache.store(SPEC)
    uses: list[Callable[[], object]] = [
        lambda: store.writer(trial, N_FRAMES, DIM),
        lambda: store.read(trial),
        lambda: store.record(trial),
        lambda: store.is_done(trial, "s1"),
        lambda: cache.timelines.read(trial),
        lambda: cache.ledger.read(trial),
        lambda: FeatureCache(cache.path, trial),
    ]
    for use in uses:
        with pytest.raises(InputError):
            use()


def test_a_trial_needs_frames(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="no frames"):
        store.writer("t1", 0, DIM)


def test_a_missing_trial_names_the_command(store: FeatureStore) -> None:
    write(store)
    with pytest.raises(CacheError, match="'my trial'") as caught:
        store.read("my trial")
    assert caught.value.where == str(store.path)
    assert caught.value.fix == "vaest extract --modality visual --only 'my trial'"


def test_the_store_of_another_spec_is_not_read(cache: FeatureCache) -> None:
    other = cache.store(SPEC.model_copy(update={"weights": "other"}))
    write(other)
    mine = cache.store(SPEC)
    shutil.copytree(other.path, mine.path)
    with pytest.raises(CacheError, match="another specification"):
        mine.read("t1")
    with pytest.raises(CacheError, match="another specification"):
        write(cache.store(SPEC), "t2")


def test_a_renamed_trial_is_not_another_trial(store: FeatureStore) -> None:
    write(store)
    (store.path / "t1").rename(store.path / "t2")
    assert store.trials() == []
    with pytest.raises(CacheError, match="'t1'"):
        store.read("t2")


def test_a_folder_that_is_no_store_says_so(cache: FeatureCache) -> None:
    (cache.path / "visual" / "onet-0.zarr").mkdir(parents=True)
    with pytest.raises(CacheError, match="not a feature store") as caught:
        cache.stores()
    assert caught.value.where is not None
    assert caught.value.where.endswith("onet-0.zarr")


@pytest.mark.parametrize("chunks", [(N_FRAMES, DIM), (7, 4)])
def test_a_compressed_store_is_read_through_zarr(
    store: FeatureStore, chunks: tuple[int, int]
) -> None:
    expected = write(store)
    _recompress(store, expected, chunks)
    features = store.read("t1")
    np.testing.assert_array_equal(features.values, expected)
    assert not features.values.flags.writeable
    assert store.is_done("t1", "s1")


def test_a_chunk_missing_from_a_compressed_store_does_not_read_as_fill(store: FeatureStore) -> None:
    expected = write(store)
    _recompress(store, expected, (7, 4))
    (store.path / "t1" / "values" / "c" / "1" / "0").unlink()
    with pytest.raises(CacheError, match="values is not what was written"):
        store.read("t1")


def test_a_store_travels_without_its_maps(store: FeatureStore) -> None:
    expected = write(store, n=2000)
    store.read("t1")
    sent = pickle.dumps(store)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).read("t1").values, expected)
    assert copy.copy(store).spec == store.spec


def test_threads_share_a_store(store: FeatureStore) -> None:
    expected = {f"t{i}": write(store, f"t{i}", seed=i) for i in range(4)}
    shared = FeatureStore.open(store.path)
    with ThreadPoolExecutor(8) as pool:
        names = [f"t{i % 4}" for i in range(400)]
        for name, features in zip(names, pool.map(shared.read, names), strict=True):
            np.testing.assert_array_equal(features.values, expected[name])


def test_a_fork_reads_and_writes_on(store: FeatureStore) -> None:
    expected = write(store)
    store.read("t1")

    def check() -> None:
        assert np.array_equal(store.read("t1").values, expected)
        write(store, "t2")

    child = multiprocessing.get_context("fork").Process(target=check)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert store.trials() == ["t1", "t2"]


def test_the_cache_imports_neither_torch_nor_zarr() -> None:
    code = "import sys, vaest.cache; print([m for m in ('torch', 'zarr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _leftovers(store: FeatureStore) -> list[Path]:
    return list(store.path.parent.glob(".*.partial/writer-*"))


def _recompress(store: FeatureStore, values: np.ndarray, chunks: tuple[int, int]) -> None:
    shutil.rmtree(store.path / "t1" / "values")
    zarr.open_group(store.path / "t1", mode="r+").create_array(
        "values", data=values, chunks=chunks, dimension_names=("time", "feature")
    )
