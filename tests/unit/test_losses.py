"""Losses: masked, with gradients that are right and finite whatever the labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaest.errors import ConfigError
from vaest.losses import ccc_loss, combined_loss, mse_loss
from vaest.metrics import ccc

GENERATOR = torch.Generator().manual_seed(0)
PREDICTION = torch.rand(4, 30, 2, generator=GENERATOR) * 2 - 1
TARGET = torch.rand(4, 30, 2, generator=GENERATOR) * 2 - 1
VALID = torch.rand(4, 30, generator=GENERATOR) > 0.3


def expected_ccc_loss(rows: slice | int) -> float:
    mask = VALID[rows].numpy()
    x, y = PREDICTION[rows].numpy()[mask], TARGET[rows].numpy()[mask]
    return 1 - float(np.mean([ccc(x[:, i], y[:, i]) for i in range(2)]))


def test_over_the_batch_it_is_the_metric_of_all_valid_frames() -> None:
    assert float(ccc_loss(PREDICTION, TARGET, VALID)) == pytest.approx(
        expected_ccc_loss(slice(None)), abs=1e-6
    )


def test_over_clips_it_is_the_mean_of_the_metric_of_each() -> None:
    expected = np.mean([expected_ccc_loss(i) for i in range(4)])
    assert float(ccc_loss(PREDICTION, TARGET, VALID, over="clip")) == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize("over", ["batch", "clip"])
def test_a_perfect_prediction_costs_nothing(over: str) -> None:
    assert float(ccc_loss(TARGET, TARGET, VALID, over=over)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("over", ["batch", "clip"])
@pytest.mark.parametrize("name", ["ccc", "mse"])
def test_what_is_not_valid_has_neither_value_nor_gradient(over: str, name: str) -> None:
    def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return combined_loss(prediction, target, VALID, {name: 1.0}, over=over)

    prediction = PREDICTION.clone().requires_grad_()
    spoiled = TARGET.clone()
    spoiled[~VALID] = float("nan")
    value = loss(prediction, spoiled)
    value.backward()
    assert value.item() == loss(PREDICTION, TARGET).item()
    assert (prediction.grad[~VALID] == 0).all()
    assert (prediction.grad[VALID] != 0).all()


def test_clips_without_valid_frames_contribute_nothing() -> None:
    more = torch.cat([PREDICTION, torch.rand(3, 30, 2)])
    more_target = torch.cat([TARGET, torch.rand(3, 30, 2)])
    more_valid = torch.cat([VALID, torch.zeros(3, 30, dtype=torch.bool)])
    more_valid[5, 7] = True  # one frame has no CCC of its own
    assert float(ccc_loss(more, more_target, more_valid, over="clip")) == pytest.approx(
        float(ccc_loss(PREDICTION, TARGET, VALID, over="clip")), abs=1e-7
    )


@pytest.mark.parametrize("over", ["batch", "clip"])
@pytest.mark.parametrize("loss", [ccc_loss, mse_loss])
def test_gradients_are_those_of_finite_differences(over: str, loss: object) -> None:
    prediction = PREDICTION[:, :6].double().requires_grad_()
    arguments = (TARGET[:, :6].double(), VALID[:, :6])

    def of(x: torch.Tensor) -> torch.Tensor:
        return ccc_loss(x, *arguments, over=over) if loss is ccc_loss else mse_loss(x, *arguments)

    assert of(prediction).dtype == torch.float64
    assert torch.autograd.gradcheck(of, (prediction,))


@pytest.mark.parametrize("over", ["batch", "clip"])
@pytest.mark.parametrize("case", ["constant target", "both constant", "one frame", "no frame"])
def test_degenerate_labels_give_finite_loss_and_gradient(over: str, case: str) -> None:
    prediction = PREDICTION.clone().requires_grad_()
    target, valid, used = TARGET, VALID, prediction
    if case == "constant target":
        target = torch.full_like(TARGET, 0.3)
    elif case == "both constant":
        target, used = torch.full_like(TARGET, 0.3), prediction * 0 + 0.3
    else:
        valid = torch.zeros_like(VALID)
        valid[0, 0] = case == "one frame"
    loss = ccc_loss(used, target, valid, over=over)
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert loss.item() == pytest.approx(0.0 if "frame" in case else 1.0, abs=1e-6)


def test_a_constant_prediction_has_a_gradient_to_leave_by() -> None:
    prediction = torch.zeros_like(TARGET, requires_grad=True)
    ccc_loss(prediction, TARGET, VALID).backward()
    assert (prediction.grad[VALID].abs() > 0).all()


def test_mixing_adds_weighted_values_and_gradients() -> None:
    prediction = PREDICTION.clone().requires_grad_()

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, prediction)[0]

    mixed = combined_loss(prediction, TARGET, VALID, {"ccc": 0.7, "mse": 2.0})
    parts = ccc_loss(prediction, TARGET, VALID), mse_loss(prediction, TARGET, VALID)
    torch.testing.assert_close(mixed, 0.7 * parts[0] + 2 * parts[1])
    torch.testing.assert_close(gradient(mixed), 0.7 * gradient(parts[0]) + 2 * gradient(parts[1]))


def test_mse_is_the_mean_over_valid_frames_and_targets() -> None:
    expected = ((PREDICTION - TARGET)[VALID] ** 2).mean()
    torch.testing.assert_close(mse_loss(PREDICTION, TARGET, VALID), expected)


@pytest.mark.parametrize("weights", [{}, {"ccc": 0.0}, {"ccc": 0.0, "mse": 0.0}])
def test_no_loss_at_all_is_an_error(weights: dict) -> None:
    with pytest.raises(ConfigError, match="positive weight"):
        combined_loss(PREDICTION, TARGET, VALID, weights)
