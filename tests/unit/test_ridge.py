"""Ridge: windows in seconds over what is present, honest choice of penalty, labels' spread."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as LinearRidge
from sklearn.model_selection import GroupKFold

from vaest.errors import InputError
from vaest.fusion.ridge import Ridge, RidgeConfig
from vaest.metrics import ccc
from vaest.types import TrialSequence


def sequence(
    name: str,
    features: np.ndarray,
    time_s: np.ndarray,
    target: np.ndarray | None = None,
    present: np.ndarray | None = None,
) -> TrialSequence:
    there = np.ones(len(time_s), dtype=bool) if present is None else present
    return TrialSequence(name, {"audio": features}, {"audio": there}, time_s, target)


def noisy_trials(
    count: int, noise: float, dim: int = 6, rate_hz: float = 10.0, seconds: float = 60
) -> list[TrialSequence]:
    """Slow targets and features that are mixtures of them under noise."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, dim))
    phases = rng.uniform(0, 6, size=(count, 2))
    made = []
    for i, phase in enumerate(phases):
        time_s = np.arange(0, seconds, 1 / rate_hz)
        target = 0.3 * np.sin(time_s[:, None] / [9, 14] + phase) + [0.3, -0.2]
        features = target @ mixing + noise * rng.normal(size=(len(time_s), dim))
        made.append(
            sequence(f"t{i}", features.astype(np.float16), time_s, target.astype(np.float32))
        )
    return made


def test_context_is_the_mean_over_what_is_present_in_a_centred_window() -> None:
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.uniform(0, 30, 200))
    values = rng.normal(size=(200, 3)).astype(np.float32)
    present = rng.random(200) > 0.4
    present[(time_s > 10) & (time_s < 17)] = False
    spoiled = np.where(present[:, None], values, np.nan)
    model = Ridge(RidgeConfig(windows_s=(2.0, 5.0)), {"audio": 3})
    rows = np.arange(0, 200, 7)
    context = model._context(sequence("t", spoiled, time_s, present=present), rows)
    assert context.shape == (len(rows), 2 * (3 + 1))
    empty = 0
    for row, found in zip(rows, context, strict=True):
        for i, window_s in enumerate((2.0, 5.0)):
            inside = np.abs(time_s - time_s[row]) <= window_s / 2
            share = present[inside].mean()
            part = found[4 * i : 4 * i + 4]
            assert part[3] == pytest.approx(share)
            if share == 0:
                empty += 1
                assert np.isnan(part[:3]).all()
            else:
                expected = values[inside & present].mean(axis=0)
                np.testing.assert_allclose(part[:3], expected, atol=1e-5)
    assert empty > 0


def test_windows_are_seconds_whatever_the_frame_rate() -> None:
    predictions = {}
    for rate_hz in (10.0, 30.0):
        trials = noisy_trials(6, noise=0.0, rate_hz=rate_hz)
        model = Ridge(RidgeConfig(), {"audio": 6})
        model.fit(trials[:5])
        predictions[rate_hz] = model.predict(trials[5])
    np.testing.assert_allclose(predictions[30.0][::3], predictions[10.0], atol=0.03)


def test_predictions_have_the_mean_and_spread_of_the_training_labels() -> None:
    trials = noisy_trials(120, noise=6.0, seconds=30)
    model = Ridge(RidgeConfig(), {"audio": 6})
    model.fit(trials[:60])
    labels = np.concatenate([t.target for t in trials[:60]])
    unseen = np.concatenate([model.predict(t) for t in trials[60:]])
    np.testing.assert_allclose(unseen.std(axis=0), labels.std(axis=0), rtol=0.2)
    np.testing.assert_allclose(unseen.mean(axis=0), labels.mean(axis=0), atol=0.1)


def test_a_trial_is_predicted_from_itself_and_the_training_trials_alone() -> None:
    trials = noisy_trials(9, noise=1.0)
    model = Ridge(RidgeConfig(), {"audio": 6})
    model.fit(trials[:6])
    alone = model.predict(trials[6])
    model.predict(trials[7])
    np.testing.assert_array_equal(model.predict(trials[6]), alone)
    unlabelled = sequence("t", trials[6].features["audio"], trials[6].time_s)
    np.testing.assert_array_equal(model.predict(unlabelled), alone)


