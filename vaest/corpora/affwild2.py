"""Aff-Wild2 as the ABAW challenges ship it.

    <N>th ABAW Annotations/VA_Estimation_Challenge/{Train_Set,Validation_Set}/<trial>.txt
    <N>th ABAW Annotations/VA_Estimation_Challenge/<any name>.txt      the test set's template
    cropped_aligned/<trial>/00001.jpg          cropped_aligned_new_50_vids/<trial>/00001.jpg
    batch1/<video>.mp4           batch2/<video>.avi           new_vids/<video>.mp4

Kollias and Zafeiriou, "Aff-Wild2: Extending the Aff-Wild Database for Affect Recognition", 2018.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaest.corpora import corpora
from vaest.corpora._base import Corpus
from vaest.corpora._labels import read_rows, to_labels
from vaest.errors import InputError
from vaest.media.faces import crops_present
from vaest.media.video import frame_times
from vaest.types import Partition, Timeline, Trial

SETS: dict[str, Partition] = {"Train_Set": "train", "Validation_Set": "validation"}
VIDEO_FOLDERS = ("batch1", "batch2", "new_vids")
VIDEO_SUFFIXES = {".mp4", ".avi"}
# The first folder that has a trial wins.
CROP_FOLDERS = ("cropped_aligned", "cropped_aligned_new_50_vids")
HEADER = ["valence", "arousal"]
TEMPLATE_HEADER = "image_location,valence,arousal"
# Containers and annotations count a frame or two differently; more is a different video.
SLACK_FRAMES = 5
SLACK_SHARE = 0.01
ONE_FRAME_INTERVAL_S = 1 / 25

_ANNOTATIONS = re.compile(r"(\d+)(?:st|nd|rd|th)[ _]ABAW.*", re.IGNORECASE)
_TEMPLATE_ROW = re.compile(r"^([^/\n]+)/(\d+)\.jpg,", re.MULTILINE)


@corpora.register
class Affwild2(Corpus):
    """Trials with labels, and those of the test set's template.

    Test trials are as long as the template says; videos that neither names are left out, because
    the folders also hold those of the other ABAW challenges.
    """

    name: ClassVar[str] = "affwild2"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._challenge = _find_challenge(root)

    def trials(self) -> list[Trial]:
        found = [
            self._trial(path.stem, partition, labels=path)
            for folder, partition in SETS.items()
            for path in _files(self._challenge / folder)
            if path.suffix == ".txt"
        ]
        labelled = {trial.id for trial in found}
        found += [self._trial(name, "test") for name in self._template_rows if name not in labelled]
        return sorted(found, key=lambda trial: trial.id)

    def labels(self, trial: Trial) -> np.ndarray | None:
        if trial.labels is None:
            return None
        header, rows = read_rows(trial.labels)
        if header != HEADER:
            raise InputError(
                f"the header is {','.join(header)!r}",
                where=f"{trial.labels}:1",
                nearest=",".join(HEADER),
            )
        return to_labels([(row[0], row[1]) for row in rows], trial.labels)

    def timeline(self, trial: Trial) -> Timeline:
        if trial.video is None:
            raise InputError(
                f"no video {trial.video_id}.mp4 or .avi for trial {trial.id!r}",
                where=", ".join(str(self.root / folder) for folder in VIDEO_FOLDERS),
            )
        time_s = frame_times(trial.video)
        labels = self.labels(trial)
        if trial.labels is not None and labels is not None:
            time_s = _fit_clock(time_s, len(labels), trial.video, trial.labels)
        elif trial.id in self._template_rows:
            template, rows = self._template_rows[trial.id]
            time_s = _fit_clock(time_s, rows, trial.video, template)
        # A folder that is not there has no crops.
        crops = trial.crops or self.root / CROP_FOLDERS[0] / trial.id
        return Timeline(trial.id, time_s, crops_present(crops, len(time_s)), labels)

    def _trial(self, name: str, partition: Partition, labels: Path | None = None) -> Trial:
        video_id = self._video_id(name)
        return Trial(
            id=name,
            video_id=video_id,
            video=self._videos.get(video_id),
            crops=self._crops.get(name),
            labels=labels,
            partition=partition,
        )

    def _video_id(self, trial: str) -> str:
        """A video may itself be called `_left`; only without one does the suffix mean a side."""
        if trial in self._videos:
            return trial
        return re.sub(r"_(left|right)$", "", trial)

    @cached_property
    def _videos(self) -> dict[str, Path]:
        folders = [self.root / name for name in VIDEO_FOLDERS]
        nested = [folder / folder.name for folder in folders]
        return {
            path.stem: path
            for folder in reversed(folders + nested)
            for path in _files(folder)
            if path.suffix.lower() in VIDEO_SUFFIXES
        }

    @cached_property
    def _crops(self) -> dict[str, Path]:
        folders = [self.root / name for name in CROP_FOLDERS]
        nested = [folder / folder.name for folder in folders]
        return {
            path.name: path for folder in reversed(folders + nested) for path in _folders(folder)
        }

    @cached_property
    def _template_rows(self) -> dict[str, tuple[Path, int]]:
        """Per test trial the template and its last frame number."""
        rows: dict[str, tuple[Path, int]] = {}
        for path in _files(self._challenge):
            if path.suffix != ".txt":
                continue
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            if text.partition("\n")[0].replace(" ", "").strip() != TEMPLATE_HEADER:
                continue
            for trial, frame in _TEMPLATE_ROW.findall(text):
                rows[trial] = path, max(int(frame), rows.get(trial, (path, 0))[1])
        return rows


def _find_challenge(root: Path) -> Path:
    """The valence-arousal folder of the latest challenge under `root`."""
    if not root.is_dir():
        raise InputError("there is no such folder", where=root)
    challenges = sorted(
        (int(match[1]), folder)
        for edition in _folders(root)
        if (match := _ANNOTATIONS.fullmatch(edition.name))
        for folder in _folders(edition)
        if folder.name.lower().replace(" ", "_").startswith("va_estimation")
    )
    if not challenges:
        present = ", ".join(sorted(os.listdir(root))[:12]) or "nothing"
        raise InputError(
            "not Aff-Wild2's layout: looked for '<N>th ABAW Annotations/VA_Estimation_Challenge', "
            f"there is {present}",
            where=root,
            nearest="--corpus folder reads any folder of videos",
        )
    return challenges[-1][1]


def _fit_clock(time_s: np.ndarray, frames: int, video: Path, source: Path) -> np.ndarray:
    """(frames,) seconds: the container's times, cut or carried on at their median interval."""
    excess = len(time_s) - frames
    if abs(excess) > max(SLACK_FRAMES, SLACK_SHARE * frames):
        raise InputError(
            f"wrong length: {frames} rows for {len(time_s)} frames of {video.name}", where=source
        )
    if excess >= 0:
        return time_s[:frames]
    interval_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else ONE_FRAME_INTERVAL_S
    return np.concatenate([time_s, time_s[-1] + interval_s * np.arange(1, 1 - excess)])


def _files(folder: Path) -> Iterator[Path]:
    return (folder / e.name for e in _scan(folder) if not e.is_dir())


def _folders(folder: Path) -> Iterator[Path]:
    return (folder / e.name for e in _scan(folder) if e.is_dir())


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Sorted entries, without hidden ones (macOS leaves `._` files in archives); [] if absent."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
