"""A user's own parts: what is wrong with one is told by its name, once, before the first step and without a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from helpers.runs import pictures, same, small, weights
from polyvae.data import Data, wrap
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.objectives.terms import KL, Reconstruction


@pytest.fixture(scope="module")
def data() -> Data:
    return wrap(torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), validation=12)


def model(encoder: Any = None, decoder: Any = None, prior: Any = None) -> pv.VAE:
    """x [4], z [2]: a network of the right sizes for what is not given."""
    q = pv.Conditional(encoder or nn.Linear(4, 4), DiagonalNormal(), "x")
    p = pv.Conditional(decoder or nn.Linear(2, 4), PixelNormal("learned"), "z")
    return pv.VAE(q, pv.priors.StandardNormal(2) if prior is None else prior, p)


def fit(recipe: Any, data: Any, run: Any = None, **settings: Any) -> pv.Run:
    return pv.fit(recipe, data, run, **{"epochs": 1, "batch_size": 16, "progress": False, "device": "cpu", **settings})


class Part(nn.Module):
    """Any function of the values as a part."""

    def __init__(self, function: Any, given: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.function, self.given = function, given

    def forward(self, *values: Any) -> Any:
        return self.function(*values)


def costs(**terms: Any) -> pv.Objective:
    return pv.Objective({"reconstruction": Reconstruction(), "kl": KL(), **terms})


WRONG = {
    "the likelihood's network": (
        lambda: pv.Recipe(model(decoder=nn.Linear(2, 3)), pv.Objective()),
        "the likelihood of 'x' needs 4 numbers along dimension 1, its network made 3",
    ),
    "the posterior's network": (
        lambda: pv.Recipe(model(encoder=nn.Linear(4, 6)), pv.Objective()),
        "the posterior of 'z' needs 4 numbers along dimension 1, its network made 6; or else the prior of 'z', a law "
        "of 2 values, is of the wrong size",
    ),
    "a feature that is a pair": (
        lambda: pv.Recipe(
            pv.VAE(
                pv.Conditional(nn.Linear(4, 4), pv.families.DiagonalNormal(), "h"),
                pv.priors.StandardNormal(2),
                model().heads["x"],
                features={"h": pv.Feature(Part(lambda x: (x, x)), "x")},
            ),
            pv.Objective(),
        ),
        "the feature 'h' returns a tensor; got a tuple",
    ),
    "an input of the network": (
        lambda: pv.Recipe(model(encoder=nn.Linear(5, 4)), pv.Objective()),
        r"the network of the posterior of 'z', given \[2, 4\], failed: mat1 and mat2 shapes cannot be multiplied",
    ),
    "a network without a batch": (
        lambda: pv.Recipe(model(decoder=Part(lambda z: z.sum())), pv.Objective()),
        r"the network of the likelihood of 'x' makes a tensor \[B, numbers, ...\]; got a tensor of shape \[\]",
    ),
    "a prior that is a tensor": (
        lambda: pv.Recipe(model(prior=Part(lambda values: torch.zeros(2))), pv.Objective()),
        r"the prior of 'z' returns a torch.distributions.Distribution; got a tensor of shape \[2\]",
    ),
    "a posterior that is a pair": (
        lambda: pv.Recipe(
            pv.VAE(
                Part(lambda values: (values["x"][:, :2], 1), ("x",)), pv.priors.StandardNormal(2), model().heads["x"]
            ),
            pv.Objective(),
        ),
        "the posterior of 'z' returns a torch.distributions.Distribution; got a tuple",
    ),
    "a prior that is not Independent": (
        lambda: pv.Recipe(model(prior=Part(lambda values: Normal(torch.zeros(3), 1.0))), pv.Objective()),
        r"the prior of 'z' is a law with batch shape \[2\].*got \[3\] and event shape \[\]",
    ),
    "one as long as the batch": (
        lambda: pv.Recipe(model(prior=Part(lambda values: Normal(torch.zeros(2), 1.0))), pv.Objective()),
        r"the prior of 'z' is a law over \[\], the posterior of 'z' one over \[2\]",
    ),
    "a prior of another length": (
        lambda: pv.Recipe(
            model(prior=Part(lambda values: Independent(Normal(torch.zeros(len(values["x"]), 3), 1.0), 1), ("x",))),
            pv.Objective(),
        ),
        r"the prior of 'z' is a law over \[3\], the posterior of 'z' one over \[2\]",
    ),
    "a likelihood of another shape": (
        lambda: pv.Recipe(
            pv.VAE(
                model().posterior,
                pv.priors.StandardNormal(2),
                Part(lambda values: Independent(Normal(values["z"], 1.0), 1), ("z",)),
            ),
            pv.Objective(),
        ),
        r"the likelihood of 'x' is a law over \[2\], an example has the shape \[4\]",
    ),
    "a part that fails": (
        lambda: pv.Recipe(model(prior=Part(lambda values: 1 / 0)), pv.Objective()),
        "the prior of 'z' failed: division by zero",
    ),
    "a term that is a number": (
        lambda: pv.Recipe(model(), costs(mine=lambda draw: 0.5)),
        r"the term 'mine' returns a tensor, a cost for each draw of each example \[K, B\] = \[1, 2\] or a scalar; "
        "got a float",
    ),
    "a term for each value": (
        lambda: pv.Recipe(model(), costs(mine=lambda draw: draw.latents["z"].z)),
        r"the term 'mine' returns a tensor.*got a tensor of shape \[1, 2, 2\]",
    ),
    "a term that fails": (
        lambda: pv.Recipe(model(), costs(mine=lambda draw: draw.latents["y"])),
        "the term 'mine' failed: 'y'",
    ),
    "an objective that is a tensor": (
        lambda: pv.Recipe(model(), Part(lambda model, batch, step: model(batch).elbo.mean())),
        r"the objective returns scalars by name, 'loss' and 'bound' among them; got a tensor of shape \[\]",
    ),
    "an objective of rows": (
        lambda: pv.Recipe(
            model(), Part(lambda model, batch, step: dict.fromkeys(("loss", "bound"), model(batch).elbo))
        ),
        r"the objective's 'loss' is a scalar tensor; got a tensor of shape \[2\]",
    ),
    "an objective that fails": (
        lambda: pv.Recipe(model(), Part(lambda model, batch: model(batch).elbo.mean())),
        "the objective failed: .*positional argument",
    ),
    "a transform that fails": (
        lambda: pv.Recipe(model(), pv.Objective(), observe=lambda values: {"x": values["x"].no}),
        "the recipe's transform of a batch failed: .*no attribute 'no'",
    ),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_mistake_in_a_part_is_told_by_the_parts_name(which: str, data: Data, tmp_path: Path) -> None:
    build, message = WRONG[which]
    with pytest.raises(ValueError, match=message):
        fit(build(), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


NO_RECIPE = {
    "a function for an objective": (
        lambda: pv.Recipe(model(), lambda model, batch, step: {}),  # pyright: ignore
        r"objective is a module, called with \(model, batch, step\); got a function. A function of a draw is a term",
    ),
    "a module": (lambda: nn.Linear(4, 4), r"got Linear; VAE\(posterior, prior, likelihood\) makes a model"),
    "a recipe's function": (lambda: pv.recipes.vae, r"got the function vae; call it with the data's spec: vae\(spec\)"),
    "a number": (lambda: 3, "fit trains a Recipe, a VAE or the recipe of a name; got int"),
}


@pytest.mark.parametrize("which", NO_RECIPE)
def test_what_is_no_recipe_is_refused_with_what_to_do(which: str, data: Data) -> None:
    build, message = NO_RECIPE[which]
    with pytest.raises(TypeError, match=message):
        fit(build(), data)


def test_a_bare_model_is_trained_by_the_plain_bound(data: Data) -> None:
    torch.manual_seed(0)
    mine = model()
    other = model()
    other.load_state_dict(mine.state_dict())
    run, same_run = fit(mine, data), fit(pv.Recipe(other, pv.Objective()), data)
    assert same(weights(run.recipe), weights(same_run.recipe))
    assert run.recipe.model is mine


class Counted(nn.Module):
    """Counts its calls, and in training what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.norm = 0, nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.norm(x)


