"""Pictures as PNG: the curves of one prediction, and the picture of the README."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch

from vaest.report.reliability import JOINT, known_corruption
from vaest.report.svg import time_edges
from vaest.runs import TrialPrediction, write_atomically
from vaest.types import TARGETS

# Okabe and Ito's palette, as in the report's stylesheet.
COLOURS = {"valence": "#0072b2", "arousal": "#d55e00"}
_TRUTH, _PRESENT, _CORRUPTION, _RELIABILITY = "#8a939c", "#dce3ea", "#cc79a7", "#007a5a"
_SOFT, _GRID = "#59636d", "#e0e5ea"
_DPI = 150
_STRIP_IN = 1.15
_LEGEND: dict[str, Any] = {
    "loc": "outside upper right",
    "ncols": 6,
    "frameon": False,
    "fontsize": 9,
    "columnspacing": 1.4,
}


def plot_prediction(prediction: TrialPrediction, path: Path) -> None:
    """Write a PNG: valence and arousal over time, and below which modalities were present."""
    lanes = list(prediction.present)
    heights = [3.0] + [0.28] * len(lanes)
    figure = Figure(figsize=(10, 1.1 + sum(heights)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    # A trial's name is not mathematics, whatever dollar signs it has.
    figure.suptitle(prediction.trial, fontsize=11, x=0.01, ha="left", parse_math=False)
    curves = axes[0]
    for target, values in zip(TARGETS, prediction.prediction.T, strict=True):
        curves.plot(prediction.time_s, values, color=COLOURS[target], lw=1.5, label=target)
    figure.legend(handles=curves.get_lines(), **_LEGEND)
    _va_axis(curves)
    for axis, modality in zip(axes[1:], lanes, strict=True):
        _lane(axis, prediction, modality)
    _time_axis(axes[-1], prediction)
    _save(figure, path)


def hero(
    prediction: TrialPrediction,
    path: Path,
    *,
    corruption: Mapping[str, np.ndarray] | None = None,
    frames: Sequence[tuple[float, np.ndarray]] = (),
) -> None:
    """Write the PNG that shows all of it: faces, truth, prediction, masks and reliability.

    corruption: per modality (time,) in [0, 1]; InputError if of another length.
    frames: pictures as (time in s, (height, width, 3) uint8).
    """
    lanes = [*prediction.present, *([JOINT] if JOINT in prediction.reliability else [])]
    strip = [_STRIP_IN] if frames else []
    heights = [*strip, 1.45, 1.45, *[0.45] * len(lanes)]
    figure = Figure(figsize=(10, 1.3 + sum(heights)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    if frames:
        _film(axes[0], frames)
    curves, below = axes[len(strip) : len(strip) + 2], axes[len(strip) + 2 :]
    for i, (axis, target) in enumerate(zip(curves, TARGETS, strict=True)):
        if prediction.target is not None:
            axis.plot(prediction.time_s, prediction.target[:, i], color=_TRUTH, lw=2.6)
        axis.plot(prediction.time_s, prediction.prediction[:, i], color=COLOURS[target], lw=1.5)
        axis.set_ylabel(target, color=COLOURS[target], fontsize=10)
        _va_axis(axis)
    known = known_corruption(prediction, lambda _: corruption)
    for axis, modality in zip(below, lanes, strict=True):
        _lane(axis, prediction, modality)
        if modality in known:
            style = {"step": "post", "color": _CORRUPTION, "alpha": 0.6, "lw": 0}
            axis.fill_between(prediction.time_s, 0, known[modality], **style)
        if modality in prediction.reliability:
            course = _unit(prediction.reliability[modality])
            axis.plot(prediction.time_s, course, color=_RELIABILITY, lw=1.3)
    _time_axis(axes[-1], prediction)
    figure.legend(handles=_keys(prediction, bool(known)), **_LEGEND)
    _save(figure, path)


def _film(axis: Axes, frames: Sequence[tuple[float, np.ndarray]]) -> None:
    """Each picture above its time, all of one height."""
    axis.axis("off")
    for time_s, picture in frames:
        image = OffsetImage(picture, zoom=72 * 0.95 * _STRIP_IN / picture.shape[0])
        axis.add_artist(AnnotationBbox(image, (time_s, 0.5), frameon=False, pad=0))


def _va_axis(axis: Axes) -> None:
    axis.set_ylim(-1.05, 1.05)
    axis.set_yticks([-1, 0, 1])
    axis.axhline(0, color=_SOFT, lw=0.6, alpha=0.6, zorder=0)
    axis.grid(axis="y", color=_GRID, lw=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_SOFT, labelsize=9, bottom=False, left=False)
    axis.spines[:].set_visible(False)


def _lane(axis: Axes, p: TrialPrediction, modality: str) -> None:
    """A bar wherever the modality is present."""
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[["top", "left", "right"]].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)
    axis.tick_params(bottom=False)
    axis.set_ylabel(modality, rotation=0, ha="right", va="center", fontsize=9, color=_SOFT)
    if modality in p.present:
        mask = np.r_[p.present[modality], False].astype(float)
        axis.fill_between(time_edges(p.time_s), 0, mask, step="post", color=_PRESENT, lw=0)


def _unit(values: np.ndarray) -> np.ndarray:
    """From 0.06 at the lowest value to 0.94 at the highest: the level means nothing."""
    lo, hi = float(np.min(values)), float(np.max(values))
    return 0.06 + 0.88 * (values - lo) / (hi - lo) if hi > lo else np.full(len(values), 0.5)


def _keys(p: TrialPrediction, corrupted: bool) -> list[Artist]:
    keys: list[Artist] = []
    if p.target is not None:
        keys.append(Line2D([], [], color=_TRUTH, lw=2.6, label="truth"))
    keys += [Line2D([], [], color=COLOURS[t], lw=1.5, label=f"predicted {t}") for t in TARGETS]
    keys.append(Patch(color=_PRESENT, label="modality present"))
    if corrupted:
        keys.append(Patch(color=_CORRUPTION, alpha=0.6, label="known corruption"))
    if p.reliability:
        keys.append(Line2D([], [], color=_RELIABILITY, lw=1.3, label="estimated reliability"))
    return keys


def _time_axis(axis: Axes, p: TrialPrediction) -> None:
    edges = time_edges(p.time_s)
    axis.set_xlim(edges[0], edges[-1])
    axis.tick_params(bottom=True, labelbottom=True, colors=_SOFT, labelsize=9)
    axis.set_xlabel("time (s)", fontsize=9, color=_SOFT)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    write_atomically(path, png.getvalue())
