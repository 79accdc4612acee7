"""Fit one fold: the loop, readable top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from vaest.batches import Standardiser, batches, cut_clips
from vaest.errors import ConfigError
from vaest.fitted import Fitted, make_fusion
from vaest.fusion import ClosedFormFusion, FusionNetwork
from vaest.losses import combined_loss
from vaest.metrics import score
from vaest.recipe import Recipe, TrainSection
from vaest.runs import TrialPrediction
from vaest.types import TrialSequence

OnEpoch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class FoldFit:
    """A fitted fold: its model, its epochs, and its predictions of the validation trials."""

    fitted: Fitted
    predictions: list[TrialPrediction]
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None


def fit_fold(
    recipe: Recipe,
    train: Sequence[TrialSequence],
    validation: Sequence[TrialSequence],
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> FoldFit:
    """Fit the recipe's fusion model on `train` and predict every frame of `validation`.

    Deterministic on the CPU for a given recipe: every random number comes from `train.seed`.
    """
    torch.manual_seed(recipe.train.seed)
    dims = {m: x.shape[1] for m, x in train[0].features.items()}
    model = make_fusion(recipe.fusion, dims)
    settings = recipe.train
    fitted = Fitted(
        model,
        Standardiser.fit(train),
        settings.clip_frames,
        settings.clip_stride,
        settings.batch_size,
        device,
    )
    if isinstance(model, ClosedFormFusion):
        model.fit(train)
        return FoldFit(fitted, list(fitted.predict(validation)))
    assert isinstance(model, FusionNetwork)
    history, best_epoch = _fit_network(model, fitted, settings, train, validation, on_epoch)
    return FoldFit(fitted, list(fitted.predict(validation)), history, best_epoch)


def _fit_network(
    model: FusionNetwork,
    fitted: Fitted,
    settings: TrainSection,
    train: Sequence[TrialSequence],
    validation: Sequence[TrialSequence],
    on_epoch: OnEpoch | None,
) -> tuple[list[dict[str, Any]], int]:
    device = torch.device(fitted.device)
    model.to(device)
    clips = cut_clips(train, settings.clip_frames, settings.clip_stride, labelled_only=True)
    if not clips:
        raise ConfigError("no training clip has a valid label")
    optimizer = _optimizer(settings, model)
    schedule = _Schedule(settings, optimizer)
    rng = np.random.default_rng(settings.seed)
    history: list[dict[str, Any]] = []
    best_mean, best_epoch, best_state = -math.inf, 0, _snapshot(model)

    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        schedule.start_epoch(epoch)
        model.train()
        losses = []
        order = rng.permutation(len(clips))
        for batch in batches(train, clips, settings.batch_size, fitted.standardiser, order):
            batch = batch.to(device)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
            ):
                prediction = model(batch.features, batch.present)
            loss = combined_loss(
                prediction.float(),
                batch.target,
                batch.target_valid,
                settings.loss,
                over=settings.ccc_over,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.gradient_clip:
                nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
            losses.append(loss.detach())

        scores = score(fitted.predict(validation))
        schedule.end_epoch(scores["mean"])
        record = {
            "epoch": epoch,
            "loss": float(torch.stack(losses).mean()),
            "lr": optimizer.param_groups[0]["lr"],
            **scores,
            "seconds": time.perf_counter() - started,
        }
        history.append(record)
        if on_epoch is not None:
            on_epoch(record)
        if scores["mean"] > best_mean:
            best_mean, best_epoch = scores["mean"], epoch
            if settings.keep == "best":
                best_state = _snapshot(model)
        if 0 < settings.early_stop_patience <= epoch - best_epoch:
            break

    if settings.keep == "best":
        model.load_state_dict(best_state)
        return history, best_epoch
    return history, len(history)


def _optimizer(settings: TrainSection, model: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)


class _Schedule:
    """Linear warm-up over whole epochs, then constant, cosine to zero, or drops on a plateau."""

    def __init__(self, settings: TrainSection, optimizer: torch.optim.Optimizer) -> None:
        self.settings = settings
        self.optimizer = optimizer
        self.drops = 0
        self.best = -math.inf
        self.stale_epochs = 0

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of a 1-based epoch."""
        settings = self.settings
        if epoch <= settings.warmup_epochs:
            factor = epoch / settings.warmup_epochs
        elif settings.schedule == "cosine":
            after = epoch - settings.warmup_epochs - 1
            span = max(settings.epochs - settings.warmup_epochs, 1)
            factor = (1 + math.cos(math.pi * after / span)) / 2
        else:
            factor = settings.plateau_factor**self.drops
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * factor

    def end_epoch(self, mean_ccc: float) -> None:
        """Count epochs without improvement towards the next drop."""
        if mean_ccc > self.best:
            self.best, self.stale_epochs = mean_ccc, 0
            return
        self.stale_epochs += 1
        if (
            self.settings.schedule == "plateau"
            and self.stale_epochs > self.settings.plateau_patience
        ):
            self.drops, self.stale_epochs = self.drops + 1, 0


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}
