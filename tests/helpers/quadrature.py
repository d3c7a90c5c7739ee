"""Expectations without chance: posteriors whose noise the batch holds, at the nodes of a Gauss-Hermite rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv


class Told(Independent):
    """A diagonal normal of one-dimensional values whose standard noise is told, [B, K], or [K * B, K] at their rows."""

    def __init__(self, loc: Tensor, scale: Tensor, noise: Tensor) -> None:
        super().__init__(Normal(loc, scale), 1)
        self.noise = noise

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        samples = self.noise.shape[1]
        eps = self.noise if sample_shape else self.noise.unflatten(0, (samples, -1)).diagonal(dim1=0, dim2=2)
        eps = eps.T.unsqueeze(-1)  # [K, B, 1]
        return self.base_dist.loc + self.base_dist.scale * (eps if sample_shape else eps.flatten(0, 1))


class Linear(nn.Module):
    """N(sum_i w_i v_i + b, s^2) of one-dimensional values, everything learned; drawn by `noise` where it is named."""

    def __init__(self, bias: float, scale: float, noise: str | None = None, **weights: float) -> None:
        super().__init__()
        self.bias, self.log_scale = number(bias), number(math.log(scale))
        self.weights = nn.ParameterDict({n: number(w) for n, w in weights.items()})
        self.noise = noise
        self.given = (*weights, *([noise] if noise else []))

    def forward(self, values: pv.Values) -> Distribution:
        law = self.law(values)
        return law if self.noise is None else Told(law.base_dist.loc, law.base_dist.scale, values[self.noise])

    def law(self, values: pv.Values) -> Independent:
        """The law, to be drawn from by chance."""
        rows = next((values[name] for name in self.weights), torch.zeros(1)).double()
        loc = sum((weight * values[name] for name, weight in self.weights.items()), self.bias.expand_as(rows))
        return Independent(Normal(loc, self.log_scale.exp().expand_as(loc)), 1)


def number(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def nodes(dimensions: int, count: int) -> tuple[Tensor, Tensor]:
    """Points [N, dimensions] and weights [N] of the rule for independent standard normals."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = torch.tensor(list(itertools.product(points, repeat=dimensions)))
    shares = torch.tensor(list(itertools.product(weights / weights.sum(), repeat=dimensions))).prod(-1)
    return grid.double(), shares.double()


def batch_of(x: float, names: Sequence[str], samples: int, count: int) -> tuple[dict[str, Tensor], Tensor]:
    """One example at every node of the noise of K `samples` of each latent, and the nodes' weights."""
    grid, shares = nodes(len(names) * samples, count)
    noise = grid.split(samples, 1)
    return {"x": torch.full((len(grid), 1), x).double(), **dict(zip(names, noise, strict=True))}, shares


def expected_gradients(
    objective: pv.objectives.Bound, model: pv.VAE, batch: dict[str, Tensor], shares: Tensor
) -> dict[str, Tensor]:
    """d E[estimate] by the name of the parameter; zeros where none comes."""
    draw = model(batch, objective.samples)
    value = (shares * objective.estimate(draw)).sum()
    named = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(named.items(), found, strict=True)
    }
