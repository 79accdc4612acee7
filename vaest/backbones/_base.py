"""What a backbone is: media of one trial -> pieces -> batched forward -> steps with times.

A backbone never sees the cache, and never changes a rate: it says when each of its output steps
happened and which frames a piece answers for, and `align.py` does the rest. The engine fills
batches with pieces of many trials, always `batch_size` of them (the last batch of a run is
padded by repetition), so that a trial's features do not depend on its neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from vaest.align import Policy
from vaest.config import Config as BackboneConfig
from vaest.types import Audio, Modality, Timeline, Word


class Media(Protocol):
    """What a backbone may ask of one trial. Each call decodes; nothing is kept."""

    @property
    def timeline(self) -> Timeline: ...

    def crops(self) -> Iterator[tuple[int, np.ndarray]]:
        """(frame, (112, 112, 3) uint8 RGB) of every frame with a face, in order."""
        ...

    def audio(self) -> Audio | None:
        """Mono 16 kHz sound, or None where the video has none."""
        ...

    def words(self) -> list[Word]:
        """Spoken words in order; empty where nobody speaks."""
        ...


@dataclass(frozen=True)
class Weights:
    """Where a model's numbers come from. `digest` is the identity of their content."""

    source: str
    digest: str


@dataclass(frozen=True)
class Piece:
    """One model input and the frames it answers for.

    input: what `forward` takes for one item. frames: (k,) int64 timeline rows, each row in one
    piece of a trial at most; rows in no piece stay invalid. step_time_s: (steps,) float64, when
    each output step happened, on the timeline's clock.
    """

    input: Any
    frames: np.ndarray
    step_time_s: np.ndarray


class Backbone(ABC):
    """A frozen model. Subclasses set the class variables and implement the four methods.

    `version` is raised whenever the numbers it computes change: it is part of the cache's
    identity. `policy` says how `align.py` brings the steps of a piece to its frames.
    """

    name: ClassVar[str]
    modality: ClassVar[Modality]
    dim: ClassVar[int]
    rate: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    policy: ClassVar[Policy]
    batch_size: ClassVar[int]
    Config: ClassVar[type[BackboneConfig]] = BackboneConfig

    def __init__(self, config: BackboneConfig, device: str = "cpu") -> None:
        self.config = config
        self.device = device

    @abstractmethod
    def weights(self) -> Weights:
        """Resolve the weights without loading them. WeightsError if they are not there."""

    @abstractmethod
    def load(self) -> None:
        """Bring the model to `device`, in evaluation mode."""

    @abstractmethod
    def pieces(self, media: Media) -> Iterator[Piece]:
        """The trial cut into model inputs, lazily and in time order."""

    @abstractmethod
    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Features of each input, (steps, dim) float32 each. Row i depends on input i alone."""
