"""The report's figures, as SVG. Sizes are in user units, about a pixel on a laptop.

Constant throughout: valence and arousal keep their colours, the truth is grey, corruption is an
area, reliability a line, and a bar in a modality's lane means that the modality is present.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from markupsafe import Markup

from vaest.report import svg
from vaest.report.reliability import JOINT, correlation
from vaest.report.tables import SCORES, Row, typeset
from vaest.runs import TrialPrediction
from vaest.types import TARGETS

_BINS = 40


def trial_figure(p: TrialPrediction, corruption: Mapping[str, np.ndarray]) -> Markup:
    """Truth and prediction of one trial over time; its modality lanes on the same axis.

    corruption: per modality (time,) in [0, 1]; may be empty.
    """
    width, left, right, panel = 600.0, 52.0, 590.0, 96.0
    x = _time_scale(p, left, right)
    shapes: list[Markup] = []
    top = 8.0
    for i, target in enumerate(TARGETS):
        y = svg.Scale((-1, 1), (top + panel, top))
        shapes += [_grid_line(left, right, y, v) for v in (-1, 0, 1)]
        if p.target is not None:
            shapes.append(svg.curve(x(p.time_s), y(p.target[:, i]), "truth"))
        shapes.append(svg.curve(x(p.time_s), y(p.prediction[:, i]), target))
        shapes.append(svg.upright_text(14, top + panel / 2, target, f"name {target}"))
        top += panel + 12
    lanes, top = _lanes(p, corruption, x, top, height=22)
    axis, height = _time_axis(x, top, left, right)
    label = f"Trial {p.trial}: valence and arousal over time"
    return svg.drawing(width, height, label, [*shapes, *lanes, *axis])


def reliability_figure(p: TrialPrediction, corruption: Mapping[str, np.ndarray]) -> Markup:
    """The course of each reliability against the known corruption, with their correlation."""
    left, right = 52.0, 512.0
    x = _time_scale(p, left, right)
    lanes, bottom = _lanes(p, corruption, x, 8, height=48)
    rhos = [
        (top + 29, correlation(p, modality, corruption[modality])[0])
        for modality, top in _lane_tops(p, 8, height=48)
        if modality in p.reliability and modality in corruption
    ]
    shown = [
        svg.text(right + 8, y, f"\N{GREEK SMALL LETTER RHO} = {typeset(rho, 2)}", "strong")
        for y, rho in rhos
    ]
    axis, height = _time_axis(x, bottom, left, right)
    label = f"Trial {p.trial}: reliability against known corruption"
    return svg.drawing(600, height, label, [*lanes, *shown, *axis])


def va_plane(points: np.ndarray, title: str) -> Markup:
    """Density of (n, 2) valence and arousal, inside the unit circle."""
    shapes, x, y = _density(points[:, 0], points[:, 1], title, "valence", "arousal")
    radius = x.at(1) - x.at(0)
    shapes.append(svg.circle(x.at(0.0), y.at(0.0), radius, "guide"))
    return svg.drawing(270, 270, f"Density over the valence-arousal plane: {title}", shapes)


def against_truth(truth: np.ndarray, prediction: np.ndarray, target: str) -> Markup:
    """Density of (n,) prediction over (n,) truth of one target, with the identity line."""
    shapes, x, y = _density(truth, prediction, target, "truth", "prediction", css=target)
    shapes.append(svg.line(x.at(-1), y.at(-1), x.at(1), y.at(1), "guide"))
    return svg.drawing(270, 270, f"Density of predicted over true {target}", shapes)


def runs_figure(rows: Sequence[Row]) -> Markup:
    """CCC of every run: folds as dots (fold 0 as a ring), their mean as a bar."""
    width, left, right, top, step = 760.0, 14.0, 746.0, 4.0, 76.0
    values = [v for row in rows for fold in row.folds for v in astuple(fold.ccc)]
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    lo, hi = math.floor(10 * min(finite) - 0.3) / 10, math.ceil(10 * max(finite) + 0.3) / 10
    x = svg.Scale((lo, hi), (left, right))
    bottom = top + step * len(rows)
    shapes = []
    for tick in x.ticks(10):
        at = x.at(tick)
        shapes.append(svg.line(at, top, at, bottom, "zero" if abs(tick) < 1e-9 else "grid"))
        shapes.append(svg.text(at, bottom + 16, svg.tick_label(tick), "middle"))
    for i, row in enumerate(rows):
        y = top + step * i
        shapes.append(svg.text(left, y + 18, row.name, "name halo"))
        for j, score in enumerate(SCORES):
            shapes += _dots(row, score, x, y + 34 + 15 * j)
        if i:
            shapes.append(svg.line(left, y, right, y, "grid"))
    shapes.append(svg.text((left + right) / 2, bottom + 34, "CCC", "middle"))
    return svg.drawing(width, bottom + 42, "CCC of every run and fold", shapes)


def training_figure(
    history: Sequence[Mapping[str, Any]],
    loss_range: tuple[float, float],
    ccc_range: tuple[float, float],
) -> Markup:
    """Training loss, and validation CCC of both targets, by epoch; the best epoch marked."""
    left, right = 44.0, 288.0
    epochs = _column(history, "epoch")
    x = svg.Scale((float(epochs[0]), max(float(epochs[-1]), float(epochs[0]) + 1)), (left, right))
    panels = [
        ("loss", svg.Scale(loss_range, (72, 8)), ("loss",)),
        ("CCC", svg.Scale(ccc_range, (172, 86)), TARGETS),
    ]
    shapes = []
    mean = _column(history, "mean")
    if np.isfinite(mean).any():
        best = x.at(epochs[int(np.nanargmax(mean))])
        shapes.append(svg.line(best, 8, best, 172, "guide"))
    for label, y, keys in panels:
        shapes += [_grid_line(left, right, y, v) for v in y.ticks(4)]
        middle = (y.range[0] + y.range[1]) / 2
        shapes.append(svg.upright_text(10, middle, label))
        for key in keys:
            shapes.append(svg.curve(x(epochs), y(_column(history, key)), key))
    ticks = [t for t in x.ticks(5) if t == round(t)]
    shapes += [svg.text(x.at(t), 187, svg.tick_label(t), "middle") for t in ticks]
    shapes.append(svg.text((left + right) / 2, 203, "epoch", "middle"))
    return svg.drawing(300, 210, "Training loss and validation CCC by epoch", shapes)


def history_range(
    histories: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[str], include: float | None
) -> tuple[float, float]:
    """The range of these columns over all folds, so that the folds can be compared."""
    columns = [_column(h, key) for h in histories for key in keys]
    values = np.concatenate([*columns, [] if include is None else [include]])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    lo, hi = float(values.min()), float(values.max())
    return (lo, hi) if hi > lo else (lo - 0.5, hi + 0.5)


def _lanes(
    p: TrialPrediction,
    corruption: Mapping[str, np.ndarray],
    x: svg.Scale,
    top: float,
    height: float,
) -> tuple[list[Markup], float]:
    """One lane per modality, and "joint" where the model has such a reliability."""
    left, right = x.range
    edges = x(svg.time_edges(p.time_s))
    shapes: list[Markup] = []
    tops = _lane_tops(p, top, height)
    for modality, y in tops:
        shapes.append(svg.line(left, y + height, right, y + height, "grid"))
        if modality in p.present:
            shapes.append(svg.bars(p.present[modality], edges, y, height, "present"))
        if modality in corruption:
            level = svg.Scale((0, 1), (y + height, y))
            course = level(np.asarray(corruption[modality]))
            shapes.append(svg.area(x(p.time_s), course, y + height, "corruption"))
        if modality in p.reliability:
            reliability = np.asarray(p.reliability[modality], dtype=float)
            scaled = _own_scale(reliability, y + height - 2, y + 2)(reliability)
            shapes.append(svg.curve(x(p.time_s), scaled, "reliability"))
        shapes.append(svg.text(left - 8, y + height / 2 + 4, modality, "end"))
    return shapes, tops[-1][1] + height


def _lane_tops(p: TrialPrediction, top: float, height: float) -> list[tuple[str, float]]:
    names = [*p.present, *([JOINT] if JOINT in p.reliability else [])]
    return [(name, top + i * (height + 4)) for i, name in enumerate(names)]


def _own_scale(values: np.ndarray, bottom: float, top: float) -> svg.Scale:
    """From the lowest to the highest value: the level of a reliability means nothing."""
    lo, hi = float(np.nanmin(values)), float(np.nanmax(values))
    return svg.Scale((lo, hi) if hi > lo else (lo - 1, lo + 1), (bottom, top))


def _time_scale(p: TrialPrediction, left: float, right: float) -> svg.Scale:
    edges = svg.time_edges(p.time_s)
    return svg.Scale((float(edges[0]), float(edges[-1])), (left, right))


def _time_axis(x: svg.Scale, top: float, left: float, right: float) -> tuple[list[Markup], float]:
    shapes = [svg.line(left, top + 4, right, top + 4, "axis")]
    for tick in x.ticks(8):
        at = x.at(tick)
        shapes.append(svg.line(at, top + 4, at, top + 8, "axis"))
        shapes.append(svg.text(at, top + 20, svg.tick_label(tick), "middle"))
    shapes.append(svg.text((left + right) / 2, top + 36, "time (s)", "middle"))
    return shapes, top + 42


def _grid_line(left: float, right: float, y: svg.Scale, value: float) -> Markup:
    at = y.at(value)
    css = "zero" if value == 0 else "grid"
    label = svg.text(left - 6, at + 4, svg.tick_label(value), "end")
    return svg.line(left, at, right, at, css) + label


def _density(
    horizontal: np.ndarray,
    vertical: np.ndarray,
    title: str,
    x_name: str,
    y_name: str,
    css: str = "",
) -> tuple[list[Markup], svg.Scale, svg.Scale]:
    left, top, side = 44.0, 22.0, 5.0
    x = svg.Scale((-1, 1), (left, left + side * _BINS))
    y = svg.Scale((-1, 1), (top + side * _BINS, top))
    u, v = np.clip(horizontal, -1, 1), np.clip(vertical, -1, 1)
    counts, _, _ = np.histogram2d(u, v, bins=_BINS, range=[(-1, 1), (-1, 1)])
    # The square root keeps rare cells visible beside the mode.
    shades = np.ceil(5 * np.sqrt(counts / max(counts.max(), 1))).astype(int)
    shapes = []
    for shade in range(1, 6):
        cells = [
            (left + side * i, top + side * (_BINS - 1 - j)) for i, j in np.argwhere(shades == shade)
        ]
        if cells:
            shapes.append(svg.squares(cells, side, f"density shade-{shade} {css}"))
    for value in (-1.0, 0.0, 1.0):
        shapes.append(_grid_line(left, left + side * _BINS, y, value))
        at = x.at(value)
        shapes.append(svg.line(at, top, at, top + side * _BINS, "zero" if value == 0 else "grid"))
        shapes.append(svg.text(at, top + side * _BINS + 15, svg.tick_label(value), "middle"))
    centre = side * _BINS / 2
    shapes.append(svg.text(left + centre, top + side * _BINS + 34, x_name, "middle"))
    shapes.append(svg.upright_text(14, top + centre, y_name))
    shapes.append(svg.text(left + centre, 13, title, f"middle name {css}"))
    return shapes, x, y


def _dots(row: Row, score: str, x: svg.Scale, y: float) -> list[Markup]:
    average, spread = getattr(row.average, score), getattr(row.spread, score)
    shapes = []
    if math.isfinite(spread):
        ends = x.at(average - spread), x.at(average + spread)
        shapes.append(svg.line(ends[0], y, ends[1], y, f"spread {score}"))
    for fold in row.folds:
        value = getattr(fold.ccc, score)
        if math.isfinite(value):
            kind = "ring" if fold.fold == 0 else "dot"
            shapes.append(svg.circle(x.at(value), y, 4, f"{kind} {score}"))
    if math.isfinite(average):
        at = x.at(average)
        shapes.append(svg.line(at, y - 6, at, y + 6, f"average {score}"))
    return shapes


def _column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([math.nan if h.get(key) is None else h[key] for h in history], dtype=float)
