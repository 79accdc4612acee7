"""A run on disk: what was fitted, how, and what it predicted.

runs/<name>/recipe.toml             the resolved recipe
            features.json           which features, as the cache identifies them
            environment.json        versions and device
            fold-<k>/history.jsonl      one line per epoch
                     weights.safetensors
                     predictions.npz    every validation trial, every frame
                     result.json        scores; written last, so it marks the fold done
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from vaest.errors import ConfigError, nearest_choice

_FOLD_PREFIX = "fold-"


@dataclass(frozen=True)
class TrialPrediction:
    """Prediction of one trial on its timeline.

    time_s: (time,); prediction: (time, 2); target: (time, 2) with NaN where not valid, or None;
    present: per modality (time,) bool; reliability: per modality, or "joint", (time,) float32.
    """

    trial: str
    time_s: np.ndarray
    prediction: np.ndarray
    target: np.ndarray | None
    present: Mapping[str, np.ndarray]
    reliability: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """A run folder. Reading never fails on a fold that is not finished: it is not listed."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; ConfigError with the nearest name if there is none."""
        if not (path / "recipe.toml").is_file():
            siblings = [r.name for r in list_runs(path.parent)]
            raise ConfigError(
                f"no run named {path.name!r}",
                where=path,
                nearest=nearest_choice(path.name, siblings),
                fix="vaest fit",
            )
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe as plain data."""
        return tomllib.loads((self.path / "recipe.toml").read_text())

    @property
    def environment(self) -> dict[str, Any]:
        """Package versions and device."""
        return dict(json.loads((self.path / "environment.json").read_text()))

    @property
    def features(self) -> dict[str, Any]:
        """The FeatureSpec of each modality, as plain data."""
        return dict(json.loads((self.path / "features.json").read_text()))

    def start(
        self,
        recipe: Mapping[str, Any],
        features: Mapping[str, Any],
        environment: Mapping[str, Any],
    ) -> None:
        """Write what is known before the first fold."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "recipe.toml", tomli_w.dumps(recipe).encode())
        write_atomically(self.path / "features.json", _json(features))
        write_atomically(self.path / "environment.json", _json(environment))

    def folds(self) -> list[int]:
        """The finished folds, sorted."""
        done = self.path.glob(f"{_FOLD_PREFIX}*/result.json")
        return sorted(int(p.parent.name.removeprefix(_FOLD_PREFIX)) for p in done)

    def fold_path(self, fold: int) -> Path:
        return self.path / f"{_FOLD_PREFIX}{fold}"

    def result(self, fold: int) -> dict[str, Any]:
        """Scores of one fold: valence, arousal, mean (CCC), n_frames, n_trials, and so on."""
        return dict(json.loads((self.fold_path(fold) / "result.json").read_text()))

    def history(self, fold: int) -> list[dict[str, Any]]:
        """One dictionary per epoch; empty for closed forms."""
        path = self.fold_path(fold) / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def predictions(self, fold: int) -> Iterator[TrialPrediction]:
        """Every validation trial of one fold, sorted by id."""
        return read_predictions(self.fold_path(fold) / "predictions.npz")

    def finish_fold(self, fold: int, result: Mapping[str, Any]) -> None:
        """Mark a fold done: its scores are the last thing written."""
        write_atomically(self.fold_path(fold) / "result.json", _json(result))


def list_runs(folder: Path) -> list[Run]:
    """The runs of a folder, sorted by name."""
    return [Run(p.parent) for p in sorted(folder.glob("*/recipe.toml"))]


def write_predictions(path: Path, predictions: list[TrialPrediction]) -> None:
    """One .npz with an entry `<trial>/<array>` for every array of every trial."""
    arrays: dict[str, np.ndarray] = {}
    for p in predictions:
        arrays[f"{p.trial}/time_s"] = p.time_s
        arrays[f"{p.trial}/prediction"] = p.prediction.astype(np.float32)
        if p.target is not None:
            arrays[f"{p.trial}/target"] = p.target.astype(np.float32)
        for modality, present in p.present.items():
            arrays[f"{p.trial}/present/{modality}"] = present
        for modality, weight in p.reliability.items():
            arrays[f"{p.trial}/reliability/{modality}"] = weight.astype(np.float32)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_predictions(path: Path) -> Iterator[TrialPrediction]:
    """The inverse of `write_predictions`."""
    with np.load(path, allow_pickle=False) as stored:
        for trial in sorted({key.split("/", 1)[0] for key in stored.files}):
            prefix = f"{trial}/"
            entries = {
                k.removeprefix(prefix): stored[k] for k in stored.files if k.startswith(prefix)
            }
            yield TrialPrediction(
                trial=trial,
                time_s=entries["time_s"],
                prediction=entries["prediction"],
                target=entries.get("target"),
                present=_under(entries, "present/"),
                reliability=_under(entries, "reliability/"),
            )


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` in one step: readers see the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _under(entries: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in entries.items() if k.startswith(prefix)}


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
