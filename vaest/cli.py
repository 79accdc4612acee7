"""Parse, call one verb, print. Heavy imports live inside the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vaest import __version__
from vaest.errors import ConfigError, VaestError
from vaest.settings import Settings, load_settings
from vaest.types import MODALITIES

if TYPE_CHECKING:
    import numpy as np

    from vaest.cache import FeatureCache
    from vaest.corpora import Corpus
    from vaest.recipe import Recipe
    from vaest.runs import Run

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def main() -> None:
    """Entry point: a VaestError is a message and exit status 1, never a traceback."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except VaestError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Continuous valence and arousal from video, audio and speech.

    Two stages: `extract` runs frozen backbones once and caches their features, `fit` trains small
    fusion models on them. With nothing configured, both use the built-in demo corpus.
    """


def corpus_options(command: F) -> F:
    """--corpus, --root, --cache, --runs and --device, as one `settings` argument."""
    for name, help_text in reversed(
        [
            ("corpus", "Corpus layout: demo, affwild2 or folder.  [VAEST_CORPUS]"),
            ("root", "Where the corpus lies.  [VAEST_ROOT]"),
            ("cache", "Feature cache (default: ./cache).  [VAEST_CACHE]"),
            ("runs", "Run folders (default: ./runs).  [VAEST_RUNS]"),
            ("device", "cpu, cuda or auto.  [VAEST_DEVICE]"),
        ]
    ):
        command = click.option(f"--{name}", metavar=name.upper(), help=help_text)(command)
    return command


def recipe_options(command: F) -> F:
    """--recipe and --set."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a recipe key, e.g. --set train.lr=3e-4.",
    )(command)
    return click.option(
        "--recipe",
        "recipe_name",
        metavar="NAME|FILE",
        help="A recipe of pipelines/, or a file (default: demo for the demo corpus, else offline).",
    )(command)


modality_option = click.option(
    "--modality",
    "modalities",
    multiple=True,
    type=click.Choice(MODALITIES),
    help="Only this modality; may be repeated.",
)


@cli.command()
@corpus_options
@recipe_options
@modality_option
@click.option("--only", multiple=True, metavar="TRIAL", help="Only this trial; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many trials.")
@click.option("--force", is_flag=True, help="Do again what is done.")
def extract(
    recipe_name: str | None,
    overrides: Sequence[str],
    modalities: Sequence[Any],
    only: Sequence[str],
    limit: int | None,
    force: bool,
    **options: str | None,
) -> None:
    """Run frozen backbones over a corpus, into the feature cache."""
    settings = _settings(options)
    recipe = _recipe(settings, recipe_name, overrides)
    corpus = _corpus(settings)
    failed = _extract(
        corpus,
        _cache(settings, corpus),
        recipe,
        settings,
        modalities=modalities,
        only=only,
        limit=limit,
        force=force,
    )
    sys.exit(1 if failed else 0)


@cli.command()
@corpus_options
@recipe_options
@modality_option
@click.option(
    "--fusion",
    "fusion_names",
    multiple=True,
    metavar="NAME[:VARIANT]",
    help="Fusion model; may be repeated (default: the recipe's).",
)
@click.option("--fold", "folds", multiple=True, type=int, help="Only this fold; may be repeated.")
@click.option("--jobs", type=click.IntRange(min=1), help="Folds fitted at a time (default: cores).")
def fit(
    recipe_name: str | None,
    overrides: Sequence[str],
    modalities: Sequence[str],
    fusion_names: Sequence[str],
    folds: Sequence[int],
    jobs: int | None,
    **options: str | None,
) -> None:
    """Train fusion models on cached features, fold by fold; print their CCC."""
    settings = _settings(options)
    recipe = _recipe(settings, recipe_name, overrides)
    if modalities:
        recipe = recipe.with_modalities(modalities)
    corpus = _corpus(settings) if settings.corpus == "demo" or settings.root else None
    cache = _cache(settings, corpus)
    if settings.corpus == "demo" and corpus is not None:
        _extract(corpus, cache, recipe, settings)

    from vaest.fit import fit as fit_run
    from vaest.fit import switch_fusion
    from vaest.report import text_table

    recipes = [switch_fusion(recipe, name) for name in fusion_names] or [recipe]
    runs = [
        fit_run(cache, r, settings.runs, folds=folds, device=_device(settings), jobs=jobs)
        for r in recipes
    ]
    _say_corpus_of_numbers(settings)
    click.echo(text_table(runs))
    for run in runs:
        click.echo(f"run: {run.path}")


