"""Faces in frames, and the one that is followed through a video."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaest.digest import digest, file_digest
from vaest.errors import MissingExtraError

PACKAGE = "facenet_pytorch"
MIN_FACE_PX = 20
LONGEST_SIDE_PX = 1280
MIN_OVERLAP = 0.3


@dataclass(frozen=True)
class Face:
    """box: (4,) left, top, right, bottom; landmarks: (5, 2) eyes, nose, mouth corners; pixels."""

    box: np.ndarray
    confidence: float
    landmarks: np.ndarray


class Detector:
    """MTCNN (Zhang et al., 2016, IEEE Signal Processing Letters 23(10)), packaged weights.

    min_face: side of the smallest face, as a share of the frame's shorter side.
    """

    def __init__(self, min_face: float, device: str) -> None:
        detector_weights_folder()
        import torch
        from facenet_pytorch import MTCNN

        self.min_face = min_face
        self.mtcnn = MTCNN(keep_all=True, device=torch.device(device))

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each (height, width, 3) uint8 frame. All frames have one size.

        Frames longer than 1280 pixels are reduced for the search, and the results scaled back.
        """
        reduction = -(-max(frames[0].shape[:2]) // LONGEST_SIDE_PX)
        if reduction > 1:
            frames = [np.asarray(Image.fromarray(f).reduce(reduction)) for f in frames]
        shorter_side = min(frames[0].shape[:2])
        self.mtcnn.min_face_size = max(MIN_FACE_PX, self.min_face * shorter_side)
        if shorter_side < self.mtcnn.min_face_size:
            return [[] for _ in frames]
        found = self.mtcnn.detect(np.stack(frames), landmarks=True)
        return [_faces(b, c, p, reduction) for b, c, p in zip(*found, strict=True)]


class Track:
    """One face through a video: the one that continues the last, else the largest sure one."""

    def __init__(self, start_confidence: float, keep_confidence: float, patience_s: float) -> None:
        self.start_confidence = start_confidence
        self.keep_confidence = keep_confidence
        self.patience_s = patience_s
        self.box: np.ndarray | None = None
        self.seen_s = -np.inf

    def follow(self, faces: Sequence[Face], time_s: float) -> Face | None:
        """The tracked face among those of the next frame, or None where it is not seen."""
        if self.box is not None and time_s - self.seen_s > self.patience_s:
            self.box = None
        face = self._first(faces) if self.box is None else self._next(faces, self.box)
        if face is not None:
            self.box, self.seen_s = face.box, time_s
        return face

    def _first(self, faces: Sequence[Face]) -> Face | None:
        sure = [f for f in faces if f.confidence >= self.start_confidence]
        return max(sure, key=lambda f: _area(f.box), default=None)

    def _next(self, faces: Sequence[Face], box: np.ndarray) -> Face | None:
        same = [
            f
            for f in faces
            if f.confidence >= self.keep_confidence and _overlap(f.box, box) >= MIN_OVERLAP
        ]
        return max(same, key=lambda f: _overlap(f.box, box), default=None)


def detector_weights_digest() -> str:
    """Identity of the three networks' weights."""
    folder = detector_weights_folder()
    return digest([file_digest(folder / f"{name}.pt") for name in ("pnet", "rnet", "onet")])


def detector_weights_folder() -> Path:
    """Where the weights lie inside the package. MissingExtraError if it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("facenet-pytorch", "offline", "face detection")
    return Path(spec.origin).parent / "data"


def _faces(boxes: Any, confidences: Any, landmarks: Any, reduction: int) -> list[Face]:
    if boxes is None:
        return []
    return [
        Face(
            np.asarray(box, dtype=np.float64) * reduction,
            float(confidence),
            np.asarray(points, dtype=np.float64) * reduction,
        )
        for box, confidence, points in zip(boxes, confidences, landmarks, strict=True)
    ]


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    both = _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
    return both / max(_area(a) + _area(b) - both, 1e-12)
