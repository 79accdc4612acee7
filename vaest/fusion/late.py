"""Late fusion: each modality predicts by itself, and the predictions are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaest.fusion import FusionConfig, FusionNetwork, fusions
from vaest.fusion._layers import Inputs, TemporalConvNet, masked_softmax


class LateConfig(FusionConfig):
    """Sizes as in the LFAN family."""

    variant: Literal["plain"] = "plain"
    width: int = Field(256, ge=1, description="channels of each modality's TCN")
    levels: int = Field(4, ge=1, description="levels of each TCN")
    kernel: int = Field(5, ge=1, description="kernel, in frames")
    causal: bool = Field(True, description="see no later frame")
    dropout: float = Field(0.1, ge=0, lt=1, description="after each convolution")


@fusions.register
class Late(FusionNetwork):
    """A TCN and a linear head per modality; the average is over the modalities present at a frame.

    Its weights are one learned scalar per modality, the same at every frame: a preference, not an
    estimate of reliability. A frame without any modality gets zero.
    """

    name: ClassVar[str] = "late"
    paper: ClassVar[str] = (
        "late fusion in Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey "
        "and Taxonomy, 2019"
    )
    Config: ClassVar[type[FusionConfig]] = LateConfig

    def __init__(self, config: LateConfig, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        c = config
        self.inputs = Inputs(dims)
        self.tcn = nn.ModuleDict(
            {
                m: TemporalConvNet(dim, c.width, c.levels, c.kernel, c.dropout, c.causal)
                for m, dim in dims.items()
            }
        )
        self.head = nn.ModuleDict({m: nn.Linear(c.width, 2) for m in dims})
        self.preference = nn.Parameter(torch.zeros(len(dims)))

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        inputs, there, valid = self.inputs(features, present)
        predictions = [self.head[m](self.tcn[m](inputs[m], valid)) for m in self.dims]
        weights = masked_softmax(self.preference.expand(there.shape), there, dim=-1)
        return (torch.stack(predictions, dim=-1) * weights.unsqueeze(-2)).sum(dim=-1)
