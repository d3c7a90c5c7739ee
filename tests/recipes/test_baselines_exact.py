"""The linear baselines are at the maximum likelihood that is known in closed form, whatever the data's size."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from polyvae import recipes
from polyvae.model.spec import Spec


@pytest.mark.parametrize(("rows", "columns"), [(120, 1100), (700, 60)])
def test_probabilistic_pca_has_the_likelihood_of_the_exact_eigenvalues(rows, columns) -> None:
    """-N/2 (d log 2 pi + sum of log kept eigenvalues + (d - q) log s^2 + d), Tipping and Bishop's equation 8."""
    torch.manual_seed(0)
    x = torch.randn(rows, columns, dtype=torch.float64)  # eigenvalues that hardly differ: the hardest to sketch
    q = 6
    made = recipes.ppca(Spec((columns,), levels=None), latent=q)
    made.solve({"x": x})
    centred = x - x.mean(0)
    values = torch.linalg.svdvals(centred).square() / rows
    noise = values[q:].sum() / (columns - q)
    expected = -0.5 * (columns * math.log(2 * math.pi) + values[:q].log().sum() + (columns - q) * noise.log() + columns)
    model = made.model.double()
    weight, scale = model.heads["x"].likelihood.weight, model.heads["x"].likelihood.scale
    covariance = weight @ weight.T + scale.square() * torch.eye(columns, dtype=torch.float64)
    found = MultivariateNormal(x.mean(0), covariance).log_prob(x).mean()
    assert found.item() == pytest.approx(expected.item(), abs=1e-2)


@pytest.mark.parametrize(("columns", "latent"), [(8, 7), (40, 16)])
def test_the_default_latent_is_below_the_number_of_values(columns: int, latent: int) -> None:
    for build in (recipes.pca, recipes.ppca):
        assert build(Spec((columns,), levels=None)).model.heads["x"].likelihood.weight.shape == (columns, latent)
