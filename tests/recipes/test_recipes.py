from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.contract import (
    LABELLED,
    PICTURES,
    SEVERAL,
    TWO,
    check_draws,
    check_recipe,
    check_training,
    examples,
    make,
    several,
)
from polyvae.data import wrap
from polyvae.model.networks import NETWORKS
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes import RECIPES, Recipe, recipe
from polyvae.recipes.options import CHOICES

GREY_PICTURES = ["pixel_cnn"]  # recipes of nothing else


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_keeps_the_contract(name, tmp_path) -> None:
    check_recipe(name, tmp_path)


@pytest.mark.parametrize("network", sorted(set(NETWORKS) - {"mlp", "mlp-tanh"}))
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_every_network_on_any_picture(name, network) -> None:
    for shape in ((1, 8, 8), (3, 7, 10)):
        spec = pv.Spec(shape, classes=3)
        spec = several(near=spec, far=TWO.values["far"]) if name in SEVERAL else spec
        if (name, network) == ("ladder", "strided"):
            with pytest.raises(ValueError, match="network"):
                make(name, spec, network=network)
            return
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
        if name in LABELLED and spec.classes is None:
            continue
        spec = several(near=spec, far=pv.Spec((3,), levels=None)) if name in SEVERAL else spec
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
    y = torch.arange(240) % 3
    x = (torch.rand(240, 1, 6, 6) < 0.1 + 0.4 * y[:, None, None, None]).float()
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
    run = pv.fit(made, wrap((x, y), validation=60), epochs=25, batch_size=15, lr=1e-2, device="cpu", progress=False)
    losses = [row["train_loss"] for row in run.history]
    assert losses[-1] < losses[0] - 3
    assert run.history[-1]["validation_bound"] > run.history[0]["validation_bound"] + 1
    assert run.model.inputs == ("x", "y")
    # a label decides what is generated: the classes differ in how much is lit
    labels = made.observe({"x": x[:3], "y": y[:3]})["y"]
    lit = run.model.generate({"y": labels}, 200)["x"].mean.unflatten(0, (200, 3)).mean((0, 2, 3, 4))
    assert lit[0] + 0.1 < lit[1]
    assert lit[1] + 0.1 < lit[2]
    assert lit[0] + 0.3 < lit[2]


@pytest.mark.parametrize("prior", CHOICES["prior"])
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
        ValueError,
        match=r"prior is one of standard, mixture, .*exemplar, conditional, or a module; got 'flat'",
    ):
        make("vae", prior="flat")
    for prior, message in (
        (3, "got 3$"),
        (pv.priors.StandardNormal, r"StandardNormal.*: give StandardNormal\(\.\.\.\)"),
    ):
        with pytest.raises(ValueError, match=f"prior is a name or a module; .*{message}"):
            make("vae", prior=prior)
    with pytest.raises(
        ValueError, match="no recipe is named 'nothing'; the recipes are adversarial_autoencoder, ae, arbitrary"
    ):
        pv.recipes.named("nothing")
    with pytest.raises(TypeError, match="a recipe needs a Spec, the shape of one example or a data set; got str"):
        pv.recipes.vae("mnist")
    for name in ("pca", "ppca"):
        with pytest.raises(ValueError, match="latent is at least 1 and below the 64 values"):
            make(name, latent=64)
        with pytest.raises(ValueError, match="latent is below the number of training examples, 12; got 20"):
            make(name, latent=20)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("infovae", "mmd_vae"),
        ("AAE", "adversarial_autoencoder"),
        ("not_miwae", "incomplete with missing self-masking"),
        ("miwae-imputation", "incomplete"),
        ("rqvae", "vq_vae with the quantiser residual"),
        ("fsq", "vq_vae with the quantiser finite-scalar"),
    ],
)
def test_names_of_the_literature_are_told_what_they_are_here(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"no recipe is named '{name}'; did you mean {meant}\?"):
        pv.recipes.named(name)
    assert meant.split()[0] in pv.recipes.RECIPES


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
