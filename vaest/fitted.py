"""A fitted fusion model with what its inputs were standardised by: predict trials, save, load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save

from vaest.batches import Standardiser, batches, cut_clips
from vaest.config import parse_config
from vaest.errors import InputError
from vaest.fusion import ClosedFormFusion, Fusion, FusionNetwork, fusions
from vaest.runs import TrialPrediction, write_atomically
from vaest.types import TrialSequence

_MODEL = "model."
_STANDARDISER = "standardiser."


@dataclass(frozen=True)
class Fitted:
    """One fold's model. `clip_frames` and `clip_stride` are those it was trained with."""

    model: Fusion
    standardiser: Standardiser
    clip_frames: int
    clip_stride: int
    batch_size: int
    device: str = "cpu"

    @property
    def parameters(self) -> int:
        """How many numbers the fitted model consists of."""
        if isinstance(self.model, FusionNetwork):
            return sum(p.numel() for p in self.model.parameters())
        assert isinstance(self.model, ClosedFormFusion)
        return sum(array.size for array in self.model.state().values())

    def predict(self, sequences: Iterable[TrialSequence]) -> Iterator[TrialPrediction]:
        """Every frame of every trial; where clips overlap, their predictions are averaged."""
        for sequence in sequences:
            if isinstance(self.model, FusionNetwork):
                prediction, reliability = self._predict_clips(self.model, sequence)
            else:
                assert isinstance(self.model, ClosedFormFusion)
                prediction, reliability = self.model.predict(sequence), {}
            yield TrialPrediction(
                trial=sequence.trial,
                time_s=sequence.time_s,
                prediction=prediction,
                target=sequence.target,
                present=sequence.present,
                reliability=reliability,
            )

    def save(self, path: Path) -> None:
        """Weights and standardiser as one safetensors file."""
        if isinstance(self.model, FusionNetwork):
            state = {k: v.detach().cpu().numpy() for k, v in self.model.state_dict().items()}
        else:
            assert isinstance(self.model, ClosedFormFusion)
            state = self.model.state()
        arrays = {_MODEL + k: v for k, v in state.items()}
        arrays |= {_STANDARDISER + k: v for k, v in self.standardiser.state().items()}
        write_atomically(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))

    @classmethod
    def load(cls, path: Path, recipe: Mapping[str, Any], device: str = "cpu") -> Fitted:
        """The inverse of `save`, for a run's resolved recipe."""
        if not path.is_file():
            raise InputError("the run has no weights here", where=path, fix="vaest fit")
        arrays = load_file(path)
        standardiser = Standardiser.from_state(_under(arrays, _STANDARDISER))
        dims = {m: len(standardiser.mean[m]) for m in recipe["features"]}
        model = make_fusion(recipe["fusion"], dims)
        state = _under(arrays, _MODEL)
        if isinstance(model, FusionNetwork):
            model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
            model.to(device)
        else:
            assert isinstance(model, ClosedFormFusion)
            model.load_state(state)
        train = recipe["train"]
        return cls(
            model,
            standardiser,
            train["clip_frames"],
            train["clip_stride"],
            train["batch_size"],
            device,
        )

    @torch.inference_mode()
    def _predict_clips(
        self, model: FusionNetwork, sequence: TrialSequence
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        model.eval()
        clips = cut_clips([sequence], self.clip_frames, self.clip_stride, labelled_only=False)
        total = np.zeros((len(sequence), 2))
        count = np.zeros(len(sequence))
        weights: dict[str, np.ndarray] = {}
        for start, batch in zip(
            range(0, len(clips), self.batch_size),
            batches([sequence], clips, self.batch_size, self.standardiser),
            strict=True,
        ):
            on_device = batch.to(torch.device(self.device))
            output = model(on_device.features, on_device.present).float().cpu().numpy()
            reliability = {
                m: w.float().cpu().numpy()
                for m, w in model.reliability(on_device.features, on_device.present).items()
            }
            for row, clip in enumerate(clips[start : start + self.batch_size]):
                window, length = slice(clip.start, clip.stop), clip.stop - clip.start
                total[window] += output[row, :length]
                count[window] += 1
                for m, w in reliability.items():
                    weights.setdefault(m, np.zeros(len(sequence)))[window] += w[row, :length]
        prediction = (total / count[:, None]).astype(np.float32)
        return prediction, {m: (w / count).astype(np.float32) for m, w in weights.items()}


def make_fusion(section: Mapping[str, Any], dims: Mapping[str, int]) -> Fusion:
    """The model of a recipe's [fusion] section for features of these dimensions."""
    cls = fusions.get(str(section["name"]))
    options = {k: v for k, v in section.items() if k != "name"}
    return cls(parse_config(cls.Config, options, f"[fusion] of {cls.name}"), dims)


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
