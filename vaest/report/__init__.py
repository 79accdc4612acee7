"""The report: runs on disk -> one self-contained HTML page, and their table as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from vaest.errors import ConfigError
from vaest.metrics import trial_scores
from vaest.report.figures import runs_figure
from vaest.report.plots import hero, plot_prediction
from vaest.report.reliability import Corruption
from vaest.report.sections import RunSection, run_section
from vaest.report.tables import (
    MISSING,
    SCORES,
    Row,
    markdown_table,
    table,
    text_table,
    typeset,
)
from vaest.runs import Run, write_atomically

__all__ = [
    "Row",
    "hero",
    "markdown_table",
    "picture_trial",
    "plot_prediction",
    "table",
    "text_table",
    "write_report",
]

# Keeps the page of ten runs under some 5 MB: a trial's figure takes about 15 kB.
_FIGURES = 240
_FIGURES_PER_RUN = 24


def write_report(
    runs: Sequence[Run],
    path: Path,
    *,
    title: str,
    corpus_note: str | None = None,
    corruption: Corruption | None = None,
) -> None:
    """Write one HTML file that needs nothing else: no network, no script.

    corpus_note: shown in a banner above everything. corruption: trial id -> known corruption per
    modality, (time,) in [0, 1], or None where nothing is known. The same runs give the same bytes.
    ConfigError without runs; InputError if a corruption does not fit the run's frames.
    """
    if not runs:
        raise ConfigError("there is no run to report", fix="vaest fit")
    rows = table(runs)
    n_shown = max(4, min(_FIGURES_PER_RUN, _FIGURES // len(runs)))
    averages = {score: [getattr(row.average, score) for row in rows] for score in SCORES}
    sections = [
        run_section(run, row, f"run-{i}", n_shown, corruption)
        for i, (run, row) in enumerate(zip(runs, rows, strict=True))
    ]
    page = _template().render(
        title=title,
        corpus_note=corpus_note,
        corpora=sorted({row.corpus for row in rows}),
        knows_corruption=corruption is not None,
        rows=rows,
        top={s: max(filter(math.isfinite, a), default=None) for s, a in averages.items()},
        sections=sections,
        best=_best(sections),
        overview=runs_figure(rows),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


def picture_trial(run: Run, path: Path, corruption: Corruption | None = None) -> None:
    """Draw the run's median trial, by mean CCC, of its first finished fold: neither the best nor
    the worst. ConfigError if no fold is finished."""
    if not run.folds():
        raise ConfigError("the run has no finished fold", where=run.path, fix="vaest fit")
    predictions = {p.trial: p for p in run.predictions(run.folds()[0])}
    scores = trial_scores(predictions.values())
    ranked = sorted(predictions, key=lambda trial: scores[trial]["mean"])
    chosen = predictions[ranked[len(ranked) // 2]]
    hero(chosen, path, corruption=corruption(chosen.trial) if corruption else None)


def _best(sections: Sequence[RunSection]) -> RunSection:
    """The run with the highest mean CCC; the first if no run has one."""

    def score(section: RunSection) -> float:
        mean = section.row.average.mean
        return mean if math.isfinite(mean) else -math.inf

    return max(sections, key=score)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("vaest.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ccc"] = typeset
    environment.filters["count"] = _count
    environment.filters["duration"] = _duration
    return environment.get_template("template.html.j2")


def _count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}".replace(",", "\u202f")


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