@cli.command()
@corpus_options
@click.argument("run_paths", metavar="[RUN]...", nargs=-1, type=PATH)
@click.option("--fold", "folds", multiple=True, type=int, help="Only this fold; may be repeated.")
def evaluate(run_paths: Sequence[Path], folds: Sequence[int], **options: str | None) -> None:
    """Score finished folds again from their predictions, with bootstrap intervals."""
    from vaest.evaluate import evaluate as evaluate_run

    settings = _settings(options)
    for run in _runs(run_paths, settings):
        click.echo(run.name)
        rows = [["fold", "valence", "arousal", "mean", "95% interval", "frames"]]
        for result in evaluate_run(run, folds):
            low, high = result["interval"]["mean"]
            rows.append(
                [
                    str(result["fold"]),
                    *(f"{result[key]:.3f}" for key in ("valence", "arousal", "mean")),
                    f"[{low:.3f}, {high:.3f}]",
                    str(result["n_frames"]),
                ]
            )
        click.echo(_aligned(rows))


@cli.command()
@corpus_options
@click.argument("clip", type=PATH)
@click.option("--run", "run_path", required=True, type=PATH, help="A run folder of `vaest fit`.")
@click.option("--fold", "folds", multiple=True, type=int, help="Only this fold's model.")
@click.option("--output", type=PATH, default=Path(), help="Folder for the curves.")
def predict(
    clip: Path, run_path: Path, folds: Sequence[int], output: Path, **options: str | None
) -> None:
    """Valence and arousal of a video: a CSV of every frame, and a plot."""
    from vaest.predict import predict as predict_clip
    from vaest.predict import write_csv
    from vaest.report import plot_prediction
    from vaest.runs import Run

    settings = _settings(options, announce=False)
    run = Run.open(run_path if run_path.exists() else settings.runs / run_path)
    output.mkdir(parents=True, exist_ok=True)
    for prediction in predict_clip(
        clip, run, settings.cache, folds=folds, device=_device(settings)
    ):
        curves = output / f"{prediction.trial}.csv"
        write_csv(prediction, curves)
        plot = curves.with_suffix(".png")
        plot_prediction(prediction, plot)
        click.echo(f"{curves}\n{plot}")


