"""What the report says of one run: its figures and its tables, ready for the template."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tomli_w
from markupsafe import Markup

from vaest.metrics import score
from vaest.report import figures
from vaest.report.reliability import Agreement, Corruption, agreement, correlation, known_corruption
from vaest.report.tables import Row
from vaest.runs import Run, TrialPrediction
from vaest.types import TARGETS


@dataclass(frozen=True)
class TrialFigure:
    """One trial as one fold predicted it. ccc is NaN where the trial has no valid label."""

    trial: str
    fold: int
    n_frames: int
    valence: float
    arousal: float
    figure: Markup


@dataclass(frozen=True)
class RunSection:
    """One run.

    n_trials: all predicted trials, of which `trials` shows some. outside: share of predictions
    beyond [-1, 1]. training: per fold its curves; empty for closed forms. examples: agreement in
    words, trial, figure.
    """

    anchor: str
    row: Row
    n_trials: int
    trials: Sequence[TrialFigure]
    planes: Sequence[Markup]
    outside: float
    training: Sequence[tuple[int, Markup]]
    keeps_best_epoch: bool
    estimates_reliability: bool
    agreement: Sequence[Agreement]
    examples: Sequence[tuple[str, str, Markup]]
    recipe: str
    environment: str


def run_section(
    run: Run, row: Row, anchor: str, n_shown: int, corruption: Corruption | None
) -> RunSection:
    """Read the predictions of one run and draw them. `n_shown` trials get a figure."""
    predicted = [(fold, p) for fold in run.folds() for p in run.predictions(fold)]
    first = {p.trial: (fold, p) for fold, p in reversed(predicted)}
    shown = _evenly(sorted(first), n_shown)
    truth, prediction = _valid_frames([p for _, p in predicted])
    reliable = [p for _, p in predicted if p.reliability]
    return RunSection(
        anchor=anchor,
        row=row,
        n_trials=len(first),
        trials=[_trial_figure(*first[trial], corruption) for trial in shown],
        planes=_planes(truth, prediction),
        outside=float((np.abs(prediction) > 1).any(axis=1).mean()) if len(prediction) else 0.0,
        training=_training(run),
        keeps_best_epoch=run.recipe.get("train", {}).get("keep") == "best",
        estimates_reliability=bool(reliable),
        agreement=agreement(reliable, corruption) if corruption else (),
        examples=_examples(reliable, corruption) if corruption else (),
        recipe=tomli_w.dumps(run.recipe),
        environment=json.dumps(run.environment, indent=2, sort_keys=True, ensure_ascii=False),
    )


def _trial_figure(fold: int, p: TrialPrediction, corruption: Corruption | None) -> TrialFigure:
    scores = score([p])
    return TrialFigure(
        trial=p.trial,
        fold=fold,
        n_frames=len(p.time_s),
        valence=scores["valence"],
        arousal=scores["arousal"],
        figure=figures.trial_figure(p, known_corruption(p, corruption)),
    )


def _valid_frames(predictions: Sequence[TrialPrediction]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) truth and (n, 2) prediction at the frames whose label is valid."""
    pairs = [(np.empty((0, 2)), np.empty((0, 2)))]
    for p in predictions:
        if p.target is not None:
            valid = np.isfinite(p.target).all(axis=1)
            pairs.append((p.target[valid], p.prediction[valid]))
    return np.concatenate([t for t, _ in pairs]), np.concatenate([q for _, q in pairs])


def _planes(truth: np.ndarray, prediction: np.ndarray) -> list[Markup]:
    if not len(truth):
        return []
    return [
        figures.va_plane(truth, "truth"),
        figures.va_plane(prediction, "prediction"),
        *(figures.against_truth(truth[:, i], prediction[:, i], t) for i, t in enumerate(TARGETS)),
    ]


def _training(run: Run) -> list[tuple[int, Markup]]:
    histories: dict[int, list[dict[str, Any]]] = {f: run.history(f) for f in run.folds()}
    known = {fold: history for fold, history in histories.items() if history}
    columns: Sequence[Sequence[Mapping[str, Any]]] = list(known.values())
    loss = figures.history_range(columns, ["loss"], include=None)
    score = figures.history_range(columns, TARGETS, include=0.0)
    return [(f, figures.training_figure(history, loss, score)) for f, history in known.items()]


def _examples(
    predictions: Sequence[TrialPrediction], corruption: Corruption
) -> list[tuple[str, str, Markup]]:
    """The trials where reliability follows corruption best, middling and worst: no cherries."""
    ranked = []
    for p in predictions:
        known = known_corruption(p, corruption)
        rhos = [correlation(p, m, known[m])[0] for m in p.reliability if m in known]
        defined = [rho for rho in rhos if math.isfinite(rho)]
        if defined:
            ranked.append((float(np.mean(defined)), p.trial, p))
    ranked.sort(key=lambda entry: entry[:2])
    places = {0: "worst", len(ranked) // 2: "median", len(ranked) - 1: "best"} if ranked else {}
    return [
        (places[i], p.trial, figures.reliability_figure(p, known_corruption(p, corruption)))
        for i in sorted(places, reverse=True)
        for p in [ranked[i][2]]
    ]


def _evenly(names: Sequence[str], n: int) -> list[str]:
    if len(names) <= n:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, n).round().astype(int)]
