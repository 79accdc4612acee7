"""Words in context: what they mean, which frames they are held over, and odd transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vaest.backbones import minilm as module
from vaest.backbones._base import Media, Piece
from vaest.backbones._text import segments, word_of_frame
from vaest.backbones.minilm import Minilm, MinilmConfig
from vaest.types import Timeline, Word


@pytest.fixture(scope="module")
def minilm() -> Minilm:
    backbone = Minilm(MinilmConfig())
    backbone.load()
    return backbone


def spoken(*words: Word, duration_s: float = 10.0, rate_hz: float = 25.0) -> Media:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    timeline = Timeline("spoken", time_s, np.zeros(len(time_s), dtype=bool))
    return SimpleNamespace(timeline=timeline, words=lambda: list(words))  # type: ignore[return-value]


def said(text: str, start_s: float = 0.0, word_s: float = 0.3) -> list[Word]:
    times = (start_s + word_s * i for i in range(len(text.split())))
    return [Word(w, t, t + word_s) for w, t in zip(text.split(), times, strict=True)]


def embeddings(minilm: Minilm, text: str) -> np.ndarray:
    """(words, 384) of one sentence."""
    pieces = list(minilm.pieces(spoken(*said(text), duration_s=60.0)))
    return np.concatenate(minilm.forward([piece.input for piece in pieces]))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_sentences_alike_in_meaning_are_near_each_other(minilm: Minilm) -> None:
    good, great, table = (
        embeddings(minilm, f"This is {word}").mean(axis=0) for word in ("good", "great", "a table")
    )
    assert cosine(good, great) > cosine(good, table) + 0.2


def test_a_word_depends_on_its_sentence(minilm: Minilm) -> None:
    river, money = (
        embeddings(minilm, text)[-1] for text in ("the grassy river bank", "money in the bank")
    )
    assert cosine(river, money) < 0.9


def test_words_are_means_of_their_sub_tokens_without_padding(minilm: Minilm) -> None:
    text = "unbelievably disappointing weather today"
    encoded = minilm._tokenizer(text.split(), is_split_into_words=True, return_tensors="pt")
    assert encoded["input_ids"].shape[1] > 6  # some word has several sub-tokens
    with torch.inference_mode():
        hidden = minilm._model(**encoded).last_hidden_state[0].numpy()
    owner = np.array([-1 if w is None else w for w in encoded.word_ids()])
    expected = np.stack([hidden[owner == w].mean(axis=0) for w in range(4)])
    np.testing.assert_allclose(embeddings(minilm, text), expected, atol=1e-5)


def test_a_word_is_held_until_the_next_or_a_second_after_its_end() -> None:
    words = [Word("one", 1.0, 1.5), Word("two", 2.0, 2.2), Word("three", 5.0, 5.4)]
    time_s = np.array([0.0, 0.99, 1.0, 1.9, 2.0, 3.1, 3.3, 4.99, 5.0, 6.3, 6.5])
    expected = [-1, -1, 0, 0, 1, 1, -1, -1, 2, 2, -1]
    assert word_of_frame(words, time_s, hold_s=1.0).tolist() == expected
    assert word_of_frame(words, time_s, hold_s=0.0).tolist() == [
        *(-1, -1, 0, -1, 1, -1, -1, -1, 2, -1, -1)
    ]


def test_overlapping_and_backward_words() -> None:
    words = [Word("long", 0.0, 5.0), Word("blink", 1.0, 1.0), Word("backward", 4.0, 3.0)]
    time_s = np.array([0.5, 1.0, 1.4, 2.0, 4.0, 4.4, 4.6])
    assert word_of_frame(words, time_s, hold_s=0.5).tolist() == [0, 1, 1, -1, 2, 2, -1]


def cut(words: list[Word], max_tokens: int = 100) -> list[str]:
    counts = [len(word.text) for word in words]
    return [
        " ".join(word.text for word in words[start:stop])
        for start, stop in segments(words, counts, max_tokens)
    ]


def test_segments_end_with_sentences_pauses_and_room() -> None:
    assert cut(said("Oh no. Why? I see")) == ["Oh no.", "Why?", "I see"]
    assert cut(said('He said "go." Then left')) == ['He said "go."', "Then left"]
    assert cut([*said("be quiet"), *said("now please", 1.5)]) == ["be quiet", "now please"]
    assert [len(s.split()) for s in cut(said("a " * 90))] == [40, 40, 10]
    assert cut(said("aaaa bbbb cccc d"), max_tokens=9) == ["aaaa bbbb", "cccc d"]
    assert cut(said("a bbbbbbbbbbbb c"), max_tokens=9) == ["a", "bbbbbbbbbbbb", "c"]
    assert cut([]) == []


def held_words(pieces: Iterator[Piece]) -> np.ndarray:
    return np.concatenate([piece.step_time_s for piece in pieces])


def test_words_with_nothing_in_them_are_not_spoken(minilm: Minilm) -> None:
    empty = [Word(text, 1.0 + i, 1.5 + i) for i, text in enumerate(["", "  ", "\u200b", "\x07"])]
    assert list(minilm.pieces(spoken(*empty))) == []
    pieces = minilm.pieces(spoken(*empty, Word(" yes", 5.0, 5.2)))
    assert held_words(pieces).tolist() == [5.0]


def test_words_out_of_order_are_sorted(minilm: Minilm) -> None:
    words = said("one two three four")
    pieces = minilm.pieces(spoken(words[2], words[0], words[3], words[1]))
    assert held_words(pieces).tolist() == [word.start_s for word in words]


def test_segments_no_frame_hears_are_not_computed(minilm: Minilm) -> None:
    late = Word("late", 20.0, 21.0)
    between_frames = Word("quick.", 1.001, 1.01)
    words = [between_frames, Word("then", 1.02, 1.3), late]
    assert held_words(minilm.pieces(spoken(*words))).tolist() == [1.02]


@pytest.mark.parametrize("text", ["ab " * 500, "antidisestablishmentarianism " * 30, "-" * 99])
def test_no_transcript_is_too_long(minilm: Minilm, text: str) -> None:
    pieces = list(minilm.pieces(spoken(*said(text), duration_s=200.0)))
    outputs = minilm.forward([piece.input for piece in pieces])
    for piece, steps in zip(pieces, outputs, strict=True):
        assert sum(len(ids) for ids in piece.input) <= module.WORD_TOKENS
        assert steps.shape == (len(piece.step_time_s), 384)
        assert np.isfinite(steps).all()
    assert sum(len(steps) for steps in outputs) == len(text.split())


def test_hold_is_an_option(minilm: Minilm) -> None:
    brief = Minilm(MinilmConfig(hold_s=0.2))
    media = spoken(Word("yes", 1.0, 1.2))
    frames = [sum(len(piece.frames) for piece in b.pieces(media)) for b in (minilm, brief)]
    assert frames == [31, 11]
