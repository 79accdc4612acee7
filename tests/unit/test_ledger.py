"""The ledger: the last word on every component of every trial."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from vaest.cache import FeatureCache, Ledger
from vaest.errors import CacheError, InputError, WeightsError


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return FeatureCache(tmp_path, "demo").ledger


def test_nothing_is_known_of_a_new_trial(ledger: Ledger) -> None:
    assert ledger.read("t1") == {}
    assert ledger.failures() == []
    assert not ledger.folder.exists()


def test_a_success_is_noted(ledger: Ledger) -> None:
    ledger.complete("t1", "visual/onet", valid_frames=7, n_frames=9)
    entry = ledger.read("t1")["visual/onet"]
    assert (entry.trial, entry.status, entry.failure) == ("t1", "complete", None)
    assert (entry.valid_frames, entry.n_frames) == (7, 9)


def test_a_failure_keeps_the_whole_error(ledger: Ledger) -> None:
    error = InputError("no sound", where="clip.mp4", nearest="clip2.mp4", fix="ffprobe clip.mp4")
    ledger.failed("t1", "audio/logmel", error)
    (entry,) = ledger.failures()
    assert (entry.trial, entry.component, entry.status) == ("t1", "audio/logmel", "failed")
    assert entry.failure is not None
    assert entry.failure.model_dump() == {
        "kind": "InputError",
        "what": "no sound",
        "where": "clip.mp4",
        "nearest": "clip2.mp4",
        "fix": "ffprobe clip.mp4",
    }


def test_components_are_merged_and_the_last_word_stays(ledger: Ledger) -> None:
    ledger.failed("t1", "visual/onet", InputError("broken"))
    ledger.failed("t1", "audio/logmel", WeightsError("no weights"))
    ledger.complete("t1", "visual/onet", valid_frames=1, n_frames=2)
    assert list(ledger.read("t1")) == ["audio/logmel", "visual/onet"]
    assert [e.component for e in ledger.failures()] == ["audio/logmel"]


def test_failures_are_sorted(ledger: Ledger) -> None:
    for trial in ("b.x", "a", "b"):
        for component in ("visual/onet", "audio/logmel"):
            ledger.failed(trial, component, InputError("broken"))
    found = [(e.trial, e.component) for e in ledger.failures()]
    assert found == sorted(found)
    assert len(found) == 6


def test_the_order_of_events_leaves_no_trace(tmp_path: Path) -> None:
    contents = []
    for order in (1, -1):
        ledger = Ledger(tmp_path / str(order))
        for component in ["visual/onet", "audio/logmel", "text/minilm"][::order]:
            ledger.complete("t1", component, valid_frames=1, n_frames=2)
        contents.append((ledger.folder / "t1.json").read_bytes())
    assert contents[0] == contents[1]


def test_a_damaged_file_is_named(ledger: Ledger) -> None:
    ledger.complete("t1", "visual/onet", valid_frames=1, n_frames=2)
    (ledger.folder / "t1.json").write_text("{")
    with pytest.raises(CacheError, match="ledger") as caught:
        ledger.read("t1")
    assert caught.value.where == str(ledger.folder / "t1.json")


def test_processes_do_not_forget_each_others_entries(ledger: Ledger) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_note_all, args=(ledger, i)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(ledger.read("t1")) == sorted(f"c{i}/{j}" for i in range(3) for j in range(10))


def _note_all(ledger: Ledger, writer: int) -> None:
    for j in range(10):
        ledger.complete("t1", f"c{writer}/{j}", valid_frames=1, n_frames=2)
