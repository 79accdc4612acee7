"""What every registered fusion model promises. A new model is tested by being registered."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

import numpy as np
import pytest
import torch

from vaest.errors import ConfigError, InputError
from vaest.fusion import ClosedFormFusion, Fusion, FusionNetwork, fusions
from vaest.losses import ccc_loss
from vaest.metrics import ccc
from vaest.types import TrialSequence

DIMS = {"visual": 6, "audio": 5, "text": 4}
SMALL = {
    "width": 16,
    "levels": 2,
    "kernel": 3,
    "layers": 1,
    "heads": 2,
    "feedforward": 32,
    "hidden": 16,
    "dropout": 0.0,
    "windows_s": (1.0, 3.0),
    "rate_hz": 25.0,
}
CLIPS, FRAMES = 3, 40


def variants(kind: type) -> list[Any]:
    """(class, variant) of every registered model of this kind."""
    classes = [fusions.get(name) for name in fusions.names()]
    return [
        pytest.param(cls, variant, id=f"{cls.name}-{variant}")
        for cls in classes
        if issubclass(cls, kind)
        for variant in get_args(cls.Config.model_fields["variant"].annotation)
    ]


every_model = pytest.mark.parametrize(("cls", "variant"), variants(Fusion))
every_network = pytest.mark.parametrize(("cls", "variant"), variants(FusionNetwork))
every_closed_form = pytest.mark.parametrize(("cls", "variant"), variants(ClosedFormFusion))


def build(cls: Any, variant: str, dims: dict[str, int] = DIMS) -> Any:
    torch.manual_seed(0)
    options = {k: v for k, v in SMALL.items() if k in cls.Config.model_fields}
    return cls(cls.Config(variant=variant, **options), dims)


def clips(
    dims: dict[str, int] = DIMS, batch: int = CLIPS, time: int = FRAMES
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random features; each modality lacks a stretch of each clip, and frames 30-33 lack all."""
    generator = torch.Generator().manual_seed(1)
    present = {m: torch.ones(batch, time, dtype=torch.bool) for m in dims}
    for i, mask in enumerate(present.values()):
        mask[:, 5 + 6 * i : 9 + 6 * i] = False
        mask[:, 30:34] = False
    features = {
        m: torch.randn(batch, time, dim, generator=generator) * present[m].unsqueeze(-1)
        for m, dim in dims.items()
    }
    return features, present


def warmed_up(model: Any) -> Any:
    """In evaluation mode, with running statistics that are not the initial ones."""
    model.train()
    model(*clips())
    return model.eval()


@every_model
def test_class_file_and_registry_name_agree(cls: Any, variant: str) -> None:
    module = cls.__module__.rsplit(".", 1)[-1]
    assert cls.name == module
    assert cls.name.replace("_", "") == cls.__name__.lower()
    assert len(cls.paper) > 20
    assert inspect.getdoc(cls)


@every_model
def test_config_is_documented_json_and_strict(cls: Any, variant: str) -> None:
    config = cls.Config(variant=variant)
    fields = cls.Config.model_fields
    assert all(field.description for name, field in fields.items() if name != "variant")
    plain = json.loads(json.dumps(config.model_dump(mode="json")))
    assert cls.Config.model_validate(plain) == config
    assert None not in plain.values(), "TOML has no null"
    with pytest.raises(ValueError, match="frozen"):
        config.variant = variant
    with pytest.raises(ValueError, match="colour"):
        cls.Config(colour="red")


@every_model
def test_a_modality_that_is_not_given_is_an_error_naming_it(cls: Any, variant: str) -> None:
    model = build(cls, variant)
    use, inputs = (
        (model, clips({"visual": 6, "audio": 5}))
        if isinstance(model, FusionNetwork)
        else (model.fit, ([s.only(("visual", "audio")) for s in trials(3)],))
    )
    with pytest.raises(ConfigError, match="text"):
        use(*inputs)


@every_network
@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_modalities(cls: Any, variant: str, count: int) -> None:
    dims = dict(list(DIMS.items())[:count])
    output = build(cls, variant, dims)(*clips(dims))
    assert output.shape == (CLIPS, FRAMES, 2)
    assert output.isfinite().all()


