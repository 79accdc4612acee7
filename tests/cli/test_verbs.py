"""Every verb, on the tiny demo corpus, through the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vaest.cache import FeatureCache
from vaest.cli import cli
from vaest.corpora import Corpus
from vaest.errors import VaestError
from vaest.runs import Run, list_runs

Vaest = Callable[..., Result]

SHORT = [
    *("--set", "train.epochs=2", "--set", "train.clip_frames=60", "--set", "train.clip_stride=40"),
    *("--set", "cv.folds=4", "--jobs", "1"),
]


@pytest.fixture(scope="module")
def workplace(tiny_demo: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny corpus is extracted and two models are fitted on one fold."""
    folder = tmp_path_factory.mktemp("workplace")
    vaest = _runner(folder, tiny_demo.root)
    assert vaest("extract").exit_code == 0
    assert (
        vaest("fit", "--fold", "0", "--fusion", "sage", "--fusion", "ridge", *SHORT).exit_code == 0
    )
    return folder


@pytest.fixture
def vaest(workplace: Path, tiny_demo: Corpus) -> Vaest:
    return _runner(workplace, tiny_demo.root)


def _runner(folder: Path, root: Path) -> Vaest:
    environ = {
        "VAEST_CORPUS": "demo",
        "VAEST_ROOT": str(root),
        "VAEST_CACHE": str(folder / "cache"),
        "VAEST_RUNS": str(folder / "runs"),
        "VAEST_DEVICE": "cpu",
    }

    def vaest(*arguments: str, **more: str | None) -> Result:
        return CliRunner().invoke(cli, list(arguments), env={**environ, **more})

    return vaest


def error_of(result: Result) -> VaestError:
    assert isinstance(result.exception, VaestError), result.output
    return result.exception


def test_every_feature_array_has_the_timelines_length(workplace: Path, tiny_demo: Corpus) -> None:
    cache = FeatureCache(workplace / "cache", "demo")
    assert [s.spec.modality for s in cache.stores()] == ["audio", "text", "visual"]
    for store in cache.stores():
        assert store.trials() == [t.id for t in tiny_demo.trials()]
        for trial in store.trials():
            timeline = cache.timelines.read(trial)
            features = store.read(trial)
            assert len(features) == len(timeline)
            if store.spec.modality == "visual":
                np.testing.assert_array_equal(features.valid, timeline.crop_present)


def test_extracting_again_does_nothing(vaest: Vaest) -> None:
    result = vaest("extract", "--modality", "audio")
    assert result.exit_code == 0
    assert "0 trials extracted, 6 already there" in result.output


def test_a_run_folder_holds_everything(workplace: Path) -> None:
    for run in list_runs(workplace / "runs"):
        assert run.folds() == [0]
        assert run.recipe["features"]["visual"]["backbone"] == "onet"
        assert set(run.features) == {"visual", "audio", "text"}
        assert run.environment["torch"]
        assert (run.fold_path(0) / "weights.safetensors").is_file()
        assert len(run.history(0)) == (2 if run.name.startswith("sage") else 0)
        predictions = list(run.predictions(0))
        assert [p.trial for p in predictions] == run.result(0)["validation"]
        for prediction in predictions:
            assert np.isfinite(prediction.prediction).all()
            assert set(prediction.present) == {"visual", "audio", "text"}


def test_a_second_fit_keeps_the_finished_fold_and_adds_the_next(
    vaest: Vaest, workplace: Path
) -> None:
    def ridge() -> Run:
        return next(r for r in list_runs(workplace / "runs") if r.name.startswith("ridge"))

    before = (ridge().fold_path(0) / "result.json").stat().st_mtime_ns
    result = vaest("fit", "--fusion", "ridge", "--fold", "0", "--fold", "1", *SHORT)
    assert result.exit_code == 0, result.output
    assert ridge().folds() == [0, 1]
    assert (ridge().fold_path(0) / "result.json").stat().st_mtime_ns == before


