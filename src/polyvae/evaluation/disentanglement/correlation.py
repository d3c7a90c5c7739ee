"""The total correlation of codes as that of the normal law with their covariance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from polyvae.evaluation.disentanglement.metric import single


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


def of_covariance(covariance: Tensor) -> float:
    """The total correlation of a normal law of this covariance [d, d], nats."""
    varying = covariance.diagonal() > 0
    kept = covariance[varying][:, varying].cpu().double()
    scale = kept.diagonal().sqrt()
    found = torch.linalg.slogdet(kept / scale[:, None] / scale)
    return float(-0.5 * found.logabsdet) if found.sign > 0 else np.inf
