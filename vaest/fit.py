"""Stage two: cached features into a fusion model, fold by fold, into a run folder."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vaest import __version__, align
from vaest.backbones import backbones
from vaest.batches import load_sequences
from vaest.cache import FeatureCache, FeatureStore
from vaest.config import parse_config
from vaest.digest import digest
from vaest.engine import available_cpus, map_tasks
from vaest.errors import CacheError, ConfigError
from vaest.folds import Fold, FoldTrial, make_folds
from vaest.fusion import fusions
from vaest.metrics import bootstrap_interval, score
from vaest.recipe import Recipe
from vaest.runs import Run, write_predictions
from vaest.train import fit_fold
from vaest.types import MODALITIES, Modality


@dataclass(frozen=True)
class FoldTask:
    """Everything a worker process needs to fit one fold."""

    recipe: Recipe
    cache: FeatureCache
    stores: dict[str, FeatureStore]
    fold: Fold
    run: Run
    device: str


def fit(
    cache: FeatureCache,
    recipe: Recipe,
    runs: Path,
    *,
    folds: Sequence[int] | None = None,
    device: str = "cpu",
    jobs: int | None = None,
) -> Run:
    """Fit the wanted folds (all by default) that the run does not have yet.

    The run's name follows from the recipe and the features, so a second call finds its folder and
    goes on where the first stopped. CacheError names features that are missing and the command
    that makes them; ConfigError an unknown fold.
    """
    recipe = resolve(recipe)
    stores = find_stores(cache, recipe)
    splits = corpus_folds(cache, recipe)
    run = Run(runs / run_name(recipe, stores))
    wanted = _wanted_folds(splits, folds)
    todo = [fold for fold in wanted if fold.index not in run.folds()]
    if not todo:
        return run
    workers = jobs or (available_cpus() if device == "cpu" else 1)
    features = {m: store.spec.model_dump(mode="json") for m, store in stores.items()}
    run.start(recipe.plain(), features, _environment(device))
    tasks = [FoldTask(recipe, cache, stores, fold, run, device) for fold in todo]
    with tqdm(total=len(tasks), desc=run.name, unit="fold", disable=None) as bar:
        for _ in map_tasks(fit_one, tasks, workers):
            bar.update()
    return run


def fit_one(task: FoldTask) -> int:
    """Fit one fold and write its folder; returns the fold's index."""
    if task.device == "cpu":
        # One thread a fold: sums have one order, so results do not depend on `jobs`.
        torch.set_num_threads(1)
    started = time.perf_counter()
    train = load_sequences(task.cache, task.stores, task.fold.train)
    validation = load_sequences(task.cache, task.stores, task.fold.validation)
    folder = task.run.fold_path(task.fold.index)
    folder.mkdir(parents=True, exist_ok=True)
    history = folder / "history.jsonl"
    history.unlink(missing_ok=True)

    def log(epoch: dict[str, Any]) -> None:
        with history.open("a") as file:
            file.write(json.dumps(epoch) + "\n")

    outcome = fit_fold(task.recipe, train, validation, task.device, log)
    outcome.fitted.save(folder / "weights.safetensors")
    write_predictions(folder / "predictions.npz", outcome.predictions)
    task.run.finish_fold(
        task.fold.index,
        {
            "fold": task.fold.index,
            **score(outcome.predictions),
            "interval": bootstrap_interval(outcome.predictions),
            "n_trials": len(outcome.predictions),
            "parameters": outcome.fitted.parameters,
            "best_epoch": outcome.best_epoch,
            "seconds": round(time.perf_counter() - started, 2),
            "train": list(task.fold.train),
            "validation": list(task.fold.validation),
        },
    )
    return task.fold.index


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with every default of its components written out."""
    cls = fusions.get(recipe.fusion_name)
    options = parse_config(cls.Config, recipe.fusion_options, f"[fusion] of {cls.name}")
    return recipe.with_fusion(cls.name, options.model_dump(mode="json"))


def switch_fusion(recipe: Recipe, choice: str) -> Recipe:
    """The recipe with another model, `name` or `name:variant`.

    Options that the new model has too (width, layers, dropout and the like) keep the recipe's
    values; the variant does not carry over from one model to another.
    """
    name, _, variant = choice.partition(":")
    options = recipe.fusion_options
    if name != recipe.fusion_name:
        known = set(fusions.get(name).Config.model_fields) - {"variant"}
        options = {k: v for k, v in options.items() if k in known}
    if variant:
        options["variant"] = variant
    return recipe.with_fusion(name, options)


def find_stores(cache: FeatureCache, recipe: Recipe) -> dict[str, FeatureStore]:
    """The store of each modality of the recipe.

    One store of the named backbone with the named options is enough, whoever made it: weights are
    not needed to use features. CacheError if there is none, or more than one to choose from.
    """
    return {m: _find_store(cache, recipe, m) for m in recipe.modalities}


def corpus_folds(cache: FeatureCache, recipe: Recipe) -> list[Fold]:
    """The folds of the cached corpus under the recipe's scheme."""
    records = {trial: cache.timelines.record(trial) for trial in cache.timelines.trials()}
    trials = [FoldTrial(i, r.subject or r.video_id, r.partition) for i, r in records.items()]
    return make_folds(trials, recipe.cv.scheme, recipe.cv.folds)


