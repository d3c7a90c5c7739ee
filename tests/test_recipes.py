from __future__ import annotations

import contextlib
import inspect
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.data import wrap
from polyvae.networks import NETWORKS
from polyvae.recipes import RECIPES, Recipe, recipe
from polyvae.terms import KL, Reconstruction
from polyvae.validation import validate

PICTURES = pv.Spec((1, 8, 8), classes=3)
GREY_PICTURES = ["pixel_cnn"]  # recipes of nothing else
COUNTS = ["count_vae"]  # recipes of nothing else


def examples(spec: pv.Spec, count: int = 12) -> dict[str, Tensor]:
    """Grey pictures or a table, with labels or a condition, as the spec says."""
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(count, *spec.x, generator=generator)
    values = {"x": x.mul(255).round().div(255) if len(spec.x) == 3 else x}
    if spec.classes is not None:
        values["y"] = torch.arange(count) % spec.classes
    if spec.y is not None:
        values["y"] = torch.randn(count, spec.y, generator=generator)
    return values


def make(name: str, spec: pv.Spec = PICTURES, **options: Any) -> Recipe:
    """A small recipe of that name: of the options, those that it takes; closed forms are solved."""
    build = RECIPES[name]
    taken = inspect.signature(build).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    small = {"latent": 3, "network": "mlp", "widths": [6], **options}
    made = build(spec, seed=1, **{key: value for key, value in small.items() if open_ended or key in taken})
    if made.solve is not None:
        made.solve(made.observe(examples(spec))["x"])
    return made


def trained_tensors(made: Recipe) -> dict[str, Tensor]:
    return {**dict(made.model.named_parameters()), **dict(made.objective.named_parameters(prefix="objective"))}


def check_training(made: Recipe, spec: pv.Spec) -> None:
    """Late in training the loss is finite and moves every parameter."""
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
    assert draw.log_px.shape == draw.log_weight.shape == draw.kl.shape == (3, 12)
    assert draw.log_px.isfinite().all()
    assert draw.elbo.shape == draw.importance_bound.shape == (12,)
    for name, law in model.reconstruct(batch).items():
        assert law.mean.shape == batch["x"].shape
        assert torch.equal(law.mean, model.reconstruct(batch)[name].mean)
    given = {name: batch[name] for name in model.conditions}
    for law in model.generate(given, count=2).values():
        assert law.sample().shape == ((24 if given else 2), *spec.x)


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
    doubled = {name: value.double() for name, value in batch.items()}
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
    x = values["x"].mul(20).round() if name in COUNTS else values["x"]  # which a fit checks
    data = wrap((x, values["y"]), validation=16)
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


def check_recipe(name: str, folder: Path, spec: pv.Spec = PICTURES, **options: Any) -> None:
    """What every recipe promises, whatever it is made of."""
    check_training(make(name, spec, **options), spec)
    check_draws(make(name, spec, **options), spec)
    check_devices(make(name, spec, **options), spec)
    check_call(name, spec, options)
    check_saving(name, spec, folder, options)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_keeps_the_contract(name, tmp_path) -> None:
    check_recipe(name, tmp_path)


@pytest.mark.parametrize("network", sorted(set(NETWORKS) - {"mlp"}))
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_every_network_on_any_picture(name, network) -> None:
    for shape in ((1, 8, 8), (3, 7, 10)):
        spec = pv.Spec(shape, classes=3)
        check_training(make(name, spec, network=network), spec)
        check_draws(make(name, spec, network=network), spec)


@pytest.mark.parametrize("name", GREY_PICTURES)
def test_recipes_of_grey_pictures_refuse_tables_and_continuous_values(name) -> None:
    for spec, words in (
        (pv.Spec((5,), levels=None), r"got \(5,\) with continuous values"),
        (pv.Spec((5,), levels=2), r"got \(5,\) with 2 levels"),
        (pv.Spec((1, 8, 8), levels=None), r"got \(1, 8, 8\) with continuous values"),
    ):
        with pytest.raises(ValueError, match=f"{name} needs pictures .* of grey levels; {words}"):
            make(name, spec)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in GREY_PICTURES])
def test_every_recipe_trains_on_tables(name) -> None:
    for spec in (pv.Spec((5,), y=2, levels=None), pv.Spec((5,), classes=2, levels=None)):
        check_training(make(name, spec), spec)
        check_draws(make(name, spec), spec)


