"""What a fusion model is: features of any modalities, with masks -> valence and arousal.

Two kinds share the registry: networks, trained by gradient on clips, and closed forms, fitted at
once on whole trials. Both are built from a config and the dimension of each modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, get_args

import numpy as np
from torch import Tensor, nn

from vaest.config import Config
from vaest.types import TrialSequence


class FusionConfig(Config):
    """Options of a fusion model. Every model has at least the variant `paper` or `plain`."""

    variant: str


class Fusion(ABC):
    """Base of every fusion model. `paper` is the citation printed by `vaest fusions`."""

    name: ClassVar[str]
    paper: ClassVar[str]
    Config: ClassVar[type[FusionConfig]]

    def __init__(self, config: FusionConfig, dims: Mapping[str, int]) -> None:
        """dims: dimension of each modality, e.g. {"visual": 256, "audio": 384, "text": 384}."""
        super().__init__()
        self.config = config
        self.dims = dict(dims)

    @classmethod
    def variants(cls) -> tuple[str, ...]:
        """The values that the option `variant` takes."""
        return get_args(cls.Config.model_fields["variant"].annotation)


class FusionNetwork(Fusion, nn.Module):
    """A model trained by gradient.

    Masks are mandatory. A frame at which every modality is absent is padding or a gap: it never
    influences other frames. Inputs are standardised features, zero wherever `present` is False.
    """

    @abstractmethod
    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """Valence and arousal.

        features: per modality (batch, time, dim) float32. present: per modality (batch, time)
        bool. Returns (batch, time, 2).
        """

    def reliability(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """How far the model trusts each modality at each frame: per modality (batch, time).

        Larger means more trusted; only comparisons along time within one modality mean
        anything. A model with one weight for all of them returns it under "joint"; one that
        estimates none returns {}.
        """
        return {}


class ClosedFormFusion(Fusion):
    """A model fitted at once on whole trials, without gradients."""

    @abstractmethod
    def fit(self, sequences: Iterable[TrialSequence]) -> None:
        """Fit on the frames whose target is valid."""

    @abstractmethod
    def predict(self, sequence: TrialSequence) -> np.ndarray:
        """(time, 2) float32 valence and arousal, for every frame."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything `predict` needs besides the config, as plain arrays."""

    @abstractmethod
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`."""