def run_name(recipe: Recipe, stores: dict[str, FeatureStore]) -> str:
    """`sage-modality-vat-3f2a91c0`: fusion, variant, modalities, identity."""
    letters = "".join(m[0] for m in MODALITIES if m in stores)
    made_from = {m: store.path.stem for m, store in stores.items()}
    identity = digest([recipe.plain(), made_from, __version__])[:8]
    return f"{recipe.fusion_name}-{recipe.fusion['variant']}-{letters}-{identity}"


def _find_store(cache: FeatureCache, recipe: Recipe, modality: Modality) -> FeatureStore:
    name, options = recipe.backbone(modality)
    cls = backbones.get(name)
    config = parse_config(cls.Config, options, f"[features.{modality}] of {name}")
    wanted = config.model_dump(mode="json")
    found = [
        s for s in cache.stores(modality) if s.spec.backbone == name and s.spec.config == wanted
    ]
    command = f"vaest extract --modality {modality}"
    if not found:
        raise CacheError(f"no {name} features of this corpus", where=cache.path, fix=command)
    # Stores of an earlier version of the code may lie beside those of this one.
    alignment = {"policy": cls.policy, "version": align.VERSION}
    current = [
        s for s in found if s.spec.version == cls.version and s.spec.media.get("align") == alignment
    ]
    found = current or found
    if len(found) > 1:
        raise CacheError(
            f"{len(found)} stores hold {name} features with these options",
            where=", ".join(s.path.name for s in found),
            fix=f"rm -r {found[0].path}",
        )
    _check_complete(cache, found[0], f"{modality}/{name}", command)
    return found[0]


def _check_complete(cache: FeatureCache, store: FeatureStore, component: str, command: str) -> None:
    """Trials that failed are known and absent; trials never tried are an unfinished extraction."""
    known = set(store.trials()) | {
        entry.trial for entry in cache.ledger.failures() if entry.component == component
    }
    missing = [t for t in cache.timelines.trials() if t not in known]
    if missing:
        raise CacheError(
            f"{len(missing)} trials have no {component} features, the first is {missing[0]!r}",
            where=store.path,
            fix=command,
        )


def _wanted_folds(splits: Sequence[Fold], folds: Iterable[int] | None) -> list[Fold]:
    by_index = {fold.index: fold for fold in splits}
    for index in folds or ():
        if index not in by_index:
            raise ConfigError(f"there is no fold {index}", nearest=f"0 to {len(splits) - 1}")
    return [by_index[i] for i in folds] if folds else list(splits)


def _environment(device: str) -> dict[str, Any]:
    packages = ("torch", "numpy", "scikit-learn", "transformers", "zarr")
    return {
        "vaest": __version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine(),
        **{name: version(name) for name in packages},
    }
