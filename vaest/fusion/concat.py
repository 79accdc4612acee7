"""Early fusion: the features side by side, projected, then one temporal convolutional network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaest.fusion import FusionConfig, FusionNetwork, fusions
from vaest.fusion._layers import Inputs, MlpHead, TemporalConvNet


class ConcatConfig(FusionConfig):
    """Sizes as in the LFAN family."""

    variant: Literal["plain"] = "plain"
    width: int = Field(256, ge=1, description="of the projection and of the TCN")
    levels: int = Field(4, ge=1, description="levels of the TCN")
    kernel: int = Field(5, ge=1, description="kernel, in frames")
    causal: bool = Field(True, description="see no later frame")
    hidden: int = Field(256, ge=1, description="width of the regression head")
    dropout: float = Field(0.1, ge=0, lt=1, description="after each convolution and in the head")


@fusions.register
class Concat(FusionNetwork):
    """Modalities interact from the first layer on."""

    name: ClassVar[str] = "concat"
    paper: ClassVar[str] = (
        "early fusion in Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey "
        "and Taxonomy, 2019"
    )
    Config: ClassVar[type[FusionConfig]] = ConcatConfig

    def __init__(self, config: ConcatConfig, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        c = config
        self.inputs = Inputs(dims)
        self.project = nn.Linear(sum(dims.values()), c.width)
        self.tcn = TemporalConvNet(c.width, c.width, c.levels, c.kernel, c.dropout, c.causal)
        self.head = MlpHead(c.width, c.hidden, c.dropout)

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        inputs, _, valid = self.inputs(features, present)
        x = self.project(torch.cat([inputs[m] for m in self.dims], dim=-1))
        return self.head(self.tcn(x, valid))
