"""Words to the stretches a text model reads at once, and to the frames that hear them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vaest.types import Word

PAUSE_S = 0.8
MAX_WORDS = 40
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")  # noqa: RUF001
CLOSING_MARKS = "\"')]}”’»"  # noqa: RUF001


def segments(
    words: Sequence[Word], token_counts: Sequence[int], max_tokens: int
) -> Iterator[tuple[int, int]]:
    """[start, stop) ranges over `words`: sentences, cut at pauses over 0.8 s as well.

    None has more than 40 words or `max_tokens` sub-tokens, unless one word alone has more.
    """
    start, tokens = 0, 0
    for index, word in enumerate(words):
        if index > start and (
            _ends(words[index - 1], word)
            or index - start == MAX_WORDS
            or tokens + token_counts[index] > max_tokens
        ):
            yield start, index
            start, tokens = index, 0
        tokens += token_counts[index]
    if words:
        yield start, len(words)


def word_of_frame(words: Sequence[Word], frame_time_s: np.ndarray, hold_s: float) -> np.ndarray:
    """(frames,) int64: the word a frame belongs to, -1 where nobody speaks.

    That is the last word begun, until `hold_s` after its end. `words` are sorted by start.
    """
    start_s = np.array([word.start_s for word in words])
    end_s = np.array([max(word.start_s, word.end_s) for word in words])
    index = np.searchsorted(start_s, frame_time_s, side="right") - 1
    spoken = (index >= 0) & (frame_time_s <= end_s[index] + hold_s)
    return np.where(spoken, index, -1)


def _ends(word: Word, following: Word) -> bool:
    pause_s = following.start_s - word.end_s
    return pause_s > PAUSE_S or word.text.rstrip(CLOSING_MARKS).endswith(SENTENCE_ENDS)
