"""Something held before the face while it is occluded."""

from __future__ import annotations

import numpy as np
import torch

from vaest.corpora.demo.face import SIZE, Face
from vaest.corpora.demo.schedule import Stretch

CELL = 16


class Occluder:
    """Covers the face during the occlusions of a schedule, each with one texture of its own."""

    def __init__(self, stretches: list[Stretch], rng: np.random.Generator) -> None:
        self._textures = [(s, _texture(rng)) for s in stretches if s.kind == "occlusion"]

    def cover(self, frames: torch.Tensor, face: Face, time_s: np.ndarray) -> None:
        """Draw into `frames`, (n, 3, 256, 256) of `face` at time_s."""
        boxes = face.occluder_boxes(time_s)
        for stretch, texture in self._textures:
            for index in np.flatnonzero(stretch.covers(time_s)):
                left, top, right, bottom = boxes[index]
                patch = texture[:, : bottom - top, : right - left]
                frames[index, :, top:bottom, left:right] = patch


def _texture(rng: np.random.Generator) -> torch.Tensor:
    """(3, 256, 256) float32: plain, chequered or random cells."""
    cells = SIZE // CELL
    colours = rng.uniform(40, 215, (2, 3))
    pattern = [
        np.zeros((cells, cells)),
        np.indices((cells, cells)).sum(axis=0) % 2,
        rng.uniform(0, 1, (cells, cells)),
    ][rng.integers(3)]
    picture = colours[0] + pattern[..., None] * (colours[1] - colours[0])
    picture = np.kron(picture, np.ones((CELL, CELL, 1))).astype(np.float32)
    return torch.from_numpy(picture).permute(2, 0, 1)
