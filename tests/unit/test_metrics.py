"""Metrics against hand-computed values, and their documented edges."""

from __future__ import annotations

import numpy as np
import pytest

from vaest.metrics import (
    bootstrap_interval,
    ccc,
    pearson,
    rmse,
    score,
    sign_agreement,
    trial_scores,
)
from vaest.runs import TrialPrediction


def trial(name: str, prediction: np.ndarray, target: np.ndarray | None) -> TrialPrediction:
    return TrialPrediction(name, np.arange(len(prediction)) / 25, prediction, target, {}, {})


def random_trials(count: int, noise: float = 0.2, seed: int = 0) -> list[TrialPrediction]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        n = int(rng.integers(20, 200))
        target = rng.normal(rng.normal(size=2) / 3, 0.3, size=(n, 2)).astype(np.float32)
        prediction = (target + noise * rng.normal(size=(n, 2))).astype(np.float32)
        target[rng.random(n) < 0.2] = np.nan
        made.append(trial(f"t{i}", prediction, target))
    return made


def test_ccc_of_numbers_worked_by_hand() -> None:
    # Means 2.5 and 3, variances 1.25 and 2, covariance 1.5.
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 3, 5])
    assert ccc(x, y) == pytest.approx(2 * 1.5 / (1.25 + 2 + 0.25), abs=1e-15)


def test_ccc_is_the_population_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50))
    direct = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert ccc(x, y) == pytest.approx(direct, abs=1e-14)


def test_edges_of_ccc_and_pearson() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=40).astype(np.float32)
    constant = np.full(40, 0.1, dtype=np.float32)
    assert ccc(y, y) == 1.0
    assert ccc(-y + 2 * y.mean(), y) == pytest.approx(-1.0, abs=1e-5)
    for measure in (ccc, pearson):
        assert measure(constant, y) == 0.0
        assert measure(y, constant) == 0.0
        assert measure(constant, constant) == 0.0
        assert np.isnan(measure(y[:1], y[:1]))
        assert np.isnan(measure(y, y, np.zeros(40, dtype=bool)))
    assert np.isnan(rmse(y[:0], y[:0]))
    assert np.isnan(sign_agreement(y[:0], y[:0]))


def test_only_valid_frames_count() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 60))
    valid = rng.random(60) > 0.4
    spoiled = np.where(valid, y, np.nan)
    for measure in (ccc, pearson, rmse, sign_agreement):
        assert measure(x, spoiled, valid) == measure(x[valid], y[valid])


def test_the_other_measures() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 100))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-13)
    assert rmse(x, y) == pytest.approx(np.sqrt(((x - y) ** 2).mean()))
    assert sign_agreement(np.array([1.0, -1, 2, 0]), np.array([2.0, -3, -1, 0])) == 0.75


def test_score_concatenates_frames_and_does_not_average_trials() -> None:
    trials = random_trials(7)
    x = np.concatenate([t.prediction for t in trials])
    y = np.concatenate([t.target for t in trials])
    valid = np.isfinite(y).all(axis=1)
    scores = score(iter(trials))
    assert scores["valence"] == pytest.approx(ccc(x[:, 0], y[:, 0], valid), abs=1e-12)
    assert scores["arousal"] == pytest.approx(ccc(x[:, 1], y[:, 1], valid), abs=1e-12)
    assert scores["mean"] == pytest.approx((scores["valence"] + scores["arousal"]) / 2)
    assert scores["n_frames"] == valid.sum()
    each = trial_scores(trials)
    assert list(each) == [t.trial for t in trials]
    assert each["t3"] == score([trials[3]])
    assert abs(np.mean([s["mean"] for s in each.values()]) - scores["mean"]) > 1e-3


def test_score_of_trials_without_labels_changes_nothing() -> None:
    trials = random_trials(3)
    rng = np.random.default_rng(0)
    unlabelled = [
        trial("none", rng.normal(size=(9, 2)), None),
        trial("all nan", rng.normal(size=(9, 2)), np.full((9, 2), np.nan)),
    ]
    assert score(trials + unlabelled) == score(trials)
    nothing = score(unlabelled)
    assert nothing["n_frames"] == 0
    assert np.isnan([nothing["valence"], nothing["arousal"], nothing["mean"]]).all()


def test_a_prediction_that_is_not_finite_is_not_hidden() -> None:
    trials = random_trials(2)
    trials[0].prediction[np.isfinite(trials[0].target).all(1).argmax(), 0] = np.nan
    assert np.isnan(score(trials)["valence"])
    assert np.isfinite(score(trials)["arousal"])


def test_perfect_is_exactly_one_over_many_trials() -> None:
    perfect = [trial(t.trial, t.target, t.target) for t in random_trials(20)]
    assert score(perfect)["mean"] == 1.0


def test_interval_resamples_trials() -> None:
    trials = random_trials(12, noise=0.5)
    interval = bootstrap_interval(trials, n=200, seed=4)
    assert interval == bootstrap_interval(iter(trials), n=200, seed=4)
    rng = np.random.default_rng(4)
    draws = rng.integers(12, size=(200, 12))
    direct = [score([trials[i] for i in draw]) for draw in draws]
    for name in ("valence", "arousal", "mean"):
        expected = np.quantile([d[name] for d in direct], [0.025, 0.975])
        assert interval[name] == pytest.approx(tuple(expected), abs=1e-12)
        assert interval[name][0] < score(trials)[name] < interval[name][1]


def test_interval_is_unknown_with_one_labelled_trial() -> None:
    interval = bootstrap_interval([*random_trials(1), trial("x", np.zeros((5, 2)), None)])
    assert all(np.isnan(bounds).all() for bounds in interval.values())
