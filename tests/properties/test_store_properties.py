"""Whatever the rows, their order and their grouping: the store holds them, to the bit."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaest.cache import FeatureCache, FeatureSpec, FeatureStore

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

unicode = st.text(st.characters(codec="utf-8"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | unicode,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode, inner, max_size=3),
    max_leaves=6,
)
trial_ids = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\:\0"), min_size=1, max_size=40
).filter(lambda name: not name.startswith(".") and name != "zarr.json")


@st.composite
def features(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """Values, and a partition of some of their frames into puts."""
    n_frames, dim = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    finite = st.floats(-65504, 65504, width=16)
    values = draw(hnp.arrays(np.float16, (n_frames, dim), elements=finite))
    frames = draw(st.permutations(range(n_frames)))[: draw(st.integers(0, n_frames))]
    cuts = sorted(draw(st.lists(st.integers(0, len(frames)), max_size=3)))
    return values, np.split(np.array(frames, dtype=np.int64), cuts)


@quick
@given(trial=trial_ids, case=features())
def test_rows_come_back_to_the_bit(trial: str, case: tuple[np.ndarray, list[np.ndarray]]) -> None:
    values, puts = case
    with tempfile.TemporaryDirectory() as folder:
        store = _commit(Path(folder), trial, values, puts)
        read = FeatureStore.open(store.path).read(trial)
        written = np.concatenate(puts)
        assert sorted(written) == np.flatnonzero(read.valid).tolist()
        assert read.values[written].tobytes() == values[written].tobytes()
        assert not read.values[~read.valid].any()
        assert store.trials() == [trial]


@quick
@given(case=features(), data=st.data())
def test_the_order_of_puts_leaves_no_trace(
    case: tuple[np.ndarray, list[np.ndarray]], data: st.DataObject
) -> None:
    values, puts = case
    shuffled = data.draw(st.permutations(puts))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = _commit(Path(one), "t1", values, puts)
        second = _commit(Path(other), "t1", values, shuffled)
        for file in (p for p in first.path.rglob("*") if p.is_file()):
            assert file.read_bytes() == (second.path / file.relative_to(first.path)).read_bytes()


@given(config=st.dictionaries(unicode, json_values, max_size=4))
def test_a_spec_keeps_its_digest_through_json(config: dict[str, object]) -> None:
    spec = _spec(config)
    assert FeatureSpec.model_validate(json.loads(spec.model_dump_json())).digest == spec.digest


def _spec(config: dict[str, object]) -> FeatureSpec:
    identity = {"modality": "text", "backbone": "x", "version": 1, "weights": "", "media": {}}
    return FeatureSpec.model_validate({**identity, "config": config})


def _commit(root: Path, trial: str, values: np.ndarray, puts: list[np.ndarray]) -> FeatureStore:
    store = FeatureCache(root, "demo").store(_spec({}))
    with store.writer(trial, *values.shape) as writer:
        for frames in puts:
            writer.put(frames, values[frames])
        writer.commit("s1", {})
    return store
