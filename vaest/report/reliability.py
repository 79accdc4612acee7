"""Do a model's reliability estimates follow the corruption that is known to be there?

The agreement is Spearman's rank correlation between reliability and 1 - corruption, over the
frames of one trial, then averaged over trials. Ranks, because only the course of a reliability
along time means anything; within trials, because its level in one trial says nothing of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vaest.errors import InputError
from vaest.runs import TrialPrediction
from vaest.types import MODALITIES

Corruption = Callable[[str], Mapping[str, np.ndarray] | None]
JOINT = "joint"


@dataclass(frozen=True)
class Agreement:
    """Of one modality, or "joint", over trials.

    correlation: mean over `n_trials` trials, in [-1, 1]; NaN where no trial defines one.
    n_frames: frames of those trials that were ranked.
    """

    modality: str
    correlation: float
    n_trials: int
    n_frames: int


def agreement(
    predictions: Sequence[TrialPrediction], corruption: Corruption
) -> tuple[Agreement, ...]:
    """One entry per modality that has both a reliability and a known corruption."""
    found: dict[str, list[tuple[float, int]]] = {}
    for p in predictions:
        known = known_corruption(p, corruption)
        for modality in p.reliability:
            if modality in known:
                found.setdefault(modality, []).append(correlation(p, modality, known[modality]))
    return tuple(_averaged(m, found[m]) for m in (*MODALITIES, JOINT) if m in found)


def correlation(p: TrialPrediction, modality: str, corruption: np.ndarray) -> tuple[float, int]:
    """Rank correlation within one trial and the number of frames ranked.

    Frames at which the modality (for "joint": every modality) is absent are left out: there is
    nothing to trust there. NaN if either course is constant.
    """
    masks = list(p.present.values()) if modality == JOINT else [p.present[modality]]
    seen = np.any(masks, axis=0)
    reliability, intact = p.reliability[modality][seen], 1.0 - corruption[seen]
    if len(intact) < 2 or np.ptp(reliability) == 0 or np.ptp(intact) == 0:
        return math.nan, len(intact)
    return float(np.corrcoef(rankdata(reliability), rankdata(intact))[0, 1]), len(intact)


def known_corruption(p: TrialPrediction, corruption: Corruption | None) -> dict[str, np.ndarray]:
    """Per modality of the prediction (time,) in [0, 1], and their maximum as "joint".

    Empty where nothing is known. InputError if the corpus has changed since the run.
    """
    known = (corruption(p.trial) if corruption else None) or {}
    courses = {m: np.asarray(known[m], dtype=float) for m in p.present if m in known}
    for modality, course in courses.items():
        if course.shape != p.time_s.shape:
            raise InputError(
                f"the {modality} corruption of trial {p.trial!r} has {len(course)} frames, its "
                f"prediction {len(p.time_s)}: the corpus has changed since the run was fitted",
                fix="vaest fit",
            )
    return courses | ({JOINT: np.max(list(courses.values()), axis=0)} if courses else {})


def _averaged(modality: str, trials: Sequence[tuple[float, int]]) -> Agreement:
    defined = [(rho, n) for rho, n in trials if math.isfinite(rho)]
    return Agreement(
        modality,
        correlation=float(np.mean([rho for rho, _ in defined])) if defined else math.nan,
        n_trials=len(defined),
        n_frames=sum(n for _, n in defined),
    )