def test_evaluate_repeats_the_scores_of_the_fit(vaest: Vaest, workplace: Path) -> None:
    result = vaest("evaluate", "--fold", "0")
    assert result.exit_code == 0, result.output
    for run in list_runs(workplace / "runs"):
        scores = run.result(0)
        assert f"{scores['valence']:.3f}" in result.output
        assert f"{scores['arousal']:.3f}" in result.output


def test_report_names_every_run(vaest: Vaest, workplace: Path) -> None:
    page = workplace / "report.html"
    result = vaest("report", "--output", str(page))
    assert result.exit_code == 0, result.output
    html = page.read_text()
    assert "Demo corpus" in html
    for run in list_runs(workplace / "runs"):
        assert run.name in html


def test_predict_writes_curves_and_a_plot(vaest: Vaest, workplace: Path, tiny_demo: Corpus) -> None:
    video = next(t.video for t in tiny_demo.trials() if t.partition == "validation")
    assert video is not None
    run = next(r for r in list_runs(workplace / "runs") if r.name.startswith("sage"))
    result = vaest("predict", str(video), "--run", str(run.path), "--output", str(workplace))
    assert result.exit_code == 0, (result.output, result.exception)
    with (workplace / f"{video.stem}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "time", "valence", "arousal"]
    assert [int(r["frame"]) for r in rows] == list(range(len(rows)))
    assert len(rows) > 30
    assert (workplace / f"{video.stem}.png").stat().st_size > 5000


def test_a_bad_trial_is_reported_and_the_others_go_on(tiny_demo: Corpus, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    root.mkdir()
    good = next(t.video for t in tiny_demo.trials() if t.partition == "validation")
    assert good is not None
    (root / "good.mp4").write_bytes(good.read_bytes())
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("not a video")
    result = _runner(tmp_path, root)(
        "extract",
        "--modality",
        "audio",
        "--set",
        "features.audio.backbone=logmel",
        VAEST_CORPUS="folder",
    )
    assert result.exit_code == 1
    assert "1 trials extracted" in result.output
    assert "failed: empty" in result.output
    assert "failed: text" in result.output
    cache = FeatureCache(tmp_path / "cache", "folder-videos")
    assert {entry.trial for entry in cache.ledger.failures()} == {"empty", "text"}


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["fit", "--fusion", "sgae"], "sage"),
        (["fit", "--fusion", "sage:papre"], None),
        (["fit", "--fold", "9", "--set", "cv.folds=4"], "0 to 3"),
        (["fit", "--recipe", "deom"], "demo"),
        (["fit", "--set", "train.learning_rte=1"], None),
        (["fit", "--set", "fusion.widht=8"], "width"),
        (["extract", "--set", "features.audio.backbone=logml"], "logmel"),
        (["extract", "--set", "features.audio.backbone=onet"], None),
        (["extract", "--only", "tiny-99"], None),
        (["extract", "--corpus", "demoo"], "demo"),
        (["evaluate", "runs/absent"], None),
        (["extract", "--device", "tpuu"], "auto, cpu, cuda"),
    ],
)
def test_wrong_names_get_one_clear_error(
    vaest: Vaest, arguments: list[str], nearest: str | None
) -> None:
    error = error_of(vaest(*arguments))
    if nearest:
        assert error.nearest == nearest


def test_missing_root(vaest: Vaest) -> None:
    missing = error_of(vaest("extract", "--corpus", "affwild2", "--root", "/nowhere/at/all"))
    assert "/nowhere/at/all" in str(missing)
    unset = error_of(vaest("extract", "--corpus", "affwild2", VAEST_ROOT=None))
    assert "--root" in str(unset)


def test_fit_without_features_names_the_command(vaest: Vaest, tmp_path: Path) -> None:
    error = error_of(
        vaest("fit", "--corpus", "affwild2", "--cache", str(tmp_path), VAEST_ROOT=None)
    )
    assert error.fix == "vaest extract --modality visual"


def test_lists(vaest: Vaest) -> None:
    assert "whisper_tiny" in vaest("backbones").output
    assert "modality, rescaled, paper" in vaest("fusions").output
