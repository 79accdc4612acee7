"""Clips, padding, masks and standardisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaest.batches import Clip, Standardiser, batches, collate, cut_clips
from vaest.types import TrialSequence


def sequence(trial: str, frames: int, seed: int = 0, labelled: bool = True) -> TrialSequence:
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (frames, 2)).astype(np.float32)
    target[: frames // 4] = np.nan
    return TrialSequence(
        trial,
        {
            "visual": rng.normal(3, 2, (frames, 5)).astype(np.float16),
            "audio": rng.normal(-1, 9, (frames, 4)).astype(np.float16),
        },
        {"visual": rng.random(frames) > 0.3, "audio": np.ones(frames, bool)},
        np.arange(frames) / 25,
        target if labelled else None,
    )


@given(length=st.integers(1, 1500), frames=st.integers(2, 400), stride=st.integers(1, 400))
def test_clips_cover_every_frame_and_stay_inside(length: int, frames: int, stride: int) -> None:
    stride = min(stride, frames)
    clips = cut_clips([sequence("a", length)], frames, stride, labelled_only=False)
    covered = np.zeros(length, bool)
    for clip in clips:
        assert 0 <= clip.start < clip.stop <= length
        assert clip.stop - clip.start == min(frames, length)
        covered[clip.start : clip.stop] = True
    assert covered.all()
    assert len(set(clips)) == len(clips)


def test_clips_of_the_papers() -> None:
    clips = cut_clips([sequence("a", 750)], 300, 200, labelled_only=False)
    assert [(c.start, c.stop) for c in clips] == [(0, 300), (200, 500), (400, 700), (450, 750)]


def test_clips_without_a_label_are_left_out_of_training() -> None:
    trials = [sequence("a", 100), sequence("b", 100, labelled=False)]
    assert [c.start for c in cut_clips(trials, 20, 20, labelled_only=True)] == [20, 40, 60, 80]


def test_standardised_training_frames_have_mean_zero_and_deviation_one() -> None:
    trials = [sequence("a", 400), sequence("b", 700, seed=1)]
    standardiser = Standardiser.fit(trials)
    clips = [Clip(0, 0, 400), Clip(1, 0, 700)]
    batch = collate(trials, clips, standardiser)
    for modality, mask in batch.present.items():
        rows = batch.features[modality][mask].numpy()
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_constant_feature_is_not_blown_up() -> None:
    trial = sequence("a", 50)
    trial.features["audio"][:, 0] = 7
    standardiser = Standardiser.fit([trial])
    assert standardiser.std["audio"][0] == 1
    batch = collate([trial], [Clip(0, 0, 50)], standardiser)
    assert batch.features["audio"][0, :, 0].abs().max() < 1e-5


def test_what_is_masked_is_zero_and_padding_is_masked() -> None:
    trials = [sequence("a", 30), sequence("b", 12, seed=3)]
    batch = collate(trials, [Clip(0, 5, 30), Clip(1, 0, 12)], Standardiser.fit(trials))
    assert batch.trials == ("a", "b")
    assert batch.target.shape == (2, 25, 2)
    for modality, values in batch.features.items():
        assert (values[~batch.present[modality]] == 0).all()
        assert not batch.present[modality][1, 12:].any()
    assert not batch.target_valid[1, 12:].any()
    assert not batch.target_valid[0, :2].any()  # frames 5 and 6 of "a" carry no label
    assert (batch.target[~batch.target_valid] == 0).all()
    np.testing.assert_array_equal(batch.target[0, 5].numpy(), trials[0].target[10])


def test_batches_follow_the_order_given() -> None:
    trials = [sequence("a", 30), sequence("b", 30), sequence("c", 30)]
    clips = cut_clips(trials, 30, 30, labelled_only=False)
    standardiser = Standardiser.fit(trials)
    found = [b.trials for b in batches(trials, clips, 2, standardiser, np.array([2, 0, 1]))]
    assert found == [("c", "a"), ("b",)]


def test_standardiser_state_round_trips() -> None:
    standardiser = Standardiser.fit([sequence("a", 40)])
    again = Standardiser.from_state(standardiser.state())
    for modality in ("visual", "audio"):
        np.testing.assert_array_equal(again.mean[modality], standardiser.mean[modality])
        np.testing.assert_array_equal(again.std[modality], standardiser.std[modality])


def test_lengths_that_differ_from_the_timeline_are_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        TrialSequence("a", {"audio": np.zeros((3, 2))}, {"audio": np.ones(3, bool)}, np.arange(4.0))
