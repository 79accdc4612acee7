"""Shared layers: masks keep out what is masked, and change nothing where nothing is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaest.errors import ConfigError
from vaest.fusion._layers import (
    Inputs,
    MaskedBatchNorm,
    MlpHead,
    SelfAttention,
    TemporalConvNet,
    TransformerEncoder,
    attend,
    masked_softmax,
    sinusoidal_positions,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def mask_with_gaps(batch: int = 3, time: int = 20) -> torch.Tensor:
    mask = torch.ones(batch, time, dtype=torch.bool)
    mask[0, 5:9] = False
    mask[1, 12:] = False
    return mask


def test_inputs_put_a_vector_where_absent_and_zero_where_nothing_is() -> None:
    inputs = Inputs({"visual": 4, "audio": 3})
    features = {"visual": torch.randn(1, 3, 4), "audio": torch.randn(1, 3, 3)}
    present = {
        "visual": torch.tensor([[True, False, False]]),
        "audio": torch.tensor([[True, True, False]]),
    }
    filled, there, valid = inputs(features, present)
    assert torch.equal(filled["visual"][0, 0], features["visual"][0, 0])
    assert torch.equal(filled["visual"][0, 1], inputs.absent["visual"])
    assert (filled["visual"][0, 2] == 0).all()
    assert valid.tolist() == [[True, True, False]]
    assert there.tolist() == [[[True, True], [False, True], [False, False]]]


def test_inputs_ignore_what_lies_under_a_false_mask() -> None:
    inputs = Inputs({"visual": 4})
    present = {"visual": torch.tensor([[True, False, True]])}
    features = torch.randn(1, 3, 4)
    spoiled = features.clone()
    spoiled[0, 1] = float("nan")
    spoiled_out, _, _ = inputs({"visual": spoiled}, present)
    plain_out, _, _ = inputs({"visual": features}, present)
    assert torch.equal(spoiled_out["visual"], plain_out["visual"])


def test_inputs_name_the_modality_that_is_missing_or_of_another_dimension() -> None:
    inputs = Inputs({"visual": 4, "audio": 3})
    features, present = {"visual": torch.randn(1, 2, 4)}, {"visual": torch.ones(1, 2).bool()}
    with pytest.raises(ConfigError, match="'audio'"):
        inputs(features, present)
    features["audio"], present["audio"] = torch.randn(1, 2, 7), present["visual"]
    with pytest.raises(ConfigError, match="dimension 3, got 7"):
        inputs(features, present)


@pytest.mark.parametrize("training", [True, False])
def test_masked_batch_norm_is_batch_norm_without_a_mask(training: bool) -> None:
    ours, reference = MaskedBatchNorm(6), nn.BatchNorm1d(6)
    everything = torch.ones(4, 10, dtype=torch.bool)
    for _ in range(3):
        x = 3 * torch.randn(4, 10, 6) + 2
        ours(x, everything)
        reference(x.transpose(1, 2))
    ours.train(training)
    reference.train(training)
    expected = reference(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(x, everything), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.running_var, reference.running_var)


def test_masked_batch_norm_is_batch_norm_of_the_valid_frames() -> None:
    ours, reference = MaskedBatchNorm(6), nn.BatchNorm1d(6)
    x, mask = torch.randn(3, 20, 6), mask_with_gaps()
    x[~mask] = 1e4
    torch.testing.assert_close(ours(x, mask)[mask], reference(x[mask]), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.running_var, reference.running_var)


@pytest.mark.parametrize("frames", [0, 1])
def test_masked_batch_norm_learns_nothing_from_too_few_frames(frames: int) -> None:
    norm = MaskedBatchNorm(2)
    mask = torch.zeros(1, 5, dtype=torch.bool)
    mask[0, :frames] = True
    assert norm(torch.randn(1, 5, 2), mask).isfinite().all()
    assert norm.running_mean.eq(0).all()
    assert norm.running_var.eq(1).all()


def test_masked_batch_norm_keeps_double_and_lifts_half() -> None:
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert MaskedBatchNorm(2).double()(torch.randn(1, 4, 2).double(), mask).dtype == torch.float64
    assert MaskedBatchNorm(2)(torch.randn(1, 4, 2).bfloat16(), mask).dtype == torch.float32


def test_causal_tcn_sees_no_later_frame_and_the_other_does() -> None:
    for causal in (True, False):
        net = TemporalConvNet(4, 8, levels=3, kernel=5, dropout=0.1, causal=causal).eval()
        x, mask = torch.randn(1, 60, 4), torch.ones(1, 60, dtype=torch.bool)
        later = x.clone()
        later[:, 40] += 1
        change = (net(later, mask) - net(x, mask)).abs().amax(-1)[0]
        assert bool((change[:40] == 0).all()) == causal
        assert (change[40:45] > 0).all()


def test_tcn_reaches_as_far_back_as_its_levels_say() -> None:
    net = TemporalConvNet(4, 8, levels=2, kernel=3, dropout=0.0, causal=True).eval()
    reach = 2 * 2 * (1 + 2)  # two convolutions a level, kernel - 1 frames each, times dilation
    x, mask = torch.randn(1, 40, 4), torch.ones(1, 40, dtype=torch.bool)
    changed = x.clone()
    changed[:, 10] += 5
    change = (net(changed, mask) - net(x, mask)).abs().amax(-1)[0]
    assert change[10 + reach] > 0
    assert (change[10 + reach + 1 :] == 0).all()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_masked_frames_do_not_reach_others_through_a_tcn(causal: bool, training: bool) -> None:
    net = TemporalConvNet(4, 8, levels=3, kernel=5, dropout=0.0, causal=causal).train(training)
    x, mask = torch.randn(3, 20, 4), mask_with_gaps()
    spoiled = torch.where(mask.unsqueeze(-1), x, 100.0)
    torch.testing.assert_close(net(x, mask)[mask], net(spoiled, mask)[mask], atol=0, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_in_front_or_behind_a_tcn_changes_nothing(causal: bool) -> None:
    net = TemporalConvNet(4, 8, levels=3, kernel=5, dropout=0.0, causal=causal)
    x, mask = torch.randn(2, 20, 4), torch.ones(2, 20, dtype=torch.bool)
    padded = torch.cat([torch.ones(2, 30, 4), x, torch.ones(2, 30, 4)], 1)
    padded_mask = torch.zeros(2, 80, dtype=torch.bool)
    padded_mask[:, 30:50] = True
    torch.testing.assert_close(net(padded, padded_mask)[:, 30:50], net(x, mask))


def test_self_attention_agrees_with_torch() -> None:
    ours, reference = SelfAttention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": torch.zeros(24),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x, mask = torch.randn(3, 20, 8), mask_with_gaps()
    expected, _ = reference(x, x, x, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask), expected, atol=1e-6, rtol=1e-5)


def test_transformer_agrees_with_torch() -> None:
    ours = TransformerEncoder(8, 1, 2, 16, 0.0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    mine = ours.layers[0]
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": mine.attention.qkv.weight,
            "self_attn.in_proj_bias": torch.zeros(24),
            "self_attn.out_proj.weight": mine.attention.out.weight,
            "self_attn.out_proj.bias": mine.attention.out.bias,
            "linear1.weight": mine.feedforward[0].weight,
            "linear1.bias": mine.feedforward[0].bias,
            "linear2.weight": mine.feedforward[3].weight,
            "linear2.bias": mine.feedforward[3].bias,
            **{f"norm1.{k}": v for k, v in mine.norm_attention.state_dict().items()},
            **{f"norm2.{k}": v for k, v in mine.norm_feedforward.state_dict().items()},
        }
    )
    x, mask = torch.randn(3, 20, 8), mask_with_gaps()
    expected = layer(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask), expected, atol=1e-5, rtol=1e-5)


def test_attention_ignores_masked_keys_and_is_zero_without_any() -> None:
    query, key, value = torch.randn(3, 2, 2, 6, 5, requires_grad=True).unbind(0)
    mask = torch.tensor([[True, True, False, True, False, False], [False] * 6])
    attended = attend(query, key, value, mask)
    kept = attend(query[:1], key[:1, :, mask[0]], value[:1, :, mask[0]], torch.ones(1, 3).bool())
    torch.testing.assert_close(attended[:1], kept)
    assert (attended[1] == 0).all()
    gradient = torch.autograd.grad(attended.sum(), value)[0]
    assert gradient.isfinite().all()
    assert (gradient[0][:, ~mask[0]] == 0).all()


def test_heads_that_do_not_divide_the_width_are_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="5 heads") as error:
        SelfAttention(16, 5)
    assert error.value.nearest == "4"


def test_masked_softmax() -> None:
    logits = torch.tensor([[1.0, 2.0, 500.0], [1.0, 2.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(logits, mask, dim=-1)
    first = 1 / (1 + math.e)
    torch.testing.assert_close(weights[0], torch.tensor([first, 1 - first, 0.0]))
    assert (weights[1] == 0).all()
    weights[:, 0].sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0


def test_sinusoidal_positions() -> None:
    positions = sinusoidal_positions(torch.zeros(2, 50, 7))
    assert positions.shape == (50, 7)
    assert positions[0].tolist() == [0, 1, 0, 1, 0, 1, 0]
    third = 10_000 ** (-4 / 7)
    torch.testing.assert_close(
        positions[9, 4:6], torch.tensor([math.sin(9 * third), math.cos(9 * third)])
    )


def test_head_predicts_each_frame_by_itself() -> None:
    head = MlpHead(4, 8, 0.5).eval()
    x = torch.randn(2, 5, 4)
    assert head(x).shape == (2, 5, 2)
    torch.testing.assert_close(head(x)[:, 3:4], head(x[:, 3:4]))
