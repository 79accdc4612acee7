"""Sums of parts equal the direct formula, whatever the parts, sizes and offsets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vaest.metrics import CccSums, ccc

seeds = st.integers(0, 2**32 - 1)
lengths = st.lists(st.integers(0, 40), min_size=1, max_size=8)


def direct(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The definition, in extended precision."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    dx, dy = x - x.mean(0), y - y.mean(0)
    distance = (x.mean(0) - y.mean(0)) ** 2
    return 2 * (dx * dy).mean(0) / ((dx**2).mean(0) + (dy**2).mean(0) + distance)


def signals(seed: int, n: int, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, 2))
    return offset + y + rng.uniform(0.01, 2) * rng.normal(size=(n, 2)), offset + y


@settings(max_examples=100, deadline=None)
@given(seeds, lengths, st.sampled_from([0.0, 1.0, -10.0]))
def test_streamed_sums_equal_the_direct_formula(seed: int, parts: list[int], offset: float) -> None:
    parts = [*parts, 20]
    x, y = signals(seed, sum(parts), offset)
    bounds = np.cumsum([0, *parts])
    total = CccSums.empty(2)
    for start, stop in pairwise(bounds):
        total = total + CccSums.of(x[start:stop], y[start:stop])
    assert total.n == len(x)
    np.testing.assert_allclose(total.ccc, direct(x, y).astype(float), atol=1e-12, rtol=0)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_merging_is_commutative_and_associative(seed: int, a: int, b: int, c: int) -> None:
    x, y = signals(seed, a + b + c)
    first = CccSums.of(x[:a], y[:a])
    second = CccSums.of(x[a : a + b], y[a : a + b])
    third = CccSums.of(x[a + b :], y[a + b :])
    expected = ((first + second) + third).ccc
    np.testing.assert_allclose((first + (second + third)).ccc, expected, atol=1e-12)
    np.testing.assert_allclose((third + (second + first)).ccc, expected, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 200))
def test_ccc_is_symmetric_bounded_and_at_most_the_correlation(seed: int, n: int) -> None:
    x, y = (z[:, 0] for z in signals(seed, n))
    value = ccc(x, y)
    assert value == ccc(y, x)
    assert abs(value) <= abs(np.corrcoef(x, y)[0, 1]) + 1e-12
    assert ccc(x, x) == 1.0


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(2, 100), st.floats(-5, 5), st.floats(0.1, 10))
def test_ccc_does_not_depend_on_the_common_scale(
    seed: int, n: int, shift: float, scale: float
) -> None:
    x, y = (z[:, 0] for z in signals(seed, n))
    np.testing.assert_allclose(ccc(scale * x + shift, scale * y + shift), ccc(x, y), atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1, width=32), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_a_constant_stays_exactly_constant_when_merged(value: float, parts: list[int]) -> None:
    rng = np.random.default_rng(0)
    total = CccSums.empty(1)
    for n in [*parts, 2]:
        x = np.full((n, 1), value, dtype=np.float32)
        total = total + CccSums.of(x, rng.normal(size=(n, 1)))
    assert total.square_x == 0
    assert total.ccc == 0
