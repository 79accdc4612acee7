"""The ABAW layout: which trials there are, where their media lie, what their labels say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vaest.corpora import affwild2, corpora
from vaest.corpora.affwild2 import Affwild2
from vaest.errors import InputError
from vaest.types import Trial

CHALLENGE = "8th ABAW Annotations/VA_Estimation_Challenge"
FRAME_S = 0.04


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def label(root: Path, trial: str, rows: list[str], folder: str = "Train_Set") -> Path:
    return touch(
        root / CHALLENGE / folder / f"{trial}.txt", "\n".join(["valence,arousal", *rows, ""])
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / CHALLENGE / "Train_Set").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Frames per video name; ten where not set."""
    frames: dict[str, int] = {}
    monkeypatch.setattr(
        affwild2,
        "frame_times",
        lambda path: np.arange(frames.get(path.name, 10)) * FRAME_S,
    )
    return frames


def only_trial(root: Path) -> tuple[Affwild2, Trial]:
    corpus = Affwild2(root)
    (trial,) = corpus.trials()
    return corpus, trial


def test_is_registered() -> None:
    assert corpora.get("affwild2") is Affwild2


def test_trials_are_sorted_and_know_their_partition_and_media(root: Path) -> None:
    label(root, "b", ["0,0"])
    label(root, "a", ["0,0"], "Validation_Set")
    touch(root / "batch2/b.avi")
    touch(root / "cropped_aligned/a/00001.jpg")
    a, b = Affwild2(root).trials()
    assert (a.id, a.partition, a.video, a.crops) == (
        "a",
        "validation",
        None,
        root / "cropped_aligned/a",
    )
    assert (b.id, b.partition, b.video, b.crops) == ("b", "train", root / "batch2/b.avi", None)


def test_sides_share_a_video_but_other_endings_belong_to_the_name(root: Path) -> None:
    videos = ["10-60-1280x720.mp4", "122-60-1920x1080-1.mp4", "video_left.mp4"]
    for name in videos:
        touch(root / "batch1" / name)
    for trial in (
        *("10-60-1280x720", "10-60-1280x720_left", "10-60-1280x720_right"),
        *("122-60-1920x1080-1", "video_left"),
    ):
        label(root, trial, ["0,0"])
    found = {trial.id: trial for trial in Affwild2(root).trials()}
    assert found["10-60-1280x720_left"].video == found["10-60-1280x720"].video
    assert found["10-60-1280x720_right"].video_id == "10-60-1280x720"
    assert found["122-60-1920x1080-1"].video == root / "batch1/122-60-1920x1080-1.mp4"
    assert found["video_left"].video_id == "video_left"


def test_second_crop_folder_fills_what_the_first_lacks(root: Path) -> None:
    for trial in ("old", "new", "both", "nested"):
        label(root, trial, ["0,0"])
    first, second = root / "cropped_aligned", root / "cropped_aligned_new_50_vids"
    for path in (first / "old", second / "new", first / "both", second / "both"):
        path.mkdir(parents=True)
    (first / "cropped_aligned" / "nested").mkdir(parents=True)
    crops = {trial.id: trial.crops for trial in Affwild2(root).trials()}
    assert crops == {
        "old": first / "old",
        "new": second / "new",
        "both": first / "both",
        "nested": first / "cropped_aligned" / "nested",
    }


def test_latest_challenge_is_taken_by_number(tmp_path: Path) -> None:
    for edition, trial in (("9th_ABAW_labels", "nine"), ("10th ABAW Annotations (final)", "ten")):
        touch(tmp_path / edition / "VA_Estimation_Challenge/Train_Set" / f"{trial}.txt")
        assert [found.id for found in Affwild2(tmp_path).trials()] == [trial]


def test_macos_leftovers_are_no_trials(root: Path) -> None:
    label(root, "a", ["0,0"])
    label(root, "._a", ["0,0"])
    assert [trial.id for trial in Affwild2(root).trials()] == ["a"]


def test_template_names_test_trials_and_their_lengths(
    root: Path, container: dict[str, int]
) -> None:
    rows = [f"t/{n:05d}.jpg,0,0" for n in range(1, 13)] + ["u_left/00001.jpg,0,0"]
    touch(root / CHALLENGE / "sample.txt", "\n".join(["image_location,valence,arousal", *rows]))
    touch(root / CHALLENGE / "notes.txt", "read me")
    touch(root / "new_vids/t.mp4")
    corpus = Affwild2(root)
    t, u = corpus.trials()
    assert (t.partition, t.labels, corpus.labels(t)) == ("test", None, None)
    assert (u.id, u.video_id) == ("u_left", "u")
    assert len(corpus.timeline(t)) == 12


def test_trial_in_neither_is_as_long_as_its_container(
    root: Path, container: dict[str, int]
) -> None:
    video = touch(root / "batch1/x.mp4")
    timeline = Affwild2(root).timeline(Trial("x", "x", video))
    assert len(timeline) == 10
    assert timeline.labels is None


