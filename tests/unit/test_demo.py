"""The demo corpus: the same bytes every time, readable as Aff-Wild2, its truth where it says."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from vaest.corpora import corpora
from vaest.corpora.affwild2 import Affwild2
from vaest.corpora.demo import Demo, default_root, write
from vaest.corpora.demo.espeak import Espeak
from vaest.corpora.demo.plan import FULL, TINY, plan_digest
from vaest.corpora.demo.schedule import corruption, spoilt, trajectory
from vaest.corpora.demo.speech import VOICES, sentences
from vaest.corpora.demo.write import write_demo
from vaest.errors import InputError
from vaest.media.video import decode, frame_times
from vaest.types import MODALITIES

SHORT = (replace(TINY[0], duration_s=2.5),)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_is_registered() -> None:
    assert corpora.get("demo") is Demo


def test_every_partition_and_trial_is_there(tiny_demo: Demo) -> None:
    trials = {trial.id: trial for trial in tiny_demo.trials()}
    assert {name: trial.partition for name, trial in trials.items()} == {
        "demo-01": "train",
        "demo-02-60-1920x1080-1": "train",
        "demo-07_left": "train",
        "demo-07_right": "train",
        "demo-20": "validation",
        "demo-24": "test",
    }
    assert trials["demo-07_left"].video == trials["demo-07_right"].video
    assert trials["demo-02-60-1920x1080-1"].video_id == "demo-02-60-1920x1080-1"
    assert all(trial.video and trial.crops for trial in trials.values())


def test_affwild2_reads_it_the_same(tiny_demo: Demo) -> None:
    assert Affwild2(tiny_demo.root).trials() == tiny_demo.trials()


def test_every_timeline_has_its_annotation_length(tiny_demo: Demo) -> None:
    rows = {name: video.rows for video in TINY for name in video.trials}
    for trial in tiny_demo.trials():
        timeline = tiny_demo.timeline(trial)
        assert len(timeline) == rows[trial.id]
        assert timeline.time_s[0] == pytest.approx(0.0, abs=0.001)
        assert (np.diff(timeline.time_s) > 0).all()
        levels = tiny_demo.corruption(trial)
        assert set(levels) == set(MODALITIES)
        for level in levels.values():
            assert (level.shape, level.dtype) == ((len(timeline),), np.float32)
            assert set(np.unique(level)) <= {0.0, 1.0}


def test_planted_traps_are_on_the_disk(tiny_demo: Demo) -> None:
    traps = json.loads((tiny_demo.root / "truth/traps.json").read_text())
    trials = {trial.id: trial for trial in tiny_demo.trials()}
    for name, trial in trials.items():
        timeline = tiny_demo.timeline(trial)
        assert trial.video is not None
        frames = len(frame_times(trial.video))
        assert len(timeline) - frames == traps["rows_minus_frames"].get(name, 0)
        assert timeline.rate_hz == pytest.approx(traps["rate_hz"][name], rel=1e-3)
        assert (~timeline.crop_present[:frames]).sum() >= 10
        if trial.partition != "test":
            assert timeline.label_valid.all() == (name not in traps["invalid_spelling"])
        assert (trial.video.suffix == ".avi") == (name in traps["avi"])
    lost = traps["crops_lost"]["demo-01"]
    assert (~tiny_demo.timeline(trials["demo-01"]).crop_present).sum() == lost + 1
    assert trials["demo-07_left"].crops is not None
    assert "new_50" in str(trials["demo-07_left"].crops)


def test_labels_are_the_truth_rounded(tiny_demo: Demo) -> None:
    for trial in tiny_demo.trials():
        labels = tiny_demo.labels(trial)
        with np.load(tiny_demo.root / "truth" / f"{trial.id}.npz", allow_pickle=False) as truth:
            va = truth["va"]
        assert np.abs(va).max() <= 0.9
        if labels is None:
            assert trial.partition == "test"
        else:
            valid = np.isfinite(labels).all(axis=1)
            np.testing.assert_allclose(labels[valid], va[valid], atol=1e-4)


def test_absent_sound_counts_as_corrupted(tiny_demo: Demo) -> None:
    trials = {trial.id: trial for trial in tiny_demo.trials()}
    silent = tiny_demo.corruption(trials["demo-20"])
    assert silent["audio"].all()
    assert silent["text"].all()
    late = tiny_demo.timeline(trials["demo-24"]).time_s < 1.3
    assert tiny_demo.corruption(trials["demo-24"])["audio"][late].all()


def test_occlusion_hides_the_face_in_its_crop(tiny_demo: Demo) -> None:
    """Where the mouth is, an occluder has none of the skin's colour of the clean frames."""
    trial = tiny_demo.trials()[0]
    assert trial.crops is not None
    covered = tiny_demo.corruption(trial)["visual"] > 0
    present = tiny_demo.timeline(trial).crop_present
    pictures = {
        number: simplejpeg.decode_jpeg((trial.crops / f"{number + 1:05d}.jpg").read_bytes())
        for number in np.flatnonzero(present)
    }
    assert all(picture.shape == (112, 112, 3) for picture in pictures.values())
    mouths = {n: picture[80:104, 36:76].mean(axis=(0, 1)) for n, picture in pictures.items()}
    clean = np.median([mouth for n, mouth in mouths.items() if not covered[n]], axis=0)
    away = {n: np.abs(mouth - clean).max() for n, mouth in mouths.items()}
    assert max(away[n] for n in away if not covered[n]) < min(away[n] for n in away if covered[n])


