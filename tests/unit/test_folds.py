"""Splits: the official one, the rolled ones, and groups that stay together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaest.errors import ConfigError
from vaest.folds import FoldTrial, make_folds

OFFICIAL = [
    *(FoldTrial(f"t{i:02}", f"t{i:02}", "train") for i in range(10)),
    *(FoldTrial(f"v{i}", f"v{i}", "validation") for i in range(3)),
    FoldTrial("x0", "x0", "test"),
]


def test_fold_zero_is_the_official_split() -> None:
    fold = make_folds(OFFICIAL, "abaw", 6)[0]
    assert fold.train == tuple(f"t{i:02}" for i in range(10))
    assert fold.validation == ("v0", "v1", "v2")


def test_rolled_folds_are_contiguous_blocks_of_the_training_set() -> None:
    folds = make_folds(OFFICIAL, "abaw", 6)
    assert [f.validation for f in folds[1:]] == [
        (f"t{2 * i:02}", f"t{2 * i + 1:02}") for i in range(5)
    ]
    assert set(folds[3].train) == {t.id for t in OFFICIAL[:-1]} - set(folds[3].validation)


def test_twins_never_straddle() -> None:
    twins = [
        FoldTrial(f"clip{i}{side}", f"clip{i}", "train")
        for i in range(5)
        for side in ("_left", "_right")
    ] + [FoldTrial("v", "v", "validation")]
    for fold in make_folds(twins, "abaw", 6):
        videos = {t.rsplit("_", 1)[0] for t in fold.validation}
        assert not videos & {t.rsplit("_", 1)[0] for t in fold.train}


@given(
    sizes=st.lists(st.integers(1, 4), min_size=6, max_size=30),
    count=st.integers(2, 6),
)
def test_grouped_folds_partition_and_balance(sizes: list[int], count: int) -> None:
    trials = [
        FoldTrial(f"g{g:02}-{i}", f"g{g:02}", None) for g, n in enumerate(sizes) for i in range(n)
    ]
    folds = make_folds(trials, "group", count)
    validated = [t for f in folds for t in f.validation]
    assert sorted(validated) == sorted(t.id for t in trials)
    for fold in folds:
        assert fold.validation
        assert not set(fold.train) & set(fold.validation)
        assert not {t[:3] for t in fold.train} & {t[:3] for t in fold.validation}
        assert len(fold.validation) <= len(trials) / count + 2 * max(sizes)


def test_order_of_trials_does_not_matter() -> None:
    assert make_folds(OFFICIAL[::-1], "abaw", 6) == make_folds(OFFICIAL, "abaw", 6)


def test_too_few_videos() -> None:
    with pytest.raises(ConfigError, match="fewer videos"):
        make_folds(OFFICIAL[:2] + OFFICIAL[-2:], "abaw", 6)


def test_no_official_split() -> None:
    with pytest.raises(ConfigError, match="official") as caught:
        make_folds([FoldTrial("a", "a", None)], "abaw", 2)
    assert "cv.scheme=group" in str(caught.value)