@cli.command()
@corpus_options
@click.argument("run_paths", metavar="[RUN]...", nargs=-1, type=PATH)
@click.option("--output", type=PATH, default=Path("report.html"), show_default=True)
@click.option("--picture", type=PATH, help="Also draw the median trial of the first run, as a PNG.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
def report(
    run_paths: Sequence[Path],
    output: Path,
    picture: Path | None,
    markdown: bool,
    **options: str | None,
) -> None:
    """One HTML page: CCC table, curves, masks, reliability. All runs by default."""
    from vaest.report import markdown_table, picture_trial, text_table, write_report

    settings = _settings(options, announce=False)
    chosen = _runs(run_paths, settings)
    corpus_names = {run.recipe["corpus"]["name"] for run in chosen}
    corruption = _corruption(settings) if corpus_names == {"demo"} else None
    write_report(
        chosen,
        output,
        title="Valence and arousal",
        corpus_note=DEMO_NOTE if "demo" in corpus_names else None,
        corruption=corruption,
    )
    if picture is not None:
        picture_trial(chosen[0], picture, corruption)
    _say_corpus_of_numbers(settings)
    click.echo(markdown_table(chosen) if markdown else text_table(chosen))
    click.echo(f"report: {output.absolute()}")


@cli.command()
@click.option("--root", type=PATH, help="Where to write it (default: the user's cache folder).")
def demo(root: Path | None) -> None:
    """Generate the demo corpus and say where it lies."""
    corpus = _corpus(Settings(root=root))
    click.echo(f"{len(corpus.trials())} trials: {corpus.root}")


@cli.command()
def backbones() -> None:
    """List the frozen models of stage one."""
    from vaest.backbones import backbones as registry

    rows = [["name", "modality", "dim", "rate", "weights"]]
    for name in registry.names():
        b = registry.get(name)
        rows.append([name, b.modality, str(b.dim), b.rate, b.source])
    click.echo(_aligned(rows))


@cli.command()
def fusions() -> None:
    """List the fusion models of stage two."""
    from vaest.fusion import fusions as registry

    rows = [["name", "variants", "paper"]]
    for name in registry.names():
        model = registry.get(name)
        rows.append([name, ", ".join(model.variants()), model.paper])
    click.echo(_aligned(rows))


DEMO_NOTE = (
    "Demo corpus: synthetic faces and speech. It shows that the pipeline works, "
    "and says nothing about accuracy on real people."
)


def _settings(options: dict[str, str | None], announce: bool = True) -> Settings:
    settings = load_settings(options, os.environ, Path.cwd())
    if announce and not settings.configured:
        click.echo(
            "corpus: demo (nothing else is configured; see --corpus, VAEST_CORPUS, vaest.toml)",
            err=True,
        )
    return settings


def _recipe(settings: Settings, name: str | None, overrides: Sequence[str]) -> Recipe:
    from vaest.recipe import load_recipe

    default = "demo" if settings.corpus == "demo" else "offline"
    return load_recipe(name or default, overrides)


def _corpus(settings: Settings) -> Corpus:
    from vaest.corpora import corpora

    cls = corpora.get(settings.corpus)
    if settings.corpus == "demo":
        from vaest.corpora.demo import default_root

        return cls(settings.root or default_root())
    if settings.root is None:
        raise ConfigError(
            f"the corpus {settings.corpus!r} needs its folder",
            fix=f"vaest extract --corpus {settings.corpus} --root FOLDER",
        )
    return cls(settings.root)


def _corruption(settings: Settings) -> Callable[[str], Mapping[str, np.ndarray] | None]:
    """What the corpus knows of the corruption of its trials, by id."""
    corpus = _corpus(settings)
    trials = {trial.id: trial for trial in corpus.trials()}
    return lambda trial_id: corpus.corruption(trials[trial_id])


def _cache(settings: Settings, corpus: Corpus | None) -> FeatureCache:
    from vaest.cache import FeatureCache

    return FeatureCache(settings.cache, corpus.cache_name if corpus else settings.corpus)


def _extract(
    corpus: Corpus, cache: FeatureCache, recipe: Recipe, settings: Settings, **wanted: Any
) -> bool:
    """Extract and say what was done; True if a trial failed."""
    from vaest.extract import extract as extract_corpus

    summary = extract_corpus(corpus, cache, recipe, device=_device(settings), **wanted)
    for component, done in summary.done.items():
        click.echo(
            f"{component}: {done} trials extracted, "
            f"{summary.already_done[component]} already there",
            err=True,
        )
    for trial, error in summary.failed.items():
        click.echo(f"failed: {trial}: {error}", err=True)
    return bool(summary.failed)


def _runs(paths: Sequence[Path], settings: Settings) -> list[Run]:
    from vaest.runs import Run, list_runs

    if paths:
        return [Run.open(p if p.exists() else settings.runs / p) for p in paths]
    found = [run for run in list_runs(settings.runs) if run.folds()]
    if not found:
        raise ConfigError("there is no finished run", where=settings.runs, fix="vaest fit")
    return found


def _device(settings: Settings) -> str:
    import torch

    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(torch.device(settings.device))
    except RuntimeError:
        raise ConfigError(
            f"unknown device {settings.device!r}", nearest="auto, cpu, cuda"
        ) from None


def _say_corpus_of_numbers(settings: Settings) -> None:
    if settings.corpus == "demo":
        click.echo(DEMO_NOTE)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    main()