def test_the_first_look_leaves_weights_statistics_modes_and_generators_alone(data: Data) -> None:
    made = pv.Recipe(model(encoder=nn.Sequential(counted := Counted(), nn.Linear(4, 4))), pv.Objective())
    made.model.eval()
    before, state = weights(made), torch.get_rng_state()
    fit(made, data, epochs=0)
    assert counted.calls == 0  # a copy of it was looked at, once for all that is asked
    assert same(weights(made), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(made.model.posterior["z"].net[0]._forward_hooks)  # pyright: ignore


def lazy() -> pv.VAE:
    return model(encoder=nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(4)), decoder=nn.LazyLinear(4))


def test_lazy_modules_get_their_shapes_and_their_weights_from_the_seed(data: Data, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = fit(lazy(), data, tmp_path / "run", seed=3)
    torch.manual_seed(2)
    again, other = fit(lazy(), data, seed=3), fit(lazy(), data, seed=4)
    assert first.model.posterior["z"].net[0].weight.shape == (8, 4)  # pyright: ignore
    assert same(weights(first.recipe), weights(again.recipe))
    assert not same(weights(first.recipe), weights(other.recipe))
    loaded = pv.Run.load(tmp_path / "run", pv.Recipe(lazy(), pv.Objective()))
    assert same(weights(loaded.recipe), weights(first.recipe))
    x = data.train.tensors["x"]
    assert torch.equal(loaded.encode(x), first.encode(x))


def test_lazy_modules_are_resumed(data: Data, tmp_path: Path) -> None:
    whole = fit(lazy(), data, epochs=2, seed=3)
    fit(lazy(), data, tmp_path, epochs=1, seed=3)
    resumed = fit(lazy(), data, tmp_path, epochs=2, seed=3, resume=True)
    assert same(weights(whole.recipe), weights(resumed.recipe))


def test_a_recipe_from_the_catalogue_is_looked_at_too() -> None:
    grey = pictures()
    wrong = replace(small("vae", grey), model=small("vae", pictures(side=5)).model)
    with pytest.raises(ValueError, match=r"the network of the posterior of 'z', given \[2, 1, 4, 4\], failed"):
        fit(wrong, grey)
