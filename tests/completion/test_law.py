"""The law of a completion as a distribution, against closed forms of linear models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal, Normal

import polyvae as pv
from helpers.completing import SEEN, SHAPE, Around, Sum, data, decoder, encoder, maps, semi_conditional
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE
from polyvae.observe.masks import observation, sparse

NOISE = 0.25  # variance of the likelihood


class Exact(nn.Module):
    """p(z | x_unseen, m), or of the `whole` x, of a linear model with prior N(C m, S), `wider` times as wide."""

    given = ("x", "m")

    def __init__(
        self, a: Tensor, b: Tensor, c: Tensor, spread: Tensor, wider: float = 1.0, whole: bool = False
    ) -> None:
        super().__init__()
        self.a, self.b, self.c, self.spread, self.wider, self.whole = a, b, c, spread, wider, whole

    def forward(self, values: pv.Values) -> Distribution:
        x, m = values["x"].flatten(1), values["m"].flatten(1)
        means, widths = [], []
        for row in range(len(x)):
            unseen = (values["m"][row, 1:].flatten() == 0) | self.whole
            a, rest = self.a[unseen], (x[row] - self.b @ m[row])[unseen]
            precision = torch.linalg.inv(self.spread) + a.T @ a / NOISE
            start = torch.linalg.solve(self.spread, self.c @ m[row]) + a.T @ rest / NOISE
            means.append(torch.linalg.solve(precision, start))
            widths.append(torch.linalg.cholesky(torch.linalg.inv(precision)) * self.wider)
        return MultivariateNormal(torch.stack(means), scale_tril=torch.stack(widths))


def linear(wider: float = 1.0) -> tuple[VAE, Callable[[Tensor, Tensor], Tensor]]:
    """p(z | m) = N(C m, 0.3^2), x = A z + B m and noise of deviation 1/2; log p(x_unseen | m) of a truth and a mask."""
    prior, p = Around(Sum([SEEN], (2,), seed=9), "m"), decoder("z", "m")
    a, b = (layer.weight.data.double() for layer in p.net.maps)  # pyright: ignore
    c, spread = prior.net.maps[0].weight.data.double(), 0.09 * torch.eye(2).double()  # pyright: ignore

    def closed(x: Tensor, mask: Tensor) -> Tensor:
        m, found = sparse(x, mask).flatten(1), []
        for row in range(len(x)):
            unseen = ~mask[row].flatten()
            mean, covariance = (a @ c + b) @ m[row], a @ spread @ a.T + NOISE * torch.eye(6)
            law = MultivariateNormal(mean[unseen], covariance[unseen][:, unseen])
            found.append(law.log_prob(x[row].flatten()[unseen]))
        return torch.stack(found)

    return VAE(Exact(a, b, c, spread, wider), prior, p).double(), closed


def truth(law: Distribution | None, x: Tensor, mask: Tensor) -> Tensor:
    """A draw of the law where nothing is seen."""
    torch.manual_seed(1)
    assert law is not None
    return torch.where(mask, x.double(), law.sample())


def test_by_the_exact_posterior_a_single_draw_gives_log_p_of_what_is_unseen() -> None:
    model, closed = linear()
    x, mask = data()
    law = pv.complete(model, torch.where(mask, x.double(), torch.nan), mask, draws=3).law
    assert law is not None
    for samples in (1, 7, None):
        torch.testing.assert_close(law.log_prob(x.double(), samples), closed(x.double(), mask))
    moved = torch.where(mask, x + 5, x).double()  # what was seen is what was told
    torch.testing.assert_close(law.log_prob(moved), closed(x.double(), mask))


def test_by_another_posterior_the_estimate_rises_to_log_p() -> None:
    model, closed = linear(wider=2.0)
    x, mask = data(200)
    law, x = pv.complete(model, x.double(), mask, draws=2).law, x.double()
    assert law is not None
    expected = closed(x, mask)
    few, more, many = (law.log_prob(x, samples) - expected for samples in (1, 10, 3000))
    assert few.mean() < more.mean() - 0.1 < 0.0
    assert many.abs().max() < 0.15
    assert abs(many.mean()) < 0.01


def test_without_a_posterior_of_x_draws_of_the_prior_do() -> None:
    model, closed = linear()
    blind = VAE(Around(Sum([SEEN], (2,), seed=9), "m"), model.prior["z"], model.heads["x"].likelihood).double()  # pyright: ignore
    x, mask = data()
    law = pv.complete(blind, x.double(), mask, draws=2).law
    x = truth(law, x, mask)
    assert law is not None
    torch.testing.assert_close(law.log_prob(x, 50_000), closed(x, mask), atol=0.1, rtol=0)


def test_what_is_unknown_of_a_truth_is_not_scored() -> None:
    model, _ = linear()
    x, mask = data()
    law = pv.complete(model, x.double(), mask, draws=5).law
    assert law is not None
    x, first = truth(law, x, mask), torch.zeros_like(mask)
    first[:, 0, 0, 0] = True
    assert law.log_prob(torch.where(mask, x, torch.nan)).eq(0).all()
    known = torch.where(first, x, torch.nan)
    (a, b), c = maps(model), model.prior["z"].net.maps[0].weight.data  # pyright: ignore
    mean = sparse(x, mask).flatten(1) @ ((a @ c + b)[0])
    marginal = Normal(mean, (0.09 * a[0].square().sum() + NOISE).sqrt()).log_prob(x[:, 0, 0, 0])
    expected = marginal.masked_fill(mask[:, 0, 0, 0], 0.0)
    torch.testing.assert_close(law.log_prob(known, 50_000), expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("conditioned", [False, True])
def test_weighed_by_what_is_seen_log_p_is_that_of_the_unseen_given_the_seen(conditioned: bool) -> None:
    model = (semi_conditional() if conditioned else VAE(encoder(), StandardNormal(2), decoder("z"))).double()
    a, *others = maps(model)
    for other in others:
        other.mul_(0.1)  # or what is seen would be far from all that the prior draws
    b, c = others[0] if others else torch.zeros(6, SEEN).double(), torch.zeros(2, SEEN).double()
    model.posterior["z"] = Exact(a, b, c, torch.eye(2).double(), whole=True)
    x, mask = data(4, points=3)
    x = 0.5 * x.double()
    law = pv.complete(model, x, mask, draws=100, candidates=50_000, weigh="seen").law
    assert law is not None
    centre = sparse(x, mask).flatten(1) @ others[0].T if others else torch.zeros(4, 6)
    whole, rest = a @ a.T + NOISE * torch.eye(6), x.flatten(1) - centre
    found = law.log_prob(x, 3)
    for row in range(4):
        seen = mask[row].flatten()
        part = MultivariateNormal(torch.zeros(int(seen.sum())).double(), whole[seen][:, seen])
        expected = MultivariateNormal(torch.zeros(6).double(), whole).log_prob(rest[row]) - part.log_prob(
            rest[row][seen]
        )
        assert found[row] == pytest.approx(float(expected), abs=0.15)


def test_from_x_it_is_the_mixture_over_the_posterior() -> None:
    model = semi_conditional().double()
    x, mask = data(3)
    x = x.double()
    law = pv.complete(model, x, mask, draws=10, use_x=True).law
    assert law is not None
    a, b = maps(model)
    code = model.encode({"x": x})["z"].mean.detach()
    mean = code @ a.T + sparse(x, mask).flatten(1) @ b.T
    whole = 0.09 * a @ a.T + NOISE * torch.eye(6)
    for row, found in enumerate(law.log_prob(x, 50_000)):
        unseen = ~mask[row].flatten()
        expected = MultivariateNormal(mean[row][unseen], whole[unseen][:, unseen]).log_prob(x[row].flatten()[unseen])
        assert float(found) == pytest.approx(float(expected), abs=0.1)


def test_its_moments_are_those_told_and_its_draws_have_them() -> None:
    model, _ = linear()
    x, mask = data()
    found = pv.complete(model, x.double(), mask, draws=4000)
    law = found.law
    assert isinstance(law, Distribution)
    assert (law.batch_shape, law.event_shape) == ((5,), SHAPE)
    assert law.mean is found.mean
    torch.testing.assert_close(law.variance, found.std.square())
    torch.manual_seed(3)
    drawn = law.sample((4, 2000))
    assert drawn.shape == (4, 2000, 5, *SHAPE)
    torch.testing.assert_close(drawn.flatten(0, 1).mean(0), found.mean, atol=0.08, rtol=0)
    torch.testing.assert_close(drawn.flatten(0, 1).std(0), found.std, atol=0, rtol=0.06)
    a, _ = maps(model)
    joint = torch.cov(drawn.flatten(0, 1)[:, 0].flatten(1).T)
    torch.testing.assert_close(joint, 0.09 * a @ a.T + NOISE * torch.eye(6), atol=0.06, rtol=0)
    torch.manual_seed(3)
    assert torch.equal(law.sample((4, 2000)), drawn)
    assert not torch.equal(law.sample(), law.sample())
    assert law.sample().shape == (5, *SHAPE)
    assert law.sample((0, 3)).shape == (0, 3, 5, *SHAPE)


def test_means_and_draws_come_from_one_pass() -> None:
    model = semi_conditional(Bernoulli())
    x, mask = data()
    x = x.sigmoid()
    plain = pv.complete(model, x, mask, draws=30)
    pixels, both = pv.complete(model, x, mask, draws=30, pixels=True), pv.complete(model, x, mask, draws=30, both=True)
    assert plain.draws.shape == (0, 5, *SHAPE)
    assert pixels.draws is pixels.samples
    assert torch.equal(both.samples, plain.samples)
    assert torch.equal(both.draws, pixels.samples)
    assert set(both.draws.unique().tolist()) == {0.0, 1.0}
    kept = pv.complete(model, x, mask, draws=30, both=True, keep=4)
    assert torch.equal(kept.draws, both.draws[:4])
    with pytest.raises(ValueError, match="with both they stand beside: say one"):
        pv.complete(model, x, mask, pixels=True, both=True)


def test_a_truth_of_another_shape_and_no_draws_are_refused() -> None:
    model, _ = linear()
    x, mask = data()
    law = pv.complete(model, x.double(), mask, draws=2).law
    assert law is not None
    with pytest.raises(ValueError, match=r"the shape of what was completed, \[5, 1, 2, 3\]; got \[4, 1, 2, 3\]"):
        law.log_prob(x[:4].double())
    with pytest.raises(ValueError, match="samples"):
        law.log_prob(x.double(), 0)


def test_a_trained_run_scores_the_truth_and_what_it_sees_helps() -> None:
    data_ = pv.data.load("digits", limit=300)
    recipe = pv.recipes.arbitrary_conditioning(
        data_.spec, network="mlp", widths=(32,), decoder="flat", latent=4, exponent=3, likelihood="bernoulli", seed=0
    )
    run = pv.fit(recipe, data_, epochs=2, lr=3e-3, progress=False)
    x = data_.test.batch(torch.arange(20))["x"]
    mask = observation("uniform", 20).mask(x)
    found = run.complete(x, mask, draws=20)
    assert found.law is not None
    right, wrong = found.law.log_prob(x), found.law.log_prob(x.flip(0))
    assert right.isfinite().all()
    assert right.mean() > wrong.mean()
