"""Normal laws of many values given some of them, a different choice for each of a group."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conditioned(
    rows: Callable[[Tensor], Tensor], rest: Tensor, index: Tensor, valid: Tensor, noise: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """L^-1 C_s: [g, s, D] and L^-1 (y - mu)_s [g, s, n], with L L' = C_ss + diag(noise) [g, s, s], which comes last.

    The mean of all given y is mu + (L^-1 (y - mu)_s)' L^-1 C_s:, and what is known of C is (L^-1 C_s:)' L^-1 C_s:.

    `rest`: y - mu [g, n, D]. `index` [g, s]: the values that are seen, in groups of fewer filled up with others, which
    are not `valid` [g, s]. `rows`: C_s: of an index, [g, s, D]. `noise`: a number, or the variance of each reading.
    """
    across = rows(index) * valid.unsqueeze(2)
    count = index.shape[1]
    # Groups of fewer readings are filled up with readings of nothing: 0 = 0, of variance 1.
    inside = across.gather(2, index.unsqueeze(1).expand(-1, count, -1)) * valid.unsqueeze(1)
    inside.diagonal(dim1=1, dim2=2).add_(torch.where(valid, noise, 1.0))
    # On an accelerator a check would have to be waited for.
    lower, _ = torch.linalg.cholesky_ex(inside, check_errors=inside.is_cpu)
    places = index.unsqueeze(1).expand(-1, rest.shape[1], -1)
    y = torch.where(valid.unsqueeze(1), rest.gather(2, places), 0.0)  # which may be NaN where nothing is seen
    return _solved(lower, across), _solved(lower, y.mT), lower


def _solved(lower: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(lower, right, upper=False)
