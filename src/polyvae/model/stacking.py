"""Weights of several regressions, by their errors on examples that each of them was not given."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

RIDGE = 1e-10  # of each one's own mean square: regressions that are alike share alike
LEAST = 1e-9  # of the largest error, that every other is taken for at least


def stacked(errors: Tensor) -> Tensor:
    """Weights [M, R] of M regressions, for every target those of the least squared error of their sum.

    min_w sum_n (sum_i w_i e_in)^2, w_i >= 0, sum_i w_i = 1

    `errors` [M, N, R], double precision. Exact: on every set of regressions the minimum without w >= 0 is known, so
    take a few of them.

    Wolpert: Stacked Generalization, 1992; Breiman: Stacked Regressions, 1996.
    """
    count, _, targets = errors.shape
    gram = torch.einsum("inr,jnr->rij", errors, errors)
    size = gram.diagonal(dim1=1, dim2=2).sqrt()
    size = torch.maximum(size, LEAST * size.amax(1, keepdim=True)).clamp(min=1e-100)
    # In errors of one size, so that one that is far off blurs none of the others.
    gram = gram / size[:, :, None] / size[:, None, :] + RIDGE * torch.eye(count).to(gram)
    best, weights = gram.new_full((targets,), torch.inf), gram.new_zeros(targets, count)
    for some in (list(each) for number in range(1, count + 1) for each in combinations(range(count), number)):
        mine, inverse = gram[:, some][:, :, some], 1 / size[:, some]
        scaled = torch.linalg.solve(mine, inverse)
        scaled = scaled / (scaled * inverse).sum(1, keepdim=True)
        cost = torch.einsum("ri,rij,rj->r", scaled, mine, scaled)
        better = (scaled >= 0).all(1) & (cost < best)
        best = torch.where(better, cost, best)
        whole = torch.zeros_like(weights)
        whole[:, some] = scaled * inverse
        weights = torch.where(better[:, None], whole, weights)
    return weights.T
