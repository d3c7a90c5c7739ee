"""What every recipe promises, and the small examples it is held to it with."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.data import wrap
from polyvae.model.presence import present
from polyvae.recipes import RECIPES, Recipe
from polyvae.recipes.several import reads_modalities
from polyvae.training.sharing import tell_examples
from polyvae.training.validation import validate

PICTURES = pv.Spec((1, 8, 8), classes=3)
COUNTS = ["count_vae"]  # recipes of nothing else
LABELLED = ["m2"]
SEVERAL = [name for name, build in RECIPES.items() if reads_modalities(inspect.unwrap(build))]  # modalities, and no x


def several(**specs: pv.Spec) -> pv.Spec:
    """A spec of these modalities, of three classes."""
    return pv.Spec(classes=3, levels=None, modalities=tuple(pv.Modality(name, spec) for name, spec in specs.items()))


TWO = several(near=pv.Spec((1, 8, 8)), far=pv.Spec((3, 6, 6)))


def spec_for(name: str) -> pv.Spec:
    """The small data that a recipe of that name is for."""
    return TWO if name in SEVERAL else PICTURES


def examples(spec: pv.Spec, count: int = 12) -> dict[str, Tensor]:
    """Grey pictures or a table, or several of them of which rows lack some, with labels or a condition, as the spec
    says."""
    generator = torch.Generator().manual_seed(7)
    values: dict[str, Tensor] = {}
    for number, (name, each) in enumerate(spec.values.items()):
        x = torch.rand(count, *each.x, generator=generator)
        values[name] = x.mul(255).round().div(255) if len(each.x) == 3 else x
        if spec.modalities:
            values[present(name)] = torch.arange(count) % 4 != number + 1
    if spec.classes is not None:
        values["y"] = torch.arange(count) % spec.classes
    if spec.y is not None:
        values["y"] = torch.randn(count, spec.y, generator=generator)
    return values


def make(name: str, spec: pv.Spec = PICTURES, **options: Any) -> Recipe:
    """A small recipe of that name: of the options, those that it takes; closed forms are solved."""
    build = RECIPES[name]
    taken = inspect.signature(build).parameters
    if name in SEVERAL:
        spec = spec if spec.modalities else several(near=spec, far=spec)
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    small = {"latent": 3, "network": "mlp", "widths": [6], **options}
    small |= {name: size for name, size in {"clusters": 3, "features": 5}.items() if name in taken}
    made = build(spec, seed=1, **{key: value for key, value in small.items() if open_ended or key in taken})
    if made.solve is not None:
        made.solve(made.observe(examples(spec)))
    tell_examples(made.objective, 24)  # as a fit does
    return made


def trained_tensors(made: Recipe) -> dict[str, Tensor]:
    return {**dict(made.model.named_parameters()), **dict(made.objective.named_parameters(prefix="objective"))}


def check_training(made: Recipe, spec: pv.Spec) -> None:
    """Late in training the loss is finite and moves every parameter."""
    if made.settle is not None:
        made.settle[1](made.observe(examples(spec)))
    values = made.objective(made.model, made.observe(examples(spec)), 10_000)
    assert values["loss"].isfinite()
    assert not values["bound"].requires_grad
    if made.solve is not None:
        assert not trained_tensors(made)
        return
    values["loss"].backward()
    for name, parameter in trained_tensors(made).items():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
        assert parameter.grad.any(), f"the gradient of {name} is zero"


def check_draws(made: Recipe, spec: pv.Spec) -> None:
    """K samples of every example are scored, the deterministic calls are, and samples have the data's shape."""
    batch, model = made.observe(examples(spec)), made.model.eval()
    draw = model(batch, 3)
    samples = 3 * math.prod(latent.summed or 1 for latent in draw.latents.values())
    assert draw.log_px.shape == draw.log_weight.shape == draw.kl.shape == (samples, 12)
    assert draw.log_px.isfinite().all()
    assert draw.elbo.shape == draw.importance_bound.shape == (12,)
    for name, law in model.reconstruct(batch).items():
        assert law.mean.shape == batch[name if spec.modalities else "x"].shape
        assert torch.equal(law.mean, model.reconstruct(batch)[name].mean)
    given = {name: batch[name] for name in model.conditions}
    for name, law in model.generate(given, count=2).items():
        assert law.sample().shape == ((24 if given else 2), *spec.values.get(name, spec).x)


def check_devices(made: Recipe, spec: pv.Spec) -> None:
    """No tensor is left behind: on another device, and in double precision."""
    batch = made.observe(examples(spec))
    devices = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in reversed(devices):
        with without_autocast() if device == "meta" else contextlib.nullcontext():
            there = {name: value.to(device) for name, value in batch.items()}
            values = made.objective.to(device)(made.model.to(device), there)
        assert {value.device.type for value in values.values()} == {device}
    wide = make(made.call["name"], spec) if made.call else made
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    values = wide.objective.double()(wide.model.double(), doubled)
    assert values["loss"].dtype == torch.float64


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """The meta device, which only has shapes, knows no autocast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())
        yield


def check_saving(name: str, spec: pv.Spec, folder: Path, options: dict[str, Any]) -> None:
    """A run that was trained, written and loaded has the same values to the last bit."""
    values = examples(spec, 40)
    if name in COUNTS:
        values["x"] = values["x"].mul(20).round()  # which a fit checks
    several_of = list(spec.values) if spec.modalities else None
    given = values if several_of else (values["x"], values["y"])
    data = wrap(given, validation=16, modalities=several_of)
    made = make(name, spec, **options)
    run = pv.fit(made, data, folder / name, epochs=1, batch_size=12, device="cpu", progress=False)
    again = pv.Run.load(folder / name)
    found = [validate(r.model, r.recipe.objective, r.recipe.observe, data.validation, seed=5) for r in (run, again)]
    assert found[0] == found[1]
    assert again.recipe.call == made.call
    assert math.isfinite(found[0]["loss"])


def check_call(name: str, spec: pv.Spec, options: dict[str, Any]) -> None:
    """The recorded call survives JSON and builds the same weights, without touching the global generator."""
    made, state = make(name, spec, **options), torch.get_rng_state()
    call = json.loads(json.dumps(made.call))
    again = pv.recipes.rebuild(call)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.call == made.call
    if made.solve is None:
        weights, others = made.model.state_dict(), again.model.state_dict()
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert type(made.model).__name__ in repr(made.model)
    assert repr(made.objective) == repr(again.objective)


def check_processes(made: Recipe, spec: pv.Spec) -> None:
    """It goes to another process whole, where what starts from data starts the model that came with it."""
    if made.solve is not None:  # in closed form, which one process does
        return
    ends = []
    for recipe in (made, pickle.loads(pickle.dumps(made))):
        torch.manual_seed(0)
        if recipe.start is not None:
            recipe.start(recipe.observe(examples(spec, 40)))
        ends.append(recipe.model.state_dict())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def check_recipe(name: str, folder: Path, spec: pv.Spec | None = None, **options: Any) -> None:
    """What every recipe promises, whatever it is made of."""
    spec = spec_for(name) if spec is None else spec
    check_training(make(name, spec, **options), spec)
    check_draws(make(name, spec, **options), spec)
    check_devices(make(name, spec, **options), spec)
    check_call(name, spec, options)
    check_processes(make(name, spec, **options), spec)
    check_saving(name, spec, folder, options)
