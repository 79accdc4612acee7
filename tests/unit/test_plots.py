"""The PNG of `vaest predict` and the picture of the README."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from vaest.errors import InputError
from vaest.report import hero, plot_prediction
from vaest.runs import TrialPrediction

N = 90
TIME_S = np.arange(N) / 30
VALENCE, AROUSAL = (0, 114, 178), (213, 94, 0)


def prediction(**changes: Any) -> TrialPrediction:
    curves = np.stack([np.sin(TIME_S), np.cos(TIME_S)], axis=1).astype(np.float32)
    fields: dict[str, Any] = {
        "trial": r"a $\frac$ name",
        "time_s": TIME_S,
        "prediction": 0.8 * curves,
        "target": curves,
        "present": {"visual": TIME_S > 1, "text": TIME_S < 2},
        "reliability": {"joint": np.ones(N), "visual": TIME_S},
    }
    return TrialPrediction(**fields | changes)


def pixels(path: Path) -> np.ndarray:
    """(height, width, 3) uint8"""
    image = matplotlib.image.imread(io.BytesIO(path.read_bytes()), format="png")
    return (255 * image[..., :3]).round().astype(np.uint8)


def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - colour).max(axis=-1) <= 2).sum())


def test_the_plot_shows_both_curves_and_a_lane_per_modality(tmp_path: Path) -> None:
    plot_prediction(prediction(target=None), tmp_path / "p.png")
    image = pixels(tmp_path / "p.png")
    assert image.shape[1] == 1500
    assert count(image, VALENCE) > 500
    assert count(image, AROUSAL) > 500
    plot_prediction(prediction(present={}), tmp_path / "bare.png")
    assert pixels(tmp_path / "bare.png").shape[0] < image.shape[0]


def test_the_plot_keeps_the_truth_out(tmp_path: Path) -> None:
    plot_prediction(prediction(), tmp_path / "with.png")
    plot_prediction(prediction(target=None), tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "without.png").read_bytes()


def test_one_frame_is_enough(tmp_path: Path) -> None:
    one = prediction(
        time_s=TIME_S[:1], prediction=np.zeros((1, 2)), target=None,
        present={"visual": np.ones(1, dtype=bool)}, reliability={},
    )  # fmt: skip
    plot_prediction(one, tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").size


def test_the_hero_shows_frames_and_corruption(tmp_path: Path) -> None:
    red = np.zeros((112, 112, 3), dtype=np.uint8)
    red[..., 0] = 255
    corruption = {"visual": np.ones(N), "text": np.zeros(N)}
    frames = [(0.5, red), (2.0, red)]
    hero(prediction(), tmp_path / "h.png", corruption=corruption, frames=frames)
    image = pixels(tmp_path / "h.png")
    assert count(image, (255, 0, 0)) > 30_000
    hero(prediction(target=None, reliability={}), tmp_path / "plain.png")
    assert count(pixels(tmp_path / "plain.png"), (255, 0, 0)) == 0


def test_the_hero_checks_the_length_of_the_corruption(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corruption"):
        hero(prediction(), tmp_path / "h.png", corruption={"visual": np.ones(N - 1)})


def test_pictures_are_deterministic(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        hero(prediction(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"matplotlib" not in (tmp_path / "a.png").read_bytes().lower()
