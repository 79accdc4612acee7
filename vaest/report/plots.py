"""Pictures as PNG: the curves of one prediction, and the picture of the README."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaest.report.reliability import JOINT
from vaest.report.svg import time_edges
from vaest.runs import TrialPrediction, write_atomically
from vaest.types import TARGETS

# Okabe and Ito's palette, as in the report's stylesheet.
COLOURS = {"valence": "#0072b2", "arousal": "#d55e00"}
_TRUTH, _PRESENT, _CORRUPTION, _RELIABILITY = "#8a939c", "#dce3ea", "#cc79a7", "#007a5a"
_INK, _SOFT, _GRID = "#1c2126", "#59636d", "#e0e5ea"
_DPI = 150


def plot_prediction(prediction: TrialPrediction, path: Path) -> None:
    """Write a PNG: valence and arousal over time, and below which modalities were present."""
    lanes = list(prediction.present)
    heights = [3.0] + [0.28] * len(lanes)
    figure = Figure(figsize=(10, 1.1 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    _plain(figure, prediction.trial)
    curves = axes[0]
    for i, target in enumerate(TARGETS):
        curves.plot(
            prediction.time_s, prediction.prediction[:, i], color=COLOURS[target], lw=1.5, label=target
        )
    _va_axis(curves)
    curves.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
    for axis, modality in zip(axes[1:], lanes, strict=True):
        _lane(axis, prediction, modality, corruption=None)
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

    corruption: per modality (time,) in [0, 1]. frames: (time in s, (height, width, 3) uint8)
    pictures in the order of time.
    """
    known = dict(corruption or {})
    lanes = [*prediction.present, *([JOINT] if JOINT in prediction.reliability else [])]
    heights = ([1.15] if len(frames) else []) + [1.45, 1.45] + [0.5] * len(lanes)
    figure = Figure(figsize=(10, 1.0 + sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    _plain(figure, "")
    if len(frames):
        _strip(figure, grid[0], frames)
    axes: list[Axes] = []
    for row in range(len(heights) - len(lanes) - 2, len(heights)):
        axes.append(figure.add_subplot(grid[row], sharex=axes[0] if axes else None))
    for i, (axis, target) in enumerate(zip(axes, TARGETS, strict=False)):
        if prediction.target is not None:
            axis.plot(prediction.time_s, prediction.target[:, i], color=_TRUTH, lw=2.6, label="truth")
        axis.plot(
            prediction.time_s,
            prediction.prediction[:, i],
            color=COLOURS[target],
            lw=1.5,
            label=f"predicted {target}",
        )
        _va_axis(axis)
        axis.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
    for axis, modality in zip(axes[2:], lanes, strict=True):
        _lane(axis, prediction, modality, known.get(modality))
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    _time_axis(axes[-1], prediction)
    _lane_legend(figure, prediction, bool(known))
    _save(figure, path)


def _plain(figure: Figure, title: str) -> None:
    figure.set_facecolor("white")
    if title:
        # A trial's name is not mathematics, whatever dollar signs it has.
        figure.suptitle(title, fontsize=11, color=_INK, x=0.01, ha="left", parse_math=False)


def _va_axis(axis: Axes) -> None:
    axis.set_ylim(-1.05, 1.05)
    axis.set_yticks([-1, 0, 1])
    axis.axhline(0, color=_SOFT, lw=0.6, alpha=0.6, zorder=0)
    axis.grid(axis="y", color=_GRID, lw=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_SOFT, labelsize=9, bottom=False)
    axis.spines[:].set_visible(False)


def _lane(
    axis: Axes, p: TrialPrediction, modality: str, corruption: np.ndarray | None
) -> None:
    """Presence as a bar, corruption as an area, reliability (if drawn) as a line."""
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[["top", "left", "right"]].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)
    axis.tick_params(bottom=False, labelbottom=False)
    axis.set_ylabel(modality, rotation=0, ha="right", va="center", fontsize=9, color=_SOFT)
    if modality in p.present:
        mask = np.r_[p.present[modality], False].astype(float)
        axis.fill_between(time_edges(p.time_s), 0, mask, step="post", color=_PRESENT, lw=0)
    if corruption is not None:
        axis.fill_between(p.time_s, 0, corruption, step="post", color=_CORRUPTION, alpha=0.6, lw=0)


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
