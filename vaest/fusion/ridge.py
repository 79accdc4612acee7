"""Ridge regression on windowed means of the features: the floor any network has to beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from vaest.errors import InputError
from vaest.fusion import ClosedFormFusion, FusionConfig, fusions
from vaest.fusion._layers import check_modalities
from vaest.types import TrialSequence


class RidgeConfig(FusionConfig):
    """Windows are in seconds, so that the frame rate does not matter."""

    variant: Literal["plain"] = "plain"
    windows_s: tuple[float, ...] = Field(
        (5.0, 15.0, 45.0), min_length=1, description="lengths of the centred context windows"
    )
    rate_hz: float = Field(
        2.0, gt=0, description="at most so many frames a second are fitted; windows vary slowly"
    )
    alphas: tuple[float, ...] = Field(
        (0.1, 1.0, 10.0, 100.0, 1000.0),
        min_length=1,
        description="penalties to choose from, per training frame",
    )
    holdouts: int = Field(5, ge=2, description="parts of the training trials, each held out once")


@fusions.register
class Ridge(ClosedFormFusion):
    """One linear regression per target.

    Per modality and window: the mean feature over the frames present, and the share of frames
    that are. A window without any present frame counts as the training mean.

    The penalty is chosen on training trials held out; so are the two numbers per target that bring
    the predictions, shrunk by the penalty, to the mean and spread of the training labels.
    """

    name: ClassVar[str] = "ridge"
    paper: ClassVar[str] = (
        "Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, 1970"
    )
    Config: ClassVar[type[FusionConfig]] = RidgeConfig

    def __init__(self, config: RidgeConfig, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.options = config
        self.fitted: dict[str, np.ndarray] = {}

    def fit(self, sequences: Iterable[TrialSequence]) -> None:
        """InputError with fewer than two labelled trials: none could be held out."""
        x, y, trial = self._training_frames(sequences)
        mean, std = _standardisation(x)
        x = _standardise(x, mean, std)
        held_out = self._held_out_predictions(x, y, trial)  # (alphas, frames, 2)
        alpha, offset, scale = np.empty(2), np.empty(2), np.empty(2)
        for target in range(2):
            quality = [_correlation(guess[:, target], y[:, target]) for guess in held_out]
            best = int(np.argmax(quality))
            guess = held_out[best, :, target]
            alpha[target] = self.options.alphas[best]
            scale[target] = y[:, target].std() / guess.std() if np.ptp(guess) > 0 else 0.0
            offset[target] = y[:, target].mean() - scale[target] * guess.mean()
        model = _regress(x, y, alpha)
        self.fitted = {
            "mean": mean,
            "std": std,
            "alpha": alpha,
            "coef": np.ascontiguousarray((model.coef_ * scale[:, None]).T),
            "intercept": model.intercept_ * scale + offset,
        }

    def predict(self, sequence: TrialSequence) -> np.ndarray:
        """(time, 2) float32."""
        context = self._context(sequence, np.arange(len(sequence)))
        x = _standardise(context, self.fitted["mean"], self.fitted["std"])
        return (x @ self.fitted["coef"] + self.fitted["intercept"]).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """mean, std (columns,); coef (columns, 2); intercept, alpha (2,)."""
        return dict(self.fitted)

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.fitted = dict(state)

    def _training_frames(
        self, sequences: Iterable[TrialSequence]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Context (frames, columns), labels (frames, 2) and trial number (frames,)."""
        contexts, labels = [], []
        for sequence in sequences:
            rows = _labelled_rows(sequence, self.options.rate_hz)
            if sequence.target is not None and len(rows):
                contexts.append(self._context(sequence, rows))
                labels.append(sequence.target[rows])
        if len(contexts) < 2:
            raise InputError(
                f"ridge needs at least two labelled training trials, got {len(contexts)}"
            )
        trial = np.repeat(np.arange(len(labels)), [len(y) for y in labels])
        return np.concatenate(contexts), np.concatenate(labels).astype(np.float32), trial

    def _context(self, sequence: TrialSequence, rows: np.ndarray) -> np.ndarray:
        """(rows, columns) float32; NaN where a window has no present frame."""
        check_modalities(self.dims, {m: x.shape[1] for m, x in sequence.features.items()})
        columns = []
        for m in self.dims:
            present = np.asarray(sequence.present[m])
            time_s = sequence.time_s[present]
            values = np.asarray(sequence.features[m])[present].astype(np.float64)
            total = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
            for window_s in self.options.windows_s:
                centre_s = sequence.time_s[rows]
                start, stop = _bounds(time_s, centre_s, window_s)
                first, last = _bounds(sequence.time_s, centre_s, window_s)
                count = (stop - start)[:, None]
                mean = (total[stop] - total[start]) / np.where(count > 0, count, np.nan)
                share = count / (last - first)[:, None]
                columns += [mean.astype(np.float32), share.astype(np.float32)]
        return np.concatenate(columns, axis=1)

    def _held_out_predictions(self, x: np.ndarray, y: np.ndarray, trial: np.ndarray) -> np.ndarray:
        """(alphas, frames, 2): each frame predicted from other trials, for every penalty."""
        from sklearn.model_selection import GroupKFold

        alphas = np.array(self.options.alphas)
        parts = GroupKFold(min(self.options.holdouts, int(trial[-1]) + 1))
        predictions = np.empty((len(alphas), len(x), 2))
        for fitted, held_out in parts.split(x, groups=trial):
            # The penalties as further targets: the Gram matrix is then computed once.
            model = _regress(x[fitted], np.tile(y[fitted], len(alphas)), alphas.repeat(2))
            guess = model.predict(x[held_out]).reshape(-1, len(alphas), 2)
            predictions[:, held_out] = guess.swapaxes(0, 1)
        return predictions


def _regress(x: np.ndarray, y: np.ndarray, alpha: np.ndarray) -> Any:
    """scikit-learn's Ridge with one penalty per target, given per training frame."""
    from sklearn.linear_model import Ridge as LinearRidge

    return LinearRidge(alpha=alpha * len(x), solver="cholesky").fit(x, y)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's; 0 where either never varies. With mean and spread matched it is the CCC."""
    varies = np.ptp(x) > 0 and np.ptp(y) > 0
    return float(np.corrcoef(x, y)[0, 1]) if varies else 0.0


def _labelled_rows(sequence: TrialSequence, rate_hz: float) -> np.ndarray:
    """The first labelled frame of each tick of a clock of `rate_hz`."""
    if sequence.target is None:
        return np.empty(0, dtype=np.int64)
    labelled = np.flatnonzero(np.isfinite(sequence.target).all(axis=1))
    tick = np.floor(sequence.time_s[labelled] * rate_hz)
    return labelled[np.unique(tick, return_index=True)[1]]


def _bounds(
    time_s: np.ndarray, centre_s: np.ndarray, window_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of each window, the first entry of `time_s` in it and the first beyond it."""
    start = np.searchsorted(time_s, centre_s - window_s / 2, side="left")
    return start, np.searchsorted(time_s, centre_s + window_s / 2, side="right")


def _standardisation(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column where it is not NaN; 0 and 1 where that says nothing."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0).sum(axis=0, dtype=np.float64) / count
    square = np.where(known, x - mean, 0).astype(np.float64) ** 2
    std = np.sqrt(square.sum(axis=0) / count)
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


def _standardise(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return np.nan_to_num((x - mean) / std, nan=0.0)
