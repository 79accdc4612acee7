"""From a video file and a run to its valence and arousal curves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vaest.batches import load_sequences
from vaest.cache import FeatureCache
from vaest.corpora import corpora
from vaest.errors import ConfigError
from vaest.extract import extract
from vaest.fit import find_stores
from vaest.fitted import Fitted
from vaest.recipe import load_recipe
from vaest.runs import Run, TrialPrediction

WEIGHTS = "weights.safetensors"
_SAME = ("backbone", "version", "config", "weights")


def predict(
    clip: Path,
    run: Run,
    cache_root: Path,
    *,
    folds: Sequence[int] | None = None,
    device: str = "cpu",
) -> list[TrialPrediction]:
    """Predict every frame of `clip`, a video file or a folder of them: one result a trial.

    The clip goes through the same extraction as the run's training features; the finished folds
    (all by default) are averaged. Raises the first error of an unreadable clip, and ConfigError
    if the features that can be made here are not those of the run.
    """
    recipe = load_recipe(str(run.path))
    corpus = corpora.get("folder")(clip)
    cache = FeatureCache(cache_root, corpus.cache_name)
    trials = [t.id for t in corpus.trials()]
    summary = extract(corpus, cache, recipe, device=device)
    for error in summary.failed.values():
        raise error
    stores = find_stores(cache, recipe)
    for modality, store in stores.items():
        made, trained = store.spec.model_dump(mode="json"), run.features[modality]
        if different := [key for key in _SAME if made[key] != trained[key]]:
            raise ConfigError(
                f"{modality} features made here differ from the run's: {', '.join(different)}",
                where=store.path,
            )
    wanted = list(folds or run.folds())
    if not wanted:
        raise ConfigError("the run has no finished fold", where=run.path, fix="vaest fit")
    sequences = load_sequences(cache, stores, trials)
    by_fold = [
        list(Fitted.load(run.fold_path(k) / WEIGHTS, recipe.plain(), device).predict(sequences))
        for k in wanted
    ]
    return [_average(same_trial) for same_trial in zip(*by_fold, strict=True)]


def write_csv(prediction: TrialPrediction, path: Path) -> None:
    """Columns frame (0-based), time in seconds, valence, arousal."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "time", "valence", "arousal"])
        for frame, (time_s, (valence, arousal)) in enumerate(
            zip(prediction.time_s, prediction.prediction, strict=True)
        ):
            writer.writerow([frame, f"{time_s:.4f}", f"{valence:.5f}", f"{arousal:.5f}"])


def _average(predictions: Sequence[TrialPrediction]) -> TrialPrediction:
    first = predictions[0]
    return replace(
        first,
        prediction=np.mean([p.prediction for p in predictions], axis=0),
        reliability={
            m: np.mean([p.reliability[m] for p in predictions], axis=0) for m in first.reliability
        },
    )
