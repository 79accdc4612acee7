"""The few shapes the report draws with, as compact SVG: scales, curves, areas, bars and axes.

Colours are CSS classes, so that one stylesheet serves light, dark and print. Coordinates keep one
decimal and paths are relative, which makes a curve of 400 points some 2 kB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

_COLUMNS = 200


@dataclass(frozen=True)
class Scale:
    """Maps [domain_lo, domain_hi] to [range_lo, range_hi] in user units; clips to it."""

    domain: tuple[float, float]
    range: tuple[float, float]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Positions of the values; NaN stays NaN."""
        return np.interp(np.asarray(values, dtype=float), self.domain, self.range)

    def at(self, value: float) -> float:
        """The position of one value."""
        return float(np.interp(value, self.domain, self.range))

    def ticks(self, about: int) -> list[float]:
        """Round values inside the domain: multiples of 1, 2 or 5 times a power of ten."""
        lo, hi = self.domain
        rough = (hi - lo) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
        first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def drawing(width: float, height: float, label: str, shapes: Iterable[Markup]) -> Markup:
    """A whole picture. `label` is what a screen reader says of it."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _decimal(width), _decimal(height), label, Markup("").join(shapes)
    )


def curve(x: np.ndarray, y: np.ndarray, css: str) -> Markup:
    """A line through (x, y), broken where y is NaN."""
    x, y = _decimated(x, y)
    path = "".join(_polyline(x[run], y[run]) for run in _runs(np.isfinite(y)))
    return Markup('<path class="line {}" d="{}"/>').format(css, path)


def area(x: np.ndarray, y: np.ndarray, base: float, css: str) -> Markup:
    """The surface between a curve without NaN and the horizontal y = base."""
    x, y = _decimated(x, y)
    outline = _polyline(np.r_[x[0], x, x[-1]], np.r_[base, y, base])
    return Markup('<path class="{}" d="{}z"/>').format(css, outline)


def bars(mask: np.ndarray, edges: np.ndarray, y: float, height: float, css: str) -> Markup:
    """Bars over the stretches where `mask` is True. mask: (n,); edges: (n + 1,)."""
    if len(mask) > 3 * _COLUMNS:
        # Finer than a pixel: a column is drawn if most of its frames are.
        at = np.linspace(0, len(mask), 3 * _COLUMNS + 1).astype(int)
        mask = np.add.reduceat(mask.astype(int), at[:-1]) * 2 > np.diff(at)
        edges = edges[at]
    v = _decimal(height)
    path = ""
    for run in _runs(mask):
        left, width = edges[run.start], edges[run.stop] - edges[run.start]
        path += f"M{_decimal(left)} {_decimal(y)}h{_decimal(width)}v{v}H{_decimal(left)}z"
    return Markup('<path class="{}" d="{}"/>').format(css, path)


def squares(cells: Sequence[tuple[float, float]], side: float, css: str) -> Markup:
    """Equal squares by their top left corners, as one path."""
    s = _decimal(side)
    path = "".join(f"M{_decimal(x)} {_decimal(y)}h{s}v{s}h-{s}z" for x, y in cells)
    return Markup('<path class="{}" d="{}"/>').format(css, path)


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    ends = f"M{_decimal(x1)} {_decimal(y1)}L{_decimal(x2)} {_decimal(y2)}"
    return Markup('<path class="{}" d="{}"/>').format(css, ends)


def circle(x: float, y: float, radius: float, css: str) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
        css, _decimal(x), _decimal(y), _decimal(radius)
    )


def text(x: float, y: float, content: str, css: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        css, _decimal(x), _decimal(y), content
    )


def upright_text(x: float, y: float, content: str, css: str = "") -> Markup:
    """Text that reads from bottom to top, centred on (x, y)."""
    turned = f"translate({_decimal(x)} {_decimal(y)})rotate(-90)"
    return Markup('<text class="middle {}" transform="{}">{}</text>').format(css, turned, content)


def tick_label(value: float) -> str:
    """No trailing zeros, a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def time_edges(time_s: np.ndarray) -> np.ndarray:
    """(n + 1,) seconds: frame i lasts from edge i to edge i + 1."""
    last = np.median(np.diff(time_s)) if len(time_s) > 1 else 1.0
    return np.r_[time_s, time_s[-1] + last]


def _decimated(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest point of each column: as good as all of them at this width."""
    if len(x) <= 2 * _COLUMNS:
        return x, y
    kept: list[int] = []
    for start, stop in pairwise(np.linspace(0, len(x), _COLUMNS + 1).astype(int)):
        part = y[start:stop]
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
    return x[kept], y[kept]


def _runs(mask: np.ndarray) -> list[slice]:
    """The stretches of True."""
    change = np.flatnonzero(np.diff(np.r_[False, mask, False]))
    return [slice(int(a), int(b)) for a, b in change.reshape(-1, 2)]


def _polyline(x: np.ndarray, y: np.ndarray) -> str:
    # Differences of rounded positions, not rounded differences: the curve does not drift.
    xt, yt = (np.rint(10 * values).astype(int) for values in (x, y))
    bend = np.ones(len(xt), dtype=bool)
    bend[1:-1] = (np.diff(yt)[:-1] != 0) | (np.diff(yt)[1:] != 0)
    xt, yt = xt[bend], yt[bend]
    steps = "".join(map(_spaced, np.diff(np.stack([xt, yt], axis=1), axis=0).ravel().tolist()))
    return f"M{_tenth(xt[0])}{_spaced(yt[0])}" + (f"l{steps}" if steps else "h0")


def _spaced(tenths: int) -> str:
    shown = _tenth(tenths)
    return shown if shown.startswith("-") else f" {shown}"


def _tenth(tenths: int) -> str:
    sign = "-" if tenths < 0 else ""
    whole, rest = divmod(abs(int(tenths)), 10)
    return f"{sign}{whole or '' if rest else whole}{f'.{rest}' if rest else ''}"


def _decimal(value: float) -> str:
    return _tenth(round(10 * float(value)))
