"""A temporal convolutional network per modality, and a linear head on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaest.fusion import FusionConfig, FusionNetwork, fusions
from vaest.fusion._layers import Inputs, TemporalConvNet


class TcnConfig(FusionConfig):
    """Sizes as in the LFAN family."""

    variant: Literal["plain"] = "plain"
    width: int = Field(256, ge=1, description="channels of each modality's TCN")
    levels: int = Field(4, ge=1, description="levels of each TCN")
    kernel: int = Field(5, ge=1, description="kernel, in frames")
    causal: bool = Field(True, description="see no later frame")
    dropout: float = Field(0.1, ge=0, lt=1, description="after each convolution")


@fusions.register
class Tcn(FusionNetwork):
    """What time alone gives, without any interaction of modalities before the last layer."""

    name: ClassVar[str] = "tcn"
    paper: ClassVar[str] = (
        "Bai, Kolter and Koltun, An Empirical Evaluation of Generic Convolutional and Recurrent "
        "Networks for Sequence Modeling, 2018"
    )
    Config: ClassVar[type[FusionConfig]] = TcnConfig

    def __init__(self, config: TcnConfig, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        c = config
        self.inputs = Inputs(dims)
        self.tcn = nn.ModuleDict(
            {
                m: TemporalConvNet(dim, c.width, c.levels, c.kernel, c.dropout, c.causal)
                for m, dim in dims.items()
            }
        )
        self.head = nn.Linear(c.width * len(dims), 2)

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        inputs, _, valid = self.inputs(features, present)
        encoded = [self.tcn[m](inputs[m], valid) for m in self.dims]
        return self.head(torch.cat(encoded, dim=-1))
