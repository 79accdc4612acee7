"""Identities: the same for the same content, another for any other, never an error later."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from vaest import digest as subject


def test_canonical_json_ignores_order_and_space() -> None:
    assert subject.canonical_json({"b": [1, 2.0], "a": "ü"}) == '{"a":"ü","b":[1,2.0]}'.encode()


def test_digest_is_that_of_the_canonical_json() -> None:
    value = {"rate_hz": 16000, "window": None}
    expected = hashlib.sha256(b'{"rate_hz":16000,"window":null}').hexdigest()
    assert subject.digest(value) == subject.digest(dict(reversed(value.items()))) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        subject.digest({"x": value})


def test_an_integer_is_not_its_float() -> None:
    assert subject.digest({"x": 1}) != subject.digest({"x": 1.0})


def test_array_digest_is_independent_of_layout_in_memory() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    strided = np.repeat(array, 2, axis=0)[::2]
    same: list[np.ndarray] = [array.copy(order="F"), array.astype(">f4"), strided]
    assert {subject.array_digest(a) for a in same} == {subject.array_digest(array)}


def test_array_digest_depends_on_values_dtype_and_shape() -> None:
    array = np.arange(12, dtype=np.int32)
    others: list[np.ndarray] = [
        array + 1,
        array.astype(np.int64),
        array.reshape(3, 4),
        array.view(np.uint32),
    ]
    assert len({subject.array_digest(a) for a in [array, *others]}) == 5


def test_a_small_file_is_identified_by_all_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(100_000))
    before = subject.file_digest(file)
    content = bytearray(100_000)
    content[77_777] = 1
    file.write_bytes(content)
    assert subject.file_digest(file) != before


def test_file_digest_ignores_name_and_times(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"the same")
    assert subject.file_digest(tmp_path / "a") == subject.file_digest(tmp_path / "b")


def test_a_large_file_is_identified_by_size_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WHOLE_FILE_BYTES", 1000)
    monkeypatch.setattr(subject, "SAMPLE_BLOCKS", 4)
    monkeypatch.setattr(subject, "SAMPLE_BLOCK_BYTES", 10)
    digests = set()
    for n_bytes, changed in [(5000, None), (5001, None), (5000, 0), (5000, 4999), (5000, 500)]:
        content = bytearray(n_bytes)
        if changed is not None:
            content[changed] = 1
        (tmp_path / "a").write_bytes(content)
        digests.add(subject.file_digest(tmp_path / "a"))
    assert len(digests) == 4, "all but the change between two samples are told apart"


def test_a_folder_is_identified_by_names_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "00001.jpg").write_bytes(b"ab")
    first = subject.folder_digest(tmp_path, "*.jpg")
    (tmp_path / "notes.txt").write_bytes(b"ignored")
    assert subject.folder_digest(tmp_path, "*.jpg") == first
    (tmp_path / "00003.jpg").write_bytes(b"ab")
    assert subject.folder_digest(tmp_path, "*.jpg") != first
