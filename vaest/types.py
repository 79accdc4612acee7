"""The nouns of vaest. Frozen; shapes stand in the annotations. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vaest.errors import InputError

if TYPE_CHECKING:
    import torch

Modality = Literal["visual", "audio", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Partition = Literal["train", "validation", "test"]
TARGETS = ("valence", "arousal")

_TRIAL_ID = re.compile(r"[^/\\\0:]{1,200}")


@dataclass(frozen=True)
class Trial:
    """One annotated face track and where its media lie. Paths may be None: absence is normal.

    `video_id` groups the trials that share one video (Aff-Wild2's `_left` and `_right`), and
    `crops` is a folder of aligned 112x112 faces named by 1-based frame, `00001.jpg`.
    """

    id: str
    video_id: str
    video: Path | None = None
    crops: Path | None = None
    labels: Path | None = None
    transcript: Path | None = None
    partition: Partition | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        if not _TRIAL_ID.fullmatch(self.id) or self.id in {".", ".."} or self.id.startswith("."):
            raise InputError(
                f"trial id {self.id!r} is not a plain name",
                where=self.labels or self.video,
                nearest=re.sub(r"[/\\\0:]+", "_", self.id).lstrip(".") or "trial",
            )


@dataclass(frozen=True)
class Timeline:
    """The annotation clock of one trial: what is known of each frame, and when it was.

    time_s: (time,) float64, seconds from the container's PTS, increasing.
    crop_present: (time,) bool, an aligned face exists for this frame.
    labels: (time, 2) float32, valence and arousal in [-1, 1], NaN where not valid; or None.
    """

    trial: str
    time_s: np.ndarray
    crop_present: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.time_s)
        assert self.time_s.shape == (n,)
        assert self.crop_present.shape == (n,)
        assert self.labels is None or self.labels.shape == (n, 2)

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def label_valid(self) -> np.ndarray:
        """(time,) bool: both targets are annotated."""
        if self.labels is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isfinite(self.labels).all(axis=1))

    @property
    def rate_hz(self) -> float:
        """Median frame rate; 0.0 for fewer than two frames."""
        return float(1.0 / np.median(np.diff(self.time_s))) if len(self) > 1 else 0.0


@dataclass(frozen=True)
class Features:
    """values: (time, dim); valid: (time,) bool. Rows that are not valid mean nothing."""

    values: np.ndarray
    valid: np.ndarray

    def __post_init__(self) -> None:
        assert self.values.ndim == 2
        assert self.valid.shape == self.values.shape[:1]

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True)
class Word:
    """One spoken word, in seconds on the video's clock. confidence in [0, 1]; 1 when given."""

    text: str
    start_s: float
    end_s: float
    confidence: float = 1.0


@dataclass(frozen=True)
class Audio:
    """Mono sound on the video's clock.

    samples: (n,) float32 in [-1, 1], possibly memory-mapped; sample i is heard at
    start_s + i / rate_hz.
    """

    samples: np.ndarray
    rate_hz: int
    start_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class TrialSequence:
    """A whole trial as the fusion models see it.

    features: per modality (time, dim) float16 or float32; present: per modality (time,) bool;
    time_s: (time,); target: (time, 2) float32 with NaN where not valid, or None.
    """

    trial: str
    features: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]
    time_s: np.ndarray
    target: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.time_s)
        for name, values in self.features.items():
            assert values.shape[0] == n == len(self.present[name]), (self.trial, name)

    def __len__(self) -> int:
        return len(self.time_s)

    def only(self, modalities: tuple[str, ...]) -> TrialSequence:
        """The same trial with these modalities alone."""
        return replace(
            self,
            features={m: self.features[m] for m in modalities},
            present={m: self.present[m] for m in modalities},
        )


@dataclass(frozen=True)
class Batch:
    """Padded clips. Absence and padding are masks; values under a False mask are zero.

    features: per modality (batch, time, dim) float32; present: per modality (batch, time) bool;
    target: (batch, time, 2) float32, zero where not valid; target_valid: (batch, time) bool.
    """

    features: dict[str, torch.Tensor]
    present: dict[str, torch.Tensor]
    target: torch.Tensor
    target_valid: torch.Tensor
    trials: tuple[str, ...] = field(default=())

    def to(self, device: torch.device) -> Batch:
        return Batch(
            {m: x.to(device, non_blocking=True) for m, x in self.features.items()},
            {m: x.to(device, non_blocking=True) for m, x in self.present.items()},
            self.target.to(device, non_blocking=True),
            self.target_valid.to(device, non_blocking=True),
            self.trials,
        )
