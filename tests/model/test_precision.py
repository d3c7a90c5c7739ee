"""Half precision is the networks' alone: draws, densities, terms and balances are those of single precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from polyvae.model.priors.pixelcnn import PixelCodes
from polyvae.objectives.balance import SoftAdapt
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import MMD, Reconstruction, mmd
from polyvae.recipes import Recipe
from polyvae.recipes.conditioning import TASKS
from polyvae.training.step import Step

HALF = torch.bfloat16


class Seen(nn.Module):
    """A term that keeps the draw it was shown, and whether products were rounded where it stood."""

    def forward(self, draw: Any) -> Tensor:
        self.draw = draw
        self.rounded = torch.is_autocast_enabled("cpu")
        return draw.kl


def stepped(recipe: Recipe, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.autocast("cpu", HALF):
        return Step(recipe)(batch, 0)


def test_trap48_terms_stand_outside_the_region_of_half_precision_and_networks_inside() -> None:
    seen, ran = Seen(), []
    recipe = pv.recipes.vae((1, 8, 8), network="mlp", latent=3, objective=Objective({"seen": seen}), seed=0)
    for module in recipe.model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, given, made: ran.append(made.dtype))
    stepped(recipe, {"x": torch.rand(16, 1, 8, 8)})
    assert not seen.rounded
    assert set(ran) == {HALF}


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_trap48_mmd_in_a_step_of_half_precision_is_that_of_its_draws_in_single_precision(kernel: str) -> None:
    torch.manual_seed(0)
    seen, term = Seen(), MMD(kernel)
    objective = Objective({"seen": seen, "mmd": term})
    recipe = pv.recipes.vae((1, 8, 8), network="mlp", latent=8, objective=objective, seed=0)
    references: list[Tensor] = []
    p = Independent(Normal(torch.zeros(64, 8), torch.ones(64, 8)), 1)
    recipe.model.prior["z"] = Kept(p, references)
    found = stepped(recipe, {"x": torch.rand(64, 1, 8, 8)})["mmd"]
    expected = mmd(seen.draw.latents["z"].z[0].double(), references[0].double(), kernel)
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-3, abs=1e-6)


class Kept(nn.Module):
    """A prior that keeps what is drawn of it."""

    given = ()

    def __init__(self, law: Distribution, kept: list[Tensor]) -> None:
        super().__init__()
        self.law = law
        draw = law.rsample
        law.rsample = lambda *args: kept.append(draw(*args)) or kept[-1]  # type: ignore[method-assign]

    def forward(self, values: Any) -> Distribution:
        return self.law


class Balanced(nn.Module):
    """An objective that is its balance alone."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.balance = SoftAdapt(["a", "b"], variant, beta=0.1, window=5)

    def forward(self, model: Any, batch: Any, step: Any) -> dict[str, Tensor]:
        return self.balance(batch)


@pytest.mark.parametrize("variant", ["original", "normalised", "loss-weighted"])
def test_trap48_slopes_of_losses_near_500_nats_are_not_taken_in_steps_of_two(variant: str) -> None:
    torch.manual_seed(0)
    model = pv.recipes.vae((4,), network="mlp").model
    plain, mixed = (Step(Recipe(model, Balanced(variant))) for _ in range(2))
    for a, b in 500 + torch.randn(40, 2).cumsum(0):
        expected = plain({"a": a, "b": b}, 0)
        with torch.autocast("cpu", HALF):
            found = mixed({"a": a, "b": b}, 0)
        assert float(found["a"]) == float(expected["a"])


def test_trap48_a_step_of_half_precision_gives_softadapt_the_losses_unrounded() -> None:
    recipe = pv.recipes.multitask((1, 8, 8), latent=3, widths=(4, 8), softadapt=True, likelihood="normal", seed=0)
    balance = recipe.objective.balance
    found = stepped(recipe, {"x": torch.rand(16, 1, 8, 8)})
    assert balance.history.dtype == torch.float32
    for place, name in enumerate(TASKS):
        assert float(balance.history[place, -1]) == float(found[name])
        assert float(found[name]) != float(found[name].to(HALF))


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "normal-optimal", "logistic"])
@pytest.mark.parametrize("prior", ["standard", "mixture", "vamp"])
def test_densities_of_a_step_of_half_precision_are_those_of_its_own_laws(
    posterior: str, likelihood: str, prior: str
) -> None:
    seen = Seen()
    options = {"network": "mlp", "latent": 3, "objective": Objective({"seen": seen, "nll": Reconstruction()})}
    recipe = pv.recipes.vae((1, 8, 8), posterior=posterior, likelihood=likelihood, prior=prior, seed=0, **options)
    x = torch.randint(0, 2, (16, 1, 8, 8)).float()
    stepped(recipe, {"x": x})
    latent, head = seen.draw.latents["z"], seen.draw.heads["x"]
    with torch.no_grad():
        torch.testing.assert_close(latent.log_q, latent.q.log_prob(latent.drawn), rtol=1e-6, atol=1e-5)
        torch.testing.assert_close(latent.log_p[0], latent.p.log_prob(latent.z[0]), rtol=1e-6, atol=1e-5)
    assert latent.z.dtype == head.log_p.dtype == torch.float32


def test_the_importance_weighted_bound_too() -> None:
    recipe = pv.recipes.vae((1, 8, 8), network="mlp", posterior="full", latent=3, objective=ImportanceWeighted(4))
    found = stepped(recipe, {"x": torch.rand(16, 1, 8, 8)})
    assert all(value.dtype == torch.float32 for value in found.values())


def test_a_law_whose_network_scores_later_keeps_the_network_s_precision() -> None:
    spec = pv.Spec((1, 4, 4), levels=2)
    recipe, ran = pv.recipes.pixel_cnn(spec, channels=4, layers=2, seed=0), []
    net = recipe.model.prior["z"].net
    net.register_forward_hook(lambda module, given, made: ran.append(made.dtype))
    values = stepped(recipe, {"x": torch.randint(0, 2, (3, 1, 4, 4)).float()})
    assert ran == [HALF]
    assert values["bound"].dtype == torch.float32
    assert isinstance(recipe.model.prior["z"]({}), PixelCodes)
