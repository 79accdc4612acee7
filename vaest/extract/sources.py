"""What a corpus's trials are made of: timelines, media, and the identity of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vaest import align
from vaest.backbones import Backbone
from vaest.cache import FeatureCache, FeatureSpec
from vaest.corpora import Corpus
from vaest.digest import array_digest, digest, file_digest, folder_digest
from vaest.media.audio import load_audio
from vaest.media.faces import FaceConfig, crop_faces, crops_present, face_spec, read_crops
from vaest.media.speech import (
    SpeechConfig,
    Transcriber,
    read_transcript,
    speech_spec,
    write_words,
)
from vaest.runs import write_atomically
from vaest.types import Audio, Modality, Timeline, Trial, Word

SAMPLE_RATE_HZ = 16_000


class Sources:
    """The media side of one extraction.

    Faces are detected only in a corpus that brings no crops, and speech transcribed only for a
    trial without a transcript. Both are kept beside the features, in the cache: every further
    backbone needs them again.
    """

    def __init__(
        self, corpus: Corpus, cache: FeatureCache, trials: list[Trial], device: str
    ) -> None:
        self.corpus = corpus
        self.cache = cache
        self.device = device
        self.faces = FaceConfig()
        self.speech = SpeechConfig()
        self.brings_crops = any(t.crops for t in trials)
        self._memo = _DigestMemo(cache.path / "sources.json")

    def spec(self, backbone: Backbone) -> FeatureSpec:
        """What identifies the features of `backbone` over this corpus."""
        return FeatureSpec(
            modality=backbone.modality,
            backbone=backbone.name,
            version=backbone.version,
            config=backbone.config.model_dump(mode="json"),
            weights=backbone.weights().digest,
            media={
                **self._media_spec(backbone.modality),
                "align": {"policy": backbone.policy, "version": align.VERSION},
            },
        )

    def timeline(self, trial: Trial) -> Timeline:
        """The trial's timeline, from the cache if its sources have not changed."""
        source = self._identity(trial.labels, trial.video, trial.crops)
        if self.cache.timelines.is_done(trial.id, source):
            return self.cache.timelines.read(trial.id)
        timeline = self.corpus.timeline(trial)
        self.cache.timelines.write(timeline, trial, source)
        frames = len(timeline)
        self.cache.ledger.complete(trial.id, "timeline", valid_frames=frames, n_frames=frames)
        return timeline

    def digest(self, trial: Trial, timeline: Timeline, modality: Modality) -> str:
        """Identity of what one modality's features of a trial are made from."""
        media = {
            "visual": trial.crops if self.brings_crops else trial.video,
            "audio": trial.video,
            "text": trial.transcript or trial.video,
        }[modality]
        return digest({"media": self._identity(media), "time": array_digest(timeline.time_s)})

    def media(self, trial: Trial, timeline: Timeline) -> TrialMedia:
        return TrialMedia(self, trial, timeline)

    def record_crops(self, trial: Trial, timeline: Timeline) -> None:
        """Enter in the stored timeline which frames a detected face was found in."""
        if self.brings_crops:
            return
        present = crops_present(self.crops_folder(trial), len(timeline))
        source = self._identity(trial.labels, trial.video, trial.crops)
        self.cache.timelines.write(replace(timeline, crop_present=present), trial, source)

    def crops_folder(self, trial: Trial) -> Path:
        """Where detected faces of a trial are kept, in Aff-Wild2's layout."""
        identity = digest([face_spec(self.faces), self._identity(trial.video)])[:12]
        return self.cache.path / "crops" / identity / trial.id

    def words_file(self, trial: Trial) -> Path:
        """Where a trial's recognised words are kept."""
        identity = digest([speech_spec(self.speech), self._identity(trial.video)])[:12]
        return self.cache.path / "words" / identity / f"{trial.id}.json"

    @cached_property
    def transcriber(self) -> Transcriber:
        return Transcriber(self.speech, self.device)

    def remember(self) -> None:
        """Keep the digests of unchanged files for the next extraction."""
        self._memo.save()

    def _identity(self, *paths: Path | None) -> str:
        return digest([None if path is None else self._memo.digest(path) for path in paths])

    def _media_spec(self, modality: Modality) -> dict[str, Any]:
        if modality == "visual":
            return {"crops": "corpus" if self.brings_crops else face_spec(self.faces)}
        if modality == "audio":
            return {"rate_hz": SAMPLE_RATE_HZ, "channels": "mean"}
        return {"speech": speech_spec(self.speech)}


@dataclass(frozen=True)
class TrialMedia:
    """One trial's crops, sound and words, decoded when asked for."""

    sources: Sources
    trial: Trial
    timeline: Timeline

    def crops(self) -> Iterator[tuple[int, np.ndarray]]:
        folder = self.trial.crops
        if folder is None and self.trial.video is not None and not self.sources.brings_crops:
            folder = self.sources.crops_folder(self.trial)
            if not folder.is_dir():
                crop_faces(self.trial.video, folder, self.sources.faces, self.sources.device)
        if folder is not None:
            yield from read_crops(folder, len(self.timeline))

    def audio(self) -> Audio | None:
        return None if self.trial.video is None else load_audio(self.trial.video, SAMPLE_RATE_HZ)

    def words(self) -> list[Word]:
        if self.trial.transcript is not None:
            return read_transcript(self.trial.transcript)
        path = self.sources.words_file(self.trial)
        if not path.is_file():
            audio = self.audio()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_words(path, [] if audio is None else self.sources.transcriber(audio))
        return read_transcript(path)


@dataclass
class _DigestMemo:
    """Digests of files whose size and modification time have not changed since."""

    path: Path
    entries: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.is_file():
            self.entries = json.loads(self.path.read_text())

    def digest(self, path: Path) -> str:
        stat = path.stat()
        key, stamp = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
        known = self.entries.get(key)
        if known is None or known[:2] != stamp:
            value = folder_digest(path, "*.jpg") if path.is_dir() else file_digest(path)
            self.entries[key] = [*stamp, value]
        return str(self.entries[key][2])

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self.entries, sort_keys=True).encode())
