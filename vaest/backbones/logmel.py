"""Log-mel spectrogram: how loud each of 128 pitch bands is, with no model at all.

Yu et al., ABAW8, eq. 3 (the VGG of eq. 4 is not applied here). The paper gives no parameters:
25 ms Hann windows every 10 ms are the field's. Bands are spaced on Slaney's mel scale: on the HTK
scale one of 128 falls between two bins of a 512-point transform and stays empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vaest.backbones import backbones
from vaest.backbones._audio import RATE_HZ, sound_pieces, step_count
from vaest.backbones._base import Backbone, Media, Piece, Weights

STEP_SAMPLES = 160
SPECTRUM_SAMPLES = 512
HANN_SAMPLES = 400
# Bounds memory; the context covers half a transform and half a frame interval on either side,
# so that the cut shows in no value.
WINDOW_SAMPLES = 20 * RATE_HZ
CONTEXT_SAMPLES = RATE_HZ // 2
# Power of a band under which it is silent: just above the rounding noise of 16-bit sound.
FLOOR = 1e-6


@backbones.register
class Logmel(Backbone):
    """Natural logarithm of mel band power, every 10 ms; step i is centred on sample 160 i."""

    name = "logmel"
    modality = "audio"
    dim = 128
    rate = "frame"
    source = "computed (torchaudio), no weights"
    version = 1
    policy = "mean"
    batch_size = 1

    def weights(self) -> Weights:
        return Weights(source="none", digest="none")

    def load(self) -> None:
        from torchaudio.transforms import MelSpectrogram

        self._mel_power = MelSpectrogram(
            RATE_HZ,
            n_fft=SPECTRUM_SAMPLES,
            win_length=HANN_SAMPLES,
            hop_length=STEP_SAMPLES,
            n_mels=self.dim,
            mel_scale="slaney",
            center=True,
            pad_mode="constant",
        ).to(self.device)

    def pieces(self, media: Media) -> Iterator[Piece]:
        return sound_pieces(
            media,
            window_samples=WINDOW_SAMPLES,
            context_samples=CONTEXT_SAMPLES,
            step_samples=STEP_SAMPLES,
        )

    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Each input (samples,) float32; each output (steps, 128)."""
        return [self._log_mel(samples) for samples in inputs]

    def _log_mel(self, samples: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            power = self._mel_power(torch.from_numpy(samples).to(self.device))
            steps = step_count(len(samples), STEP_SAMPLES)
            return power[:, :steps].clamp(min=FLOOR).log().T.contiguous().cpu().numpy()
