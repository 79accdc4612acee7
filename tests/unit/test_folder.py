"""Any folder of videos: ids, what lies beside them, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vaest.corpora import corpora, folder
from vaest.corpora.folder import Folder
from vaest.errors import InputError


@pytest.fixture(autouse=True)
def three_frames(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "clips" not in request.fixturenames:
        monkeypatch.setattr(folder, "frame_times", lambda path: np.array([0.0, 0.04, 0.08]))


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ids(root: Path) -> list[str]:
    return [trial.id for trial in Folder(root).trials()]


def test_is_registered() -> None:
    assert corpora.get("folder") is Folder


def test_every_video_below_the_root_is_a_trial(tmp_path: Path) -> None:
    for name in ("b.MP4", "sub/deep/a.mkv", "c.wmv", "notes.txt", "._b.mp4", ".trash/d.mp4"):
        touch(tmp_path / name)
    assert ids(tmp_path) == ["a", "b", "c"]


def test_equal_stems_are_told_apart_by_path_and_suffix(tmp_path: Path) -> None:
    for name in ("x/s1.mp4", "y/s1.mp4", "z/s2.mp4", "s3.mp4", "s3.avi"):
        touch(tmp_path / name)
    assert ids(tmp_path) == ["s2", "s3.avi", "s3.mp4", "x-s1", "y-s1"]


def test_ids_that_still_collide_are_an_error(tmp_path: Path) -> None:
    for name in ("a-b.mp4", "a/b.mp4", "c/b.mp4", "d/a-b.avi", "d-a-b.mp4"):
        touch(tmp_path / name)
    with pytest.raises(InputError, match="rename one"):
        ids(tmp_path)


def test_one_file(tmp_path: Path) -> None:
    video = touch(tmp_path / "my clip.mp4")
    touch(tmp_path / "other.mp4")
    corpus = Folder(video)
    (trial,) = corpus.trials()
    assert (trial.id, trial.video, trial.partition) == ("my clip", video, None)
    assert corpus.cache_name == "folder-my_clip"
    assert Folder(tmp_path).cache_name == f"folder-{tmp_path.name}"


@pytest.mark.parametrize("name", ["nothing", "notes.txt"])
def test_without_videos_the_suffixes_are_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "notes.txt")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"\.mp4 \.avi .*\.wmv"):
        Folder(tmp_path / name)


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        Folder(tmp_path / "absent")


def test_timeline_without_labels(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    corpus = Folder(tmp_path)
    (trial,) = corpus.trials()
    timeline = corpus.timeline(trial)
    np.testing.assert_allclose(timeline.time_s, [0.0, 0.04, 0.08])
    assert not timeline.crop_present.any()
    assert timeline.labels is None


def test_labels_beside_the_video(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    touch(tmp_path / "a.csv", "frame,Arousal,Valence,rater\n1,0.1,0.2,x\n2,,0.3,x\n3,-5.0,0,x\n")
    corpus = Folder(tmp_path)
    (trial,) = corpus.trials()
    labels = corpus.timeline(trial).labels
    assert labels is not None
    np.testing.assert_allclose(labels[0], [0.2, 0.1])
    assert np.isnan(labels[1:]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valence,arousal\n0,0\n0,0\n", "2 rows of labels, a.mp4 has 3 frames"),
        ("v,a\n0,0\n0,0\n0,0\n", "no columns valence and arousal"),
        ("valence,arousal\n0,0\n0,calm\n0,0\n", "'calm' is not a number"),
        ("valence,arousal\n0,0\n0,2\n0,0\n", "outside"),
        ("frame,valence,arousal\n1,0,0\n3,0,0\n4,0,0\n", "does not count up by one"),
        ("time,valence,arousal\n0,0,0\n0,0,0\n1,0,0\n", "does not increase"),
        ("time,valence,arousal\n0,0,0\nlater,0,0\n1,0,0\n", "holds words"),
        ("valence,arousal\n0,0\n0\n0,0\n", "1 columns"),
    ],
)
def test_bad_labels_name_their_file(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path / "a.mp4")
    path = touch(tmp_path / "a.csv", text)
    corpus = Folder(tmp_path)
    (trial,) = corpus.trials()
    with pytest.raises(InputError, match=message) as error:
        corpus.timeline(trial)
    assert str(error.value.where).startswith(str(path))


def test_transcripts_beside_the_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.vtt", "a.json", "b.mp4", "b.srt", "c.mp4"):
        touch(tmp_path / name)
    found = {trial.id: trial.transcript for trial in Folder(tmp_path).trials()}
    assert found == {"a": tmp_path / "a.json", "b": tmp_path / "b.srt", "c": None}


def test_real_clips(clips: Path) -> None:
    corpus = Folder(clips)
    trials = {trial.id: trial for trial in corpus.trials()}
    assert {"bbaf2n", "WDA_KatieHill_000", "face_noface", "no_face"} <= set(trials)
    timeline = corpus.timeline(trials["bbaf2n"])
    assert (len(timeline), timeline.time_s[0]) == (75, 0.0)
    assert timeline.rate_hz == pytest.approx(25.0, rel=1e-3)
