"""The training loop: it learns, it is deterministic, and it keeps the epoch it says it keeps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vaest.errors import ConfigError, InputError
from vaest.fitted import Fitted
from vaest.recipe import Recipe, load_recipe
from vaest.train import _Schedule, fit_fold
from vaest.types import TrialSequence

SMALL = [
    "fusion.name=tcn",
    "train.clip_frames=60",
    "train.clip_stride=40",
    "train.batch_size=8",
    "train.epochs=6",
    "train.lr=5e-3",
]


def trials(count: int, frames: int = 150, seed: int = 0) -> list[TrialSequence]:
    """Targets that are a linear function of noisy features: easy, but not given away."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(2, 6))
    found = []
    for i in range(count):
        steps = rng.normal(size=(frames, 2)).cumsum(axis=0)
        target = np.tanh((steps - steps.mean(0)) / 8).astype(np.float32)
        values = (target @ mixing + 0.1 * rng.normal(size=(frames, 6))).astype(np.float16)
        target[:5] = np.nan
        found.append(
            TrialSequence(
                f"t{i}",
                {"visual": values},
                {"visual": rng.random(frames) > 0.1},
                np.arange(frames) / 25,
                target,
            )
        )
    return found


def recipe(*overrides: str) -> Recipe:
    base = load_recipe("demo", [*SMALL, *overrides])
    small = {"width": 16, "levels": 2}
    return base.with_fusion("tcn", small).with_modalities(["visual"])


def test_it_learns_and_predicts_every_frame() -> None:
    validation = trials(2, frames=137, seed=5)
    outcome = fit_fold(recipe("train.epochs=15"), trials(6), validation)
    assert outcome.history[-1]["loss"] < outcome.history[0]["loss"]
    assert outcome.history[-1]["mean"] > 0.5
    for prediction, trial in zip(outcome.predictions, validation, strict=True):
        assert prediction.prediction.shape == (137, 2)
        assert np.isfinite(prediction.prediction).all()
        assert prediction.trial == trial.trial


def test_same_seed_same_weights_other_seed_others() -> None:
    def weights(seed: int) -> torch.Tensor:
        fitted = fit_fold(
            recipe(f"train.seed={seed}", "train.epochs=2"), trials(3), trials(1)
        ).fitted
        return torch.cat([p.flatten() for p in fitted.model.parameters()])  # type: ignore[attr-defined]

    first, again, other = weights(0), weights(0), weights(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_best_keeps_the_best_epoch_and_patience_stops() -> None:
    outcome = fit_fold(
        recipe(
            "train.keep=best", "train.early_stop_patience=2", "train.epochs=40", "train.lr=0.05"
        ),
        trials(3),
        trials(2, seed=4),
    )
    means = [e["mean"] for e in outcome.history]
    assert outcome.best_epoch == int(np.argmax(means)) + 1
    assert len(means) < 40
    assert len(means) - outcome.best_epoch == 2


def test_schedules() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))

    def rates(schedule: str, scores: list[float]) -> list[float]:
        train = recipe(
            f"train.schedule={schedule}",
            "train.lr=1",
            "train.warmup_epochs=2",
            "train.epochs=6",
            "train.plateau_patience=1",
        ).train
        optimizer = torch.optim.SGD([parameter], lr=1)
        plan, found = _Schedule(train, optimizer), []
        for epoch, score in enumerate(scores, start=1):
            plan.start_epoch(epoch)
            found.append(optimizer.param_groups[0]["lr"])
            plan.end_epoch(score)
        return found

    falling = [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert rates("constant", falling) == [0.5, 1, 1, 1, 1, 1]
    assert rates("plateau", falling) == pytest.approx([0.5, 1, 1, 0.1, 0.1, 0.01])
    half = [0.5, 1, 1, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0.5 - 0.5 * np.cos(np.pi / 4)]
    assert rates("cosine", falling) == pytest.approx(half)


def test_saved_model_predicts_the_same(tmp_path: Path) -> None:
    plain = recipe("train.epochs=1")
    outcome = fit_fold(plain, trials(2), trials(2, seed=3))
    path = tmp_path / "weights.safetensors"
    outcome.fitted.save(path)
    again = Fitted.load(path, plain.plain())
    for old, new in zip(outcome.predictions, again.predict(trials(2, seed=3)), strict=True):
        np.testing.assert_array_equal(old.prediction, new.prediction)


def test_loading_without_weights_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights"):
        Fitted.load(tmp_path / "weights.safetensors", recipe().plain())


def test_no_label_anywhere_is_an_error() -> None:
    unlabelled = [TrialSequence(t.trial, t.features, t.present, t.time_s, None) for t in trials(2)]
    with pytest.raises(ConfigError, match="valid label"):
        fit_fold(recipe(), unlabelled, trials(1))
