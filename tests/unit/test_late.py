"""Late fusion averages the modalities that are present, by learned preference."""

from __future__ import annotations

import math

import torch

from vaest.fusion.late import Late, LateConfig


def test_the_average_is_over_the_modalities_present_at_a_frame() -> None:
    torch.manual_seed(0)
    model = Late(LateConfig(width=8, levels=1), {"visual": 4, "audio": 3}).eval()
    with torch.no_grad():
        model.preference.copy_(torch.tensor([0.0, math.log(3)]))
    present = {
        "visual": torch.tensor([[True, True, False, False]]),
        "audio": torch.tensor([[True, False, True, False]]),
    }
    features = {m: torch.randn(1, 4, d) * present[m].unsqueeze(-1) for m, d in model.dims.items()}
    inputs, _, valid = model.inputs(features, present)
    visual, audio = (model.head[m](model.tcn[m](inputs[m], valid))[0] for m in model.dims)
    output = model(features, present)[0]
    torch.testing.assert_close(output[0], 0.25 * visual[0] + 0.75 * audio[0])
    torch.testing.assert_close(output[1], visual[1])
    torch.testing.assert_close(output[2], audio[2])
    assert (output[3] == 0).all()