def test_a_variant_is_five_lines(tmp_path) -> None:
    try:

        @recipe
        def laplace_beta_vae(spec: pv.Spec, beta: float = 2.0, **options: Any) -> Recipe:
            """E_q[log p(x | z)] - beta KL(q || p) with a Laplace likelihood, whose cost is the absolute error."""
            objective = pv.Objective({"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), beta)})
            return pv.recipes.vae(spec, likelihood="laplace", objective=objective, **options)

        check_recipe("laplace_beta_vae", tmp_path, beta=3.0)
    finally:
        RECIPES.pop("laplace_beta_vae", None)


def test_the_axes_combine_in_one_expression() -> None:
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = (torch.rand(60, 1, 6, 6) < 0.1 + 0.4 * y[:, None, None, None]).float()
    made = pv.recipes.cvae(
        pv.Spec((1, 6, 6), classes=3),
        latent=2,
        network="mlp",
        widths=(16,),
        posterior="full",
        prior="vamp",
        components=4,
        objective=pv.ImportanceWeighted(4),
        seed=0,
    )
    run = pv.fit(made, wrap((x, y), validation=15), epochs=25, batch_size=15, lr=1e-2, device="cpu", progress=False)
    losses = [row["train_loss"] for row in run.history]
    assert losses[-1] < losses[0] - 3
    assert run.history[-1]["validation_bound"] > run.history[0]["validation_bound"] + 1
    assert run.model.inputs == ("x", "y")
    # a label decides what is generated: the classes differ in how much is lit
    labels = made.observe({"x": x[:3], "y": y[:3]})["y"]
    lit = run.model.generate({"y": labels}, 200)["x"].mean.unflatten(0, (200, 3)).mean((0, 2, 3, 4))
    assert lit[0] + 0.1 < lit[1]
    assert lit[1] + 0.1 < lit[2]


@pytest.mark.parametrize("prior", ["standard", "mixture", "vamp", "conditional"])
@pytest.mark.parametrize("name", ["vae", "iwae", "mmd_vae", "beta_vae", "capacity_vae", "sigma_vae", "full_covariance"])
def test_every_prior_goes_with_every_objective_and_family(name, prior) -> None:
    check_training(make(name, prior=prior, condition=True, components=3), PICTURES)


@pytest.mark.parametrize("likelihood", pv.families.LIKELIHOODS)
def test_every_likelihood_trains(likelihood) -> None:
    check_training(make("vae", likelihood=likelihood), PICTURES)


def test_options_that_json_cannot_hold_leave_no_call() -> None:
    options = [
        {"likelihood": pv.families.Laplace()},
        {"prior": pv.priors.StandardNormal(3)},
        {"objective": pv.Objective()},
    ]
    for option in options:
        made = make("vae", **option)
        assert made.call is None
        check_training(made, PICTURES)
    assert make("vae").call is not None


def test_any_builder_goes_in_where_a_network_goes() -> None:
    def build(inputs: Any, output: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(math.prod(output)), nn.Unflatten(1, output))

    made = make("vae", network=build, widths=None)
    assert made.call is None
    made.objective(made.model, made.observe(examples(PICTURES)))
    check_training(made, PICTURES)


def test_recipes_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="both must be at least 0"):
        make("mmd_vae", scale=0.5, alpha=0.0)
    with pytest.raises(ValueError, match="beta is a number of at least 0; got -1"):
        make("beta_vae", beta=-1)
    for options in ({"condition": True}, {"prior": "conditional"}):
        with pytest.raises(ValueError, match="needs labels or vectors y; these data have none"):
            make("vae", pv.Spec((1, 8, 8)), **options)
    with pytest.raises(
        ValueError, match="prior is one of standard, mixture, vamp, conditional, or a module; got 'flat'"
    ):
        make("vae", prior="flat")
    with pytest.raises(
        ValueError, match="no recipe is named 'nothing'; the recipes are ae, arbitrary_conditioning, beta_vae"
    ):
        pv.recipes.named("nothing")
    with pytest.raises(TypeError, match="a recipe needs a Spec, the shape of one example or a data set; got str"):
        pv.recipes.vae("mnist")
    for name in ("pca", "ppca"):
        with pytest.raises(ValueError, match="latent is at least 1 and below the 64 values"):
            make(name, latent=64)
        with pytest.raises(ValueError, match="latent is below the number of training examples, 12; got 20"):
            make(name, latent=20)


def test_a_recipe_takes_a_spec_a_shape_or_data() -> None:
    made = [pv.recipes.vae(source, network="mlp", seed=0) for source in (pv.Spec((1, 6, 6)), (1, 6, 6), [1, 6, 6])]
    assert all(m.call == made[0].call for m in made)
    data = wrap(torch.rand(20, 1, 6, 6))
    assert pv.recipes.vae(data, network="mlp").call["spec"]["x"] == [1, 6, 6]
    assert pv.recipes.vae((5,), network="mlp").call["spec"]["levels"] is None


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> Tensor:
        return torch.cat([p.flatten() for p in pv.recipes.vae((1, 6, 6), network="mlp", seed=seed).model.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize("name", ["semi_conditional", "multitask", "arbitrary_conditioning", "vq_multitask"])
def test_looking_at_a_mask_draws_nothing_from_the_stream_of_the_weights(name: str) -> None:
    found = []
    for options in ({"mask": "uniform"}, {"mask": "grid"}):
        made = pv.recipes.named(name)(
            (1, 8, 8), seed=0, widths=(4, 6), **({"decoders": 2} if "multi" in name else {}), **options
        )
        found.append([parameter.detach() for parameter in made.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
