"""Linear-Gaussian models, whose evidence is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import MultivariateNormal

import polyvae as pv
from polyvae.data import wrap
from polyvae.model.families.scales import learned_scale
from polyvae.recipes import Recipe


def wine() -> Tensor:
    x = load_wine().data
    return torch.from_numpy((x - x.mean(0)) / x.std(0))


def draw_of(made: Recipe, x: Tensor, samples: int) -> pv.Draw:
    torch.manual_seed(0)
    return made.model({"x": x}, samples)


def evidence(x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """log N(x; mean, W W^T + s^2 I), [N]."""
    covariance = weight @ weight.T + scale**2 * torch.eye(len(mean)).to(weight)
    return MultivariateNormal(mean, covariance).log_prob(x)


def solved(x: Tensor, latent: int) -> Recipe:
    made = pv.recipes.ppca(pv.Spec(tuple(x.shape[1:]), levels=None), latent=latent)
    made.model.double()
    assert made.solve is not None
    made.solve({"x": x})
    return made


@pytest.mark.parametrize("latent", [1, 3, 12])
def test_at_the_exact_posterior_every_sample_gives_the_exact_evidence(latent) -> None:
    x = wine()
    made = solved(x, latent)
    decoder = made.model.heads["x"].likelihood
    exact = evidence(x, decoder.weight, decoder.mean, decoder.scale)
    draw = draw_of(made, x, 4)
    torch.testing.assert_close(draw.log_weight, exact.expand(4, -1))
    torch.testing.assert_close(draw.importance_bound, exact)
    many = draw_of(made, x, 2000)
    error = (many.log_px - many.kl).mean(1).std() / math.sqrt(2000)
    assert (many.elbo.mean() - exact.mean()).abs() < 4 * error


def test_probabilistic_pca_has_the_likelihood_that_scikit_learn_finds() -> None:
    x = wine()
    for latent in (1, 4, 12):
        made = solved(x, latent)
        decoder = made.model.heads["x"].likelihood
        mine = evidence(x, decoder.weight, decoder.mean, decoder.scale).mean().item()
        # scikit-learn divides by N - 1 where the maximum of the likelihood divides by N
        theirs = PCA(latent).fit(x.numpy())
        assert theirs.score(x.numpy()) <= mine
        assert mine == pytest.approx(theirs.score(x.numpy()), abs=1e-3)
        shrunk = (len(x) - 1) / len(x)
        covariance = shrunk * theirs.get_covariance()
        exact = (
            MultivariateNormal(torch.from_numpy(theirs.mean_), torch.from_numpy(covariance)).log_prob(x).mean().item()
        )
        assert mine == pytest.approx(exact, rel=1e-9)


def test_pca_reconstructs_as_scikit_learn_does() -> None:
    x = wine()
    made = pv.recipes.pca(pv.Spec((13,), levels=None), latent=4)
    made.model.double()
    assert made.solve is not None
    made.solve({"x": x})
    theirs = PCA(4).fit(x.numpy())
    expected = theirs.inverse_transform(theirs.transform(x.numpy()))
    np.testing.assert_allclose(made.model.reconstruct({"x": x})["x"].mean.numpy(), expected, atol=1e-9)
    codes = made.model.encode({"x": x})["z"].mean
    torch.testing.assert_close(codes.T @ codes / len(x), torch.eye(4).double())


def test_a_linear_gaussian_vae_trained_from_scratch_reaches_probabilistic_pca() -> None:
    x = wine()
    best = solved(x, 3)
    decoder = best.model.heads["x"].likelihood
    maximum = evidence(x, decoder.weight, decoder.mean, decoder.scale).mean().item()
    made = pv.recipes.full_covariance(
        pv.Spec((13,), levels=None), latent=3, network="mlp", widths=(), likelihood="normal-learned", seed=0
    )
    run = pv.fit(
        made,
        wrap(x.float(), validation=x.float()),
        epochs=150,
        batch_size=30,
        lr=2e-2,
        schedule="cosine",
        weight_decay=0.0,
        device="cpu",
        progress=False,
    )
    model = run.model.double()
    layer = model.heads["x"].likelihood.net.layers[0]
    scale = learned_scale(model.heads["x"].likelihood.family.scale.raw_scale)
    with torch.no_grad():
        exact = evidence(x, layer.weight, layer.bias, scale).mean().item()
        bound = draw_of(made, x, 500).elbo.mean().item()
    assert bound < exact + 0.01
    assert exact <= maximum
    assert bound > maximum - 0.01 * abs(maximum)
