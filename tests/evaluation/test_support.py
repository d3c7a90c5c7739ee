"""Data outside a likelihood's support are refused before the first step, whoever asked for the likelihood."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Uniform

import polyvae as pv
from polyvae.data import wrap
from polyvae.recipes import Recipe

PICTURES = torch.rand(40, 1, 4, 4)
FIELD = 3 * torch.randn(40, 1, 4, 4)
TABLE = torch.randn(40, 5)
COUNTS = torch.poisson(torch.full((40, 5), 3.0))


def fitted(recipe: Recipe, x: Tensor, **options: Any) -> Any:
    return pv.fit(recipe, wrap(x, **options), epochs=1, progress=False)


@pytest.mark.parametrize("likelihood", [None, "bernoulli", "normal", "normal-learned", "laplace"])
def test_pictures_in_the_unit_interval_are_scored_by_laws_of_it_and_of_real_numbers(likelihood: str | None) -> None:
    fitted(pv.recipes.vae((1, 4, 4), network="mlp", likelihood=likelihood), PICTURES)


@pytest.mark.parametrize("family", ["Bernoulli", "DiscretisedLogistic", "Categorical", "DiscretisedLogisticMixture"])
@pytest.mark.parametrize("x", [FIELD, PICTURES - 0.01, PICTURES + (PICTURES > 0.5)], ids=["field", "low", "high"])
def test_trap45_a_law_of_grey_levels_refuses_what_lies_beyond_them(family: str, x: Tensor) -> None:
    law = getattr(pv.families, family)()
    recipe = pv.recipes.vae((1, 4, 4), network="mlp", likelihood=law)
    with pytest.raises(ValueError, match=r"the likelihood of 'x' is a \w+, which scores .*; example \d+ of the"):
        fitted(recipe, x)


def test_trap45_off_the_grid_is_outside_the_support_of_a_law_of_levels() -> None:
    recipe = pv.recipes.vae((1, 4, 4), network="mlp", likelihood=pv.families.DiscretisedLogistic(256))
    with pytest.raises(ValueError, match=r"scores the 256 grey levels 0, 1/255, ..., 1"):
        fitted(recipe, PICTURES)
    fitted(recipe, (PICTURES * 255).round() / 255)


@pytest.mark.parametrize("name", ["Poisson", "NegativeBinomial", "ZeroInflatedNegativeBinomial"])
def test_a_law_of_counts_refuses_what_is_not_whole_or_below_zero(name: str) -> None:
    from polyvae.model.families import counts as count_families

    family = getattr(count_families, name)
    fitted(pv.recipes.vae((5,), network="mlp", likelihood=family()), COUNTS)
    for x in (COUNTS + 0.5, COUNTS - 1):
        with pytest.raises(ValueError, match=r"which scores whole numbers from 0 on; example \d+ of the train part"):
            fitted(pv.recipes.vae((5,), network="mlp", likelihood=family()), x)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_every_part_is_looked_at(part: str) -> None:
    recipe = pv.recipes.vae((1, 4, 4), network="mlp", likelihood="bernoulli")
    other = PICTURES[:7].clone()
    other[4, 0, 1, 1] = -2.5
    with pytest.raises(ValueError, match=rf"example 4 of the {part} part holds values in \[-2.5, "):
        fitted(recipe, PICTURES, **{part: other})


def test_rows_that_are_not_scored_may_hold_anything() -> None:
    made = pv.recipes.vae((1, 4, 4), network="mlp", likelihood="bernoulli")
    head = pv.Head(made.model.heads["x"].likelihood, where="known")
    recipe = Recipe(pv.VAE(made.model.posterior["z"], made.model.prior["z"], {"x": head}), made.objective)
    x, known = PICTURES.clone(), torch.arange(40) % 2 == 0
    x[~known] = 9.0
    data = pv.data.Data(
        "masked",
        pv.data.Split({"x": x, "known": known}),
        pv.data.Split({"x": x[:5], "known": known[:5]}),
        pv.data.Split({"x": x[:5], "known": known[:5]}),
        pv.Spec((1, 4, 4)),
    )
    pv.fit(recipe, data, epochs=1, progress=False)
    with pytest.raises(ValueError, match="example 1 of the train part"):
        pv.fit(made, data, epochs=1, progress=False)


def test_the_check_changes_nothing() -> None:
    from polyvae.evaluation.support import check_support
    from polyvae.training.trial import tried

    recipe = pv.recipes.vae((1, 8, 8), likelihood="bernoulli", widths=(4,))
    before = {name: value.clone() for name, value in recipe.model.state_dict().items()}
    data = wrap(torch.rand(20, 1, 8, 8))
    state = torch.random.get_rng_state()
    check_support(recipe, data, tried(recipe, data, 0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert recipe.model.training
    assert all(torch.equal(value, before[name]) for name, value in recipe.model.state_dict().items())


@pytest.mark.parametrize("name", ["vae", "ppca"])
def test_the_laws_of_the_trial_are_asked_and_no_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {} if name == "ppca" else {"network": "mlp", "widths": (8,)}
    recipe = pv.recipes.named(name)((5,), latent=2, **options)
    looks = []
    recipe.model.heads["x"].likelihood.register_forward_hook(lambda *each: looks.append(len(each[1][0]["z"])))
    monkeypatch.setattr("polyvae.training.loop.Loop.run", lambda *each: None)
    monkeypatch.setattr("polyvae.training.fit._solve", lambda job: [])
    fitted(recipe, TABLE)
    assert looks == ([2] if name == "ppca" else [2, 2]), "a pass for the terms and one for the objective"


class Between(pv.Family):
    """Uniform laws, of a shared width about a learned centre, or each of its own."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.own = own

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Independent:
        low = -2.0 - raw.sigmoid() if self.own else -3.0 + 0 * raw
        return Independent(Uniform(low, -low, validate_args=False), 1, validate_args=False)


@pytest.mark.parametrize("own", [True, False])
def test_bounds_that_a_law_has_for_each_example_are_asked_of_all_data(own: bool) -> None:
    x = TABLE.clamp(-2, 2)
    recipe = pv.recipes.vae((5,), network="mlp", likelihood=Between(own))
    fitted(recipe, x)
    x[3, 2] = 3.5
    with pytest.raises(ValueError, match=r"the likelihood of 'x' is a Uniform, .* holds values in \[.*, 3\.5\]"):
        fitted(recipe, x)
