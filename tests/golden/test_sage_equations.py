"""SAGE's equations, each evaluated once more in plain NumPy from the paper's text.

Numbers in names are those of the paper (Lee et al. 2026, sections 3 and 4).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vaest.fusion._layers import SelfAttention, attend
from vaest.fusion.sage import Sage, SageConfig
from vaest.losses import ccc_loss
from vaest.metrics import ccc

DIMS = {"visual": 6, "audio": 5, "text": 3}
BATCH, TIME, WIDTH = 2, 11, 4
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(variant: str, **options: object) -> Sage:
    sizes = {"width": WIDTH, "levels": 2, "layers": 2, "heads": 3, "feedforward": 7, "hidden": 5}
    config = SageConfig.model_validate({"variant": variant, **sizes, **options})
    return Sage(config, DIMS).double().eval()


def encoded() -> tuple[Tensor, Tensor]:
    """X of (3) and where each modality is present; the second clip has 8 frames, then padding."""
    x = 2 * torch.randn(BATCH, TIME, WIDTH * len(DIMS), dtype=torch.float64)
    there = torch.rand(BATCH, TIME, len(DIMS)) > 0.3
    there[0, :, 0] = True
    there[1, :8, 1] = True
    there[1, 8:] = False
    return x, there


def batch() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    _, there = encoded()
    present = {m: there[..., i] for i, m in enumerate(DIMS)}
    features = {
        m: torch.randn(BATCH, TIME, d, dtype=torch.float64) * present[m].unsqueeze(-1)
        for m, d in DIMS.items()
    }
    return features, present


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def close(ours: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(array(ours), expected, atol=TOLERANCE, rtol=0)


def test_2_3_each_modality_has_a_tcn_and_they_are_concatenated() -> None:
    model = build("paper")
    features, present = batch()
    x, _, valid = model._encode(features, present)
    assert x.shape == (BATCH, TIME, len(DIMS) * WIDTH)
    for i, m in enumerate(DIMS):
        filled = np.where(
            array(present[m])[..., None], array(features[m]), array(model.inputs.absent[m])
        )
        filled[~array(valid)] = 0
        close(x[..., i * WIDTH : (i + 1) * WIDTH], numpy_tcn(model.tcn[m], filled, array(valid)))


def numpy_tcn(net: torch.nn.Module, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Frame by frame, tap by tap, as described for the LFAN family."""
    mask = valid[..., None]

    def leaky(h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, h, 0.01 * h)

    def causal(conv: torch.nn.Module, h: np.ndarray, dilation: int) -> np.ndarray:
        weight, bias = array(conv.weight), array(conv.bias)
        taps = weight.shape[2]
        out = np.tile(bias, (*h.shape[:2], 1))
        for t in range(h.shape[1]):
            for k in range(taps):
                source = t - (taps - 1 - k) * dilation
                if source >= 0:
                    out[:, t] += (h * mask)[:, source] @ weight[:, :, k].T
        return out

    for i, level in enumerate(net.levels):
        h = leaky(causal(level.first, x, 2**i))
        h = leaky(causal(level.second, h, 2**i))
        same = isinstance(level.shortcut, torch.nn.Identity)
        skip = (
            x if same else x @ array(level.shortcut.weight)[:, :, 0].T + array(level.shortcut.bias)
        )
        x = leaky(h + skip)
    norm = net.norm
    scaled = (x - array(norm.running_mean)) / np.sqrt(array(norm.running_var) + 1e-5)
    return scaled * array(norm.weight) + array(norm.bias)


def paper_alpha(model: Sage, x: Tensor, there: Tensor) -> np.ndarray:
    """(6)-(8) for each clip by itself, over its valid frames."""
    w_r, b_r = array(model.gate.weight)[0], 0.37  # any b_r: it cancels in (8)
    alpha = np.zeros((BATCH, TIME))
    for row in range(BATCH):
        valid = array(there[row]).any(axis=1)
        logits = np.array([w_r @ x_t + b_r for x_t in array(x[row])[valid]])  # (6)
        stacked = array(x[row])[valid] @ w_r + b_r
        np.testing.assert_allclose(logits, stacked)  # (7)
        alpha[row, valid] = np.exp(logits) / sum(np.exp(g) for g in logits)  # (8)
    return alpha


def test_6_7_8_paper_weights() -> None:
    model = build("paper")
    x, there = encoded()
    close(model.weights(x, there)[..., 0], paper_alpha(model, x, there))


def test_9_paper_weights_sum_to_one_over_valid_frames_only() -> None:
    model = build("paper")
    x, there = encoded()
    weights = model.weights(x, there)[..., 0]
    close(weights.sum(dim=1), np.ones(BATCH))
    assert (weights[~there.any(-1)] == 0).all()


def test_10_11_paper_fusion() -> None:
    model = build("paper")
    x, there = encoded()
    alpha = paper_alpha(model, x, there)
    z = model.fuse(x, there)
    close(z, alpha[..., None] * array(x))  # (10)
    for row in range(BATCH):
        close(z[row], np.diag(alpha[row]) @ array(x[row]))  # (11)


def test_rescaled_is_paper_times_the_number_of_valid_frames() -> None:
    model = build("rescaled")
    x, there = encoded()
    frames = np.array([TIME, 8])[:, None]
    expected = frames * paper_alpha(model, x, there)
    close(model.fuse(x, there), expected[..., None] * array(x))
    close(model.weights(x, there).mean(dim=1)[0], np.ones(1))


