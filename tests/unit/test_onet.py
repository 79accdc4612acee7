"""O-Net's features against O-Net itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet

from vaest.backbones._wheels import wheel_folder
from vaest.backbones.onet import Onet


@pytest.fixture(scope="module")
def onet() -> Onet:
    backbone = Onet(Onet.Config())
    backbone.load()
    return backbone


def crops(count: int, size_px: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8))


def test_heads_on_our_features_are_the_published_nets_outputs(onet: Onet) -> None:
    net = ONet(pretrained=False)
    net.load_state_dict(
        torch.load(wheel_folder("facenet_pytorch", "onet") / "data/onet.pt", weights_only=True)
    )
    net.eval()
    faces = crops(5, 48)  # O-Net's own size: no resizing on the way
    scaled = (torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125
    with torch.inference_mode():
        boxes, landmarks, scores = net(scaled)
        features = torch.from_numpy(np.concatenate(onet.forward(faces)))
        torch.testing.assert_close(net.dense6_2(features), boxes, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(net.dense6_3(features), landmarks, atol=1e-5, rtol=1e-5)
        ours = net.softmax6_1(net.dense6_1(features))
        torch.testing.assert_close(ours, scores, atol=1e-5, rtol=1e-5)


def test_larger_crops_are_averaged_down(onet: Onet) -> None:
    small = crops(3, 48)
    large = [np.kron(crop, np.ones((2, 2, 1), dtype=np.uint8)) for crop in small]
    np.testing.assert_allclose(
        np.concatenate(onet.forward(large)), np.concatenate(onet.forward(small)), atol=1e-4
    )