def test_the_penalty_is_the_best_one_on_trials_held_out() -> None:
    trials = noisy_trials(6, noise=3.0, dim=40, seconds=20)
    alphas = (0.01, 1.0, 100.0)
    model = Ridge(RidgeConfig(alphas=alphas, holdouts=3), {"audio": 40})
    model.fit(trials)
    x, y, trial = model._training_frames(trials)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    for target in range(2):
        quality = []
        for alpha in alphas:
            guess = np.empty(len(x))
            for fitted, held_out in GroupKFold(3).split(x, groups=trial):
                alone = LinearRidge(alpha * len(fitted)).fit(x[fitted], y[fitted, target])
                guess[held_out] = alone.predict(x[held_out])
            quality.append(np.corrcoef(guess, y[:, target])[0, 1])
        assert model.state()["alpha"][target] == alphas[int(np.argmax(quality))]
        assert np.ptp(quality) > 1e-3


def test_held_out_predictions_come_from_other_trials() -> None:
    """Labels that are noise per trial cannot be predicted, however well they can be fitted."""
    rng = np.random.default_rng(0)
    trials = []
    for i in range(10):
        own = rng.normal(size=(1, 8)).repeat(100, 0).astype(np.float32)
        target = rng.uniform(-1, 1, size=(1, 2)).repeat(100, 0).astype(np.float32)
        trials.append(sequence(f"t{i}", own, np.arange(100) / 10, target))
    model = Ridge(RidgeConfig(alphas=(0.001,)), {"audio": 8})
    x, y, trial = model._training_frames(trials)
    held_out = model._held_out_predictions(x, y, trial)[0]
    model.fit(trials)
    fitted = np.concatenate([model.predict(t) for t in trials])
    labels = np.concatenate([t.target for t in trials])
    assert ccc(held_out[:, 0], y[:, 0]) < 0.3
    assert ccc(fitted[:, 0], labels[:, 0]) > ccc(held_out[:, 0], y[:, 0]) + 0.2


def test_a_window_without_present_frames_counts_as_the_training_mean() -> None:
    trials = noisy_trials(5, noise=0.1)
    model = Ridge(RidgeConfig(windows_s=(1.0,)), {"audio": 6})
    model.fit(trials)
    nothing = np.zeros(len(trials[0]), dtype=bool)
    absent = sequence("t", trials[0].features["audio"], trials[0].time_s, present=nothing)
    state = model.state()
    share = (0 - state["mean"][-1]) / state["std"][-1]
    expected = state["intercept"] + share * state["coef"][-1]
    np.testing.assert_allclose(
        model.predict(absent), np.tile(expected, (len(nothing), 1)), atol=1e-6
    )


def test_constant_labels_are_predicted_as_such() -> None:
    trials = noisy_trials(4, noise=0.5)
    for t in trials:
        t.target[:, 1] = 0.25
    model = Ridge(RidgeConfig(), {"audio": 6})
    model.fit(trials)
    np.testing.assert_allclose(model.predict(trials[0])[:, 1], 0.25, atol=1e-6)


def test_labels_that_are_not_valid_are_not_fitted() -> None:
    trials = noisy_trials(4, noise=0.1)
    for t in trials:
        t.target[::2] = np.nan
    model = Ridge(RidgeConfig(), {"audio": 6})
    model.fit(trials)
    assert np.isfinite(model.predict(trials[0])).all()


def test_one_labelled_trial_is_not_enough() -> None:
    trials = noisy_trials(3, noise=0.1)
    unlabelled = [sequence(t.trial, t.features["audio"], t.time_s) for t in trials[1:]]
    with pytest.raises(InputError, match="two labelled training trials, got 1"):
        Ridge(RidgeConfig(), {"audio": 6}).fit([trials[0], *unlabelled])
