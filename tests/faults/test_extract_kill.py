"""SIGKILL at random moments: what is left is resumed to the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from vaest.corpora import Corpus

KILLS = 10


def test_killed_extraction_resumes_to_an_identical_store(tiny_demo: Corpus, tmp_path: Path) -> None:
    assert _extract(tiny_demo.root, tmp_path / "undisturbed").wait() == 0
    started = time.monotonic()
    assert _extract(tiny_demo.root, tmp_path / "timed").wait() == 0
    full_s = time.monotonic() - started

    rng = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = _extract(tiny_demo.root, tmp_path / "killed")
        try:
            process.wait(timeout=rng.uniform(0.3, 0.9) * full_s)
            shutil.rmtree(tmp_path / "killed")  # it was finished too early: begin again
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    assert _extract(tiny_demo.root, tmp_path / "killed").wait() == 0

    undisturbed = _contents(tmp_path / "undisturbed")
    assert len(undisturbed) > 20
    assert _contents(tmp_path / "killed") == undisturbed


def _extract(root: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "vaest.cli", "extract", "--corpus", "demo"),
        *("--root", str(root), "--cache", str(cache)),
        *("--modality", "visual", "--modality", "audio"),
        *("--set", "features.audio.backbone=logmel"),
    ]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VAEST_")}
    return subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)


def _contents(cache: Path) -> dict[str, str]:
    """Digest of every file of every store, by path."""
    return {
        str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest()
        for store in sorted(cache.glob("**/*.zarr"))
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }
