"""Training losses. All are masked: what is not valid has neither value nor gradient.

prediction and target: (batch, time, 2); valid: (batch, time) bool. Values of `target` that are
not valid may be anything, NaN included. Where nothing at all is valid the loss is zero, still
attached to the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from vaest.errors import ConfigError

Over = Literal["clip", "batch"]


def combined_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    weights: Mapping[Literal["ccc", "mse"], float],
    *,
    over: Over = "batch",
) -> Tensor:
    """The weighted sum of the losses named in `weights`; ConfigError if no weight is positive."""
    losses = {
        "ccc": lambda: ccc_loss(prediction, target, valid, over=over),
        "mse": lambda: mse_loss(prediction, target, valid),
    }
    chosen = [weight * losses[name]() for name, weight in weights.items() if weight > 0]
    if not chosen:
        raise ConfigError(
            f"no loss in {dict(weights)} has a positive weight", fix="--set train.loss.ccc=1.0"
        )
    return torch.stack(chosen).sum()


def ccc_loss(prediction: Tensor, target: Tensor, valid: Tensor, *, over: Over = "batch") -> Tensor:
    """1 - CCC in its population form, averaged over the two targets (SAGE, eqs 15 and 16).

    over: "batch" pools the valid frames of all clips; "clip" takes each clip by itself and
    averages over those with at least two valid frames. Where prediction and target are both
    constant and equal, CCC is 0 by convention.
    """
    mask = valid.unsqueeze(-1)
    x, y = torch.where(mask, prediction, 0), torch.where(mask, target, 0)
    if over == "batch":
        x, y, mask = x.flatten(0, 1)[None], y.flatten(0, 1)[None], mask.flatten(0, 1)[None]
    n = mask.sum(dim=1, keepdim=True)
    frames = n.clamp(min=1).to(x.dtype)
    mean_x, mean_y = x.sum(1, keepdim=True) / frames, y.sum(1, keepdim=True) / frames
    dx, dy = (x - mean_x) * mask, (y - mean_y) * mask
    covariance = (dx * dy).sum(1) / frames[:, 0]
    spread = (dx.square() + dy.square()).sum(1) / frames[:, 0]
    distance = (mean_x - mean_y)[:, 0].square()
    ccc = 2 * covariance / (spread + distance).clamp(min=torch.finfo(x.dtype).eps)
    loss = (1 - ccc).mean(dim=-1)
    counted = n[:, 0, 0] >= 2
    return torch.where(counted, loss, 0 * loss).sum() / counted.sum().clamp(min=1)


def mse_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over the valid frames and both targets."""
    mask = valid.unsqueeze(-1)
    error = torch.where(mask, prediction - target, 0)
    return error.square().sum() / (2 * mask.sum()).clamp(min=1)
