"""Features to timeline. The only place where rates change."""

from __future__ import annotations

from typing import Literal

import numpy as np

Policy = Literal["nearest", "linear", "mean", "hold"]

VERSION = 1  # raised whenever the numbers change: part of the identity of features
EDGE_TOLERANCE_S = 1e-6


def to_frames(
    values: np.ndarray, step_time_s: np.ndarray, frame_time_s: np.ndarray, policy: Policy
) -> np.ndarray:
    """Bring steps to frames: (steps, dim) at step_time_s -> (frames, dim) at frame_time_s.

    Both time arrays are non-decreasing. `nearest` takes the closest step; `linear` interpolates
    and holds the ends; `mean` averages the steps nearer to a frame than to its neighbours (one
    half-way counts half for each), and falls back to the nearest where there is none; `hold`
    takes the last step not after the frame (the first step before that).
    """
    assert values.shape[0] == step_time_s.shape[0] > 0
    if policy == "nearest":
        return values[_nearest(step_time_s, frame_time_s)]
    if policy == "hold":
        index = np.searchsorted(step_time_s, frame_time_s, side="right") - 1
        return values[np.clip(index, 0, None)]
    if policy == "linear":
        return _linear(values, step_time_s, frame_time_s)
    return _mean(values, step_time_s, frame_time_s)


def _nearest(step_time_s: np.ndarray, frame_time_s: np.ndarray) -> np.ndarray:
    midpoints = (step_time_s[1:] + step_time_s[:-1]) / 2
    return np.searchsorted(midpoints, frame_time_s, side="left")


def _linear(values: np.ndarray, step_time_s: np.ndarray, frame_time_s: np.ndarray) -> np.ndarray:
    if len(step_time_s) == 1:
        return np.repeat(values, len(frame_time_s), axis=0)
    right = np.clip(np.searchsorted(step_time_s, frame_time_s), 1, len(step_time_s) - 1)
    left = right - 1
    span = np.maximum(step_time_s[right] - step_time_s[left], 1e-12)
    weight = np.clip((frame_time_s - step_time_s[left]) / span, 0.0, 1.0)[:, None]
    return np.asarray((1 - weight) * values[left] + weight * values[right], dtype=values.dtype)


def _mean(values: np.ndarray, step_time_s: np.ndarray, frame_time_s: np.ndarray) -> np.ndarray:
    if len(frame_time_s) < 2:
        return values[_nearest(step_time_s, frame_time_s)]
    middle = (frame_time_s[1:] + frame_time_s[:-1]) / 2
    edges = np.concatenate(
        [[2 * frame_time_s[0] - middle[0]], middle, [2 * frame_time_s[-1] - middle[-1]]]
    )
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=np.float64)])
    # At 25 fps, steps of 20 ms lie on the edges of frames: without a tolerance, rounding would
    # decide which frame gets them.
    before = np.searchsorted(step_time_s, edges - EDGE_TOLERANCE_S, side="left")
    after = np.searchsorted(step_time_s, edges + EDGE_TOLERANCE_S, side="right")
    count = np.diff((before + after) / 2)
    mean = np.diff((total[before] + total[after]) / 2, axis=0) / np.maximum(count, 0.5)[:, None]
    nearest = values[_nearest(step_time_s, frame_time_s)]
    return np.where(count[:, None] > 0, mean, nearest).astype(values.dtype)