@every_network
def test_padding_changes_nothing(cls: Any, variant: str) -> None:
    model = warmed_up(build(cls, variant))
    features, present = clips()
    padded_features = {
        m: torch.cat([x, x.new_zeros(CLIPS, 100, x.shape[2])], 1) for m, x in features.items()
    }
    padded_present = {m: torch.cat([x, x.new_zeros(CLIPS, 100)], 1) for m, x in present.items()}
    valid = torch.stack(list(present.values())).any(0)
    plain, padded = model(features, present), model(padded_features, padded_present)
    assert (plain - padded[:, :FRAMES])[valid].abs().max() < 1e-5
    assert padded.isfinite().all()


@every_network
def test_clips_of_a_batch_are_independent(cls: Any, variant: str) -> None:
    model = warmed_up(build(cls, variant))
    features, present = clips()
    order = torch.tensor([2, 0, 1])
    shuffled = model(
        {m: x[order] for m, x in features.items()}, {m: x[order] for m, x in present.items()}
    )
    together = model(features, present)
    alone = model({m: x[:1] for m, x in features.items()}, {m: x[:1] for m, x in present.items()})
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=0)


@every_network
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_nothing_present_is_finite_with_finite_gradients(cls: Any, variant: str, mode: str) -> None:
    model = build(cls, variant).train(mode == "train")
    features, present = clips()
    for m in DIMS:
        present[m][0] = False
        features[m][0] = 0
    output = model(features, present)
    output.square().sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@every_network
@pytest.mark.parametrize("gone", list(DIMS))
def test_a_modality_absent_everywhere_is_fine(cls: Any, variant: str, gone: str) -> None:
    model = build(cls, variant)
    features, present = clips()
    present[gone] = torch.zeros_like(present[gone])
    features[gone] = torch.zeros_like(features[gone])
    assert model(features, present).isfinite().all()


@every_network
@pytest.mark.parametrize("modality", list(DIMS))
def test_absence_is_not_a_zero(cls: Any, variant: str, modality: str) -> None:
    model = warmed_up(build(cls, variant))
    features, present = clips()
    stretch = slice(26, 30)
    features[modality][:, stretch] = 0
    as_zero = model(features, present)
    present[modality][:, stretch] = False
    as_absent = model(features, present)
    assert (as_zero - as_absent)[:, stretch].abs().max() > 1e-4


@every_network
def test_every_parameter_and_every_input_gets_a_gradient(cls: Any, variant: str) -> None:
    model = build(cls, variant).train()
    features, present = clips()
    for x in features.values():
        x.requires_grad_()
    target = torch.rand(CLIPS, FRAMES, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1
    valid = torch.stack(list(present.values())).any(0)
    ccc_loss(model(features, present), target, valid).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-7, name
    for m, x in features.items():
        assert (x.grad.abs().amax(-1) > 0)[present[m]].all(), m


@every_network
def test_reliability_has_documented_keys_and_shapes(cls: Any, variant: str) -> None:
    model = warmed_up(build(cls, variant))
    features, present = clips()
    reliability = model.reliability(features, present)
    assert set(reliability) in [set(), {"joint"}, set(DIMS)]
    for m, weight in reliability.items():
        assert weight.shape == (CLIPS, FRAMES)
        assert weight.isfinite().all()
        there = torch.stack(list(present.values())).any(0) if m == "joint" else present[m]
        assert (weight[~there] == 0).all()


@every_network
def test_the_same_seed_gives_the_same_numbers(cls: Any, variant: str) -> None:
    torch.testing.assert_close(
        build(cls, variant)(*clips()), build(cls, variant)(*clips()), atol=0, rtol=0
    )


@every_network
def test_weights_restore_the_model(cls: Any, variant: str) -> None:
    model = warmed_up(build(cls, variant))
    torch.manual_seed(5)
    other = cls(model.config, DIMS)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(*clips()), model(*clips()), atol=0, rtol=0)


