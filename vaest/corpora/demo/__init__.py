"""The demo corpus: generated on first use, read by the same code as Aff-Wild2.

It demonstrates wiring, never accuracy: every figure made from it says "demo corpus".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaest.corpora import corpora
from vaest.corpora._base import Corpus
from vaest.corpora.affwild2 import Affwild2
from vaest.corpora.demo.plan import FULL, plan_digest
from vaest.errors import InputError
from vaest.types import MODALITIES, Timeline, Trial


@corpora.register
class Demo(Corpus):
    """Synthetic talking faces whose valence, arousal and corruption are known.

    Without a root it lies in the user's cache folder, under a name that changes with the
    generator. A root that does not exist yet is generated: about a minute on two cores.
    """

    name: ClassVar[str] = "demo"

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(default_root() if root is None else root)
        if not self.root.exists():
            # Drawing and speaking need packages that reading does not.
            from vaest.corpora.demo.write import write_demo

            write_demo(self.root)
        if not (self.root / "truth").is_dir():
            raise InputError(
                "not a demo corpus: it has no folder 'truth'",
                where=self.root,
                fix="name a folder that does not exist, and it is generated there",
            )
        self._layout = Affwild2(self.root)

    def trials(self) -> list[Trial]:
        return self._layout.trials()

    def labels(self, trial: Trial) -> np.ndarray | None:
        return self._layout.labels(trial)

    def timeline(self, trial: Trial) -> Timeline:
        return self._layout.timeline(trial)

    def corruption(self, trial: Trial) -> dict[str, np.ndarray]:
        """1 where occluded (visual), under noise or silent (audio, text), or without sound."""
        with np.load(self.root / "truth" / f"{trial.id}.npz", allow_pickle=False) as truth:
            return {modality: truth[modality] for modality in MODALITIES}


def default_root() -> Path:
    """`$VAEST_HOME`, `$XDG_CACHE_HOME/vaest` or `~/.cache/vaest`, and the generator's digest."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("VAEST_HOME") or Path(cache, "vaest")
    return Path(home, f"demo-{plan_digest(FULL)[:12]}")
