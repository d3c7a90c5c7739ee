"""Hamiltonian moves of many chains at once, and the steps that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.model.distributions.codes import CodePrior

# The share of proposals that steps are made for. Of many moves under one law 0.65 is the best; at few temperatures
# steps lag behind laws that grow narrower, and shorter ones, for a larger share, changed faster, still fit.
ACCEPTED = 0.8
GAIN = 0.5  # of the logarithm of a step, for each share of proposals above or below

Slope = Callable[[Tensor], tuple[Tensor, Tensor]]  # rows [N, D] -> log f and its gradient, [N] and [N, D]


def moved(z: Tensor, slope: Slope, step: Tensor, leapfrogs: int) -> tuple[Tensor, Tensor]:
    """Rows z [N, D] after one Hamiltonian proposal each by steps [N], and the probability of its acceptance, [N].

    The law with that density f stays as it is under such moves.

    Duane, Kennedy, Pendleton, Roweth: Hybrid Monte Carlo, 1987; Neal: MCMC Using Hamiltonian Dynamics, 2011.
    """
    # Steps vary a little, whatever the state: equal ones may come round a whole period.
    size = step[:, None] * (0.8 + 0.4 * torch.rand_like(z[:, :1]))
    momentum = torch.randn_like(z)
    value, gradient = slope(z)
    before, new = value - 0.5 * momentum.square().sum(1), z
    momentum = momentum + 0.5 * size * gradient
    for n in range(leapfrogs):
        new = new + size * momentum
        value, gradient = slope(new)
        momentum = momentum + (1.0 if n < leapfrogs - 1 else 0.5) * size * gradient
    rate = (value - 0.5 * momentum.square().sum(1) - before).clamp(max=0).exp().nan_to_num(0.0)
    return torch.where((torch.rand_like(rate) < rate)[:, None], new, z), rate


def sloped(density: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """log f of rows [N, D] and its gradient, by a function of the rows alone."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient


def first_step(z: Tensor, count: int) -> Tensor:
    """Steps [count] to begin with, of rows [N, D]."""
    return z.new_full((count,), 0.5 / z.shape[1] ** 0.25)


def adapted(step: Tensor, rate: Tensor) -> Tensor:
    """Steps [B] that come nearer to the share of proposals that should be accepted, from rates [C * B] of C chains."""
    return step * torch.exp(GAIN * (rate.unflatten(0, (-1, len(step))).mean(0) - ACCEPTED))


def check_moved(name: str, law: Distribution, summed: bool, what: str, instead: str) -> None:
    """ValueError, by `what` it is for, for latents that no gradient moves; `instead`: what to do."""
    try:
        discrete = law.support is not None and law.support.is_discrete
    except NotImplementedError:
        discrete = False
    law_of: Any = type(law)
    if isinstance(law, CodePrior) or discrete or summed or law.has_enumerate_support:
        raise ValueError(
            f"{what} moves latents along gradients, and {name!r} ({law_of.__name__}) is discrete or codes; {instead}"
        )