@pytest.mark.parametrize("spelling", ["-5,0.2", "0.2,-5", "-5.0,-5.0", "-5.000,0.1", "-5e0,0"])
def test_minus_five_is_invalid_in_any_spelling(root: Path, spelling: str) -> None:
    label(root, "a", ["0.1,-0.2", spelling, "1,-1"])
    corpus, trial = only_trial(root)
    labels = corpus.labels(trial)
    assert labels is not None
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(
        labels, np.array([[0.1, -0.2], [np.nan, np.nan], [1, -1]], np.float32)
    )


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("arousal,valence\n0,0\n", "header is 'arousal,valence'", 1),
        ("0.1,0.2\n0,0\n", "header is '0.1,0.2'", 1),
        ("valence,arousal\n0,0\n0,1.2\n", "outside", 3),
        ("valence,arousal\n-4.9,0\n", "outside", 2),
        ("valence,arousal\n0,nan\n", "outside", 2),
        ("valence,arousal\n0,happy\n", "'happy' is not a number", 2),
        ("valence,arousal\n0,0\n0\n", "1 columns", 3),
        ("valence,arousal\n0,0,0\n", "3 columns", 2),
        ("valence,arousal\n0,0\n\n0,0\n", "0 columns", 3),
        ("valence,arousal\n", "at least one row", None),
        ("", "at least one row", None),
    ],
)
def test_bad_label_files_name_file_and_line(
    root: Path, text: str, message: str, line: int | None
) -> None:
    path = touch(root / CHALLENGE / "Train_Set/a.txt", text)
    corpus, trial = only_trial(root)
    with pytest.raises(InputError, match=message) as error:
        corpus.labels(trial)
    assert error.value.where == (f"{path}:{line}" if line else str(path))


def test_binary_label_file(root: Path) -> None:
    path = label(root, "a", [])
    path.write_bytes(b"\xff\xfe\x00v")
    corpus, trial = only_trial(root)
    with pytest.raises(InputError, match="cannot be read as text"):
        corpus.labels(trial)


def test_windows_line_ends_and_byte_order_mark(root: Path) -> None:
    path = label(root, "a", [])
    path.write_bytes(b"\xef\xbb\xbfvalence,arousal\r\n0.5,0.5\r\n")
    corpus, trial = only_trial(root)
    np.testing.assert_array_equal(corpus.labels(trial), [[0.5, 0.5]])


@pytest.mark.parametrize("rows", [8, 9, 10, 11, 12])
def test_annotation_length_is_authoritative(
    root: Path, container: dict[str, int], rows: int
) -> None:
    label(root, "a", ["0,0"] * rows)
    touch(root / "batch1/a.mp4")
    corpus, trial = only_trial(root)
    timeline = corpus.timeline(trial)
    assert timeline.label_valid.all()
    np.testing.assert_allclose(timeline.time_s, np.arange(rows) * FRAME_S)


def test_long_videos_may_differ_by_a_hundredth(root: Path, container: dict[str, int]) -> None:
    label(root, "a", ["0,0"] * 1000)
    touch(root / "batch1/a.mp4")
    corpus, trial = only_trial(root)
    container["a.mp4"] = 990
    assert len(corpus.timeline(trial)) == 1000
    container["a.mp4"] = 989
    with pytest.raises(InputError, match="wrong length: 1000 rows for 989 frames"):
        corpus.timeline(trial)


def test_one_frame_video_is_carried_on(root: Path, container: dict[str, int]) -> None:
    label(root, "a", ["0,0"] * 3)
    touch(root / "batch1/a.mp4")
    container["a.mp4"] = 1
    corpus, trial = only_trial(root)
    assert (np.diff(corpus.timeline(trial).time_s) > 0).all()


def test_crops_keep_their_gaps_and_strangers_are_ignored(
    root: Path, container: dict[str, int]
) -> None:
    label(root, "a", ["0,0"] * 5)
    touch(root / "batch1/a.mp4")
    for name in ("00001.jpg", "00004.jpg", "00006.jpg", "00000.jpg", "2.jpg", "00003.png", ".x"):
        touch(root / "cropped_aligned/a" / name)
    container["a.mp4"] = 6
    corpus, trial = only_trial(root)
    np.testing.assert_array_equal(corpus.timeline(trial).crop_present, [1, 0, 0, 1, 0])


def test_no_crop_folder_means_no_crops(root: Path, container: dict[str, int]) -> None:
    label(root, "a", ["0,0"] * 10)
    touch(root / "batch1/a.mp4")
    corpus, trial = only_trial(root)
    assert not corpus.timeline(trial).crop_present.any()


def test_missing_video_names_the_folders_searched(root: Path) -> None:
    label(root, "a_left", ["0,0"])
    corpus, trial = only_trial(root)
    with pytest.raises(InputError, match=r"no video a\.mp4") as error:
        corpus.timeline(trial)
    assert all(folder in str(error.value) for folder in ("batch1", "batch2", "new_vids"))


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Affwild2(tmp_path / "absent")


def test_another_layout_is_told_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="there is clip") as error:
        Affwild2(tmp_path)
    assert "ABAW Annotations" in error.value.what
