"""Transcripts on disk: words with times, or cues whose words are spread over them."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vaest.errors import InputError
from vaest.types import Word

SUFFIXES = (".json", ".srt", ".vtt")

_CUE_TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_transcript(path: Path) -> list[Word]:
    """The words of a `.json`, `.srt` or `.vtt` file, in its order.

    JSON is a list of entries, or has them under `words` or `segments`. An entry has `start` and
    `end` in seconds and `word` or `text`; optionally `confidence`, `probability` or `score`; or
    timed `words` of its own. A text of several words is spread over its time by their length.

    InputError naming the file and the entry or line that cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"transcripts of type {path.suffix!r} cannot be read",
            where=path,
            nearest=", ".join(SUFFIXES),
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the transcript cannot be read: {error}", where=path) from None
    return list(_json_words(text, path) if path.suffix.lower() == ".json" else _cues(text, path))


def write_words(path: Path, words: Sequence[Word]) -> None:
    """Write JSON that `read_transcript` reads back exactly; whole or not at all."""
    entries = [
        {"word": w.text, "start": w.start_s, "end": w.end_s, "confidence": w.confidence}
        for w in words
    ]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    partial.replace(path)


def _json_words(text: str, path: Path) -> Iterator[Word]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"the transcript is not JSON: {error}", where=path) from None
    if isinstance(data, dict):
        data = data.get("words") or data.get("segments", data.get("words"))
    if not isinstance(data, list):
        raise InputError(
            "the transcript is neither a list nor has one under 'words' or 'segments'", where=path
        )
    for index, entry in enumerate(data):
        yield from _entry_words(entry, f"{path}: entry {index + 1}")


def _entry_words(entry: Any, where: str) -> list[Word]:
    if not isinstance(entry, dict):
        raise InputError("the entry is not an object with 'word', 'start' and 'end'", where=where)
    nested = entry.get("words")
    # Aligners leave words that they cannot place without times: then the whole is spread.
    if isinstance(nested, list) and nested and all(map(_is_timed, nested)):
        return [word for child in nested for word in _entry_words(child, where)]
    text = entry.get("word", entry.get("text"))
    if not isinstance(text, str):
        raise InputError("the entry has no text under 'word' or 'text'", where=where)
    start_s, end_s = _number(entry, "start", where), _number(entry, "end", where)
    confidence = 1.0
    for key in ("confidence", "probability", "score"):
        if entry.get(key) is not None:
            confidence = _number(entry, key, where)
    if not 0 <= confidence <= 1:
        raise InputError(f"the confidence is {confidence}, not between 0 and 1", where=where)
    return _spread(text, start_s, end_s, confidence, where)


def _is_timed(entry: Any) -> bool:
    return isinstance(entry, dict) and "start" in entry and "end" in entry


def _number(entry: dict[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{key!r} is {value!r}, not a number", where=where)
    return float(value)


def _cues(text: str, path: Path) -> Iterator[Word]:
    """SubRip and WebVTT: a line with an arrow, then its text."""
    lines = text.splitlines()
    arrows = [i for i, line in enumerate(lines) if "-->" in line]
    if not arrows and any(line.strip() and not line.startswith("WEBVTT") for line in lines):
        raise InputError("the transcript has no cue, 00:00:01.000 --> 00:00:02.000", where=path)
    for arrow in arrows:
        where = f"{path}:{arrow + 1}"
        start, _, end = lines[arrow].partition("-->")
        said = itertools.takewhile(
            lambda line: line.strip() and "-->" not in line, lines[arrow + 1 :]
        )
        plain = html.unescape(_TAG.sub("", " ".join(said)))
        yield from _spread(plain, _seconds(start, where), _seconds(end, where), 1.0, where)


def _seconds(stamp: str, where: str) -> float:
    first = stamp.split()[0] if stamp.strip() else ""
    match = _CUE_TIME.fullmatch(first)
    if match is None:
        raise InputError(f"{first!r} is not a time such as 00:00:01.000", where=where)
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


def _spread(text: str, start_s: float, end_s: float, confidence: float, where: str) -> list[Word]:
    """The words of `text`, each with a share of the time as long as its share of the letters."""
    if end_s < start_s:
        raise InputError(f"the end, {end_s} s, is before the start, {start_s} s", where=where)
    words = text.split()
    if len(words) == 1:
        return [Word(words[0], start_s, end_s, confidence)]
    letters = [0, *itertools.accumulate(map(len, words))]
    times = [start_s + (end_s - start_s) * n / max(letters[-1], 1) for n in letters]
    return [
        Word(word, begin, stop, confidence)
        for word, (begin, stop) in zip(words, itertools.pairwise(times), strict=True)
    ]
