"""The report and its tables, from runs written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaest.errors import ConfigError, InputError
from vaest.report import markdown_table, table, text_table, write_report
from vaest.report.reliability import agreement
from vaest.runs import Run, TrialPrediction, write_predictions

N = 120
TIME_S = np.arange(N) / 30
RAMP = np.linspace(0, 1, N).astype(np.float32)
MINUS, MISSING = "\N{MINUS SIGN}", "\N{EN DASH}"
HOSTILE = "<img src=x onerror=alert(1)>&$"


class Page(HTMLParser):
    """What a test wants to know of a page: its text, references, ids and balance."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.cells: list[list[str]] = []
        self.opened: list[str] = []
        self.words = ""
        self.feed(path.read_text())
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "data", "srcset", "action"}:
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on"), f"{tag} has the handler {name}"
        if tag not in self.VOID:
            self.opened.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if {"td", "th"} & set(self.opened):
            self.cells[-1][-1] += data


def prediction(trial: str, seed: int = 0, **changes: Any) -> TrialPrediction:
    rng = np.random.default_rng(seed)
    target = np.stack([np.sin(TIME_S), np.cos(TIME_S)], axis=1).astype(np.float32)
    target[10:20] = np.nan
    guess = np.nan_to_num(target) + rng.normal(0, 0.1, (N, 2)).astype(np.float32)
    fields: dict[str, Any] = {
        "trial": trial,
        "time_s": TIME_S,
        "prediction": guess,
        "target": target,
        "present": {"visual": TIME_S < 3, "audio": np.ones(N, dtype=bool)},
        "reliability": {},
    }
    return TrialPrediction(**fields | changes)


def write_run(
    folder: Path,
    name: str,
    folds: Mapping[int, list[TrialPrediction]],
    scores: Mapping[int, Mapping[str, Any]],
    history: bool = False,
    features: Mapping[str, Any] | None = None,
) -> Run:
    run = Run(folder / name)
    recipe = {
        "corpus": {"name": "demo"},
        "features": features or {"visual": {"backbone": "onet"}, "audio": {"backbone": "logmel"}},
        "fusion": {"name": "sage", "variant": "modality"},
        "train": {"keep": "best"},
    }
    run.start(recipe, {}, {"python": "3.11"})
    for fold, predictions in folds.items():
        run.fold_path(fold).mkdir()
        write_predictions(run.fold_path(fold) / "predictions.npz", predictions)
        if history:
            epochs = [
                {"epoch": e, "loss": 1 / e, "valence": e / 9, "arousal": e / 8, "mean": e / 7}
                for e in (1, 2, 3)
            ]
            lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
            (run.fold_path(fold) / "history.jsonl").write_text(lines)
        run.finish_fold(fold, {"n_frames": N, "n_trials": 1, "parameters": 12345, **scores[fold]})
    return run


SCORES = {
    0: {
        "valence": 0.1234,
        "arousal": -0.2345,
        "mean": -0.0556,
        "seconds": 61.0,
        "interval": {"valence": [0.05, 0.2], "arousal": [-0.3, -0.1], "mean": [-0.1, 0.0]},
    },
    3: {"valence": 0.5, "arousal": 0.3, "mean": 0.4, "seconds": 2.0},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folds = {0: [prediction("a")], 3: [prediction("b", 1)]}
    return write_run(tmp_path / "runs", "first", folds, SCORES, history=True)


@pytest.fixture
def bare_run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "runs", "second", {}, {})


def test_the_table_averages_folds_and_knows_the_official_one(run: Run, bare_run: Run) -> None:
    row, empty = table([run, bare_run])
    assert (row.name, row.fusion, row.variant) == ("first", "sage", "modality")
    assert row.modalities == ("visual", "audio")
    assert [fold.fold for fold in row.folds] == [0, 3]
    assert row.average.valence == pytest.approx(0.3117)
    assert row.spread.valence == pytest.approx((0.5 - 0.1234) / math.sqrt(2))
    assert row.official.mean == -0.0556
    assert row.folds[0].intervals["arousal"] == (-0.3, -0.1)
    assert row.parameters == 12345
    assert row.seconds == 63.0
    assert math.isnan(empty.average.mean)
    assert math.isnan(empty.official.mean)


