"""Critics: what moves which side, what they compare with, and what they find."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.evaluation import each_block
from polyvae.model.draw import Latent
from polyvae.objectives.critics import Critic, Discrimination, Fooled, Ratio, from_prior, permuted
from polyvae.objectives.terms import mmd
from polyvae.training.store import STATE, read_tensors

DATA = pictures()
TERMS = {"factor_vae": "total_correlation", "adversarial_autoencoder": "adversary"}


def latent(z: Tensor, p: Distribution | None = None) -> Latent:
    law = Independent(Normal(torch.zeros(z.shape[2:]), torch.ones(z.shape[2:])), 1)
    return Latent(law, law if p is None else p, z, z)


def draw_of(made: pv.Recipe, samples: int = 2) -> pv.Draw:
    torch.manual_seed(0)
    return made.model(made.observe(DATA.train.batch(torch.arange(8))), samples)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_trap_14_each_sides_loss_leaves_the_others_gradients_none(name: str, posterior: str) -> None:
    made = small(name, DATA, posterior=posterior)
    terms: Any = made.objective.terms
    model, critic = list(made.model.posterior.parameters()), list(terms["critic"].term.critic.parameters())
    assert terms["critic"].term.critic is terms[TERMS[name]].term.critic
    for term, moved, left in ((TERMS[name], model, critic), ("critic", critic, model)):
        draw = draw_of(made)
        for parameter in (*model, *critic):
            parameter.grad = None
        terms[term].term(draw).mean().backward()
        assert all(parameter.grad is None for parameter in left)
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in moved)
    assert terms[TERMS[name]].term(draw_of(made)).shape == (2, 8)


def test_trap_13_each_dimension_is_permuted_across_the_batch_by_itself() -> None:
    torch.manual_seed(1)
    z = torch.randn(3, 50, 4)
    other = permuted([latent(z)])
    assert other.shape == z.shape
    torch.testing.assert_close(other.sort(1).values, z.sort(1).values)  # of each dimension the same values
    places = (other.unsqueeze(2) == z.unsqueeze(1)).long().argmax(2)  # from which example each value comes
    for k in range(3):
        for one in range(4):
            assert (places[k, :, one] == torch.arange(50)).float().mean() < 0.2
            for two in range(one):
                assert (places[k, :, one] == places[k, :, two]).float().mean() < 0.2
    with pytest.raises(ValueError, match="batch of at least 2 examples"):
        permuted([latent(z[:, :1])])


def test_the_reference_of_an_adversary_is_the_prior_whatever_its_batch_shape() -> None:
    z = torch.zeros(3, 5, 2)
    shift = 100 * torch.arange(5.0)[:, None].expand(5, 2)
    for p, expected in (
        (Independent(Normal(torch.ones(2), 1e-4), 1), torch.ones(3, 5, 2)),
        (Independent(Normal(shift, 1e-4), 1), shift.expand(3, 5, 2)),
        (Independent(Normal(shift.repeat(3, 1), 1e-4), 1), shift.expand(3, 5, 2)),
    ):
        torch.testing.assert_close(from_prior([latent(z, p)]), expected, atol=1e-2, rtol=0)
    assert from_prior([latent(z), latent(z)]).shape == (3, 5, 4)


def test_costs_are_those_of_the_logistic_loss() -> None:
    draw, critic = draw_of(small("vae", DATA)), Critic(2, (4,))
    logit = critic(draw.latents["z"].z)
    torch.testing.assert_close(Ratio(critic)(draw), logit)
    torch.testing.assert_close(Fooled(critic)(draw), -(1 - logit.sigmoid()).log())
    other = torch.full_like(draw.latents["z"].z, 0.3)
    cost = Discrimination(critic, lambda latents: other)(draw)
    torch.testing.assert_close(cost, -(logit.sigmoid().log() + (1 - critic(other).sigmoid()).log()) / 2)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    assert Discrimination(critic, permuted)(draw).mean().item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", TERMS)
def test_a_critic_has_weights_of_its_own_and_leaves_the_models_as_the_seed_makes_them(name: str) -> None:
    made, again, other = (small(name, DATA, seed=seed) for seed in (3, 3, 4))
    critics = [next(each.objective.parameters()).flatten() for each in (made, again, other)]  # pyright: ignore
    encoder = next(each for each in made.model.posterior.parameters() if each.ndim > 1).flatten()
    size = min(len(encoder), len(critics[0]))
    assert abs(torch.corrcoef(torch.stack([critics[0][:size], encoder[:size]]))[0, 1].item()) < 0.5
    assert torch.equal(critics[0], critics[1])
    assert not torch.equal(critics[0], critics[2])
    plain = small("vae" if name == "factor_vae" else "ae", DATA, seed=3)
    assert same(dict(made.model.state_dict()), dict(plain.model.state_dict()))


def test_a_trained_critic_finds_the_total_correlation_of_a_known_law() -> None:
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    law = MultivariateNormal(torch.zeros(2), covariance)
    critic = Critic(2, (32, 32))
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    draws = lambda count: pv.Draw(1, {}, {"z": latent(law.sample((1, count)))}, {})  # noqa: E731
    for _ in range(400):
        optimizer.zero_grad()
        Discrimination(critic, permuted)(draws(2000)).mean().backward()
        optimizer.step()
    expected = -0.5 * math.log(1 - 0.5**2)
    assert Ratio(critic)(draws(20_000)).mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("name", TERMS)
def test_stopped_and_resumed_is_uninterrupted_and_a_loaded_run_has_its_critic(name: str, tmp_path: Path) -> None:
    given = {"batch_size": 16, "device": "cpu", "progress": False, "epochs": 2}
    run = pv.fit(small(name, DATA), DATA, tmp_path / "whole", **given)
    pv.fit(small(name, DATA), DATA, tmp_path / "cut", max_steps=4, **given)
    cut = pv.fit(small(name, DATA), DATA, tmp_path / "cut", resume=True, **given)
    assert same(*(read_tensors(tmp_path / folder / STATE)[0] for folder in ("whole", "cut")))
    assert timeless(run.history) == timeless(cut.history)
    assert same(weights(run.recipe), weights(pv.Run.load(tmp_path / "whole").recipe))
    assert not same(weights(run.recipe), weights(pv.recipes.rebuild(run.recipe.call)))  # pyright: ignore


@pytest.mark.slow
def test_two_processes_train_critic_and_model(tmp_path: Path) -> None:
    made = small("factor_vae", DATA)
    before = weights(made)
    pv.fit(made, DATA, epochs=1, batch_size=16, device="cpu", devices=2, progress=False)
    after = weights(made)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))
    assert all(tensor.isfinite().all() for tensor in after.values())


def test_a_prior_that_would_not_be_trained_is_refused() -> None:
    for prior in ("mixture", "vamp", "exemplar"):
        with pytest.raises(ValueError, match="prior: no term of the objective trains it"):
            small("adversarial_autoencoder", DATA, posterior="diagonal", prior=prior)
    given = small("adversarial_autoencoder", DATA, prior=pv.priors.StandardNormal(2))
    assert given.objective(given.model, DATA.train.batch(torch.arange(8)))["loss"].isfinite()


@pytest.mark.slow
def test_a_critic_brings_the_codes_of_digits_to_the_prior() -> None:
    data, found = pv.data.load("digits"), {}
    options = {"latent": 4, "network": "mlp", "widths": [64], "seed": 0}
    for name in ("ae", "adversarial_autoencoder"):
        made = pv.recipes.named(name)(data.spec, **options)
        run = pv.fit(made, data, epochs=40, batch_size=64, device="cpu", progress=False)
        codes = torch.cat(each_block(run, data.test, lambda model, batch: model.centres(batch)["z"]))
        torch.manual_seed(0)
        found[name] = mmd(codes, torch.randn(1000, 4)).item()
    assert found["adversarial_autoencoder"] < 0.1 * found["ae"], found
