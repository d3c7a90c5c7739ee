"""Mistakes in how published code resumes, fails and stores, each a test that fails on it; the number is the trap's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.training import (
    Spoiled,
    assert_same_run,
    fit,
    half_precision,
    later,
    pictures,
    small,
)
from polyvae.training.loop import Loop
from polyvae.training.resume import restore_state
from polyvae.training.settings import Settings
from polyvae.training.store import STATE, WEIGHTS, read_tensors, unique_tensors

OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "average": ({}, {"average": 0.8}),
    "schedule": ({}, {"schedule": "cosine", "warmup": 3, "clip": 5.0}),
    "patience": ({}, {"patience": 1, "lr": 0.5}),
    "running statistics": ({"network": "conv", "side": 8, "likelihood": "normal-optimal"}, {"average": 0.8}),
    "beta": ({"name": "beta_vae", "kl_warmup": 9}, {}),
    "shared posterior": ({"name": "vamp_prior", "components": 3}, {"average": 0.8}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_trap38_interrupted_and_resumed_is_uninterrupted(name, tmp_path) -> None:
    options, settings = OPTIONS[name]
    data = pictures(side=options.get("side", 4))
    fit(small(**options), data, tmp_path / "whole", epochs=3, **settings)
    for stops in ((1,), (3, 4), (6,), (8, 11)):
        folder = tmp_path / str(stops)
        for place, stop in enumerate(stops):
            fit(small(**options), data, folder, epochs=3, max_steps=stop, resume=place > 0, **settings)
        torch.manual_seed(99)
        run = fit(small(**options), data, folder, epochs=3, resume=True, **settings)
        assert_same_run(folder, tmp_path / "whole")
        best = read_tensors(folder / WEIGHTS)[0]
        held = {**dict(run.model.named_parameters()), **dict(run.model.named_buffers())}
        assert all(torch.equal(held[key], tensor) for key, tensor in best.items())


def test_trap38_a_stop_between_an_epochs_last_step_and_its_end_is_resumed(tmp_path, monkeypatch) -> None:
    fit(small(), pictures(), tmp_path / "whole", epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("polyvae.training.loop.validate", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), pictures(), tmp_path / "run", epochs=3, save_every=0)
    assert read_tensors(tmp_path / "run" / STATE)[1]["step"] == 4
    fit(small(), pictures(), tmp_path / "run", epochs=3, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def raise_interrupt(*args: Any, **options: Any) -> None:
    raise KeyboardInterrupt


def test_trap38_the_scale_of_half_precision_is_part_of_the_state(tmp_path) -> None:
    data, settings = pictures(), Settings(precision="fp16", batch_size=8, device="cpu")

    def loop(folder: Path, scale: float) -> Loop:
        return Loop(half_precision(scale), small(), data, settings, folder)

    def steps(trained: Loop, count: int) -> list[Tensor]:
        for _ in range(count):
            trained._step(torch.arange(8))
        return trained.parameters

    whole = steps(loop(tmp_path / "whole", 2.0**20), 20)
    first = loop(tmp_path / "run", 2.0**20)
    steps(first, 10)
    first.save()
    second = loop(tmp_path / "run", 2.0**60)
    restore_state(second)
    assert all(torch.equal(p, q) for p, q in zip(steps(second, 10), whole, strict=True))


def test_trap38_the_state_holds_current_weights_beside_the_best(tmp_path) -> None:
    # A warm-up that overshoots: the first epoch is the best, and training goes on from the last.
    fit(small(likelihood="bernoulli"), pictures(), tmp_path / "run", epochs=4, lr=100.0)
    state, numbers = read_tensors(tmp_path / "run" / STATE)
    assert numbers["best_epoch"] < 4
    best, _ = read_tensors(tmp_path / "run" / WEIGHTS)
    for name, tensor in best.items():
        now = next(value for key, value in state.items() if key.startswith("step") and key.endswith(name))
        kept = next(value for key, value in state.items() if key.startswith("best") and key.endswith(name))
        assert torch.equal(kept, tensor)
        assert not torch.equal(now, tensor) or name.endswith(".mean")  # of the pictures, which stays


def not_a_number(model: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**values, "loss": values["loss"] * torch.nan, "kl": values["kl"] * torch.nan}


def bad_gradient(model: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    weight = next(model.parameters())
    return {**values, "loss": values["loss"] + (weight * 0).abs().sum().sqrt()}  # finite, its gradient is not


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [(not_a_number, "at step {} loss = nan, kl = nan"), (bad_gradient, "the weights are not finite|loss = nan")],
)
@pytest.mark.parametrize("at", [2, 3, 6, 7])
def test_trap40_what_is_not_finite_stops_and_leaves_the_last_good_state(at, spoil, message, clip, tmp_path) -> None:
    folder, data = tmp_path / "run", pictures()
    with pytest.raises(pv.NonFiniteError, match=message.format(at)) as error:
        fit(small(objective=Spoiled(at, spoil)), data, folder, epochs=2, clip=clip)
    assert str(folder) in str(error.value)
    files = [folder / STATE, *([folder / WEIGHTS] if at > 3 else [])]
    assert (folder / WEIGHTS).exists() is (at > 3)
    for file in files:
        assert all(tensor.isfinite().all() for tensor in read_tensors(file)[0].values())
    assert read_tensors(folder / STATE)[1]["step"] <= at
    # with the fault gone the run goes on as if it had not been
    fit(small(objective=Spoiled(-1, None)), data, folder, epochs=2, clip=clip, resume=True)
    fit(small(objective=Spoiled(-1, None)), data, tmp_path / "whole", epochs=2, clip=clip)
    assert_same_run(folder, tmp_path / "whole")


def test_trap40_a_device_that_is_not_waited_for_still_names_the_first_bad_step(monkeypatch) -> None:
    later(monkeypatch, 50)
    with pytest.raises(pv.NonFiniteError, match=r"at step 5 loss = nan, kl = nan"):
        fit(small(objective=Spoiled(5, not_a_number)), pictures(), epochs=3)


class Early(pv.Objective):
    """The negative bound, in whose first validation one value is another."""

    def __init__(self, name: str, first: float, at: int = 4) -> None:
        super().__init__()
        self.name, self.first, self.at = name, first, at

    def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
        values = super().forward(model, batch, step)
        if not self.training and step == self.at:
            values[self.name] = values[self.name] * 0 + self.first
        return values


def test_trap40_the_best_model_is_defined_whatever_the_first_finite_value_is(tmp_path) -> None:
    fit(small(objective=Early("bound", -1e30)), pictures(), tmp_path / "run", epochs=3)
    _, metadata = read_tensors(tmp_path / "run" / WEIGHTS)
    assert metadata["epoch"] == 3


@pytest.mark.parametrize("first", [torch.nan, -torch.inf, torch.inf])
@pytest.mark.parametrize("name", ["bound", "loss"])
def test_trap56_a_validation_that_is_not_finite_stops_and_leaves_the_last_good_state(name, first, tmp_path) -> None:
    folder, data = tmp_path / "run", pictures()
    with pytest.raises(pv.NonFiniteError, match=rf"validation {name} = .*epoch 1.*{tmp_path}"):
        fit(small(objective=Early(name, first)), data, folder, epochs=3)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", STATE]
    mended = Early(name, first, at=-1)  # with another objective the run would not be gone on with
    fit(small(objective=mended), data, folder, epochs=3, resume=True)
    fit(small(objective=mended), data, tmp_path / "whole", epochs=3)
    assert_same_run(folder, tmp_path / "whole")


def test_trap56_a_term_that_chooses_must_be_finite_and_beside_it_the_bound_of_a_point_may_be_infinite() -> None:
    data = pictures()
    run = fit(small("ae"), data, epochs=1)
    assert run.history[0]["validation_bound"] == -torch.inf
    with pytest.raises(pv.NonFiniteError, match="validation kl = inf"):
        fit(replace(small(objective=Early("kl", torch.inf)), monitor="kl"), data, epochs=1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_trap56_a_closed_form_that_is_not_finite_is_no_result(value, tmp_path) -> None:
    recipe = small("ppca")

    def solve(values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            next(iter(unique_tensors(recipe.model).values())).fill_(value)

    with pytest.raises(pv.NonFiniteError, match="validation loss = nan"):
        fit(replace(recipe, solve=solve), pictures(), tmp_path / "run")


class Planted:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_trap41_a_run_is_json_csv_and_safetensors_and_runs_nothing(tmp_path) -> None:
    folder, sign = tmp_path / "run", tmp_path / "executed"
    fit(small(), pictures(), folder, epochs=1)
    assert {file.suffix for file in folder.iterdir()} == {".json", ".csv", ".safetensors"}
    for file in folder.iterdir():
        content = file.read_bytes()
        if file.suffix == ".safetensors":  # eight bytes of length, a header in JSON, then bare numbers
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            sizes = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            assert len(content) == 8 + int.from_bytes(content[:8], "little") + max(sizes)
        else:
            content.decode("utf-8")
    assert isinstance(json.loads((folder / "run.json").read_text()), dict)
    torch.save({"weights": Planted(sign)}, folder / WEIGHTS)
    with pytest.raises(pv.RunError, match="is not a whole safetensors file"):
        pv.Run.load(folder)
    torch.save({"weights": Planted(sign)}, folder / STATE)
    with pytest.raises(pv.RunError, match="is not a whole safetensors file"):
        fit(small(), pictures(), folder, epochs=2, resume=True)
    assert not sign.exists()
