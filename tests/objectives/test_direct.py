"""The objective that decodes a share of the examples at z = 0: by hand, and what it trains."""

from __future__ import annotations

import pytest
import torch

import polyvae as pv
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.objectives.direct import Direct
from polyvae.objectives.objective import Objective

SPEC = Spec((1, 4, 4), levels=256)


def conditioned(share: float = 0.3) -> pv.Recipe:
    options = {"network": "mlp", "decoder": "flat", "widths": (8,), "latent": 3, "likelihood": "bernoulli"}
    recipe = pv.recipes.arbitrary_conditioning(SPEC, direct=share, count=5, seed=0, **options)
    recipe.model.double()
    return recipe


def batch(recipe: pv.Recipe, rows: int) -> Values:
    torch.manual_seed(1)
    return recipe.observe({"x": torch.rand(rows, 1, 4, 4, dtype=torch.float64)})


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_it_is_the_bound_of_some_examples_and_the_likelihood_at_zero_of_the_others(rows: int) -> None:
    recipe = conditioned()
    model, seen = recipe.model.train(), batch(recipe, rows)
    torch.manual_seed(5)
    found = recipe.objective(model, seen, 0)
    torch.manual_seed(5)
    chosen = torch.rand(rows) < 0.3
    chosen[0] &= rows == 1  # of several one is left, whose bound is told
    zeros = torch.zeros(rows, 3, dtype=torch.float64)
    draw = model(seen, 1, fixed={"z": (zeros, chosen)})  # the same noise
    z = torch.where(chosen[:, None], zeros, draw.latents["z"].z[0])
    q, p = draw.latents["z"].q, draw.latents["z"].p
    log_px = model.decode({**seen, "z": z})["x"].log_prob(seen["x"])
    kl = torch.distributions.kl_divergence(q, p)
    assert torch.allclose(found["loss"], torch.where(chosen, -log_px, kl - log_px).mean())
    if not chosen.all():
        assert torch.allclose(found["reconstruction"], -log_px[~chosen].mean())
        assert torch.allclose(found["kl"], kl[~chosen].mean())
        assert torch.allclose(found["bound"], (log_px - kl)[~chosen].mean())
    else:
        assert found["bound"] == found["kl"] == 0
    assert rows < 64 or 0 < int(chosen.sum()) < rows


def test_where_nothing_is_trained_it_is_the_plain_bound() -> None:
    recipe = conditioned()
    model, seen = recipe.model.eval(), batch(recipe, 9)
    torch.manual_seed(2)
    found = recipe.objective(model, seen, 0)
    torch.manual_seed(2)
    plain = Objective()(model, seen, 0)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_what_is_decoded_at_zero_trains_neither_posterior_nor_prior() -> None:
    recipe = conditioned(0.999999)
    model, seen = recipe.model.train(), batch(recipe, 1)
    recipe.objective(model, seen, 0)["loss"].backward()

    def moved(part: torch.nn.Module) -> bool:
        return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())

    assert isinstance(model, VAE)
    assert not moved(model.posterior)
    assert not moved(model.prior)
    assert moved(model.heads)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_is_between_zero_and_one(share: float) -> None:
    with pytest.raises(ValueError, match="share is one of the examples"):
        Direct({"z": (2,)}, share)


def test_analysers_have_it_and_others_when_asked() -> None:
    def head(**options: object) -> tuple[bool, type]:
        shape = {"network": "mlp", "widths": (8,)} if options.get("decoder") == "flat" else {"widths": (4, 8)}
        recipe = pv.recipes.arbitrary_conditioning(SPEC, latent=2, **shape, **options)
        return recipe.model.heads["x"].direct, type(recipe.objective)

    assert head(decoder="analysers", apart=0) == (True, Direct)
    assert head(decoder="analysers") == (False, Objective)
    assert head(decoder="analysers", direct=0) == (False, Objective)
    assert head() == head(decoder="flat") == (False, Objective)
    assert head(direct=0.2) == (True, Direct)
    assert head(decoder="analysers", objective=Objective()) == (False, Objective)
    with pytest.raises(ValueError, match="leave out objective"):
        head(direct=0.2, objective=Objective())
    bare = pv.recipes.without_latents(
        pv.recipes.arbitrary_conditioning(SPEC, latent=2, direct=0.2, widths=(4, 8)), SPEC
    )
    assert not bare.model.heads["x"].direct


def test_a_short_training_makes_a_mean_at_zero_that_draws_alone_do_not_have() -> None:
    """On digits: at z = 0 the error is that of draws, where a model that was never shown z = 0 is worse."""
    data = pv.data.load("digits", limit=400)
    x = data.test.batch(torch.arange(40))["x"]
    mask = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.1
    errors = {}
    for share in (0.0, 0.2):
        options = {"widths": (8, 16), "latent": 4, "likelihood": "bernoulli", "seed": 0, "direct": share}
        recipe = pv.recipes.arbitrary_conditioning(data.spec, **options)
        pv.fit(recipe, data, epochs=20, batch_size=32, lr=3e-3, progress=False, seed=0)
        bare = pv.recipes.without_latents(recipe, data.spec)
        pairs = {"draws": pv.complete(recipe, x, mask, draws=50), "zero": pv.complete(bare, x, mask, draws=2)}
        errors[share] = {name: float((each.mean - x).square().mean()) for name, each in pairs.items()}
    assert errors[0.2]["zero"] < errors[0.0]["zero"]
    assert errors[0.2]["draws"] < 1.05 * errors[0.0]["draws"]