def test_a_fold_without_a_score_leaves_no_average(tmp_path: Path) -> None:
    scores = {0: {"valence": math.nan, "arousal": 0.5, "mean": None}, 1: SCORES[3]}
    folds = {0: [prediction("a")], 1: [prediction("b")]}
    (row,) = table([write_run(tmp_path, "r", folds, scores)])
    assert math.isnan(row.average.valence)
    assert math.isnan(row.average.mean)
    assert row.average.arousal == pytest.approx(0.4)


def test_text_tables_are_aligned(run: Run, bare_run: Run) -> None:
    lines = text_table([run, bare_run], per_fold=True).splitlines()
    rule = next(line for line in lines if set(line) == {"-", " "})
    ends = [i for i in range(len(rule)) if rule[i] == "-" and (rule + " ")[i + 1] == " "]
    body = lines[lines.index(rule) + 1 :]
    assert [line.split()[0] for line in body] == ["first", "fold", "fold", "second"]
    for line in body:
        padded = line.ljust(len(rule))
        assert len(padded) == len(rule)
        assert all(padded[end + 1 : end + 3].strip() == "" for end in ends)
    assert "0.312 ± 0.266" in body[0]
    assert body[0].endswith("0.123   -0.234  -0.056")
    assert body[3].split() == ["second", "0", *[MISSING] * 6]


def test_markdown_tables_have_one_shape(run: Run, bare_run: Run) -> None:
    rows = [line.strip("|").split("|") for line in markdown_table([run, bare_run]).splitlines()]
    assert {len(row) for row in rows} == {10}
    assert rows[2][1].strip() == "sage (modality)"


