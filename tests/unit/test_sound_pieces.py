"""Windows over sound of any length: every frame with sound once, never near an inner edge."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vaest.backbones._audio import RATE_HZ, sound_pieces
from vaest.types import Audio, Timeline

WINDOW, CONTEXT, STEP = 3_000, 500, 100


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(1, 20_000),
    start=st.integers(-3_000, 3_000),
    frame_samples=st.integers(40, 900),
)
def test_windows_cover_the_sound(total: int, start: int, frame_samples: int) -> None:
    frames_at = np.arange(0, 24_000, frame_samples)
    media = SimpleNamespace(
        timeline=Timeline("sound", frames_at / RATE_HZ, np.zeros(len(frames_at), dtype=bool)),
        audio=lambda: Audio(np.arange(total, dtype=np.float32), RATE_HZ, start / RATE_HZ),
    )
    pieces = list(
        sound_pieces(media, window_samples=WINDOW, context_samples=CONTEXT, step_samples=STEP)
    )

    heard = np.flatnonzero((frames_at >= start) & (frames_at <= start + total))
    rows = np.concatenate([np.array([], dtype=np.int64), *(piece.frames for piece in pieces)])
    inside = heard[(frames_at[heard] > start) & (frames_at[heard] < start + total)]
    assert set(inside) <= set(rows) <= set(heard)  # a frame on the very end may round either way
    assert (np.diff(rows) > 0).all()
    for piece in pieces:
        first, count = int(piece.input[0]), len(piece.input)
        assert (piece.input == np.arange(first, first + count)).all()
        assert first % STEP == 0
        assert count <= WINDOW
        assert count == WINDOW or first + count == total
        at = (start + first + STEP * np.arange(-(-count // STEP))) / RATE_HZ
        np.testing.assert_allclose(piece.step_time_s, at, atol=1e-12)
        position = frames_at[piece.frames] - start - first
        assert first == 0 or position.min() >= CONTEXT
        assert first + count == total or position.max() <= count - CONTEXT
