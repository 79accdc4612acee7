"""Which videos the demo corpus has, and the traps of Aff-Wild2 planted in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Literal

from vaest.digest import digest
from vaest.types import Partition

# Raise when the generator writes different bytes for the same plan.
GENERATOR_VERSION = 1

NTSC = Fraction(30000, 1001)
LATE_S = 1.3


@dataclass(frozen=True)
class VideoPlan:
    """One video: its place in the layout, its length, and what is odd about it.

    sides: trial suffixes, one face each; extra_rows: annotation rows minus container frames;
    invalid: how frames without a label are spelt, "" for none.
    """

    id: str
    partition: Partition
    rate_hz: Fraction
    duration_s: float
    folder: str = "batch1"
    suffix: str = ".mp4"
    crops: str = "cropped_aligned"
    sides: tuple[str, ...] = ("",)
    audio: Literal["whole", "late", "none"] = "whole"
    audio_rate_hz: int = 44100
    extra_rows: int = 0
    invalid: Literal["", "-5,-5", "-5.0,-5.0", "{valence},-5"] = ""

    @property
    def trials(self) -> list[str]:
        return [self.id + side for side in self.sides]

    @property
    def frames(self) -> int:
        return round(self.duration_s * self.rate_hz)

    @property
    def rows(self) -> int:
        return self.frames + self.extra_rows


def plan_digest(plan: tuple[VideoPlan, ...]) -> str:
    """Identity of the corpus that `plan` makes with this version of the generator."""
    videos = [asdict(video) | {"rate_hz": str(video.rate_hz)} for video in plan]
    return digest({"generator": GENERATOR_VERSION, "videos": videos})


def planted_traps(plan: tuple[VideoPlan, ...]) -> dict[str, Mapping[str, float | str]]:
    """Per trap the trials that have it, and how much of it."""
    trials = [(trial, video) for video in plan for trial in video.trials]
    return {
        "rate_hz": {t: round(float(v.rate_hz), 3) for t, v in trials},
        "rows_minus_frames": {t: v.extra_rows for t, v in trials if v.extra_rows},
        "invalid_spelling": {t: v.invalid for t, v in trials if v.invalid},
        "shares_video": {t: v.id for t, v in trials if len(v.sides) > 1},
        "without_audio": {t: v.id for t, v in trials if v.audio == "none"},
        "audio_starts_s": {t: LATE_S for t, v in trials if v.audio == "late"},
        "name_ends_in_number": {t: t for t, _ in trials if "x1080-" in t},
        "avi": {t: v.id for t, v in trials if v.suffix == ".avi"},
        "second_crop_folder": {t: v.crops for t, v in trials if v.crops != "cropped_aligned"},
    }


def _video(number: int, rate_hz: Fraction | float, duration_s: float, **odd: object) -> VideoPlan:
    partition = "train" if number <= 19 else "validation" if number <= 23 else "test"
    fields: dict[str, object] = {
        "id": f"demo-{number:02d}",
        "partition": partition,
        "rate_hz": Fraction(rate_hz),
        "duration_s": duration_s,
        "folder": ("batch1", "batch2", "new_vids")[number % 3],
        "audio_rate_hz": 48000 if number % 2 else 44100,
    }
    return VideoPlan(**(fields | odd))  # type: ignore[arg-type]


_SECOND_CROPS = {"crops": "cropped_aligned_new_50_vids"}

FULL = (
    _video(1, 25, 28.0),
    _video(2, 30, 26.0, extra_rows=1),
    _video(3, 25, 30.0, invalid="-5,-5"),
    _video(4, NTSC, 25.0),
    _video(5, 30, 24.0, audio="late"),
    _video(6, 25, 29.0, suffix=".avi", folder="batch2"),
    _video(7, 25, 26.0, sides=("_left", "_right")),
    _video(8, 24, 30.0, invalid="-5.0,-5.0", extra_rows=-1),
    _video(9, 30, 24.0, id="demo-09-60-1920x1080-1"),
    _video(10, 12.5, 36.0, extra_rows=2),
    _video(11, 25, 28.0, audio="none"),
    _video(12, 30, 22.0, **_SECOND_CROPS),
    _video(13, 7.5, 36.0, invalid="{valence},-5"),
    _video(14, 25, 29.0),
    _video(15, NTSC, 25.0, extra_rows=-2),
    _video(16, 15, 34.0),
    _video(17, 25, 27.0, invalid="-5,-5", **_SECOND_CROPS),
    _video(18, 30, 23.0),
    _video(19, 25, 29.0, extra_rows=1),
    _video(20, 25, 30.0, invalid="-5,-5"),
    _video(21, 30, 26.0, extra_rows=-1),
    _video(22, 25, 31.0, **_SECOND_CROPS),
    _video(23, NTSC, 25.0),
    _video(24, 25, 20.0),
    _video(25, 30, 22.0, extra_rows=1),
)

# Every partition and every trap in six trials of a few seconds, for tests.
TINY = (
    _video(1, 25, 6.0, invalid="{valence},-5", extra_rows=1),
    _video(2, NTSC, 5.0, id="demo-02-60-1920x1080-1", suffix=".avi", folder="batch2"),
    _video(7, 12.5, 6.0, sides=("_left", "_right"), **_SECOND_CROPS),
    _video(20, 15, 6.0, audio="none", invalid="-5.0,-5.0", extra_rows=-2),
    _video(24, 7.5, 6.0, audio="late", extra_rows=2),
)
