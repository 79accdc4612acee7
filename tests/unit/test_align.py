from __future__ import annotations

import numpy as np
import pytest

from vaest.align import Policy, to_frames

VALUES = np.array([[0.0], [10.0], [30.0]], np.float32)
STEPS_S = np.array([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("nearest", [0, 0, 0, 10, 10, 30, 30]),
        ("hold", [0, 0, 0, 0, 10, 10, 30]),
        ("linear", [0, 0, 4, 6, 15, 25, 30]),
    ],
)
def test_by_hand(policy: Policy, expected: list[float]) -> None:
    frames_s = np.array([-1.0, 0.0, 0.4, 0.6, 1.25, 1.75, 9.0])
    aligned = to_frames(VALUES, STEPS_S, frames_s, policy)
    np.testing.assert_allclose(aligned[:, 0], expected, atol=1e-5)


def test_mean_takes_the_steps_nearest_to_each_frame_and_half_of_those_between() -> None:
    values = np.arange(10, dtype=np.float32)[:, None]
    steps_s = np.arange(10) / 10
    aligned = to_frames(values, steps_s, np.array([0.15, 0.45, 0.75]), "mean")
    np.testing.assert_allclose(aligned[:, 0], [1.5, 4.5, 7.5])


def test_mean_falls_back_to_the_nearest_step() -> None:
    aligned = to_frames(VALUES, STEPS_S, np.array([0.1, 0.2, 0.3, 0.9]), "mean")
    np.testing.assert_allclose(aligned[:, 0], [0, 0, 0, 10])


@pytest.mark.parametrize("policy", ["nearest", "linear", "mean", "hold"])
def test_no_frames_and_one_frame_and_one_step(policy: Policy) -> None:
    assert to_frames(VALUES, STEPS_S, np.empty(0), policy).shape == (0, 1)
    assert to_frames(VALUES, STEPS_S, np.array([1.0]), policy).tolist() == [[10.0]]
    assert to_frames(VALUES[:1], STEPS_S[:1], STEPS_S, policy).tolist() == [[0.0]] * 3
