"""The CCC table of runs: as data, as text for a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaest.runs import Run
from vaest.types import MODALITIES

SCORES = ("valence", "arousal", "mean")
MISSING = "–"


@dataclass(frozen=True)
class Scores:
    """CCC of both targets and their mean; NaN where unknown."""

    valence: float = math.nan
    arousal: float = math.nan
    mean: float = math.nan


@dataclass(frozen=True)
class FoldRow:
    """One finished fold. intervals: per score its lower and upper bound; may be empty."""

    fold: int
    ccc: Scores
    intervals: Mapping[str, tuple[float, float]]
    n_trials: int | None
    n_frames: int | None
    parameters: int | None
    seconds: float


@dataclass(frozen=True)
class Row:
    """One run.

    average and spread: mean and sample standard deviation (n - 1) over the finished folds;
    official: fold 0 alone. Scores are NaN where no such fold, or for the spread fewer than two.
    """

    name: str
    corpus: str
    fusion: str
    variant: str
    modalities: tuple[str, ...]
    random_weights: tuple[str, ...]
    folds: tuple[FoldRow, ...]
    average: Scores
    spread: Scores
    official: Scores

    @property
    def parameters(self) -> int | None:
        """Of the fusion model; folds of one run agree."""
        return self.folds[0].parameters if self.folds else None

    @property
    def seconds(self) -> float:
        """Over all folds; NaN where a fold did not record it."""
        return sum(f.seconds for f in self.folds) if self.folds else math.nan


def table(runs: Sequence[Run]) -> list[Row]:
    """One row per run, in the order given."""
    return [_row(run) for run in runs]


def text_table(runs: Sequence[Run], *, per_fold: bool = False) -> str:
    """Aligned plain text; `per_fold` adds a line for each fold under its run."""
    header, lines = _grid(table(runs), per_fold)
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([_aligned(header, widths), rule, *(_aligned(x, widths) for x in lines)])


def markdown_table(runs: Sequence[Run], *, per_fold: bool = False) -> str:
    """A table for GitHub and most Markdown tools."""
    header, lines = _grid(table(runs), per_fold)
    rule = ["---" if i < _N_NAMES else "---:" for i in range(len(header))]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in [header, *lines]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [escaped[0], rule, *escaped[1:]])


def number(value: float | None, digits: int = 3) -> str:
    """A rounded number; "–" for None, NaN and infinities."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def with_spread(average: float, spread: float) -> str:
    """`0.512 ± 0.034`; the average alone where there is no spread."""
    return f"{number(average)} ± {number(spread)}" if math.isfinite(spread) else number(average)


def _row(run: Run) -> Row:
    recipe = run.recipe
    features: dict[str, Any] = recipe.get("features", {})
    fusion = recipe.get("fusion", {})
    folds = tuple(_fold_row(fold, run.result(fold)) for fold in run.folds())
    return Row(
        name=run.name,
        corpus=str(recipe.get("corpus", {}).get("name", MISSING)),
        fusion=str(fusion.get("name", MISSING)),
        variant=str(fusion.get("variant", MISSING)),
        modalities=tuple(m for m in MODALITIES if m in features),
        random_weights=tuple(m for m, o in features.items() if o.get("weights") == "random"),
        folds=folds,
        average=_over_folds(folds, np.mean, at_least=1),
        spread=_over_folds(folds, lambda values: np.std(values, ddof=1), at_least=2),
        official=next((f.ccc for f in folds if f.fold == 0), Scores()),
    )


def _fold_row(fold: int, result: Mapping[str, Any]) -> FoldRow:
    intervals = result.get("interval") or {}
    return FoldRow(
        fold=fold,
        ccc=Scores(**{s: _float(result.get(s)) for s in SCORES}),
        intervals={s: (_float(lo), _float(hi)) for s, (lo, hi) in intervals.items()},
        n_trials=result.get("n_trials"),
        n_frames=result.get("n_frames"),
        parameters=result.get("parameters"),
        seconds=_float(result.get("seconds")),
    )


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _over_folds(folds: Sequence[FoldRow], statistic: Any, at_least: int) -> Scores:
    # NaN is left to spread: a mean that skipped the fold that failed would flatter the run.
    if len(folds) < at_least:
        return Scores()
    return Scores(**{s: float(statistic([getattr(f.ccc, s) for f in folds])) for s in SCORES})


_N_NAMES = 3


def _grid(rows: Sequence[Row], per_fold: bool) -> tuple[list[str], list[list[str]]]:
    header = ["run", "fusion", "modalities", "folds", "valence", "arousal", "mean"]
    header += [f"fold 0 {s}" for s in SCORES]
    lines = []
    for row in rows:
        lines.append(
            [
                row.name,
                f"{row.fusion} ({row.variant})",
                "+".join(row.modalities) or MISSING,
                str(len(row.folds)),
                *(with_spread(getattr(row.average, s), getattr(row.spread, s)) for s in SCORES),
                *(number(getattr(row.official, s)) for s in SCORES),
            ]
        )
        if per_fold:
            lines += [_fold_line(fold) for fold in row.folds]
    return header, lines


def _fold_line(fold: FoldRow) -> list[str]:
    scores = [number(getattr(fold.ccc, s)) for s in SCORES]
    return [f"  fold {fold.fold}", "", "", "", *scores, "", "", ""]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i < _N_NAMES else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
