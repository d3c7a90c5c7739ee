"""The total correlation of codes: of the normal law with their covariance, and of the mixture of their posteriors."""

from __future__ import annotations

from math import inf, log

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from polyvae.evaluation.disentanglement.metric import single
from polyvae.evaluation.information import of_covariance
from polyvae.model.vae import Latent
from polyvae.objectives.aggregate import check_aggregate, log_pairs

PAIRS = 2**20  # values of log q(z_ij | x_m) that are held at once


class GaussianTotalCorrelation(Metric):
    """1/2 (sum_i log C_ii - log det C), C the covariance of the codes [N, d]: nats, 0 where they are uncorrelated.

    Of normal codes it is the total correlation; of others it sees what their covariance shows. Infinite where one
    dimension is a linear map of others; dimensions that do not vary are left out.

    Watanabe: Information Theoretical Analysis of Multivariate Correlation, 1960.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    codes: list[Tensor]

    def __init__(self, **torchmetrics) -> None:
        super().__init__(**torchmetrics)
        self.add_state("codes", [], dist_reduce_fx="cat")

    def update(self, codes: Tensor, factors: Tensor | None = None) -> None:
        """Takes codes [B, d]; factors say nothing here."""
        self.codes.append(codes.detach())

    def compute(self) -> Tensor:
        codes = dim_zero_cat(self.codes).cpu().double()
        return single(of_covariance(codes.T.cov(correction=0).reshape(codes.shape[1], -1)))


def of_mixture(latent: Latent) -> Tensor:
    """A value below and one above log q(z) - sum_j log q(z_j), float64 [B, 2] nats, of the first draw of each example.

    Their means bound the total correlation of q(z), of which the B examples are a sample. With the posterior of z's own
    example among those that are averaged log q(z) is too large on average, over all the others too small (Jensen):
    by as much, where the two are near, so that their middle is right to first order in 1 / B. Far apart they are where
    the information I(x; z) comes near log B. ValueError for laws without marginals, see `check_aggregate`.
    """
    check_aggregate(latent)
    z, count = latent.z[0], latent.z.shape[1]
    examples = torch.arange(count, device=z.device)
    found = []
    for rows in examples.split(max(1, PAIRS // max(1, z.numel()))):
        whole, single = (logs[0] for logs in log_pairs(latent.q, z[None, rows]))
        own = rows[:, None] == examples
        whole, below = _averages(whole, own)
        each, each_below = (logs.sum(1) for logs in _averages(single, own[..., None]))
        found.append(torch.stack([below - each, whole - each_below], 1).cpu().double())
    return torch.cat(found)


def _averages(logs: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean over the posteriors [n, B, ...], and of that without a draw's own."""
    count = logs.shape[1]
    return logs.logsumexp(1) - log(count), logs.masked_fill(own, -inf).logsumexp(1) - log(count - 1)
