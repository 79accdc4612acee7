"""Cached features of a fold -> standardised, padded, masked clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vaest.cache import FeatureCache, FeatureStore
from vaest.types import Batch, TrialSequence


@dataclass(frozen=True)
class Clip:
    """Frames [start, stop) of sequences[index]."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each feature, per modality, over the training frames."""

    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]

    @classmethod
    def fit(cls, sequences: Sequence[TrialSequence]) -> Standardiser:
        """From every present frame of `sequences`; features that never vary get std 1."""
        mean: dict[str, np.ndarray] = {}
        std: dict[str, np.ndarray] = {}
        for modality in sequences[0].features:
            count, total, square = 0, np.float64(0), np.float64(0)
            for sequence in sequences:
                rows = sequence.features[modality][sequence.present[modality]].astype(np.float64)
                count += len(rows)
                total = total + rows.sum(axis=0)
                square = square + (rows**2).sum(axis=0)
            dim = sequences[0].features[modality].shape[1]
            centre = total / max(count, 1) * np.ones(dim)
            spread = np.sqrt(np.maximum(square / max(count, 1) - centre**2, 0)) * np.ones(dim)
            mean[modality] = centre.astype(np.float32)
            std[modality] = np.where(spread > 1e-6, spread, 1).astype(np.float32)
        return cls(mean, std)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays, `mean.<modality>` and `std.<modality>`."""
        return {f"mean.{m}": v for m, v in self.mean.items()} | {
            f"std.{m}": v for m, v in self.std.items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Standardiser:
        """The inverse of `state`."""
        fields = {
            field: {k.removeprefix(f"{field}."): v for k, v in state.items() if k.startswith(field)}
            for field in ("mean", "std")
        }
        return cls(**fields)


def load_sequences(
    cache: FeatureCache, stores: Mapping[str, FeatureStore], trials: Sequence[str]
) -> list[TrialSequence]:
    """Whole trials, memory-mapped: nothing is read until a clip is cut.

    A trial that one store does not hold has that modality absent throughout.
    """
    held = {m: set(store.trials()) for m, store in stores.items()}
    dims = {m: store.record(next(iter(held[m]))).dim for m, store in stores.items()}
    return [
        _load_sequence(cache, {m: s for m, s in stores.items() if trial in held[m]}, dims, trial)
        for trial in trials
    ]


def cut_clips(
    sequences: Sequence[TrialSequence], frames: int, stride: int, *, labelled_only: bool
) -> list[Clip]:
    """Windows of at most `frames` every `stride`; the last one ends with the trial.

    Every frame is in at least one clip. `labelled_only` leaves out clips without any valid target.
    """
    clips = []
    for index, sequence in enumerate(sequences):
        last = max(len(sequence) - frames, 0)
        starts = [*range(0, last, stride), last]
        for start in starts:
            clip = Clip(index, start, min(start + frames, len(sequence)))
            if not labelled_only or _has_target(sequence, clip):
                clips.append(clip)
    return clips


def collate(
    sequences: Sequence[TrialSequence],
    clips: Sequence[Clip],
    standardiser: Standardiser,
) -> Batch:
    """One batch, padded to its longest clip; values under a False mask are zero."""
    longest = max(c.stop - c.start for c in clips)
    shape = (len(clips), longest)
    first = sequences[clips[0].index]
    features = {
        m: np.zeros((*shape, x.shape[1]), dtype=np.float32) for m, x in first.features.items()
    }
    present = {m: np.zeros(shape, dtype=bool) for m in first.features}
    target = np.zeros((*shape, 2), dtype=np.float32)
    target_valid = np.zeros(shape, dtype=bool)
    for row, clip in enumerate(clips):
        sequence = sequences[clip.index]
        window = slice(clip.start, clip.stop)
        length = clip.stop - clip.start
        for m, values in features.items():
            mask = sequence.present[m][window]
            present[m][row, :length] = mask
            raw = sequence.features[m][window].astype(np.float32)
            scaled = (raw - standardiser.mean[m]) / standardiser.std[m]
            values[row, :length] = np.where(mask[:, None], scaled, 0)
        if sequence.target is not None:
            valid = np.isfinite(sequence.target[window]).all(axis=1)
            target_valid[row, :length] = valid
            target[row, :length] = np.where(valid[:, None], sequence.target[window], 0)
    return Batch(
        {m: torch.from_numpy(x) for m, x in features.items()},
        {m: torch.from_numpy(x) for m, x in present.items()},
        torch.from_numpy(target),
        torch.from_numpy(target_valid),
        tuple(sequences[c.index].trial for c in clips),
    )


def batches(
    sequences: Sequence[TrialSequence],
    clips: Sequence[Clip],
    size: int,
    standardiser: Standardiser,
    order: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Clips in groups of `size`, in the given order."""
    order = np.arange(len(clips)) if order is None else order
    for start in range(0, len(order), size):
        yield collate(sequences, [clips[i] for i in order[start : start + size]], standardiser)


def _load_sequence(
    cache: FeatureCache,
    stores: Mapping[str, FeatureStore],
    dims: Mapping[str, int],
    trial: str,
) -> TrialSequence:
    timeline = cache.timelines.read(trial)
    features, present = {}, {}
    for modality, dim in dims.items():
        if modality in stores:
            stored = stores[modality].read(trial)
            features[modality], present[modality] = stored.values, stored.valid
        else:
            features[modality] = np.zeros((len(timeline), dim), dtype=np.float16)
            present[modality] = np.zeros(len(timeline), dtype=bool)
    return TrialSequence(trial, features, present, timeline.time_s, timeline.labels)


def _has_target(sequence: TrialSequence, clip: Clip) -> bool:
    if sequence.target is None:
        return False
    return bool(np.isfinite(sequence.target[clip.start : clip.stop]).all(axis=1).any())
