"""Layers that the fusion networks share. All take (batch, time, width) and respect masks.

`valid` is (batch, time) bool, False at frames where no modality is present: padding, or a gap in
everything. Such frames are kept out of convolutions, statistics and attention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from vaest.errors import ConfigError


class Inputs(nn.Module):
    """Makes absence visible: a learned vector stands in for each absent frame of a modality.

    Input features are zero where absent, and zero is also the mean of standardised features: a
    network given only that could not tell the two apart.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.absent = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(dim) / math.sqrt(dim)) for m, dim in dims.items()}
        )

    def forward(
        self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Per modality (batch, time, dim); there (batch, time, modalities) bool; valid.

        ConfigError if a modality is missing altogether or has another dimension.
        """
        check_modalities(self.dims, {m: x.shape[-1] for m, x in features.items()})
        there = torch.stack([present[m] for m in self.dims], dim=-1)
        valid = there.any(dim=-1)
        filled = {
            m: torch.where(present[m].unsqueeze(-1), features[m], self.absent[m])
            * valid.unsqueeze(-1)
            for m in self.dims
        }
        return filled, there, valid


class TemporalConvNet(nn.Module):
    """Weight-normalised dilated convolutions with residuals, then batch normalisation.

    The temporal encoder of LFAN and its descendants: level i has two convolutions of dilation
    2^i. Causal convolutions see only the past; the others see as far ahead as behind.
    """

    def __init__(
        self, dim: int, width: int, levels: int, kernel: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _Level(dim if i == 0 else width, width, kernel, 2**i, dropout, causal)
            for i in range(levels)
        )
        self.norm = MaskedBatchNorm(width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(batch, time, dim) -> (batch, time, width)."""
        x, mask = x.transpose(1, 2), valid.unsqueeze(1)
        for level in self.levels:
            x = level(x, mask)
        return self.norm(x.transpose(1, 2), valid)


class MaskedBatchNorm(nn.Module):
    """nn.BatchNorm1d over the valid frames alone."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, var = self.running_mean, self.running_var
        if self.training:
            mask = valid.unsqueeze(-1).to(x.dtype)
            n = mask.sum()
            mean = (x * mask).sum(dim=(0, 1)) / n.clamp(min=1)
            var = ((x - mean) * mask).square().sum(dim=(0, 1)) / n.clamp(min=1)
            self._track(mean.detach(), var.detach(), n)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, n: Tensor) -> None:
        # As nn.BatchNorm1d does, the running variance takes the unbiased estimate.
        momentum = self.momentum * (n > 1).to(mean.dtype)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var * n / (n - 1).clamp(min=1), momentum)


class TransformerEncoder(nn.Module):
    """Post-norm layers of self-attention and a feed-forward block (Vaswani et al. 2017).

    Attention weights are not dropped: the fused kernels for the CPU cannot.
    """

    def __init__(
        self, width: int, layers: int, heads: int, feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, valid)
        return x


class SelfAttention(nn.Module):
    """Multi-head self-attention. ConfigError if the heads do not divide the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"{heads} heads do not divide a width of {width}",
                nearest=str(max(h for h in range(1, heads) if width % h == 0)),
            )
        self.heads = heads
        # Without biases: that of the keys would cancel in the softmax, and SAGE's (13) has none.
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        batch, time, width = x.shape
        query, key, value = self.qkv(x).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = attend(query, key, value, valid)
        return self.out(attended.transpose(1, 2).reshape(batch, time, width))


class MlpHead(nn.Module):
    """Valence and arousal of each frame by itself: Linear, LeakyReLU, dropout, Linear."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.LeakyReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, time, 2)."""
        return self.layers(x)


def attend(query: Tensor, key: Tensor, value: Tensor, key_valid: Tensor) -> Tensor:
    """softmax(Q K' / sqrt d) V over the valid keys; zero where there is none.

    query (batch, heads, time, d), key and value (batch, heads, keys, d), key_valid (batch, keys).
    """
    some = key_valid.any(dim=-1, keepdim=True)
    # A row without keys attends to all of them and is then discarded: no NaN, no branch.
    mask = (key_valid | ~some)[:, None, None, :]
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attended * some[:, None, None, :]


def masked_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the entries under a True mask; the others get zero, also where all are."""
    lowest = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~mask, lowest), dim=dim) * mask


def sinusoidal_positions(x: Tensor) -> Tensor:
    """(time, width) sines and cosines for x (batch, time, width) (Vaswani et al. 2017, 3.5)."""
    _, time, width = x.shape
    position = torch.arange(time, device=x.device, dtype=torch.float32).unsqueeze(1)
    pair = torch.arange(0, width, 2, device=x.device, dtype=torch.float32)
    angle = position * torch.exp(pair * (-math.log(10_000.0) / width))
    both = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return both[:, :width].to(x.dtype)


def check_modalities(expected: Mapping[str, int], given: Mapping[str, int]) -> None:
    """ConfigError naming a modality of `expected` that is not given, or has another dimension."""
    for modality, dim in expected.items():
        if modality not in given:
            raise ConfigError(
                f"the model was built for {', '.join(expected)}, but there is no {modality!r}",
                nearest=f"a modality that is never present still needs features of dimension {dim} "
                "and a mask that is False",
            )
        if given[modality] != dim:
            raise ConfigError(
                f"the model expects {modality} features of dimension {dim}, got {given[modality]}"
            )


class _Level(nn.Module):
    """Two convolutions of one dilation and a residual, on (batch, channels, time)."""

    def __init__(
        self, dim: int, width: int, kernel: int, dilation: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation
        before = reach if causal else reach // 2
        self.padding = (before, reach - before)
        self.first = weight_norm(nn.Conv1d(dim, width, kernel, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(width, width, kernel, dilation=dilation))
        self.shortcut = nn.Identity() if dim == width else nn.Conv1d(dim, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.first(functional.pad(x * mask, self.padding))
        h = self.dropout(functional.leaky_relu(h))
        h = self.second(functional.pad(h * mask, self.padding))
        h = self.dropout(functional.leaky_relu(h))
        return functional.leaky_relu(h + self.shortcut(x))


class _EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.norm_attention = nn.LayerNorm(width)
        self.norm_feedforward = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.norm_attention(x + self.dropout(self.attention(x, valid)))
        return self.norm_feedforward(x + self.dropout(self.feedforward(x)))