def test_the_pair_shows_two_faces_side_by_side(tiny_demo: Demo) -> None:
    trial = next(trial for trial in tiny_demo.trials() if trial.id == "demo-07_left")
    assert trial.video is not None
    _, _, picture = next(decode(trial.video))
    assert picture.shape == (256, 512, 3)
    left, right = (tiny_demo.labels(t) for t in tiny_demo.trials() if t.video_id == "demo-07")
    assert not np.allclose(left, right, equal_nan=True)


def test_same_plan_same_bytes(tmp_path: Path) -> None:
    """Two at once race for one folder: one corpus comes out, with the bytes of a quiet run."""
    write_demo(tmp_path / "quiet", SHORT, workers=1)
    race = tmp_path / "race"
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write_demo, race, SHORT, 1) for _ in range(2)]:
            done.result()
    assert contents(race) == contents(tmp_path / "quiet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quiet", "race"]


def test_voices_depend_on_neither_clock_nor_history() -> None:
    spoken = "The morning was wonderful, and I love it."
    first = [Espeak(voice).say(spoken, 165, 50) for voice in VOICES]
    time.sleep(1.01)  # espeak-ng would seed its noise with the second of the day
    other = Espeak("en-us")
    other.say("Something else was said before.", 200, 80)
    for voice, sound in zip(VOICES, first, strict=True):
        np.testing.assert_array_equal(Espeak(voice).say(spoken, 165, 50), sound)


def test_nothing_appears_until_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, plan: object) -> None:
        assert (path.parent.parent.parent / "truth/demo-01.npz").is_file()
        assert not (tmp_path / "demo").exists()
        raise OSError("disk full")

    monkeypatch.setattr(write, "_write_template", fail)
    with pytest.raises(OSError, match="disk full"):
        write_demo(tmp_path / "demo", SHORT, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_demo(tmp_path)
    with pytest.raises(InputError, match="not a demo corpus"):
        Demo(tmp_path)


def test_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"demo-{plan_digest(FULL)[:12]}"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("VAEST_HOME", raising=False)
    assert default_root() == Path("/x/vaest") / name
    monkeypatch.setenv("VAEST_HOME", "/h")
    assert default_root() == Path("/h") / name


def test_digest_follows_the_plan() -> None:
    assert plan_digest(FULL) != plan_digest(TINY)
    assert plan_digest(FULL) != plan_digest((*FULL[:-1], replace(FULL[-1], extra_rows=-1)))


def test_full_plan_has_what_the_design_asks_for() -> None:
    train = [video for video in FULL if video.partition == "train"]
    assert len(train) == 19
    assert sum(len(video.trials) for video in train) == 20
    assert {float(video.rate_hz) for video in FULL} >= {7.5, 12.5, 15, 24, 25, 30, 30000 / 1001}
    assert sum(video.extra_rows != 0 for video in FULL) >= len(FULL) // 4
    assert 26 <= np.mean([video.duration_s for video in FULL]) <= 30
    assert all(20 <= video.duration_s <= 36 for video in FULL)


def test_trajectories_are_smooth_and_use_the_range() -> None:
    time_s = np.arange(0, 30, 0.04)
    va = np.stack([trajectory(np.random.default_rng(seed))(time_s) for seed in range(20)])
    assert np.abs(va).max() <= 0.9
    assert va.min() < -0.8
    assert va.max() > 0.8
    assert np.abs(np.diff(va, axis=1)).max() / 0.04 < 2.0


def test_corruption_shares() -> None:
    time_s = np.arange(0, 300, 0.1)
    stretches = corruption(np.random.default_rng(0), 300.0)
    level = spoilt(stretches, time_s)
    assert level["visual"].mean() == pytest.approx(0.35, abs=0.04)
    assert level["audio"].mean() == pytest.approx(0.40, abs=0.04)
    np.testing.assert_array_equal(level["audio"], level["text"])
    assert (level["visual"] * level["audio"]).sum() == 0
    assert all(1.0 < s.end_s - s.start_s < 6.0 for s in stretches)


def test_sentences_cover_the_sentiments() -> None:
    scores = np.array([score for _, score in sentences()])
    assert scores.min() < -0.8
    assert scores.max() > 0.85
    assert np.diff(np.unique(scores[np.abs(scores) < 0.85])).max() < 0.15
