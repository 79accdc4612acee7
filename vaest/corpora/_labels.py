"""Valence and arousal from the rows of a text file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vaest.errors import InputError

INVALID = -5.0


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a comma-separated file, cells stripped; row i stands on line i + 2.

    InputError if the file is not text, is empty, has no rows, a row of another width than the
    header, or an empty line between rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as text: {error}", where=path) from None
    lines = text.rstrip().splitlines()
    if len(lines) < 2:
        raise InputError("a label file needs a header and at least one row", where=path)
    header, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines))
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(
                f"{len(row)} columns where the header has {len(header)}", where=f"{path}:{line}"
            )
    return header, rows


def to_labels(
    pairs: list[tuple[str, str]], path: Path, missing: Callable[[str], bool] = lambda text: False
) -> np.ndarray:
    """(time, 2) float32 from the texts of valence and arousal; NaN in both if either is invalid.

    Invalid is -5 in any spelling, or a text of which `missing` is true. InputError naming the
    line for anything else that is not a number in [-1, 1].
    """
    labels = np.array(list(_numbers(pairs, path, missing)), dtype=np.float32)
    labels[np.isnan(labels).any(axis=1)] = np.nan
    return labels


def _numbers(
    pairs: list[tuple[str, str]], path: Path, missing: Callable[[str], bool]
) -> Iterator[list[float]]:
    for line, pair in enumerate(pairs, start=2):
        yield [_number(text, f"{path}:{line}", missing) for text in pair]


def _number(text: str, where: str, missing: Callable[[str], bool]) -> float:
    if missing(text):
        return np.nan
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number", where=where) from None
    if value == INVALID:
        return np.nan
    if not -1.0 <= value <= 1.0:
        raise InputError(
            f"{text} lies outside [-1, 1]", where=where, nearest="-5 marks a frame without a label"
        )
    return value
