"""Scores of finished folds, recomputed from their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaest.errors import ConfigError
from vaest.metrics import bootstrap_interval, score
from vaest.runs import Run


def evaluate(run: Run, folds: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """CCC of each finished fold, over the concatenated valid frames of its validation trials.

    One dictionary a fold: fold, valence, arousal, mean, n_frames, and per target a 95% bootstrap
    `interval` over videos (DESIGN section 7).
    """
    finished = run.folds()
    for fold in folds or ():
        if fold not in finished:
            raise ConfigError(
                f"fold {fold} of {run.name} is not finished", fix=f"vaest fit --fold {fold}"
            )
    results = []
    for fold in folds or finished:
        predictions = list(run.predictions(fold))
        results.append(
            {"fold": fold, **score(predictions), "interval": bootstrap_interval(predictions)}
        )
    return results
