from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg

from vaest.errors import InputError, MissingExtraError
from vaest.media._detect import Face, Track
from vaest.media.faces import (
    TEMPLATE,
    FaceConfig,
    align_face,
    crop_faces,
    crops_present,
    face_spec,
    read_crops,
)


def write_video(path: Path, images: list[np.ndarray], codec: str = "libx264") -> Path:
    lossless = codec == "ffv1"
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "bgr0" if lossless else "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(256, 256, 3) uint8: a face in the upper middle."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[0:256, 96:352])


@pytest.fixture(scope="session")
def face_with_a_gap(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """30 frames, a face in all but frames 10 to 19."""
    images = [portrait] * 10 + [np.full_like(portrait, 90)] * 10 + [portrait] * 10
    return write_video(tmp_path_factory.mktemp("video") / "gap.mp4", images)


class TestCropFaces:
    def test_a_gap_stays_a_gap(self, tmp_path: Path, face_with_a_gap: Path) -> None:
        folder = tmp_path / "crops" / "gap"
        crop_faces(face_with_a_gap, folder, FaceConfig())
        present = crops_present(folder, 30)
        assert present[[*range(10), *range(20, 30)]].all()
        assert not present[10:20].any()
        crops = dict(read_crops(folder, 30))
        assert list(crops) == np.flatnonzero(present).tolist()
        assert {c.shape for c in crops.values()} == {(112, 112, 3)}
        assert np.corrcoef(crops[3].ravel(), crops[25].ravel())[0, 1] > 0.9
        record = json.loads((folder / "faces.json").read_text())
        assert record["frames"] == 30
        assert record["spec"] == face_spec(FaceConfig())
        assert [entry[0] for entry in record["crops"]] == list(crops)

    def test_the_same_video_gives_the_same_bytes(
        self, tmp_path: Path, face_with_a_gap: Path
    ) -> None:
        for name in ("one", "two"):
            crop_faces(face_with_a_gap, tmp_path / name, FaceConfig())
        files = sorted(p.name for p in (tmp_path / "one").iterdir())
        assert files == sorted(p.name for p in (tmp_path / "two").iterdir())
        for name in files:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_a_failure_leaves_nothing(self, tmp_path: Path, portrait: np.ndarray) -> None:
        moving = [np.roll(portrait, 9 * i, 1) for i in range(20)]
        video = write_video(tmp_path / "cut.mp4", moving, codec="mpeg4")
        os.truncate(video, video.stat().st_size // 2)
        with pytest.raises(InputError, match="truncated"):
            crop_faces(video, tmp_path / "crops", FaceConfig())
        assert [p.name for p in tmp_path.iterdir()] == ["cut.mp4"]

    def test_what_a_killed_process_left_is_replaced(
        self, tmp_path: Path, face_with_a_gap: Path
    ) -> None:
        partial = tmp_path / ".crops.partial"
        partial.mkdir()
        (partial / "00015.jpg").write_bytes(b"half")
        crop_faces(face_with_a_gap, tmp_path / "crops", FaceConfig())
        assert not partial.exists()
        assert not crops_present(tmp_path / "crops", 30)[14]

    def test_finished_crops_are_left_alone(self, tmp_path: Path, face_with_a_gap: Path) -> None:
        (tmp_path / "crops").mkdir()
        crop_faces(face_with_a_gap, tmp_path / "crops", FaceConfig())
        assert not list((tmp_path / "crops").iterdir())
        assert [p.name for p in tmp_path.iterdir()] == ["crops"]

    @pytest.mark.parametrize("size", [(10, 20_000), (1, 1), (200, 8)])
    def test_frames_too_thin_for_a_face(self, tmp_path: Path, size: tuple[int, int]) -> None:
        image = np.zeros((*size, 3), np.uint8)
        video = write_video(tmp_path / "thin.mkv", [image] * 2, codec="ffv1")
        crop_faces(video, tmp_path / "crops", FaceConfig())
        assert not crops_present(tmp_path / "crops", 2).any()

    def test_a_frame_is_reduced_for_detection_only(
        self, tmp_path: Path, portrait: np.ndarray
    ) -> None:
        small = write_video(tmp_path / "small.mkv", [portrait], codec="ffv1")
        large_image = portrait.repeat(8, axis=0).repeat(8, axis=1)
        large = write_video(tmp_path / "large.mkv", [large_image], codec="ffv1")
        for video in (small, large):
            crop_faces(video, tmp_path / video.stem, FaceConfig())
        ((_, a),), ((_, b),) = (list(read_crops(tmp_path / n, 1)) for n in ("small", "large"))
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


class TestTrack:
    @staticmethod
    def face(left: float, size: float, confidence: float = 1.0) -> Face:
        return Face(np.array([left, 0, left + size, size]), confidence, np.zeros((5, 2)))

    def test_the_largest_sure_face_is_taken_and_kept(self) -> None:
        track = Track(0.99, 0.8, 0.25)
        small, large, unsure = self.face(0, 50), self.face(200, 60), self.face(400, 90, 0.9)
        assert track.follow([small, large, unsure], 0.0) is large
        grown, moved = self.face(0, 100), self.face(205, 60, 0.85)
        assert track.follow([grown, moved], 0.04) is moved

    def test_an_unseen_face_is_waited_for_then_given_up(self) -> None:
        track = Track(0.99, 0.8, 0.25)
        followed, other = self.face(0, 50), self.face(200, 60)
        assert track.follow([followed], 0.0) is followed
        assert track.follow([other], 0.2) is None
        assert track.follow([followed, other], 0.24) is followed
        assert track.follow([other], 0.6) is other

    def test_an_unsure_face_neither_begins_nor_continues(self) -> None:
        track = Track(0.99, 0.8, 0.25)
        assert track.follow([self.face(0, 50, 0.98)], 0.0) is None
        assert track.follow([self.face(0, 50)], 0.04) is not None
        assert track.follow([self.face(0, 50, 0.79)], 0.08) is None


class TestAlignFace:
    def test_a_face_in_place_is_copied(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        np.testing.assert_array_equal(align_face(image, TEMPLATE), image)

    @pytest.mark.parametrize("scale", [0.6, 1.0, 1.7, 4.5])
    def test_a_turned_scaled_shifted_face_comes_back(self, scale: float) -> None:
        turn = scale * np.exp(0.4j)
        shift = 90 + 70j
        landmarks = (TEMPLATE + 0.5) @ [1, 1j] * turn + shift
        points = np.stack([landmarks.real, landmarks.imag], axis=1) - 0.5
        rows, columns = np.mgrid[0:700, 0:700] + 0.5
        back = (columns + 1j * rows - shift) / turn
        image = np.stack([_pattern(back), _pattern(1j * back), np.zeros((700, 700))], axis=2)
        rows, columns = np.mgrid[0:112, 0:112] + 0.5
        expected = _pattern(columns + 1j * rows)
        aligned = align_face(np.round(image).astype(np.uint8), points)
        inside = np.s_[20:-20, 20:-20]
        assert np.abs(aligned[..., 0][inside] - expected[inside]).mean() < 2

    def test_a_large_face_is_averaged_not_picked(self) -> None:
        checks = (np.indices((896, 896)).sum(axis=0) % 2 * 255).astype(np.uint8)
        image = np.repeat(checks[..., None], 3, axis=2)
        aligned = align_face(image, (TEMPLATE + 0.5) * 8 - 0.5)
        assert aligned.std() < 1
        assert aligned.mean() == pytest.approx(127.5, abs=1)

    def test_outside_the_image_is_black(self) -> None:
        image = np.full((112, 112, 3), 200, np.uint8)
        aligned = align_face(image, TEMPLATE - [56, 0])
        assert (aligned[:, 58:] == 200).all() or (aligned[:, :54] == 200).all()
        assert (aligned == 0).any()
        assert not align_face(image, TEMPLATE + 1000).any()


class TestCropFiles:
    def test_names_tell_the_frames(self, tmp_path: Path) -> None:
        for name in ("00001.jpg", "00003.jpg", "00009.jpg", "100000.jpg", "1.jpg", "x.png"):
            (tmp_path / name).touch()
        assert crops_present(tmp_path, 5).tolist() == [True, False, True, False, False]
        assert crops_present(tmp_path, 100_000)[99_999]
        assert not crops_present(tmp_path / "absent", 5).any()

    @pytest.mark.parametrize("keep", [0, 20, 2000])
    def test_a_corrupt_crop_is_named(self, tmp_path: Path, keep: int) -> None:
        image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        jpeg = simplejpeg.encode_jpeg(image)
        (tmp_path / "00001.jpg").write_bytes(jpeg)
        (tmp_path / "00002.jpg").write_bytes(jpeg[:keep])
        crops = read_crops(tmp_path, 2)
        assert next(crops)[0] == 0
        with pytest.raises(InputError, match="not a readable JPEG") as caught:
            next(crops)
        assert caught.value.where == str(tmp_path / "00002.jpg")

    def test_other_sizes_and_greys_are_brought_to_size(self, tmp_path: Path) -> None:
        grey = np.full((224, 200, 1), 77, np.uint8)
        (tmp_path / "00001.jpg").write_bytes(simplejpeg.encode_jpeg(grey, colorspace="GRAY"))
        ((_, crop),) = read_crops(tmp_path, 1)
        assert crop.shape == (112, 112, 3)
        np.testing.assert_allclose(crop, 77, atol=1)


class TestFaceSpec:
    def test_identity_is_what_changes_the_crops(self) -> None:
        spec = face_spec(FaceConfig())
        assert json.loads(json.dumps(spec)) == spec
        assert len(spec["weights"]) == 64
        assert face_spec(FaceConfig(patience_s=1.0)) != spec

    def test_a_missing_detector_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="facenet-pytorch"):
            face_spec(FaceConfig())


@pytest.mark.parametrize(
    ("clip", "least", "most"),
    [
        ("hard/no_face.mp4", 0.0, 0.0),
        ("hard/face_noface.mov", 0.35, 0.6),
        ("grid/bbaf2n.mpg", 0.98, 1.0),
        ("grid/lwbsza.mpg", 0.98, 1.0),
    ],
)
def test_real_clips(clips: Path, tmp_path: Path, clip: str, least: float, most: float) -> None:
    crop_faces(clips / clip, tmp_path / "crops", FaceConfig())
    frames = json.loads((tmp_path / "crops" / "faces.json").read_text())["frames"]
    assert least <= crops_present(tmp_path / "crops", frames).mean() <= most


def _pattern(z: Any) -> np.ndarray:
    return np.asarray(127.5 + 80 * np.sin(z.real / 9) + 40 * np.cos(z.imag / 7))