def test_modality_is_a_softmax_over_the_modalities_present_at_a_frame() -> None:
    model = build("modality")
    x, there = encoded()
    w_r, b_r = array(model.gate.weight), array(model.gate.bias)
    expected = np.zeros((BATCH, TIME, len(DIMS)))
    for row, t in np.ndindex(BATCH, TIME):
        here = np.flatnonzero(array(there[row, t]))
        if len(here):
            logits = (w_r @ array(x[row, t]) + b_r)[here]
            expected[row, t, here] = len(here) * softmax(logits)
    close(model.weights(x, there), expected)
    close(model.fuse(x, there), np.repeat(expected, WIDTH, axis=-1) * array(x))


@pytest.mark.parametrize("variant", ["paper", "rescaled"])
def test_joint_reliability_is_t_times_alpha(variant: str) -> None:
    model = build(variant)
    features, present = batch()
    x, there, _ = model._encode(features, present)
    frames = array(there.any(-1).sum(1))[:, None]
    expected = frames * paper_alpha(model, x, there)
    close(model.reliability(features, present)["joint"], expected)


def test_modality_reliability_is_what_multiplies_each_slice() -> None:
    model = build("modality")
    features, present = batch()
    x, there, _ = model._encode(features, present)
    reliability = model.reliability(features, present)
    assert list(reliability) == list(DIMS)
    for i, m in enumerate(DIMS):
        close(reliability[m], array(model.weights(x, there))[..., i])
    total = array(torch.stack(list(reliability.values())).sum(0))
    np.testing.assert_allclose(total, array(there.sum(-1)), atol=TOLERANCE)


def test_12_attention() -> None:
    q, k, v = torch.randn(3, BATCH, 1, TIME, 6, dtype=torch.float64)
    _, there = encoded()
    valid = there.any(-1)
    ours = attend(q, k, v, valid)
    for row in range(BATCH):
        keys = array(valid[row])
        scores = array(q[row, 0]) @ array(k[row, 0])[keys].T / np.sqrt(6)
        close(ours[row, 0], softmax(scores) @ array(v[row, 0])[keys])


def numpy_attention(layer: SelfAttention, z: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(12) and (13), head by head, for one clip; then the output projection."""
    width = z.shape[1]
    d = width // layer.heads
    w_q, w_k, w_v = array(layer.qkv.weight).reshape(3, width, width)
    outputs = []
    for head in range(layer.heads):
        part = slice(head * d, (head + 1) * d)
        q, k, v = z @ w_q[part].T, z @ w_k[part].T, z @ w_v[part].T  # (13)
        outputs.append(softmax(q @ k[keys].T / np.sqrt(d)) @ v[keys])  # (12)
    return np.concatenate(outputs, axis=1) @ array(layer.out.weight).T + array(layer.out.bias)


def test_13_projections() -> None:
    layer = SelfAttention(12, 3).double()
    z = torch.randn(BATCH, TIME, 12, dtype=torch.float64)
    _, there = encoded()
    valid = there.any(-1)
    ours = layer(z, valid)
    for row in range(BATCH):
        close(ours[row], numpy_attention(layer, array(z[row]), array(valid[row])))


def numpy_transformer(model: Sage, z: np.ndarray, keys: np.ndarray) -> np.ndarray:
    def layer_norm(norm: torch.nn.Module, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)
        return x * array(norm.weight) + array(norm.bias)

    for layer in model.transformer.layers:
        z = layer_norm(layer.norm_attention, z + numpy_attention(layer.attention, z, keys))
        up, down = layer.feedforward[0], layer.feedforward[3]
        hidden = np.maximum(z @ array(up.weight).T + array(up.bias), 0)
        z = layer_norm(layer.norm_feedforward, z + hidden @ array(down.weight).T + array(down.bias))
    return z


def test_14_transformer() -> None:
    model = build("paper")
    z, there = encoded()
    valid = there.any(-1)
    ours = model.transformer(z, valid)
    for row in range(BATCH):
        close(ours[row], numpy_transformer(model, array(z[row]), array(valid[row])))


@pytest.mark.parametrize("variant", ["paper", "rescaled", "modality"])
def test_4_5_the_whole_model_is_its_parts_in_order(variant: str) -> None:
    model = build(variant)
    features, present = batch()
    x, there, valid = model._encode(features, present)
    z = array(x) * np.repeat(
        array(model.weights(x, there)), x.shape[-1] // model.weights(x, there).shape[-1], axis=-1
    )
    first, last = model.head.layers[0], model.head.layers[3]
    output = model(features, present)
    for row in range(BATCH):
        h = numpy_transformer(model, z[row], array(valid[row]))
        hidden = h @ array(first.weight).T + array(first.bias)
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        close(output[row], hidden @ array(last.weight).T + array(last.bias))


def paper_ccc(x: np.ndarray, y: np.ndarray) -> float:
    """(15), written with Pearson's correlation as in the paper."""
    rho = np.corrcoef(x, y)[0, 1]
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * rho * x.std() * y.std() / spread)


def test_15_ccc() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    assert ccc(x, y + x) == pytest.approx(paper_ccc(x, y + x), abs=1e-12)


def test_16_loss() -> None:
    prediction, target = torch.randn(2, BATCH, TIME, 2, dtype=torch.float64)
    _, there = encoded()
    valid = there.any(-1)
    x, y = array(prediction[valid]), array(target[valid])
    expected = np.mean([1 - paper_ccc(x[:, i], y[:, i]) for i in range(2)])
    assert ccc_loss(prediction, target, valid).item() == pytest.approx(expected, abs=TOLERANCE)