def test_the_page_is_self_contained_and_complete(run: Run, bare_run: Run, tmp_path: Path) -> None:
    write_report([run, bare_run], tmp_path / "r.html", title="T", corpus_note="only a demo")
    page = Page(tmp_path / "r.html")
    assert "script" not in page.tags
    assert all(r.startswith(("#", "data:")) for r in page.references)
    assert {r[1:] for r in page.references if r.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    for words in ("only a demo", "first", "second", "no finished fold yet", "python", "variant"):
        assert words in page.words
    assert "url(" not in (tmp_path / "r.html").read_text()
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_the_page_shows_the_numbers_of_the_folds(run: Run, tmp_path: Path) -> None:
    write_report([run], tmp_path / "r.html", title="T")
    page = Page(tmp_path / "r.html")
    cells = [[c.strip().replace(MINUS, "-") for c in row] for row in page.cells]
    (first,) = [row for row in cells if row[:2] == ["first", "0"]]
    assert first[2:] == [
        "0.123 [0.050, 0.200]",
        "-0.234 [-0.300, -0.100]",
        "-0.056 [-0.100, 0.000]",
        "1",
        "120",
        "1 min 1 s",
    ]
    (second,) = [row for row in cells if row[0] == "3"]
    assert second[1:4] == ["0.500", "0.300", "0.400"]


def test_every_trial_has_its_curves_lanes_and_score(run: Run, tmp_path: Path) -> None:
    write_report([run], tmp_path / "r.html", title="T")
    html = (tmp_path / "r.html").read_text()
    for trial, fold in (("a", 0), ("b", 3)):
        start = html.index(f"<figcaption><strong>{trial}</strong>")
        figure = html[start : html.index("</figure>", start)]
        assert f"fold {fold}, 120 frames" in figure
        # The label's gap breaks the truth in two; the prediction is whole.
        truth = figure.split('class="line truth" d="')[1].split('"')[0]
        guess = figure.split('class="line valence" d="')[1].split('"')[0]
        assert truth.count("M") == 2
        assert guess.count("M") == 1
        assert figure.count('class="present"') == 2


def test_a_constant_reliability_and_unlabelled_trials_are_drawn(tmp_path: Path) -> None:
    p = prediction("a", target=None, reliability={"joint": np.ones(N, dtype=np.float32)})
    run = write_run(tmp_path, "r", {0: [p]}, {0: SCORES[3]})
    corruption = {"visual": RAMP, "audio": RAMP}
    write_report([run], tmp_path / "r.html", title="T", corruption=lambda _: corruption)
    cells = [[c.strip() for c in row] for row in Page(tmp_path / "r.html").cells]
    assert ["r", "joint", MISSING, "0", "0"] in cells


@pytest.mark.parametrize(
    ("reliability", "expected"), [(1 - RAMP**3, 1.0), (np.exp(RAMP), -1.0), (0 * RAMP, math.nan)]
)
def test_rank_correlation_of_constructed_courses(reliability: np.ndarray, expected: float) -> None:
    p = prediction("a", reliability={"audio": reliability})
    (found,) = agreement([p], lambda _: {"audio": RAMP})
    assert found.modality == "audio"
    assert found.correlation == pytest.approx(expected, nan_ok=True)
    assert found.n_frames == (0 if math.isnan(expected) else N)


def test_rank_correlation_averages_trials_and_leaves_out_absent_frames() -> None:
    good = prediction("g", reliability={"visual": 1 - RAMP})
    bad = prediction("b", reliability={"visual": RAMP})
    absent = ~good.present["visual"]
    good.reliability["visual"][absent] = -9.0
    (found,) = agreement([good, good, bad], lambda _: {"visual": RAMP})
    assert found.correlation == pytest.approx(1 / 3)
    assert (found.n_trials, found.n_frames) == (3, 3 * int((~absent).sum()))


def test_joint_reliability_is_compared_with_the_worst_modality() -> None:
    visual, audio = RAMP, RAMP[::-1]
    p = prediction("a", reliability={"joint": -np.maximum(visual, audio)})
    (found,) = agreement([p], lambda _: {"visual": visual, "audio": audio, "text": 0 * RAMP})
    assert (found.modality, found.correlation) == ("joint", pytest.approx(1.0))


def test_trials_without_known_corruption_are_no_evidence() -> None:
    p = prediction("a", reliability={"audio": RAMP})
    assert agreement([p], lambda _: None) == ()


def test_a_corruption_of_another_length_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus has changed"):
        write_report(
            [run], tmp_path / "r.html", title="T", corruption=lambda _: {"audio": RAMP[:-1]}
        )
    assert not (tmp_path / "r.html").exists()


def test_the_same_runs_give_the_same_bytes(run: Run, bare_run: Run, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report([run, bare_run], tmp_path / name, title="T")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    p = prediction(HOSTILE, reliability={"audio": 1 - RAMP})
    run = write_run(tmp_path, HOSTILE, {0: [p]}, {0: SCORES[0]})
    write_report(
        [run], tmp_path / "r.html", title=HOSTILE, corpus_note=HOSTILE,
        corruption=lambda _: {"audio": RAMP},
    )  # fmt: skip
    page = Page(tmp_path / "r.html")
    assert "img" not in page.tags
    assert page.words.count(HOSTILE) >= 6


def test_random_weights_are_said_aloud(tmp_path: Path) -> None:
    features = {"visual": {"backbone": "resnet50", "weights": "random"}}
    run = write_run(tmp_path, "r", {0: [prediction("a")]}, {0: SCORES[0]}, features=features)
    write_report([run], tmp_path / "r.html", title="T")
    assert "visual (random weights)" in Page(tmp_path / "r.html").words


def test_many_runs_share_the_space(tmp_path: Path) -> None:
    trials = [prediction(f"trial{i:02d}", i) for i in range(30)]
    run = write_run(tmp_path, "r", {0: trials}, {0: SCORES[0]})
    write_report([run] * 40, tmp_path / "r.html", title="T")
    page = Page(tmp_path / "r.html")
    assert page.words.count("6 of 30 trials") == 40
    assert (tmp_path / "r.html").stat().st_size < 6e6


def test_no_runs_is_an_error_with_a_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_report([], tmp_path / "r.html", title="T")
    assert caught.value.fix == "vaest fit"
