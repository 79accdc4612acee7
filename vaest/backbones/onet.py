"""MTCNN's O-Net as a small facial feature extractor.

Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks. IEEE Signal Processing Letters 23(10), 2016. The 256 features are what its face score,
box and landmark heads share, and so know where eyes, nose and mouth corners are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vaest.backbones import backbones
from vaest.backbones._base import Backbone, Media, Piece, Weights
from vaest.backbones._wheels import wheel_folder, wheel_weights

PACKAGE = "facenet_pytorch"
FILE = "data/onet.pt"
SIZE_PX = 48
CONVOLUTIONS = (
    *("conv1", "prelu1", "pool1", "conv2", "prelu2", "pool2"),
    *("conv3", "prelu3", "pool3", "conv4", "prelu4"),
)


@backbones.register
class Onet(Backbone):
    """One step per crop: the layer under O-Net's three heads, (1, 256)."""

    name = "onet"
    modality = "visual"
    dim = 256
    rate = "frame"
    source = "MTCNN's O-Net (Zhang et al. 2016) from the facenet-pytorch wheel, MIT"
    version = 1
    policy = "nearest"
    batch_size = 64

    def weights(self) -> Weights:
        return wheel_weights(PACKAGE, [FILE], self.name)

    def load(self) -> None:
        import torch

        file = wheel_folder(PACKAGE, self.name) / FILE
        from facenet_pytorch.models.mtcnn import ONet

        net = ONet(pretrained=False)
        net.load_state_dict(torch.load(file, weights_only=True))
        self._net = net.eval().to(self.device, memory_format=torch.channels_last)

    def pieces(self, media: Media) -> Iterator[Piece]:
        time_s = media.timeline.time_s
        for frame, crop in media.crops():
            yield Piece(crop, np.array([frame]), time_s[frame : frame + 1])

    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Each input (height, width, 3) uint8 RGB, one size a batch; each output (1, 256)."""
        import torch

        with torch.inference_mode():
            crops = torch.from_numpy(np.stack(inputs)).to(self.device)
            return list(self._features(crops).cpu().numpy()[:, None])

    def _features(self, crops: Any) -> Any:
        from torch.nn.functional import interpolate

        # Area averaging and this scale are what MTCNN feeds its own O-Net with.
        x = interpolate(crops.permute(0, 3, 1, 2).float(), (SIZE_PX, SIZE_PX), mode="area")
        x = (x - 127.5) / 128
        for layer in CONVOLUTIONS:
            x = getattr(self._net, layer)(x)
        # The weights were ported from a column-major framework: width before height.
        x = x.permute(0, 3, 2, 1).flatten(1)
        return self._net.prelu5(self._net.dense5(x))
