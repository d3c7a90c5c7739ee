"""Kriging: a stationary law between places, fitted to whole examples and conditioned on what is seen of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from polyvae.completion.normal import ConditionedNormal
from polyvae.model.kernels import SHAPES, kernel, squares

PLACES, EXAMPLES = 64, 500  # at most, that the kernel is found from
LENGTHS = [0.03 * 2.0 ** (power / 2) for power in range(14)]  # in the longer side of a picture
STEPS = (2.0, 2.0, 1.6, 1.25)  # of a search, around the best of the one before
NUGGETS = (1e-8, 1e-6, 1e-4, 1e-2, 1e-1)  # of the variance


@dataclass(frozen=True, eq=False)
class Kriging:
    """x_c(s) = mean_c(s) + f_c(s) + e_c(s) at the places s of a picture, cov(f_c(s), f_d(t)) = B_cd h(s, t), e white.

    h(s, t) = (1 + q / (2 k))^-k, q = sum_i (s_i - t_i)^2 / l_i^2; var(e_c) = r B_cc

    Where all channels of a place are seen, what one of them tells of another is told by its own values, so that each is
    predicted by itself. `mean` [C, H, W]; `lengths` l [2], of rows and columns; `shape` k; `nugget` r; `level` B_cc.

    Matheron: Principles of Geostatistics, 1963; Goovaerts: Geostatistics for Natural Resources Evaluation, 1997, on
    simple kriging and on the intrinsic model of coregionalisation.
    """

    mean: Tensor
    lengths: Tensor
    shape: float
    nugget: float
    level: Tensor

    @classmethod
    def fit(cls, x: Tensor, seed: int = 0) -> Kriging:
        """The kernel of greatest likelihood of whole pictures x [N, C, H, W], at some of their places.

        Raises ValueError for fewer than two examples, other shapes and NaN.
        """
        if x.ndim != 4 or len(x) < 2:
            raise ValueError(f"kriging is fitted to two pictures [N, C, H, W] or more; got {list(x.shape)}")
        rows = x.detach().cpu().double()
        if not bool(rows.isfinite().all()):
            raise ValueError("kriging needs whole examples; x holds NaN or infinite values")
        stream, mean = torch.Generator().manual_seed(seed), rows.mean(0)
        vary = (rows.var(0).sum(0).flatten() > 0).nonzero()[:, 0]
        if not len(vary):
            return cls(mean, torch.ones(2, dtype=mean.dtype), SHAPES[-1], NUGGETS[0], mean.new_zeros(len(mean)))
        chosen = vary[torch.randperm(len(vary), generator=stream)[:PLACES]]
        examples = torch.randperm(len(rows), generator=stream)[:EXAMPLES]
        told = (rows[examples] - mean).flatten(2)[:, :, chosen]
        products = torch.einsum("ncp,ndq->cdpq", told, told) / (len(told) * len(chosen))
        places = _places(x.shape[2:])[chosen]
        sides, nuggets = [(length, length) for length in LENGTHS], NUGGETS
        for part in STEPS:  # with one length for both sides first, then nearer and nearer around the best
            tried = [_judged(products, places, *each) for each in product(sides, SHAPES, nuggets)]
            _, lengths, shape, nugget, level = min(tried, key=lambda each: each[0])
            around = (1 / part, part**-0.5, 1.0, part**0.5, part)
            sides = [(float(lengths[0]) * a, float(lengths[1]) * b) for a, b in product(around, around)]
            nuggets = [nugget / part**2, nugget, nugget * part**2]
        return cls(mean, lengths, shape, nugget, level)

    def complete(self, x: Tensor, mask: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x [N, C, H, W], whose seen values the mask [N or 1, 1, H, W] marks.

        `noise` [C]: variances of what is read. Without it, what is seen is itself.
        """
        rows = (torch.nan_to_num(x.detach().cpu().double()) - self.mean).flatten(2)
        seen = (mask != 0).cpu().expand(len(x), *mask.shape[1:]).flatten(1)
        mean, std = torch.empty_like(rows), torch.empty_like(rows)
        places, group = torch.unique(seen, dim=0, return_inverse=True)
        for number, where in enumerate(places):
            mine = group == number
            mean[mine], std[mine] = self._conditioned(rows[mine], where, noise)
        mean = mean.view(x.shape) + self.mean
        return mean.to(x), std.view(x.shape).to(x)

    def joint(self) -> ConditionedNormal:
        """The same law of all values of a picture at once, of which joint draws can be made, each channel by itself.

        It holds a matrix of all values by all values: 4,096 of them take 128 MiB.
        """
        places = _places(self.mean.shape[1:]) / self.lengths
        told = kernel(squares(places, places), self.shape)
        told.diagonal().add_(self.nugget)
        level = self.level.clamp(min=1e-12)  # a channel that does not vary has none
        whole = torch.block_diag(*(each * told for each in level))
        return replace(ConditionedNormal.of(self.mean.flatten(), whole), shape=tuple(self.mean.shape))

    def _conditioned(self, rows: Tensor, where: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of examples [n, C, P] with one mask [P]: what is left of them beside the mean, and its deviation [C, P]."""
        places = _places(self.mean.shape[1:]) / self.lengths
        told = kernel(squares(places, places[where]), self.shape)  # [P, s]
        level = self.level.clamp(min=1e-300)
        extra = torch.zeros_like(level) if noise is None else noise.to(level) / level
        inside = told[where] + self.nugget * torch.eye(int(where.sum()), dtype=told.dtype)
        whole = inside + extra.view(-1, 1, 1) * torch.eye(len(inside), dtype=told.dtype)
        factor = torch.linalg.cholesky(whole)  # [C, s, s]
        # The white part of a place that is seen is told with it.
        told = told + self.nugget * torch.eye(len(where), dtype=told.dtype)[:, where]
        solved = torch.linalg.solve_triangular(factor, told.T.expand(len(level), -1, -1), upper=False)  # [C, s, P]
        values = torch.linalg.solve_triangular(factor, rows[:, :, where].permute(1, 2, 0), upper=False)
        mean = torch.einsum("csp,csn->ncp", solved, values)
        left = (1 + self.nugget - solved.square().sum(1)).clamp(min=0)
        return mean, (self.level[:, None] * left).sqrt()


def _places(sides: torch.Size) -> Tensor:
    """Row and column of every place [P, 2], in the longer side."""
    axes = (torch.arange(side, dtype=torch.float64) / max(sides) for side in sides)
    return torch.cartesian_prod(*axes)


def _judged(
    products: Tensor, places: Tensor, sides: tuple[float, float], shape: float, nugget: float
) -> tuple[float, Tensor, float, float, Tensor]:
    """Minus the log likelihood of a value at the best B, less a constant; `products` [C, C, P, P] of examples."""
    lengths = torch.tensor(sides, dtype=places.dtype)
    covariance = kernel(squares(places / lengths, places / lengths), shape)
    covariance.diagonal().add_(nugget)
    factor, wrong = torch.linalg.cholesky_ex(covariance)
    if bool(wrong):
        return torch.inf, lengths, shape, nugget, places.new_ones(len(products))
    inverse = torch.cholesky_inverse(factor)
    between = torch.einsum("pq,cdpq->cd", inverse, products)
    channels, count = len(between), len(places)
    size = torch.linalg.slogdet(between + 1e-12 * between.diagonal().mean() * torch.eye(channels)).logabsdet
    cost = 0.5 * float(size) / channels + float(factor.diagonal().log().sum()) / count
    return cost, lengths, shape, nugget, between.diagonal().clone()
