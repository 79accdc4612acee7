"""Any folder of video files, or one file, with labels and transcripts beside them if there are."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaest.corpora import corpora
from vaest.corpora._base import Corpus
from vaest.corpora._labels import read_rows, to_labels
from vaest.errors import InputError
from vaest.media.video import frame_times
from vaest.types import TARGETS, Timeline, Trial

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".mpg", ".mpeg", ".webm", ".m4v", ".wmv")
TRANSCRIPT_SUFFIXES = (".json", ".srt", ".vtt")


@corpora.register
class Folder(Corpus):
    """One trial per video file, its id the file's stem where that is unique.

    Beside `<stem>.mp4` may lie `<stem>.csv`, one row per frame with columns `valence` and
    `arousal` (nothing, NaN or -5 where not valid) and perhaps `frame` or `time`, and a transcript
    `<stem>.json`, `.srt` or `.vtt`. There are no crops: the faces stage makes them.
    """

    name: ClassVar[str] = "folder"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._videos = _find_videos(root)

    @property
    def cache_name(self) -> str:
        root = self.root.resolve()
        stem = root.stem if root.is_file() else root.name
        return "folder-" + (re.sub(r"[^\w.-]+", "_", stem).strip("._") or "root")

    def trials(self) -> list[Trial]:
        base = self.root.parent if self.root.is_file() else self.root
        trials = [
            Trial(
                id=name,
                video_id=name,
                video=video,
                labels=_beside(video, (".csv",)),
                transcript=_beside(video, TRANSCRIPT_SUFFIXES),
            )
            for video, name in zip(self._videos, _ids(self._videos, base), strict=True)
        ]
        return sorted(trials, key=lambda trial: trial.id)

    def labels(self, trial: Trial) -> np.ndarray | None:
        if trial.labels is None:
            return None
        header, rows = read_rows(trial.labels)
        names = [name.lower() for name in header]
        if not set(TARGETS) <= set(names):
            raise InputError(
                f"no columns valence and arousal in the header {','.join(header)!r}",
                where=f"{trial.labels}:1",
                nearest="frame,valence,arousal",
            )
        for name in {"frame", "time"} & set(names):
            _check_order(name, [row[names.index(name)] for row in rows], trial.labels)
        valence, arousal = (names.index(target) for target in TARGETS)
        pairs = [(row[valence], row[arousal]) for row in rows]
        return to_labels(pairs, trial.labels, missing=lambda text: text.lower() in {"", "nan"})

    def timeline(self, trial: Trial) -> Timeline:
        assert trial.video is not None
        time_s = frame_times(trial.video)
        labels = self.labels(trial)
        if labels is not None and len(labels) != len(time_s):
            raise InputError(
                f"wrong length: {len(labels)} rows of labels, {trial.video.name} has "
                f"{len(time_s)} frames",
                where=trial.labels,
            )
        return Timeline(trial.id, time_s, np.zeros(len(time_s), dtype=bool), labels)


def _find_videos(root: Path) -> list[Path]:
    if root.is_file():
        found = [root] if _is_video(root.name) else []
    elif root.is_dir():
        found = [
            Path(folder, name)
            for folder, _, names in os.walk(root)
            for name in names
            if _is_video(name) and not _is_hidden(Path(folder, name).relative_to(root))
        ]
    else:
        raise InputError("there is no such file or folder", where=root)
    if not found:
        raise InputError(f"no video file: looked for {' '.join(SUFFIXES)}", where=root)
    return sorted(found)


def _is_video(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _ids(videos: list[Path], base: Path) -> list[str]:
    """Stems where unique, else paths, else paths with suffix (`a.mp4` beside `a.avi`)."""
    paths = [video.relative_to(base) for video in videos]
    stems = Counter(path.stem for path in paths)
    names = [
        path.stem if stems[path.stem] == 1 else "-".join(path.with_suffix("").parts)
        for path in paths
    ]
    uses = Counter(names)
    names = [
        name if uses[name] == 1 else "-".join(path.parts)
        for name, path in zip(names, paths, strict=True)
    ]
    names = [re.sub(r"[\\:\0]+", "_", name) for name in names]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{count} video files would be trial {name!r}: rename one", where=base)
    return names


def _beside(video: Path, suffixes: tuple[str, ...]) -> Path | None:
    candidates = (video.with_suffix(suffix) for suffix in suffixes)
    return next((path for path in candidates if path.is_file()), None)


def _check_order(column: str, texts: list[str], path: Path) -> None:
    """Rows are frames in order: frame numbers count up by one, times increase."""
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        raise InputError(f"the column {column!r} holds words", where=path) from None
    steps = np.diff(values)
    wrong = np.flatnonzero(~(steps == 1 if column == "frame" else steps > 0))
    if len(wrong):
        rule = "count up by one" if column == "frame" else "increase"
        raise InputError(
            f"the column {column!r} does not {rule}: a row for every frame, in order",
            where=f"{path}:{wrong[0] + 3}",
        )
