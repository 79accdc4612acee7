"""Splits, deterministic from ids. Trials that share a video are never separated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vaest.errors import ConfigError


@dataclass(frozen=True)
class FoldTrial:
    """What a split needs to know of a trial. `group` is its video, or its subject."""

    id: str
    group: str
    partition: str | None


@dataclass(frozen=True)
class Fold:
    """Trial ids to train on and to validate on, disjoint, each sorted."""

    index: int
    train: tuple[str, ...]
    validation: tuple[str, ...]


def make_folds(trials: Iterable[FoldTrial], scheme: str, count: int) -> list[Fold]:
    """The folds of a scheme. Trials of the partition "test" are in none.

    ConfigError if there are fewer groups than folds, or no official validation trials for "abaw".
    """
    labelled = sorted((t for t in trials if t.partition != "test"), key=lambda t: t.id)
    return _abaw(labelled, count) if scheme == "abaw" else _grouped(labelled, count)


def _abaw(trials: Sequence[FoldTrial], count: int) -> list[Fold]:
    """Fold 0 is the official split; fold k validates on the k-th of count - 1 contiguous blocks
    of the sorted official training trials and trains on everything else."""
    train = [t for t in trials if t.partition == "train"]
    validation = [t for t in trials if t.partition == "validation"]
    if not train or not validation:
        raise ConfigError(
            "the corpus has no official training and validation sets",
            fix="vaest fit --set cv.scheme=group",
        )
    folds = [Fold(0, _ids(train), _ids(validation))]
    for index, block in enumerate(_blocks(train, count - 1), start=1):
        rest = [t for t in trials if t.id not in block]
        folds.append(Fold(index, _ids(rest), tuple(sorted(block))))
    return folds


def _grouped(trials: Sequence[FoldTrial], count: int) -> list[Fold]:
    """Every trial is validated on once; groups are dealt in sorted order."""
    return [
        Fold(index, _ids(t for t in trials if t.id not in block), tuple(sorted(block)))
        for index, block in enumerate(_blocks(trials, count))
    ]


def _blocks(trials: Sequence[FoldTrial], count: int) -> list[set[str]]:
    """Contiguous blocks of nearly equal numbers of trials; a group goes where it starts."""
    groups: dict[str, list[str]] = {}
    for trial in trials:
        groups.setdefault(trial.group, []).append(trial.id)
    if len(groups) < count:
        raise ConfigError(
            f"{count} folds of {len(groups)} videos: there are fewer videos than folds",
            fix=f"vaest fit --set cv.folds={len(groups)}",
        )
    blocks: list[set[str]] = [set() for _ in range(count)]
    before = 0
    current = -1
    for position, ids in enumerate(groups.values()):
        # The share of trials seen so far says which block is due. None is skipped over a large
        # group, and none stays empty at the end.
        due = before * count // len(trials)
        latest_needed = count - (len(groups) - position)
        current = max(min(due, current + 1), latest_needed)
        blocks[current].update(ids)
        before += len(ids)
    return blocks


def _ids(trials: Iterable[FoldTrial]) -> tuple[str, ...]:
    return tuple(sorted(t.id for t in trials))
