"""Draws of z given what is seen, weighed and moved, against laws that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from helpers.completing import SEEN, Around, Sum, close, data, decoder, encoder, maps, semi_conditional
from polyvae.model.priors.completing import Completing
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE
from polyvae.observe.masks import sparse


def linear() -> VAE:
    """x = A z and noise of deviation 1/2, z of two dimensions."""
    return VAE(encoder(), StandardNormal(2), decoder("z"))


def exact(model: VAE, x: Tensor, mask: Tensor, loc: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every value given what is seen, [N, 6]; z ~ N(0, I), or N(loc, 0.3^2 I)."""
    a, *others = maps(model)
    centres = sparse(x, mask).flatten(1) @ others[0].T if others else torch.zeros(len(x), 6)
    found = []
    for row, centre in enumerate(centres):
        seen = mask[row].flatten()
        prior = torch.eye(2) if loc is None else torch.eye(2) / 0.09
        precision = prior + a[seen].T @ a[seen] / 0.25
        told = a[seen].T @ (x[row].flatten() - centre)[seen] / 0.25
        code = torch.linalg.solve(precision, told if loc is None else told + prior @ loc[row])
        found.append((centre + a @ code, ((a @ torch.linalg.inv(precision) @ a.T).diagonal() + 0.25).sqrt()))
    means, deviations = zip(*found, strict=True)
    return torch.stack(means), torch.stack(deviations)


@pytest.mark.parametrize("conditioned", [False, True])
def test_moved_draws_have_the_mean_and_spread_of_the_law_given_what_is_seen(conditioned: bool) -> None:
    model = semi_conditional() if conditioned else linear()
    x, mask = data(3, points=3)
    found = pv.complete(model, torch.where(mask, x, torch.nan), mask, draws=2000, weigh="hamiltonian", moves=16)
    mean, deviation = exact(model, x, mask)
    assert close(found.mean.flatten(1) / deviation, mean / deviation, 0.1)
    assert close(found.std.flatten(1) / deviation, torch.ones(()), 0.06)
    assert (found.effective > 1500).all()
    again = pv.complete(model, torch.where(mask, x, torch.nan), mask, draws=2000, weigh="hamiltonian", moves=16)
    assert torch.equal(again.mean, found.mean)


def test_moves_reach_what_few_candidates_miss_and_say_how_much_they_count() -> None:
    model = linear()
    x, mask = data(8, points=5)
    far = 4 * x  # where hardly a draw of the prior falls
    mean, deviation = exact(model, far, mask)
    weighed = pv.complete(model, far, mask, draws=300, candidates=300, weigh="seen")
    moved = pv.complete(model, far, mask, draws=300, candidates=300, weigh="hamiltonian", moves=60)
    wrong = [((found.mean.flatten(1) - mean) / deviation).abs().mean() for found in (weighed, moved)]
    assert wrong[1] < 0.2 * wrong[0]
    few = pv.complete(model, far, mask, draws=300, candidates=300, weigh="hamiltonian", moves=1)
    assert weighed.effective.mean() < few.effective.mean() < 100 < moved.effective.mean() <= 300


class Off(nn.Module):
    """A law of z that is near the posterior given what is seen, and not it."""

    given = ("m",)

    def __init__(self, model: VAE, shift: float, scale: float) -> None:
        super().__init__()
        self.a, self.shift, self.scale = maps(model)[0], shift, scale

    def forward(self, values: pv.Values) -> Distribution:
        m = values["m"].flatten(1)
        x, mask = m[:, :6], m[:, 6:]
        precision = torch.eye(2) + (self.a.T * mask[:, None]) @ self.a / 0.25
        loc = torch.linalg.solve(precision, (x * mask) @ self.a / 0.25) + self.shift
        return Independent(Normal(loc, torch.full_like(loc, self.scale)), 1)


@pytest.mark.parametrize("weigh", ["seen", "hamiltonian"])
def test_of_a_fitted_law_weights_make_the_exact_one(weigh: str) -> None:
    plain = linear()
    model = VAE(plain.posterior["z"], Completing(Off(plain, 0.3, 0.6), plain.prior["z"]), plain.heads["x"].likelihood)
    x, mask = data(4, points=3)
    mean, deviation = exact(plain, x, mask)
    as_it_is = pv.complete(model, x, mask, draws=4000)
    assert not close(as_it_is.mean.flatten(1) / deviation, mean / deviation, 0.15)
    more = {"moves": 6} if weigh == "hamiltonian" else {}
    found = pv.complete(model, x, mask, draws=4000, candidates=20_000, weigh=weigh, **more)
    assert close(found.mean.flatten(1) / deviation, mean / deviation, 0.1)
    assert close(found.std.flatten(1) / deviation, torch.ones(()), 0.06)
    # The density of what is unseen is that of the run's own prior too.
    own = pv.complete(plain, x, mask, draws=4000, candidates=20_000, weigh="seen")
    assert found.law is not None
    assert own.law is not None
    torch.testing.assert_close(found.law.log_prob(x), own.law.log_prob(x), rtol=0, atol=0.15)


def test_of_two_levels_both_latents_move() -> None:
    recipe = pv.recipes.two_level((6,), latent=2, top=1, network="mlp", widths=(8,), seed=0)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]]).bool()
    weighed = pv.complete(recipe, x, mask, weigh="seen", draws=4000, candidates=40_000)
    moved = pv.complete(recipe, x, mask, weigh="hamiltonian", draws=1000, moves=12)
    assert close(weighed.mean / weighed.std, moved.mean / weighed.std, 0.15)


def test_latents_without_a_gradient_are_refused() -> None:
    x = torch.rand(2, 1, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :3] = 1
    codes = pv.recipes.vq_vae((1, 8, 8), codes=4, dim=2, widths=(4,), likelihood="normal", seed=0)
    with pytest.raises(ValueError, match=r"weigh='hamiltonian' moves latents along gradients, and 'z' .*weigh='seen'"):
        pv.complete(codes, x, mask, weigh="hamiltonian", draws=3)
    with pytest.raises(ValueError, match="moves is a whole number of at least 1; got 0"):
        pv.complete(linear(), *data(2), weigh="hamiltonian", moves=0)
    with pytest.raises(ValueError, match="weigh='hamiltonian' weighs draws from the prior; with use_x"):
        pv.complete(linear(), *data(2), weigh="hamiltonian", use_x=True)


def test_a_prior_that_was_trained_to_read_what_is_seen_is_the_prior_of_the_law() -> None:
    prior = Around(Sum([SEEN], (2,), seed=9), "m")
    model = VAE(encoder(), prior, decoder("z"))
    x, mask = data(3)
    with torch.no_grad():
        mean, deviation = exact(model, x, mask, prior.net(sparse(x, mask).flatten(1)))
    found = pv.complete(model, x, mask, draws=3000, weigh="hamiltonian", moves=20)
    assert close(found.mean.flatten(1) / deviation, mean / deviation, 0.1)
    assert close(found.std.flatten(1) / deviation, torch.ones(()), 0.06)
