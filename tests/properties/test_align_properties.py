"""Each policy against its definition, one frame at a time."""

from __future__ import annotations

from typing import get_args

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vaest.align import Policy, to_frames

# Sixteenths are exact in binary: ties are ties, and duplicates are common.
TIMES = st.integers(-20, 80).map(lambda n: n / 16)
STEPS = st.lists(TIMES, min_size=1, max_size=12).map(sorted).map(np.array)
FRAMES = st.lists(TIMES, min_size=1, max_size=12).map(sorted).map(np.array)
POLICIES = st.sampled_from(get_args(Policy))
DTYPES = st.sampled_from([np.float16, np.float32])


def values_for(steps_s: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
    return np.random.default_rng(len(steps_s)).normal(size=(len(steps_s), 2)).astype(dtype)


@given(steps_s=STEPS, frames_s=FRAMES, policy=POLICIES, dtype=DTYPES)
def test_finite_and_within_the_values_and_of_their_type(
    steps_s: np.ndarray, frames_s: np.ndarray, policy: Policy, dtype: type[np.floating]
) -> None:
    values = values_for(steps_s, dtype)
    aligned = to_frames(values, steps_s, frames_s, policy)
    assert aligned.shape == (len(frames_s), 2)
    assert aligned.dtype == dtype
    slack = 4 * np.finfo(dtype).eps * np.abs(values).max()
    assert (aligned >= values.min(axis=0) - slack).all()
    assert (aligned <= values.max(axis=0) + slack).all()


@given(steps_s=STEPS, frames_s=FRAMES)
def test_nearest(steps_s: np.ndarray, frames_s: np.ndarray) -> None:
    values = values_for(steps_s)
    for frame_s, row in zip(frames_s, to_frames(values, steps_s, frames_s, "nearest"), strict=True):
        distance = np.abs(steps_s - frame_s)
        assert any((row == values[i]).all() for i in np.flatnonzero(distance == distance.min()))


@given(steps_s=STEPS, frames_s=FRAMES)
def test_hold(steps_s: np.ndarray, frames_s: np.ndarray) -> None:
    values = values_for(steps_s)
    for frame_s, row in zip(frames_s, to_frames(values, steps_s, frames_s, "hold"), strict=True):
        past = np.flatnonzero(steps_s <= frame_s)
        np.testing.assert_array_equal(row, values[past[-1] if len(past) else 0])


@given(steps_s=STEPS, frames_s=FRAMES)
def test_linear(steps_s: np.ndarray, frames_s: np.ndarray) -> None:
    steps_s = np.unique(steps_s)
    values = values_for(steps_s)
    expected = np.stack([np.interp(frames_s, steps_s, column) for column in values.T], axis=1)
    np.testing.assert_allclose(to_frames(values, steps_s, frames_s, "linear"), expected, atol=1e-6)


@given(steps_s=STEPS, frames_s=FRAMES.filter(lambda times: len(times) > 1))
def test_mean(steps_s: np.ndarray, frames_s: np.ndarray) -> None:
    values = values_for(steps_s)
    before = np.concatenate([[2 * frames_s[0] - frames_s[1]], frames_s[:-1]])
    after = np.concatenate([frames_s[1:], [2 * frames_s[-1] - frames_s[-2]]])
    nearest = to_frames(values, steps_s, frames_s, "nearest")
    aligned = to_frames(values, steps_s, frames_s, "mean")
    for i in range(len(frames_s)):
        # A step halfway between two frames counts half for each.
        start_s, stop_s = (before[i] + frames_s[i]) / 2, (frames_s[i] + after[i]) / 2
        share = np.heaviside(stop_s - steps_s, 0.5) - np.heaviside(start_s - steps_s, 0.5)
        mean = (share @ values) / max(share.sum(), 0.5)
        expected = mean if share.sum() > 0 else nearest[i]
        np.testing.assert_allclose(aligned[i], expected, atol=1e-6)


@given(steps_s=STEPS, policy=POLICIES)
def test_frames_at_the_steps_get_the_steps(steps_s: np.ndarray, policy: Policy) -> None:
    steps_s = np.unique(steps_s)
    values = values_for(steps_s)
    aligned = to_frames(values, steps_s, steps_s, policy)
    np.testing.assert_allclose(aligned, values, rtol=1e-6, atol=1e-7)


@given(steps_s=STEPS, frames_s=FRAMES, policy=POLICIES)
def test_a_later_clock_changes_nothing(
    steps_s: np.ndarray, frames_s: np.ndarray, policy: Policy
) -> None:
    values = values_for(steps_s)
    here = to_frames(values, steps_s, frames_s, policy)
    later = to_frames(values, steps_s + 4096, frames_s + 4096, policy)
    np.testing.assert_allclose(later, here, atol=1e-6)
