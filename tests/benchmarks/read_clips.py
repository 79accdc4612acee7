"""Random 300-frame reads of 1024 x float16: the cache, a bare np.memmap, and zarr-python.

Prints clips per second and their ratios, measured in turn within one run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from vaest.cache import FeatureCache, FeatureSpec, FeatureStore

TRIALS, FRAMES, DIM, CLIP = 20, 3000, 1024, 300
ROUNDS, SECONDS = 3, 0.5


def main() -> None:
    """Fill a temporary store, read it three ways in turn, print medians."""
    with tempfile.TemporaryDirectory() as folder:
        store = _fill(Path(folder))
        names = store.trials()
        chunk = [store.path / name / "values" / "c" / "0" / "0" for name in names]
        raw = [np.memmap(c, dtype="<f2", mode="r", shape=(FRAMES, DIM)) for c in chunk]
        arrays = [zarr.open_array(str(store.path / name / "values"), mode="r") for name in names]
        readers: dict[str, Callable[[int, slice], np.ndarray]] = {
            "np.memmap": lambda i, rows: np.array(raw[i][rows]),
            "cache": lambda i, rows: np.array(store.read(names[i]).values[rows]),
            "zarr-python": lambda i, rows: np.asarray(arrays[i][rows]),
        }
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, read in readers.items():
                rates[name].append(_rate(read))
    median = {name: float(np.median(found)) for name, found in rates.items()}
    for name, rate in median.items():
        print(f"{name:12} {rate:8.0f} clips/s")
    print(
        f"read: cache/memmap {median['cache'] / median['np.memmap']:.2f}, "
        f"cache/zarr-python {median['cache'] / median['zarr-python']:.1f}"
    )


def _fill(root: Path) -> FeatureStore:
    spec = FeatureSpec(
        modality="visual", backbone="benchmark", version=1, config={}, weights="none", media={}
    )
    store = FeatureCache(root, "benchmark").store(spec)
    values = np.random.default_rng(0).normal(size=(FRAMES, DIM)).astype(np.float32)
    for trial in range(TRIALS):
        with store.writer(f"trial-{trial:02}", FRAMES, DIM) as writer:
            writer.put(np.arange(FRAMES), values)
            writer.commit("benchmark", {})
    return store


def _rate(read: Callable[[int, slice], np.ndarray]) -> float:
    rng = np.random.default_rng(1)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        start = int(rng.integers(FRAMES - CLIP))
        read(int(rng.integers(TRIALS)), slice(start, start + CLIP))
        count += 1
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
