"""Stage one: frozen backbones over a corpus, once, into the feature cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from vaest import __version__
from vaest.backbones import Backbone, backbones
from vaest.cache import FeatureCache, FeatureStore, TrialWriter
from vaest.config import parse_config
from vaest.corpora import Corpus
from vaest.errors import ConfigError, VaestError, nearest_choice
from vaest.extract.forward import Job, run
from vaest.extract.sources import Sources
from vaest.recipe import Recipe
from vaest.types import Modality, Timeline, Trial


@dataclass
class Summary:
    """What one extraction did, per `modality/backbone`; and what failed, per trial."""

    done: dict[str, int] = field(default_factory=dict)
    already_done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, VaestError] = field(default_factory=dict)


def extract(
    corpus: Corpus,
    cache: FeatureCache,
    recipe: Recipe,
    *,
    modalities: Sequence[Modality] | None = None,
    only: Sequence[str] = (),
    limit: int | None = None,
    force: bool = False,
    device: str = "cpu",
) -> Summary:
    """Bring the cache of `corpus` up to what `recipe` asks for.

    A trial whose media cannot be used becomes a ledger entry and an item of `Summary.failed`; the
    others go on. What is complete for the same spec and the same source is not done again, unless
    `force`. ConfigError for an unknown trial, modality or backbone.
    """
    trials = select_trials(corpus.trials(), only, limit)
    sources = Sources(corpus, cache, trials, device)
    summary = Summary()
    timelines = _timelines(sources, trials, summary)
    usable = [trial for trial in trials if trial.id in timelines]
    for modality in modalities or recipe.modalities:
        backbone = make_backbone(recipe, modality, device)
        store = cache.store(sources.spec(backbone))
        jobs = []
        for trial in usable:
            timeline = timelines[trial.id]
            source = sources.digest(trial, timeline, modality)
            if force or not store.is_done(trial.id, source):
                jobs.append(_job(sources, store, backbone, trial, timeline, source))
        component = f"{modality}/{backbone.name}"
        summary.already_done[component] = len(usable) - len(jobs)
        summary.done[component] = _run(backbone, jobs, store, cache, summary)
    sources.remember()
    return summary


def make_backbone(recipe: Recipe, modality: Modality, device: str) -> Backbone:
    """The recipe's backbone of one modality, not yet loaded."""
    name, options = recipe.backbone(modality)
    where = f"[features.{modality}]"
    cls = backbones.get(name)
    if cls.modality != modality:
        raise ConfigError(
            f"backbone {name!r} is for {cls.modality}, not for {modality}",
            where=where,
            fix="vaest backbones",
        )
    return cls(parse_config(cls.Config, options, f"{where} of {name}"), device)


def select_trials(trials: list[Trial], only: Sequence[str], limit: int | None) -> list[Trial]:
    """The trials named, or all; at most `limit` of them. ConfigError for an unknown id."""
    by_id = {t.id: t for t in trials}
    for trial_id in only:
        if trial_id not in by_id:
            raise ConfigError(
                f"no trial {trial_id!r} in this corpus", nearest=nearest_choice(trial_id, by_id)
            )
    return ([by_id[i] for i in only] if only else trials)[:limit]


def _timelines(sources: Sources, trials: list[Trial], summary: Summary) -> dict[str, Timeline]:
    """The timeline of every trial that has one; the others are failures."""
    ledger = sources.cache.ledger
    timelines = {}
    for trial in tqdm(trials, desc="timelines", unit="trial", disable=None, leave=False):
        try:
            timelines[trial.id] = sources.timeline(trial)
        except VaestError as error:
            summary.failed[trial.id] = error
            ledger.failed(trial.id, "timeline", error)
    return timelines


def _job(
    sources: Sources,
    store: FeatureStore,
    backbone: Backbone,
    trial: Trial,
    timeline: Timeline,
    source: str,
) -> Job:
    def commit(writer: TrialWriter) -> None:
        if backbone.modality == "visual":
            sources.record_crops(trial, timeline)
        writer.commit(source, {"vaest": __version__, "source": backbone.source})

    return Job(
        trial.id,
        sources.media(trial, timeline),
        open=lambda: store.writer(trial.id, len(timeline), backbone.dim),
        commit=commit,
    )


def _run(
    backbone: Backbone,
    jobs: list[Job],
    store: FeatureStore,
    cache: FeatureCache,
    summary: Summary,
) -> int:
    """Extract the jobs; returns how many were committed."""
    if not jobs:
        return 0
    component = f"{backbone.modality}/{backbone.name}"
    backbone.load()
    done = 0
    with tqdm(total=len(jobs), desc=component, unit="trial", disable=None) as bar:
        for trial, error in run(backbone, jobs):
            bar.update()
            if error is None:
                done += 1
                record = store.record(trial)
                cache.ledger.complete(
                    trial,
                    component,
                    valid_frames=record.valid_frames,
                    n_frames=record.n_frames,
                )
            else:
                summary.failed.setdefault(trial, error)
                cache.ledger.failed(trial, component, error)
    return done
