"""Fixtures every suite may use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from vaest.corpora.demo import Demo
from vaest.corpora.demo.plan import TINY

# No example fails for being slow: machines are shared.
hypothesis.settings.register_profile("vaest", deadline=None)
hypothesis.settings.load_profile("vaest")

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "clips"


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Six trials of a few seconds with every partition and trap. Read it, never write to it."""
    # Takes seconds to import, which most tests need not wait for.
    from vaest.corpora.demo.write import write_demo

    root = tmp_path_factory.mktemp("corpora") / "tiny-demo"
    write_demo(root, TINY, workers=1)
    return Demo(root)


@pytest.fixture(scope="session")
def clips() -> Path:
    """A folder of real clips of people talking: $VAEST_CLIPS, or beside the checkout."""
    folder = Path(os.environ.get("VAEST_CLIPS", CLIPS))
    if not folder.is_dir():
        pytest.skip("no real clips here: set VAEST_CLIPS")
    return folder
