"""What every backbone promises, tried on each name in the registry."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from vaest.align import to_frames
from vaest.backbones import Backbone, backbones
from vaest.backbones._base import Media, Piece
from vaest.types import MODALITIES, Audio, Features, Timeline, Word

NAMES = backbones.names()
AUDIO_START_S = 0.43


@dataclass(frozen=True)
class SyntheticMedia:
    """A trial from nothing: noisy crops with gaps, tones with clicks, a few sentences."""

    rate_hz: float = 25.0
    duration_s: float = 6.0
    with_crops: bool = True
    with_audio: bool = True
    with_words: bool = True
    only_frame_at_s: float | None = None
    seed: int = 0

    @property
    def timeline(self) -> Timeline:
        if self.only_frame_at_s is not None:
            return Timeline("one frame", np.array([self.only_frame_at_s]), np.array([True]))
        time_s = np.arange(round(self.duration_s * self.rate_hz)) / self.rate_hz
        present = (np.arange(len(time_s)) % 7 > 1) & self.with_crops
        return Timeline("synthetic", time_s, present)

    def crops(self) -> Iterator[tuple[int, np.ndarray]]:
        rng = np.random.default_rng(self.seed)
        for frame in np.flatnonzero(self.timeline.crop_present).tolist():
            yield frame, rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)

    def audio(self) -> Audio | None:
        if not self.with_audio:
            return None
        time_s = np.arange(round((self.duration_s - 1.0) * 16_000)) / 16_000
        samples = 0.2 * np.sin(2 * np.pi * (180 + 20 * self.seed) * time_s) * np.sin(9 * time_s)
        samples[:: 16_000 // 2] = 0.9
        return Audio(samples.astype(np.float32), 16_000, AUDIO_START_S)

    def words(self) -> list[Word]:
        if not self.with_words:
            return []
        said = "I am so happy today. That was terrible, really unbearable! What now?"
        text = said.split()[self.seed :] + said.split()[: self.seed]
        return [Word(t, 0.3 + 0.3 * i, 0.5 + 0.3 * i) for i, t in enumerate(text)]


ABSENT = SyntheticMedia(with_crops=False, with_audio=False, with_words=False)


@functools.cache
def loaded(name: str) -> Backbone:
    return fresh(name)


def fresh(name: str) -> Backbone:
    kind = backbones.get(name)
    backbone = kind(kind.Config())
    backbone.load()
    return backbone


def in_batches(backbone: Backbone, pieces: list[Piece]) -> list[np.ndarray]:
    """Outputs of all pieces, in batches of `batch_size` padded by repetition."""
    size = backbone.batch_size
    outputs: list[np.ndarray] = []
    for start in range(0, len(pieces), size):
        inputs = [piece.input for piece in pieces[start : start + size]]
        padded = inputs + [inputs[-1]] * (size - len(inputs))
        outputs += backbone.forward(padded)[: len(inputs)]
    return outputs


def assembled(backbone: Backbone, media: Media) -> Features:
    """What the cache would hold for this trial."""
    timeline = media.timeline
    values = np.zeros((len(timeline), backbone.dim), dtype=np.float32)
    valid = np.zeros(len(timeline), dtype=bool)
    pieces = list(backbone.pieces(media))
    for piece, steps in zip(pieces, in_batches(backbone, pieces), strict=True):
        values[piece.frames] = to_frames(
            steps, piece.step_time_s, timeline.time_s[piece.frames], backbone.policy
        )
        valid[piece.frames] = True
    return Features(values, valid)


def test_the_zero_download_set_is_registered() -> None:
    assert {"onet", "whisper_tiny", "minilm", "logmel"} <= set(NAMES)


def test_listing_names_imports_no_torch() -> None:
    code = (
        "import sys; from vaest.backbones import backbones; backbones.names();"
        "assert not {'torch', 'ctranslate2', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_importing_and_identifying_loads_no_model_library(name: str) -> None:
    code = (
        f"import sys; from vaest.backbones import backbones; kind = backbones.get({name!r});"
        "weights = kind(kind.Config()).weights(); assert weights.source and weights.digest;"
        "heavy = {'torch', 'ctranslate2', 'transformers', 'facenet_pytorch', 'faster_whisper'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_file_class_and_registry_name_agree(name: str) -> None:
    kind = backbones.get(name)
    assert kind.name == name
    assert kind.__module__.rpartition(".")[2] == name
    assert kind.__name__ == "".join(part.capitalize() for part in name.split("_"))


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself(name: str) -> None:
    kind = backbones.get(name)
    assert kind.modality in MODALITIES
    assert kind.dim > 0
    assert kind.batch_size > 0
    assert kind.version >= 1
    assert kind.source
    assert "\n" not in kind.source
    for field in kind.Config.model_fields:
        assert field in (kind.Config.__doc__ or ""), f"option {field} is not documented"


@pytest.mark.parametrize("name", NAMES)
def test_weights_have_a_stable_identity(name: str) -> None:
    kind = backbones.get(name)
    assert kind(kind.Config()).weights() == kind(kind.Config()).weights()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate_hz", [25.0, 30_000 / 1001])
def test_pieces_partition_the_frames_they_answer_for(name: str, rate_hz: float) -> None:
    media = SyntheticMedia(rate_hz)
    pieces = list(loaded(name).pieces(media))
    rows = np.concatenate([piece.frames for piece in pieces])
    assert len(np.unique(rows)) == len(rows) > 0
    assert rows.min() >= 0
    assert rows.max() < len(media.timeline)
    assert (np.diff([piece.frames[0] for piece in pieces]) > 0).all()
    for piece in pieces:
        assert piece.frames.dtype == np.int64
        assert (np.diff(piece.frames) > 0).all()
        assert piece.step_time_s.dtype == np.float64
        assert (np.diff(piece.step_time_s) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_finite_float32_of_the_declared_shape(name: str) -> None:
    backbone = loaded(name)
    pieces = list(backbone.pieces(SyntheticMedia()))
    for piece, steps in zip(pieces, in_batches(backbone, pieces), strict=True):
        assert steps.shape == (len(piece.step_time_s), backbone.dim)
        assert steps.dtype == np.float32
        assert np.isfinite(steps).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate_hz", [25.0, 30_000 / 1001])
def test_features_have_the_timelines_length_and_a_true_mask(name: str, rate_hz: float) -> None:
    media = SyntheticMedia(rate_hz)
    backbone = loaded(name)
    features = assembled(backbone, media)
    assert len(features) == len(media.timeline)
    assert np.isfinite(features.values).all()
    assert features.values[features.valid].std(axis=0).max() > 0
    time_s = media.timeline.time_s
    if backbone.modality == "visual":
        assert (features.valid == media.timeline.crop_present).all()
    elif backbone.modality == "audio":
        heard = (time_s >= AUDIO_START_S) & (time_s <= AUDIO_START_S + media.duration_s - 1.0)
        assert (features.valid == heard).all()
    else:
        assert not features.valid[time_s < media.words()[0].start_s].any()
        assert 0 < features.valid.mean() < 1


@pytest.mark.parametrize("name", NAMES)
def test_two_loads_give_the_same_bytes(name: str) -> None:
    one, other = (assembled(b, SyntheticMedia()) for b in (loaded(name), fresh(name)))
    assert one.values.tobytes() == other.values.tobytes()
    assert one.valid.tobytes() == other.valid.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_depends_on_its_own_input_alone(name: str) -> None:
    """Bit for bit, in full batches: a resumed run meets other neighbours in other places."""
    backbone = loaded(name)
    mine = next(iter(backbone.pieces(SyntheticMedia()))).input
    others = [next(iter(backbone.pieces(SyntheticMedia(seed=seed)))).input for seed in (1, 2, 3)]
    size = backbone.batch_size
    alone = backbone.forward([mine] * size)[0]
    neighbours = [others[i % 3] for i in range(size - 1)]
    for place in {0, size // 2, size - 1}:
        batch = [*neighbours[:place], mine, *neighbours[place:]]
        assert backbone.forward(batch)[place].tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_different_inputs_give_different_features(name: str) -> None:
    backbone = loaded(name)
    one, other = (
        backbone.forward([next(iter(backbone.pieces(SyntheticMedia(seed=s)))).input])[0][0]
        for s in (0, 3)
    )
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_absent_media_give_no_pieces(name: str) -> None:
    assert list(loaded(name).pieces(ABSENT)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_of_one_frame(name: str) -> None:
    features = assembled(loaded(name), SyntheticMedia(only_frame_at_s=1.0))
    assert features.values.shape == (1, loaded(name).dim)
    assert features.valid.all()
