"""Where things are found, and which source of settings wins."""

from pathlib import Path

import pytest

from vaest.errors import ConfigError
from vaest.settings import Settings, load_settings


def test_nothing_configured_is_the_demo_corpus(tmp_path: Path) -> None:
    assert load_settings({}, {}, tmp_path) == Settings()
    assert not Settings().configured


def test_options_win_over_environment_over_file(tmp_path: Path) -> None:
    (tmp_path / "vaest.toml").write_text('corpus = "affwild2"\nroot = "/a"\ncache = "/file"\n')
    environ = {"VAEST_ROOT": "/b", "VAEST_CACHE": "/environment"}
    settings = load_settings({"cache": "/option", "root": None}, environ, tmp_path)
    assert settings.corpus == "affwild2"
    assert settings.root == Path("/b")
    assert settings.cache == Path("/option")
    assert settings.configured


def test_unknown_key_names_file_and_nearest(tmp_path: Path) -> None:
    (tmp_path / "vaest.toml").write_text('corpsu = "demo"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings({}, {}, tmp_path)
    assert caught.value.nearest == "corpus"
    assert str(tmp_path / "vaest.toml") in str(caught.value)


@pytest.mark.parametrize("content", ["corpus = demo", "cache = 3"])
def test_broken_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "vaest.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"TOML|string"):
        load_settings({}, {}, tmp_path)


def test_root_without_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="what kind of corpus"):
        load_settings({"root": "/data"}, {}, tmp_path)
