"""What a corpus is: a list of trials, their labels, and the timeline built from both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaest.types import Timeline, Trial


class Corpus(ABC):
    """A folder in one on-disk layout."""

    name: ClassVar[str]

    def __init__(self, root: Path) -> None:
        """InputError if `root` is not there or not in this layout."""
        self.root = root

    @property
    def cache_name(self) -> str:
        """The folder of this corpus inside the cache."""
        return self.name

    @abstractmethod
    def trials(self) -> list[Trial]:
        """All trials, sorted by id. Reads names, never contents."""

    @abstractmethod
    def labels(self, trial: Trial) -> np.ndarray | None:
        """(time, 2) float32 with NaN where not valid; None where the trial has none.

        InputError naming file and line if the file breaks its format.
        """

    @abstractmethod
    def timeline(self, trial: Trial) -> Timeline:
        """The trial's clock and ledger. InputError if its media cannot be read."""

    def corruption(self, trial: Trial) -> dict[str, np.ndarray] | None:
        """Known corruption per modality, (time,) float32 in [0, 1], where a corpus knows it."""
        return None
