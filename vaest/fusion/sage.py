"""SAGE: a TCN per modality, reliability-guided fusion, a temporal transformer, a frame-wise MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaest.fusion import FusionConfig, FusionNetwork, fusions
from vaest.fusion._layers import (
    Inputs,
    MlpHead,
    TemporalConvNet,
    TransformerEncoder,
    masked_softmax,
    sinusoidal_positions,
)

Variant = Literal["modality", "rescaled", "paper"]


class SageConfig(FusionConfig):
    """The paper gives no size, dropout or activation; where the same authors' TAGF or another
    model of their tables gives one, it is the default here and named.
    """

    variant: Variant = Field(
        "modality", description="how reliability weighs: per modality, joint times T, or joint"
    )
    width: int = Field(256, ge=1, description="channels of each TCN (TAGF, last levels of video)")
    levels: int = Field(4, ge=1, description="levels of each TCN (TAGF)")
    kernel: int = Field(5, ge=1, description="kernel of each TCN, in frames (TAGF)")
    causal: bool = Field(True, description="TCNs see no later frame (TAGF)")
    layers: int = Field(4, ge=1, description="transformer layers (Situ-RUCAIM3)")
    heads: int = Field(4, ge=1, description="attention heads (CtyunAI, Situ-RUCAIM3)")
    feedforward: int = Field(512, ge=1, description="feed-forward width (CtyunAI, Situ-RUCAIM3)")
    positions: bool = Field(False, description="add sinusoidal positions to Z; the paper has none")
    hidden: int = Field(256, ge=1, description="width of the regression head (TAGF)")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="in TCNs, transformer blocks and head (TAGF, TCN)"
    )


@fusions.register
class Sage(FusionNetwork):
    """Equations (2)-(14) of the paper, for any number of modalities.

    Variants, which differ in the weights of (8)-(11) alone:

    `paper`: one weight per frame for the whole concatenation, a softmax over the clip's valid
    frames: Z_t = a_t X_t. It cannot prefer one modality to another, and since the weights of a
    clip sum to one, Z shrinks with the clip's length.
    `rescaled`: Z_t = T a_t X_t with T the number of valid frames. An even weighting leaves X as it
    is, whatever the length.
    `modality`: W_r of (6) has one row per modality; the softmax runs over the modalities present
    at a frame, and each weight, times their number, multiplies its own modality's slice of X. The
    text and the abstract promise this ("dynamically rebalances audio and visual"), the equations
    do not. It is the default because it alone does what the model is named for, and because its
    output at a frame does not depend on the length of the clip.
    """

    name: ClassVar[str] = "sage"
    paper: ClassVar[str] = (
        "Lee, Lee, Cha and Park, Stage-Adaptive Reliability Modeling for Continuous "
        "Valence-Arousal Estimation, 10th ABAW, 2026"
    )
    Config: ClassVar[type[FusionConfig]] = SageConfig

    def __init__(self, config: SageConfig, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        c = config
        total = c.width * len(dims)
        self.variant = c.variant
        self.positions = c.positions
        self.inputs = Inputs(dims)
        self.tcn = nn.ModuleDict(
            {
                m: TemporalConvNet(dim, c.width, c.levels, c.kernel, c.dropout, c.causal)
                for m, dim in dims.items()
            }
        )
        self.gate = (
            nn.Linear(total, len(dims))
            if c.variant == "modality"
            # b_r of (6) shifts all logits alike and cancels in (8).
            else nn.Linear(total, 1, bias=False)
        )
        self.transformer = TransformerEncoder(total, c.layers, c.heads, c.feedforward, c.dropout)
        self.head = MlpHead(total, c.hidden, c.dropout)

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        x, there, valid = self._encode(features, present)
        z = self.fuse(x, there)
        if self.positions:
            z = z + sinusoidal_positions(z)
        h = self.transformer(z, valid)  # (12)-(14)
        return self.head(h)  # (5)

    def reliability(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """`modality`: each modality's weight times the number present, 0 where it is absent, so
        that 1 is an even share. `paper` and `rescaled`: "joint", T a_t, so that 1 is the average.
        """
        x, there, _ = self._encode(features, present)
        weights = self.weights(x, there)
        if self.variant == "modality":
            return {m: weights[..., i] for i, m in enumerate(self.dims)}
        if self.variant == "paper":
            weights = weights * _count(there.any(dim=-1))
        return {"joint": weights.squeeze(-1)}

    def weights(self, x: Tensor, there: Tensor) -> Tensor:
        """What multiplies X: (batch, time, modalities), or (batch, time, 1) if joint.

        x: (batch, time, D), the concatenation of (3). there: (batch, time, modalities) bool.
        """
        logits = self.gate(x)  # (6), (7)
        if self.variant == "modality":
            return masked_softmax(logits, there, dim=-1) * there.sum(dim=-1, keepdim=True)
        valid = there.any(dim=-1)
        alpha = masked_softmax(logits, valid.unsqueeze(-1), dim=1)  # (8), (9)
        return alpha if self.variant == "paper" else alpha * _count(valid)

    def fuse(self, x: Tensor, there: Tensor) -> Tensor:
        """Z of (10) and (11), of x's shape."""
        slices = x.unflatten(-1, (len(self.dims), -1))
        return (slices * self.weights(x, there).unsqueeze(-1)).flatten(-2)

    def _encode(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs, there, valid = self.inputs(features, present)
        encoded = [self.tcn[m](inputs[m], valid) for m in self.dims]  # (2)
        return torch.cat(encoded, dim=-1), there, valid  # (3)


def _count(valid: Tensor) -> Tensor:
    """T of each clip, (batch, 1, 1)."""
    return valid.sum(dim=1)[:, None, None]
