"""Generates the demo corpus in Aff-Wild2's layout, with the truth beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from tqdm import tqdm

from vaest.corpora.affwild2 import HEADER, TEMPLATE_HEADER
from vaest.corpora.demo import sound
from vaest.corpora.demo.encode import encode
from vaest.corpora.demo.face import Face, random_look
from vaest.corpora.demo.occluder import Occluder
from vaest.corpora.demo.plan import FULL, LATE_S, VideoPlan, planted_traps
from vaest.corpora.demo.schedule import (
    Stretch,
    Trajectory,
    corruption,
    runs,
    spoilt,
    trajectory,
)
from vaest.corpora.demo.speech import speak
from vaest.errors import InputError
from vaest.types import Audio

TRUTH = "truth"
CHALLENGE = Path("8th ABAW Annotations", "VA_Estimation_Challenge")
LABEL_FOLDERS = {"train": "Train_Set", "validation": "Validation_Set"}
TEMPLATE = "VA_test_set_sample.txt"
BLOCK_FRAMES = 16
JPEG_QUALITY = 75

README = """\
vaest's demo corpus: synthetic, in the layout of Aff-Wild2.

It shows that the parts fit together, never how accurate a model is. The face is scikit-image's
astronaut portrait (NASA, public domain), the voice is espeak-ng, the words follow VADER's lexicon.

truth/<trial>.npz   time_s, va (true valence and arousal, test trials included), and per modality
                    1 where it is corrupted, one row per annotated frame
truth/<video>.json  what is said, with times
truth/traps.json    which trials have which of Aff-Wild2's oddities
"""


def write_demo(root: Path, plan: tuple[VideoPlan, ...] = FULL, workers: int | None = None) -> None:
    """Generate the videos of `plan` into the new folder `root`.

    The folder appears under its name when it is complete: a killed process leaves only a hidden
    sibling, and of two processes the first to finish wins. The same plan gives the same bytes
    whatever the number of workers (default: 2, or 1 on a single core).

    InputError if `root` is a folder with something in it. MissingExtraError without the
    packages of vaest[offline].
    """
    if root.exists() and any(root.iterdir()):
        raise InputError("the folder for the demo corpus is not empty", where=root)
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        for _ in tqdm(
            _write_videos(unfinished, plan, workers or min(2, os.cpu_count() or 1)),
            total=len(plan),
            desc="demo corpus",
            unit="video",
            disable=None,
        ):
            pass
        _write_template(unfinished / CHALLENGE / TEMPLATE, plan)
        lost = {name: int(_lost(name, v.frames).sum()) for v in plan for name in v.trials}
        traps = planted_traps(plan) | {"crops_lost": lost}
        _write_json(unfinished / TRUTH / "traps.json", traps)
        (unfinished / "README.txt").write_text(README)
        _publish(unfinished, root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_video(root: Path, video: VideoPlan) -> None:
    """One video of the plan with its crops, labels and truth. Depends on nothing but the plan."""
    scene = _scene(video)
    speech, said = speak(scene.mood, scene.duration_s, _rng(video.id, "speech"))
    path = root / video.folder / (video.id + video.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    mouth = sound.mouth_opening(speech, scene.time_s)
    with _one_thread():
        encode(path, _frames(root, scene, mouth), video.rate_hz, _audio(scene, speech))
    for name, track in scene.tracks.items():
        _write_labels(root, video, name, track)
        _write_truth(root, scene, name, track)
    _write_json(root / TRUTH / f"{video.id}.json", [asdict(utterance) for utterance in said])


@dataclass(frozen=True)
class _Scene:
    """A video before it is drawn. time_s: (frames,); tracks: per trial its trajectory."""

    video: VideoPlan
    time_s: np.ndarray
    mood: Trajectory
    tracks: dict[str, Trajectory]
    stretches: list[Stretch]

    @property
    def duration_s(self) -> float:
        return float(self.video.frames / self.video.rate_hz)


def _scene(video: VideoPlan) -> _Scene:
    mood = trajectory(_rng(video.id, "mood"))
    tracks = {video.id: mood}
    if len(video.sides) > 1:
        # Two people in one conversation: what is said follows the mood they share.
        tracks = {name: mood.leaning(trajectory(_rng(name, "mood"))) for name in video.trials}
    return _Scene(
        video=video,
        time_s=np.arange(video.frames) / float(video.rate_hz),
        mood=mood,
        tracks=tracks,
        stretches=corruption(_rng(video.id, "corruption"), video.rows / float(video.rate_hz)),
    )


def _frames(root: Path, scene: _Scene, mouth: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of (n, height, width, 3) uint8; their crops are written on the way."""
    people = [_Person(root, scene, name) for name in scene.tracks]
    for start in range(0, len(scene.time_s), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        pictures = [person.act(block, mouth[block]) for person in people]
        yield np.concatenate(pictures, axis=2)


class _Person:
    """One face track: draws it, covers it, and keeps the crops that detection would find."""

    def __init__(self, root: Path, scene: _Scene, name: str) -> None:
        self._face = Face(random_look(_rng(name, "look")))
        self._occluder = Occluder(scene.stretches, _rng(name, "occluder"))
        self._va = scene.tracks[name](scene.time_s)
        self._time_s = scene.time_s
        self._lost = _lost(name, len(scene.time_s))
        self._crops = root / scene.video.crops / name
        self._crops.mkdir(parents=True)

    def act(self, block: slice, mouth: np.ndarray) -> np.ndarray:
        """(n, 256, 256, 3) uint8."""
        time_s = self._time_s[block]
        frames = self._face.draw(self._va[block], mouth, time_s)
        self._occluder.cover(frames, self._face, time_s)
        crops = _to_bytes(self._face.crop(frames, time_s))
        for number, crop in enumerate(crops, start=block.start + 1):
            if not self._lost[number - 1]:
                data = simplejpeg.encode_jpeg(crop, quality=JPEG_QUALITY, colorsubsampling="420")
                (self._crops / f"{number:05d}.jpg").write_bytes(data)
        return _to_bytes(frames)


def _lost(name: str, frames: int) -> np.ndarray:
    """(frames,) bool: the detector fails now and then, and twice for a while."""
    rng = _rng(name, "gaps")
    return runs(rng, frames, 2, 10, min(40, max(10, frames // 8))) | runs(
        rng, frames, frames // 100, 1, 2
    )


def _audio(scene: _Scene, speech: np.ndarray) -> Audio | None:
    video = scene.video
    if video.audio == "none":
        return None
    rate_hz = video.audio_rate_hz
    heard = sound.spoil(speech, scene.stretches, _rng(video.id, "noise"))
    start = round(LATE_S * rate_hz) if video.audio == "late" else 0
    return Audio(sound.resample(heard, rate_hz)[start:], rate_hz, start / rate_hz)


def _write_labels(root: Path, video: VideoPlan, name: str, track: Trajectory) -> None:
    if video.partition == "test":
        return
    rng = _rng(name, "invalid")
    invalid = runs(rng, video.rows, 2 if video.invalid else 0, 8, 30)
    rows = [
        video.invalid.format(valence=f"{valence:.4f}") if gone else f"{valence:.4f},{arousal:.4f}"
        for (valence, arousal), gone in zip(track(_row_times(video)), invalid, strict=True)
    ]
    path = root / CHALLENGE / LABEL_FOLDERS[video.partition] / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(HEADER), *rows, ""]))


