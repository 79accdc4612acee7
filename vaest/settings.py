"""Where things are: options, then VAEST_* variables, then vaest.toml, then the demo corpus."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vaest.errors import ConfigError, nearest_choice

FILE = "vaest.toml"
_KEYS = ("corpus", "root", "cache", "runs", "device")


@dataclass(frozen=True)
class Settings:
    """Resolved locations. `configured` is False when nothing named a corpus."""

    corpus: str = "demo"
    root: Path | None = None
    cache: Path = Path("cache")
    runs: Path = Path("runs")
    device: str = "auto"
    configured: bool = False


def load_settings(
    options: Mapping[str, str | None], environ: Mapping[str, str], folder: Path
) -> Settings:
    """Settings for a command started in `folder`.

    ConfigError for an unknown key in vaest.toml, or a root without a corpus to read it.
    """
    found = _from_file(folder / FILE)
    found |= {k: environ[f"VAEST_{k.upper()}"] for k in _KEYS if environ.get(f"VAEST_{k.upper()}")}
    found |= {k: v for k, v in options.items() if v is not None}
    if "root" in found and "corpus" not in found:
        raise ConfigError(
            "a root is given, but not what kind of corpus lies there",
            where=found["root"],
            nearest="--corpus affwild2, --corpus folder",
        )
    paths = {k: Path(found[k]).expanduser() for k in ("root", "cache", "runs") if k in found}
    return Settings(
        corpus=found.get("corpus", "demo"),
        device=found.get("device", "auto"),
        configured="corpus" in found,
        **paths,
    )


def _from_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=path) from None
    for key, value in content.items():
        if key not in _KEYS:
            raise ConfigError(
                f"unknown key {key!r}", where=path, nearest=nearest_choice(key, _KEYS)
            )
        if not isinstance(value, str):
            raise ConfigError(f"{key} must be a string, not {value!r}", where=path)
    return {k: str(v) for k, v in content.items()}
