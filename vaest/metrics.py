"""Agreement of predictions with labels. Everything in float64.

CCC is taken in its population form (SAGE, eq 15), over the concatenated valid frames of a
partition, per target; the mean of the two targets is the figure of merit of the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vaest.runs import TrialPrediction
from vaest.types import TARGETS


def score(predictions: Iterable[TrialPrediction]) -> dict[str, float]:
    """CCC of `valence`, `arousal` and their `mean`, and the number of frames, `n_frames`.

    Over all valid frames of all trials together; trials without labels contribute nothing. NaN
    where fewer than two frames are valid.
    """
    total = sum((trial_sums(p) for p in predictions), start=CccSums.empty(len(TARGETS)))
    return {**_named(total.ccc), "n_frames": int(total.n)}


def trial_scores(predictions: Iterable[TrialPrediction]) -> dict[str, dict[str, float]]:
    """`score` of each trial by itself, under the trial's id."""
    return {p.trial: score([p]) for p in predictions}


def bootstrap_interval(
    predictions: Iterable[TrialPrediction],
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile interval of each of `score`'s CCCs, from `n` resamplings of whole trials.

    Trials, not frames, are what was sampled from the world: neighbouring frames say the same.
    NaN with fewer than two labelled trials.
    """
    sums = [s for s in map(trial_sums, predictions) if s.n > 0]
    if len(sums) < 2:
        return dict.fromkeys((*TARGETS, "mean"), (np.nan, np.nan))
    draws = np.random.default_rng(seed).integers(len(sums), size=(n, len(sums)))
    # Row i counts how often each trial is in resample i.
    counts = np.stack([np.bincount(draw, minlength=len(sums)) for draw in draws])
    ccc = _resampled_ccc(sums, counts)
    per_score = {**dict(zip(TARGETS, ccc.T, strict=True)), "mean": ccc.mean(axis=1)}
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {name: _pair(np.nanquantile(values, tails)) for name, values in per_score.items()}


def trial_sums(prediction: TrialPrediction) -> CccSums:
    """The partial sums of one trial, for both targets, over its valid frames."""
    if prediction.target is None:
        return CccSums.empty(len(TARGETS))
    valid = np.isfinite(prediction.target).all(axis=1)
    return CccSums.of(prediction.prediction[valid], prediction.target[valid])


@dataclass(frozen=True, eq=False)
class CccSums:
    """All that CCC needs to know of some frames. Sums of disjoint sets of frames add up with `+`.

    n: number of frames. The rest (targets,): means of x and y, and the sums of squares and of
    products of the deviations from them (Chan, Golub and LeVeque 1983), which lose no digits when
    means are large.
    """

    n: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    square_x: np.ndarray
    square_y: np.ndarray
    product: np.ndarray

    @classmethod
    def empty(cls, targets: int) -> CccSums:
        """Of no frames."""
        return cls(0, *np.zeros((5, targets)))

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> CccSums:
        """Of predictions and labels, (time, targets) each."""
        assert x.shape == y.shape
        if len(x) == 0:
            return cls.empty(x.shape[1])
        # Counted from the first frame, constants have a deviation of exactly zero.
        mean_x, dx = _centred(x)
        mean_y, dy = _centred(y)
        return cls(len(x), mean_x, mean_y, (dx * dx).sum(0), (dy * dy).sum(0), (dx * dy).sum(0))

    def __add__(self, other: CccSums) -> CccSums:
        n = self.n + other.n
        if n == 0:
            return self
        share = other.n / n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        return CccSums(
            n,
            self.mean_x + dx * share,
            self.mean_y + dy * share,
            self.square_x + other.square_x + dx * dx * (self.n * share),
            self.square_y + other.square_y + dy * dy * (self.n * share),
            self.product + other.product + dx * dy * (self.n * share),
        )

    @property
    def ccc(self) -> np.ndarray:
        """(targets,); NaN with fewer than two frames, 0 where prediction or label is constant."""
        distance = self.n * (self.mean_x - self.mean_y) ** 2
        if self.n < 2:
            return np.full_like(distance, np.nan)
        return _ratio(2 * self.product, self.square_x + self.square_y + distance)


def ccc(x: np.ndarray, y: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Concordance of (time,) predictions and labels, where `valid` (time,) bool is True.

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2), all in population form. NaN with fewer
    than two frames, 0 if either is constant.
    """
    return float(CccSums.of(*_columns(x, y, valid)).ccc[0])


def pearson(x: np.ndarray, y: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Correlation; NaN with fewer than two frames, 0 if either is constant."""
    sums = CccSums.of(*_columns(x, y, valid))
    if sums.n < 2:
        return float("nan")
    return float(_ratio(sums.product, np.sqrt(sums.square_x) * np.sqrt(sums.square_y))[0])


def rmse(x: np.ndarray, y: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Root mean squared error; NaN without frames."""
    x, y = _columns(x, y, valid)
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) else float("nan")


def sign_agreement(x: np.ndarray, y: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Share of frames on which prediction and label have the same sign (SAGR); NaN without any."""
    x, y = _columns(x, y, valid)
    return float(np.mean(np.sign(x) == np.sign(y))) if len(x) else float("nan")


def _resampled_ccc(sums: list[CccSums], counts: np.ndarray) -> np.ndarray:
    """(resamples, targets) from counts (resamples, trials): all merges of `CccSums` at once."""
    frames = counts * np.array([s.n for s in sums])
    share = frames / frames.sum(axis=1, keepdims=True)

    def moment(name: str) -> np.ndarray:
        return np.stack([getattr(s, name) for s in sums])

    centre_x, centre_y = moment("mean_x").mean(axis=0), moment("mean_y").mean(axis=0)
    x, y = moment("mean_x") - centre_x, moment("mean_y") - centre_y
    mean_x, mean_y = share @ x, share @ y
    total = frames.sum(axis=1, keepdims=True)
    product = counts @ moment("product") + frames @ (x * y) - total * mean_x * mean_y
    square_x = counts @ moment("square_x") + frames @ (x * x) - total * mean_x**2
    square_y = counts @ moment("square_y") + frames @ (y * y) - total * mean_y**2
    distance = total * (mean_x + centre_x - mean_y - centre_y) ** 2
    return _ratio(2 * product, square_x + square_y + distance)


def _centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shifted = x.astype(np.float64) - x[0]
    mean = shifted.mean(axis=0)
    return mean + x[0], shifted - mean


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient; 0 where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _columns(
    x: np.ndarray, y: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    assert x.ndim == y.ndim == 1
    rows = slice(None) if valid is None else valid
    return x[rows, None].astype(np.float64), y[rows, None].astype(np.float64)


def _named(ccc_of_targets: np.ndarray) -> dict[str, float]:
    named = dict(zip(TARGETS, map(float, ccc_of_targets), strict=True))
    return {**named, "mean": float(ccc_of_targets.mean())}


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
