"""Video to aligned face crops, and crops to arrays.

Crops lie in Aff-Wild2's layout: a folder of 112x112 JPEGs named by 1-based frame, `00001.jpg`. A
frame without a face has no file.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image
from pydantic import Field

from vaest.config import Config
from vaest.errors import InputError
from vaest.media._detect import Detector, Face, Track, detector_weights_digest
from vaest.media.video import decode

SIZE = 112
JPEG_QUALITY = 95
DETECTION_BATCH = 8

# Where the eyes, the nose and the mouth corners belong: the 112x112 template of ArcFace (Deng et
# al., 2019) and of the field's crops, (x, y) in pixels.
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)

_CROP_NAME = re.compile(r"(\d{5,})\.jpg")


class FaceConfig(Config):
    """How faces are found and followed.

    min_face: side of the smallest face, as a share of the frame's shorter side. start_confidence
    begins a track, keep_confidence continues it; patience_s is how long an unseen face is waited
    for before another may be taken up.
    """

    min_face: float = Field(0.1, gt=0, le=1)
    start_confidence: float = Field(0.99, ge=0, le=1)
    keep_confidence: float = Field(0.8, ge=0, le=1)
    patience_s: float = Field(0.25, ge=0)


def face_spec(config: FaceConfig) -> dict[str, Any]:
    """What identifies crops made with `config`: options, detector weights and alignment."""
    return {
        "detector": "mtcnn",
        "weights": detector_weights_digest(),
        "alignment": "arcface-112",
        "jpeg_quality": JPEG_QUALITY,
        "version": 1,
        **config.model_dump(mode="json"),
    }


def crop_faces(video: Path, folder: Path, config: FaceConfig, device: str = "cpu") -> None:
    """Detect, follow and align one face through `video`; write its crops into `folder`.

    The folder appears when it is complete, with a `faces.json`: the configuration, the number of
    frames, and frame, box and confidence of each crop. A folder that exists is left as it is.
    Memory does not grow with length.

    InputError if the video cannot be decoded to its end; MissingExtraError without the detector.
    """
    with _building(folder) as partial:
        if partial is None:
            return
        detector = Detector(config.min_face, device)
        track = Track(config.start_confidence, config.keep_confidence, config.patience_s)
        n_frames, crops = 0, []
        for frames in _batches(decode(video)):
            faces = detector.detect([image for _, _, image in frames])
            for (frame, time_s, image), candidates in zip(frames, faces, strict=True):
                n_frames = frame + 1
                face = track.follow(candidates, time_s)
                if face is not None:
                    _write_crop(partial, frame, align_face(image, face.landmarks))
                    crops.append(_entry(frame, face))
        record = {"spec": face_spec(config), "frames": n_frames, "crops": crops}
        (partial / "faces.json").write_text(json.dumps(record))


def align_face(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face turned, scaled and shifted onto the template: (112, 112, 3) uint8.

    image: (height, width, 3) uint8. landmarks: (5, 2) eyes, nose and mouth corners, (x, y) in
    pixels. The similarity is the least-squares one (Umeyama, 1991, without reflection); large
    faces are averaged down before they are sampled; what lies outside the image is black.
    """
    turn, shift = _template_to_image(landmarks)
    corners = turn * np.array([0, SIZE, SIZE * 1j, SIZE * (1 + 1j)]) + shift
    reduction = max(1, int(abs(turn)))
    margin = 2 * reduction
    height, width = image.shape[:2]
    left, right = _span(corners.real, margin, width)
    top, bottom = _span(corners.imag, margin, height)
    if left >= right or top >= bottom:
        return np.zeros((SIZE, SIZE, 3), np.uint8)
    region = Image.fromarray(image[top:bottom, left:right]).reduce(reduction)
    turn /= reduction
    shift = (shift - complex(left, top)) / reduction
    aligned = region.transform(
        (SIZE, SIZE),
        Image.Transform.AFFINE,
        (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag),
        Image.Resampling.BILINEAR,
    )
    return np.array(aligned)


def crops_present(folder: Path, n_frames: int) -> np.ndarray:
    """(time,) bool: which of `n_frames` frames have a crop, from the file names alone."""
    present = np.zeros(n_frames, dtype=bool)
    names = os.listdir(folder) if folder.is_dir() else []
    matches = (_CROP_NAME.fullmatch(name) for name in names)
    frames = np.array([int(match[1]) - 1 for match in matches if match], dtype=np.int64)
    present[frames[(frames >= 0) & (frames < n_frames)]] = True
    return present


def read_crops(folder: Path, n_frames: int) -> Iterator[tuple[int, np.ndarray]]:
    """(0-based frame, (112, 112, 3) uint8 RGB) of every crop, in frame order.

    Crops of another size are resized. InputError naming the file that is not a JPEG.
    """
    for frame in np.flatnonzero(crops_present(folder, n_frames)):
        yield int(frame), _read_crop(_crop_path(folder, int(frame)))


@contextmanager
def _building(folder: Path) -> Iterator[Path | None]:
    """An empty folder that becomes `folder` at the end; None where that exists already.

    What a killed process left is taken over; a second living process waits for the first.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            yield None
            return
        for leftover in partial.iterdir():
            leftover.unlink()
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _batches(
    frames: Iterator[tuple[int, float, np.ndarray]],
) -> Iterator[list[tuple[int, float, np.ndarray]]]:
    """Runs of frames of one size, a few at a time."""
    batch: list[tuple[int, float, np.ndarray]] = []
    for frame in frames:
        if batch and (len(batch) == DETECTION_BATCH or batch[0][2].shape != frame[2].shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _template_to_image(landmarks: np.ndarray) -> tuple[complex, complex]:
    """turn, shift with image point = turn * template point + shift, points as x + iy.

    Points are pixel corners here, hence the half: pixel 0 spans 0 to 1.
    """
    image = (landmarks + 0.5) @ [1, 1j]
    template = (TEMPLATE + 0.5) @ [1, 1j]
    centred = image - image.mean()
    turn = np.vdot(centred, template - template.mean()) / np.vdot(centred, centred).real
    return 1 / turn, image.mean() - template.mean() / turn


def _span(positions: np.ndarray, margin: int, length: int) -> tuple[int, int]:
    start = max(0, int(np.floor(positions.min())) - margin)
    return start, min(length, int(np.ceil(positions.max())) + margin)


def _entry(frame: int, face: Face) -> list[float]:
    return [frame, *np.round(face.box, 1).tolist(), round(face.confidence, 4)]


def _crop_path(folder: Path, frame: int) -> Path:
    return folder / f"{frame + 1:05d}.jpg"


def _write_crop(folder: Path, frame: int, crop: np.ndarray) -> None:
    jpeg = simplejpeg.encode_jpeg(crop, quality=JPEG_QUALITY, colorspace="RGB")
    _crop_path(folder, frame).write_bytes(jpeg)


def _read_crop(path: Path) -> np.ndarray:
    try:
        crop = simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
    except ValueError as error:
        raise InputError(f"the crop is not a readable JPEG: {error}", where=path) from None
    if crop.shape == (SIZE, SIZE, 3):
        return np.asarray(crop)
    return np.asarray(Image.fromarray(crop).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
