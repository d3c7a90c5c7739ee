"""Means and covariances of laws, and of the mixtures of many."""

from __future__ import annotations

from math import e, inf, log, pi

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal

from polyvae.model.distributions.low_rank import LowRankNormal
from polyvae.model.distributions.point import Point

WIDEST = 512  # dimensions of a latent whose covariance is told: of maps it would hold millions of numbers


def moments(law: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean [d] and covariance [d, d] of the equal mixture over a law's batch, float64, or None where one is unknown.

    None as well of more than 512 dimensions.
    """
    found = None if law.event_shape.numel() > WIDEST else moments_of(law)
    if found is None:
        return None
    mean, covariance = (value.cpu().double() for value in found)
    if mean.ndim == 1:
        return mean, covariance
    mean, covariance = mean.flatten(0, -2), covariance.flatten(0, -3)
    return mean.mean(0), covariance.mean(0) + torch.cov(mean.T, correction=0).reshape(covariance.shape[1:])


def normal_entropy(covariance: Tensor, means: Tensor | None = None) -> float:
    """1/2 log det(2 pi e C) of a normal law of covariance C [d, d], nats.

    `means` [N, d]: where C holds their covariance S, beside what is known, and not that of the law they were drawn of.
    Its determinant is then too small on average, and with S = C and normal means by sum_{i = 1..d} psi((N - i) / 2) -
    log(N / 2), exactly. Given back is that times (tr(A)^2 + tr(A^2) + 2 tr(A)) / (d^2 + 3 d), A = C^-1 S, the share
    of it that is right to the first order of 1 / N. Infinite for N <= d.

    Ahmed, Gokhale: Entropy Expressions and Their Estimators for Multivariate Distributions, 1989, of S = C.
    """
    size = len(covariance)
    plain = float((size * log(2 * pi * e) + torch.linalg.slogdet(covariance).logabsdet) / 2)
    if means is None:
        return plain
    if len(means) <= size:
        return inf
    share = torch.linalg.lstsq(covariance, torch.cov(means.T, correction=0).reshape(size, size)).solution
    lost = log(len(means) / 2) - torch.digamma((len(means) - torch.arange(1, size + 1, dtype=torch.float64)) / 2)
    whole = share.trace()
    part = (whole.square() + (share * share.T).sum() + 2 * whole) / (size**2 + 3 * size)
    return plain + float(part * lost.sum() / 2)


def moments_of(law: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean [*batch, d] and covariance [*batch, d, d], or None where one is unknown."""
    if isinstance(law, (MultivariateNormal, LowRankNormal)):
        return law.mean, law.covariance_matrix
    if isinstance(law, MixtureSameFamily):
        inner = moments_of(law.component_distribution)
        if inner is None:
            return None
        weight = law.mixture_distribution.probs.unsqueeze(-1)
        mean = (weight * inner[0]).sum(-2)
        centred = inner[0] - mean[..., None, :]
        spread = inner[1] + centred[..., :, None] * centred[..., None, :]
        return mean, (weight[..., None] * spread).sum(-3)
    if isinstance(law, Point) or (isinstance(law, Independent) and not law.base_dist.event_shape):
        count = len(law.event_shape)
        return law.mean.flatten(-count), torch.diag_embed(law.variance.flatten(-count))
    return None


def pool(parts: list[tuple[Tensor, Tensor] | None], share: Tensor) -> tuple[Tensor, Tensor] | None:
    """Moments of the mixture of the blocks by their shares."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    means = torch.stack([mean for mean, _ in known])
    inner = torch.stack([covariance for _, covariance in known])
    mean = share @ means
    centred = means - mean
    between = (share[:, None] * centred).T @ centred
    return mean, (share[:, None, None] * inner).sum(0) + between