def _write_truth(root: Path, scene: _Scene, name: str, track: Trajectory) -> None:
    time_s = _row_times(scene.video)
    levels = spoilt(scene.stretches, time_s)
    unheard = {"whole": 0.0, "late": LATE_S, "none": np.inf}[scene.video.audio]
    for modality in ("audio", "text"):
        levels[modality][time_s < unheard] = 1.0
    path = root / TRUTH / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(
        path,
        time_s=time_s,
        va=track(time_s).astype(np.float32),
        visual=levels["visual"],
        audio=levels["audio"],
        text=levels["text"],
    )


def _row_times(video: VideoPlan) -> np.ndarray:
    return np.asarray(np.arange(video.rows) / float(video.rate_hz))


def _write_template(path: Path, plan: tuple[VideoPlan, ...]) -> None:
    rows = [
        f"{name}/{number:05d}.jpg,0,0"
        for video in plan
        if video.partition == "test"
        for name in video.trials
        for number in range(1, video.rows + 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([TEMPLATE_HEADER, *rows, ""]))


def _write_videos(root: Path, plan: tuple[VideoPlan, ...], workers: int) -> Iterator[None]:
    if workers == 1:
        for video in plan:
            write_video(root, video)
            yield
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(write_video, root, video) for video in plan]):
            done.result()
            yield


@contextmanager
def _one_thread() -> Iterator[None]:
    # Small pictures: a second thread costs more than it draws, and workers share the cores.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _publish(unfinished: Path, root: Path) -> None:
    try:
        os.rename(unfinished, root)
    except OSError:
        # Another process was first; its corpus has the same bytes.
        if not (root / TRUTH).is_dir():
            raise


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def _rng(name: str, purpose: str) -> np.random.Generator:
    seed = hashlib.sha256(f"{name}/{purpose}".encode()).digest()[:8]
    return np.random.default_rng(int.from_bytes(seed, "little"))


def _to_bytes(pictures: torch.Tensor) -> np.ndarray:
    """(n, 3, height, width) float32 -> (n, height, width, 3) uint8."""
    return (pictures + 0.5).byte().permute(0, 2, 3, 1).contiguous().numpy()
