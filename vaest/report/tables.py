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
MISSING = "\N{EN DASH}"


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
    lines = [["run", "folds", *SCORES, *SCORES]]
    for row in table(runs):
        lines.append([row.name, str(len(row.folds)), *_averages(row), *_numbers(row.official)])
        if per_fold:
            lines += [[f"  fold {f.fold}", "", *_numbers(f.ccc), "", "", ""] for f in row.folds]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    over = "CCC, mean ± sd over folds".center(sum(widths[2:5]) + 4)
    groups = " " * (sum(widths[:2]) + 4) + over + "  " + "fold 0".center(sum(widths[5:]) + 4)
    rule = "  ".join("-" * width for width in widths)
    header, *body = [_aligned(line, widths) for line in lines]
    return "\n".join([groups.rstrip(), header, rule, *body])


def markdown_table(runs: Sequence[Run], *, per_fold: bool = False) -> str:
    """A table for GitHub and most Markdown tools."""
    lines = [
        ["run", "model", "modalities", "folds", *SCORES, *(f"fold 0 {s}" for s in SCORES)],
        [*["---"] * 3, *["---:"] * 7],
    ]
    for row in table(runs):
        model, modalities = f"{row.fusion} ({row.variant})", ", ".join(row.modalities) or MISSING
        scores = [*_averages(row), *_numbers(row.official)]
        lines.append([row.name, model, modalities, str(len(row.folds)), *scores])
        if per_fold:
            lines += [
                [row.name, model, modalities, f"fold {f.fold}", *_numbers(f.ccc), "", "", ""]
                for f in row.folds
            ]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def number(value: float | None, digits: int = 3) -> str:
    """A rounded number; an en dash for None, NaN and infinities."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def typeset(value: float | None, digits: int = 3) -> str:
    """`number` with a true minus sign, for pages and figures."""
    return number(value, digits).replace("-", "\N{MINUS SIGN}")


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
        intervals={s: (lo, hi) for s, (lo, hi) in intervals.items() if _known(lo) and _known(hi)},
        n_trials=result.get("n_trials"),
        n_frames=result.get("n_frames"),
        parameters=result.get("parameters"),
        seconds=_float(result.get("seconds")),
    )


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _known(value: float | None) -> bool:
    return math.isfinite(_float(value))


def _over_folds(folds: Sequence[FoldRow], statistic: Any, at_least: int) -> Scores:
    # NaN is left to spread: a mean that skipped the fold that failed would flatter the run.
    if len(folds) < at_least:
        return Scores()
    return Scores(**{s: float(statistic([getattr(f.ccc, s) for f in folds])) for s in SCORES})


def _averages(row: Row) -> list[str]:
    cells = []
    for score in SCORES:
        average, spread = getattr(row.average, score), getattr(row.spread, score)
        known = math.isfinite(spread)
        cells.append(f"{number(average)} ± {number(spread)}" if known else number(average))
    return cells


def _numbers(ccc: Scores) -> list[str]:
    return [number(getattr(ccc, score)) for score in SCORES]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = cells
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *right]).rstrip()
