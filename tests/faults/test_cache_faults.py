"""Killed, crowded, damaged, full and forbidden: the cache is never wrong, and says what is.

Child processes come from a fork server that has everything imported: they start in milliseconds,
so that a kill hits the writer and not the start of an interpreter.
"""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from vaest.cache import FeatureCache, FeatureSpec, FeatureStore
from vaest.errors import CacheError
from vaest.types import Timeline, Trial

SPEC = FeatureSpec(modality="audio", backbone="x", version=1, config={}, weights="", media={})
TRIALS = [f"t{i:02}" for i in range(12)]
N_FRAMES, DIM = 60, 32
FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir"}

servers = multiprocessing.get_context("forkserver")
servers.set_forkserver_preload(["pytest", "numpy.random", "vaest.cache"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing guards against power cuts. For a kill it only takes time."""
    monkeypatch.setattr(os, "fsync", _no_sync)


def test_40_kills_at_random_moments_leave_the_store_of_an_undisturbed_run(tmp_path: Path) -> None:
    choose = random.Random(7)
    for _ in range(40):
        ready, announce = servers.Pipe(duplex=False)
        writer = _start(_write_for_ever, tmp_path / "killed", choose.random(), announce)
        assert ready.recv() == "writing"
        time.sleep(choose.uniform(0.0, 0.03))
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        _assert_all_right(tmp_path / "killed")
    _write_all(tmp_path / "killed")
    _write_all(tmp_path / "undisturbed")
    assert _contents(tmp_path / "killed") == _contents(tmp_path / "undisturbed")
    assert _leftovers(tmp_path / "killed") == []


@pytest.mark.parametrize("before", [None, "old"])
def test_a_kill_at_any_file_operation_is_harmless(tmp_path: Path, before: str | None) -> None:
    _write(_store(tmp_path / "undisturbed"), "t00", "new")
    for root, _ in _stopped_at_every_operation(tmp_path, "kill", before):
        _assert_all_right(root)
        _write(_store(root), "t00", "new")
        assert _contents(root) == _contents(tmp_path / "undisturbed")
        with _store(root).writer("another", N_FRAMES, DIM):
            assert len(_leftovers(root)) == 1, "what the dead leave goes with the next writer"


def test_any_file_operation_that_fails_is_an_error_with_its_path(tmp_path: Path) -> None:
    errors = []
    for root, error in _stopped_at_every_operation(tmp_path, "fail", "old"):
        _assert_all_right(root)
        if error is not None:
            assert isinstance(error, CacheError), repr(error)
            assert "No space left" in error.what
            assert str(root) in str(error.where)
            errors.append(error)
        else:  # reading what is to be replaced, and tidying up, may fail without harm
            assert _store(root).is_done("t00", "new")
    assert len(errors) > 15


def test_a_reader_never_sees_a_mixture_while_a_trial_is_replaced(tmp_path: Path) -> None:
    _write_all(tmp_path, trials=["t00"])
    replaced = _start(_replace_often, tmp_path, 150)
    store, timelines, seen = _store(tmp_path), _cache(tmp_path).timelines, set()
    expected = {_expected("t00", source).tobytes(): source for source in ("old", "new")}
    while replaced.is_alive():
        try:
            seen.add(expected[store.read("t00").values.tobytes()])
            assert round(timelines.read("t00").rate_hz) in (25, 30)
        except CacheError as error:
            if "not in the store" not in error.what:  # between the two moves it is not there
                raise
    assert replaced.exitcode == 0
    assert seen == {"old", "new"}


def test_three_writers_at_once_write_one_right_store(tmp_path: Path) -> None:
    _write_all(tmp_path / "undisturbed")
    root = tmp_path / "crowded"
    writers = [_start(_write_shuffled, root, seed) for seed in range(3)]
    while any(writer.is_alive() for writer in writers):
        _assert_all_right(root)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert _contents(root) == _contents(tmp_path / "undisturbed")
    assert _leftovers(root) == []


def test_three_writers_at_once_may_replace_the_same_trial(tmp_path: Path) -> None:
    writers = [_start(_replace_often, tmp_path, 60) for _ in range(3)]
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert _store(tmp_path).trials() == ["t00"]
    _assert_all_right(tmp_path)
    assert _leftovers(tmp_path) == []


def test_what_a_living_writer_is_building_is_left_alone(tmp_path: Path) -> None:
    with _store(tmp_path).writer("t00", N_FRAMES, DIM) as writer:
        _write_all(tmp_path, trials=TRIALS[1:3])
        assert len(_leftovers(tmp_path)) == 1
        frames = np.flatnonzero(_valid("t00"))
        writer.put(frames, _values("t00", "new")[frames])
        writer.commit("new", {})
    _assert_all_right(tmp_path)
    assert _store(tmp_path).trials() == TRIALS[:3]


def _shorten(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 2)


def _lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"xx")


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _uncomplete(file: Path) -> None:
    file.write_text(file.read_text().replace('"complete": true', '"complete": false'))


def _relength(file: Path) -> None:
    file.write_text(file.read_text().replace(f'"n_frames": {N_FRAMES}', '"n_frames": 59'))


@pytest.mark.parametrize("opened_before", [False, True])
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("values/c/0/0", _shorten),
        ("values/c/0/0", _lengthen),
        ("values/c/0/0", Path.unlink),
        ("values/zarr.json", _shorten),
        ("values/zarr.json", Path.unlink),
        ("valid/c/0", _shorten),
        ("valid/c/0", _flip),
        ("valid/c/0", Path.unlink),
        ("valid/zarr.json", Path.unlink),
        ("zarr.json", _shorten),
        ("zarr.json", Path.unlink),
        ("zarr.json", _uncomplete),
        ("zarr.json", _relength),
    ],
)
def test_damage_is_named_and_the_command_given_cures_it(
    tmp_path: Path, file: str, damage: Callable[[Path], None], opened_before: bool
) -> None:
    _write_all(tmp_path, trials=["t00"])
    store = _store(tmp_path)
    if opened_before and file == "values/c/0/0":
        store.read("t00")  # a mapped file that shrinks must not become a SIGBUS
    damage(store.path / "t00" / file)
    with pytest.raises(CacheError, match=r"'t00' of the store x-.* is damaged") as caught:
        store.read("t00")
    assert str(store.path / "t00") in str(caught.value)
    remove, produce = str(caught.value.fix).split(" && ")
    assert remove == f"rm -r {store.path / 't00'}"
    assert produce == "vaest extract --modality audio --only t00"
    shutil.rmtree(store.path / "t00")
    _write_all(tmp_path, trials=["t00"])
    _assert_all_right(tmp_path)


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    _write_all(tmp_path, trials=["t00"])
    error = _outcome(_write_with_small_files, tmp_path)
    assert isinstance(error, CacheError)
    assert "cannot write x features of trial 't01'" in error.what
    assert str(tmp_path) in str(error.where)
    _assert_all_right(tmp_path)
    assert _store(tmp_path).trials() == ["t00"]
    assert _leftovers(tmp_path) == []


@pytest.mark.parametrize("write", ["features", "timeline", "ledger"])
def test_a_read_only_folder_is_an_error_and_still_readable(write: str) -> None:
    # Not tmp_path: another user, which root becomes to be refused anything, cannot reach that.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_all(root, trials=["t00"])
        _set_writable(root, False)
        error = _outcome(_write_as_somebody, root, write)
        _set_writable(root, True)
        assert isinstance(error, CacheError)
        assert "Permission denied" in error.what
        assert folder in str(error.where)
        _assert_all_right(root)


def _values(trial: str, source: str) -> np.ndarray:
    seed = [ord(c) for c in trial + source]
    return np.random.default_rng(seed).normal(size=(N_FRAMES, DIM)).astype(np.float16)


def _valid(trial: str) -> np.ndarray:
    return np.arange(N_FRAMES) % (2 + TRIALS.index(trial)) != 0


def _expected(trial: str, source: str) -> np.ndarray:
    return np.where(_valid(trial)[:, None], _values(trial, source), 0)


def _timeline(trial: str, source: str) -> Timeline:
    time_s = np.arange(N_FRAMES) / (25 if source == "new" else 30)
    return Timeline(trial, time_s=time_s, crop_present=_valid(trial))


def _cache(root: Path) -> FeatureCache:
    return FeatureCache(root, "demo")


def _store(root: Path) -> FeatureStore:
    return _cache(root).store(SPEC)


def _write(store: FeatureStore, trial: str, source: str) -> None:
    if store.is_done(trial, source):
        return
    frames = np.flatnonzero(_valid(trial))
    with store.writer(trial, N_FRAMES, DIM) as writer:
        for part in np.array_split(frames, 3):
            writer.put(part, _values(trial, source)[part])
        writer.commit(source, {"source": source})


def _write_all(root: Path, source: str = "new", trials: list[str] = TRIALS) -> None:
    cache = _cache(root)
    store, timelines = cache.store(SPEC), cache.timelines
    for trial in trials:
        timelines.write(_timeline(trial, source), Trial(trial, trial), source)
        _write(store, trial, source)


def _assert_all_right(root: Path) -> None:
    """Whatever can be read as complete is one of the two versions there are, whole."""
    store, timelines = _store(root), _cache(root).timelines
    for trial in store.trials():
        source, features = store.record(trial).source_digest, store.read(trial)
        np.testing.assert_array_equal(features.values, _expected(trial, source))
        np.testing.assert_array_equal(features.valid, _valid(trial))
    for trial in timelines.trials():
        expected = _timeline(trial, timelines.record(trial).source_digest)
        np.testing.assert_array_equal(timelines.read(trial).time_s, expected.time_s)


def _contents(root: Path) -> dict[str, bytes]:
    files = [p for store in root.rglob("*.zarr") for p in store.rglob("*") if p.is_file()]
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def _leftovers(root: Path) -> list[Path]:
    return list(root.rglob("writer-*"))


def _set_writable(root: Path, writable: bool) -> None:
    for folder in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        folder.chmod(0o755 if writable else 0o555)


def _no_sync(handle: object) -> None:
    pass


# What children do.


def _start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = servers.Process(target=_run, args=(target, *arguments))
    process.start()
    return process


def _run(target: Callable[..., None], *arguments: Any) -> None:
    pytest.MonkeyPatch().setattr(os, "fsync", _no_sync)
    target(*arguments)


def _outcome(target: Callable[..., None], *arguments: Any) -> BaseException | None:
    """How `target` ended in a process of its own."""
    receiver, sender = servers.Pipe(duplex=False)
    process = _start(_report, sender, target, *arguments)
    error: BaseException | None = receiver.recv()
    process.join()
    return error


def _report(sender: Connection, target: Callable[..., None], *arguments: Any) -> None:
    try:
        target(*arguments)
    except Exception as error:
        sender.send(error)
    else:
        sender.send(None)


def _write_for_ever(root: Path, seed: float, announce: Connection) -> None:
    announce.send("writing")
    choose = random.Random(seed)
    while True:
        _write_all(root, choose.choice(["old", "new"]), choose.sample(TRIALS, len(TRIALS)))


def _replace_often(root: Path, times: int) -> None:
    for i in range(times):
        _write_all(root, ["old", "new"][i % 2], ["t00"])


def _write_shuffled(root: Path, seed: int) -> None:
    _write_all(root, trials=random.Random(seed).sample(TRIALS, len(TRIALS)))


def _stopped_at_every_operation(
    tmp_path: Path, action: Literal["kill", "fail"], before: str | None
) -> Iterator[tuple[Path, BaseException | None]]:
    """Write one trial, stopped at its first file operation, its second, and so on to the last.

    Yields what is left each time, over a trial from the source `before`, and the error raised.
    """
    for operation in itertools.count(1):
        root = tmp_path / f"operation-{operation:03}"
        if before is not None:
            _write(_store(root), "t00", before)
        receiver, sender = servers.Pipe(duplex=False)
        process = _start(_write_until, root, operation, action, sender)
        process.join()
        stopped, error = receiver.recv() if receiver.poll() else (True, None)
        assert process.exitcode == (-signal.SIGKILL if stopped and action == "kill" else 0)
        if not stopped:
            break
        yield root, error
    assert operation > 30


def _write_until(root: Path, operation: int, action: str, sender: Connection) -> None:
    remaining = operation

    def stop(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal remaining
        if event not in FILE_OPERATIONS:
            return
        remaining -= 1
        if remaining == 0:
            if action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    error: BaseException | None = None
    sys.addaudithook(stop)
    try:
        _write(_store(root), "t00", "new")
    except Exception as caught:
        error = caught
    stopped = remaining <= 0
    remaining = sys.maxsize
    sender.send((stopped, error))


def _write_with_small_files(root: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (N_FRAMES * DIM, N_FRAMES * DIM))
    _write(_store(root), "t01", "new")


def _write_as_somebody(root: Path, what: str) -> None:
    _assert_all_right(root)  # imports what it needs, which somebody else may not be able to
    if os.geteuid() == 0:
        os.setuid(65534)
    _assert_all_right(root)
    cache = _cache(root)
    if what == "features":
        _write(cache.store(SPEC), "t01", "new")
    elif what == "timeline":
        cache.timelines.write(_timeline("t01", "new"), Trial("t01", "t01"), "new")
    else:
        cache.ledger.complete("t01", "audio/x", valid_frames=1, n_frames=1)