@every_network
def test_overfits_eight_clips(cls: Any, variant: str) -> None:
    generator = torch.Generator().manual_seed(3)
    dims = {"visual": 6, "audio": 5}
    features, present = clips(dims, batch=8, time=48)
    valid = torch.stack(list(present.values())).any(0)
    noise = torch.randn(8, 48 + 8, 2, generator=generator)
    smooth = noise.unfold(1, 9, 1).mean(-1)
    target = torch.tanh(2 * smooth)
    model = build(cls, variant, dims).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(400):
        loss = ccc_loss(model(features, present), target, valid)
        if loss < 0.03:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    output = model(features, present)[valid].detach().double().numpy()
    reached = [ccc(output[:, i], target[valid][:, i].numpy()) for i in range(2)]
    assert np.mean(reached) > 0.95, (reached, loss)


def trials(count: int, rate_hz: float = 5.0) -> list[TrialSequence]:
    """Trials of 60 s whose features carry the target, with absent stretches."""
    rng = np.random.default_rng(0)
    mixing = {m: rng.normal(size=(2, dim)) for m, dim in DIMS.items()}
    made = []
    for i in range(count):
        n = int(60 * rate_hz) + i
        time_s = np.arange(n) / rate_hz
        phase = rng.uniform(0, 6, 2)
        target = (0.3 * np.sin(time_s[:, None] / [5, 8] + phase) + [0.2, -0.1]).astype(np.float32)
        features = {
            m: (target @ mixing[m] + 0.2 * rng.normal(size=(n, dim))).astype(np.float16)
            for m, dim in DIMS.items()
        }
        present = {m: rng.random(n) > 0.1 for m in DIMS}
        present["audio"][n // 2 : n // 2 + 30] = False
        made.append(TrialSequence(f"trial{i}", features, present, time_s, target))
    return made


def without(sequence: TrialSequence, modality: str) -> TrialSequence:
    absent = np.zeros(len(sequence), dtype=bool)
    return TrialSequence(
        sequence.trial,
        sequence.features,
        {**sequence.present, modality: absent},
        sequence.time_s,
        sequence.target,
    )


@every_closed_form
def test_closed_form_predicts_every_frame_of_new_trials(cls: Any, variant: str) -> None:
    made = trials(8)
    model = build(cls, variant)
    model.fit(made[:6])
    for sequence in made[6:]:
        prediction = model.predict(sequence)
        assert prediction.shape == (len(sequence), 2)
        assert prediction.dtype == np.float32
        assert ccc(prediction[:, 0], sequence.target[:, 0]) > 0.8


@every_closed_form
def test_closed_form_state_is_arrays_and_restores_exactly(cls: Any, variant: str) -> None:
    made = trials(5)
    model = build(cls, variant)
    model.fit(made[:4])
    state = model.state()
    assert all(isinstance(v, np.ndarray) and v.dtype != object for v in state.values())
    other = build(cls, variant)
    other.load_state({k: v.copy() for k, v in state.items()})
    np.testing.assert_array_equal(other.predict(made[4]), model.predict(made[4]))


@every_closed_form
@pytest.mark.parametrize("gone", list(DIMS))
def test_closed_form_stands_a_modality_absent_everywhere(cls: Any, variant: str, gone: str) -> None:
    made = trials(6)
    model = build(cls, variant)
    model.fit(made[:4])
    assert np.isfinite(model.predict(without(made[5], gone))).all()
    model.fit([without(s, gone) for s in made[:4]])
    assert np.isfinite(model.predict(made[5])).all()


@every_closed_form
def test_closed_form_is_deterministic_and_refuses_what_it_cannot_fit(
    cls: Any, variant: str
) -> None:
    made = trials(4)
    first, second = build(cls, variant), build(cls, variant)
    first.fit(made)
    second.fit(iter(made))
    for key, value in first.state().items():
        np.testing.assert_array_equal(second.state()[key], value)
    unlabelled = [TrialSequence(s.trial, s.features, s.present, s.time_s, None) for s in made]
    with pytest.raises(InputError, match="labelled"):
        first.fit(unlabelled)
