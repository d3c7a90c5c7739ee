"""Gappy PCA: a picture completed by the principal components that best fit its seen values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.evaluation.calibration import mean_where

MOST = 256  # axes of a basis, where nothing else is asked for


class GappyPCA:
    """x = mean + sum_k c_k axis_k, with the coefficients c of least squared error over the seen values.

    c = argmin_c |mask (x - mean - axes' c)|^2; among several such c, the one of least norm

    There is no ridge: with about as many seen values as axes the system is nearly singular and the error large, so the
    rank is chosen on held-out data, see `best_rank`. After `fit`: `mean` [D] and orthonormal `axes` [rank, D], both
    float64 on the CPU, and the `shape` of an example, D values. Rank 0 is the mean. Raises ValueError for a rank below
    0.

    Everson, Sirovich: Karhunen-Loeve procedure for gappy data, 1995, with a basis of whole examples.
    """

    def __init__(self, rank: int) -> None:
        self.rank = at_least("rank", rank, 0)
        self.shape: tuple[int, ...] = ()
        self.mean = torch.empty(0)
        self.axes = torch.empty(0, 0)
        self.errors: dict[int, float] = {}

    def fit(self, x: Tensor) -> GappyPCA:
        """Computes the principal axes of whole examples x [N, ...], at most N - 1 or D of them; returns itself.

        Raises ValueError for fewer than two examples or NaN.
        """
        from sklearn.decomposition import PCA

        if len(x) < 2:
            raise ValueError(f"principal axes need at least two examples; got {len(x)}")
        rows = x.detach().flatten(1).cpu().double()
        if not bool(rows.isfinite().all()):
            raise ValueError("principal axes need whole examples; x holds NaN or infinite values")
        self.rank = min(self.rank, len(rows) - 1, rows.shape[1])
        self.shape, self.mean, self.axes = tuple(x.shape[1:]), rows.mean(0), rows.new_empty(0, rows.shape[1])
        if self.rank:
            self.axes = torch.tensor(PCA(self.rank, random_state=0).fit(rows.numpy()).components_)
        return self

    def of_rank(self, rank: int) -> GappyPCA:
        """A copy with the first `rank` of these axes. Raises ValueError for more than there are."""
        if rank > self.rank:
            raise ValueError(f"rank lies in 0..{self.rank}; got {rank}")
        made = GappyPCA(rank)
        made.shape, made.mean, made.axes = self.shape, self.mean, self.axes[:rank]
        return made

    def coefficients(self, x: Tensor, mask: Tensor) -> Tensor:
        """c of every example, float64 [N, rank]. `mask` [N, 1, H, W] or [N, d] broadcasts; x may be NaN where unseen.

        An example of which nothing is seen has c = 0. Raises ValueError for another shape.
        """
        if not self.shape:
            raise ValueError("this gappy PCA has no axes yet; fit it first")
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"an example here has shape {list(self.shape)}; got {list(x.shape[1:])}")
        seen = mask.to(x.device).bool().expand_as(x).flatten(1).cpu()
        # Only as many rows as the fullest example has seen values; a shorter one is filled up with zero equations.
        rows = int(seen.sum(1).max())
        if rows == 0 or self.rank == 0:
            return self.mean.new_zeros(len(x), self.rank)
        index = seen.byte().argsort(dim=1, descending=True, stable=True)[:, :rows]
        valid = seen.gather(1, index)
        values = x.flatten(1).cpu().double().gather(1, index)
        rest = torch.where(valid, values - self.mean[index], 0.0)
        design = self.axes.T[index] * valid.unsqueeze(-1)
        # The driver by singular values: it alone returns the solution of least norm.
        return torch.linalg.lstsq(design, rest.unsqueeze(-1), driver="gelsd").solution.squeeze(-1)

    def complete(self, x: Tensor, mask: Tensor, chunk: int = 1000) -> Tensor:
        """Every example completed, like x [N, ...], seen values replaced by the fit; `chunk` examples at once."""
        found = [self._completed(*pair) for pair in zip(x.split(chunk), rows_of(mask, x).split(chunk), strict=True)]
        return torch.cat(found)

    def _completed(self, x: Tensor, mask: Tensor) -> Tensor:
        made = self.mean + self.coefficients(x, mask) @ self.axes
        return made.reshape(x.shape).to(x)


def best_rank(
    train: Tensor | GappyPCA,
    validation: Tensor,
    masks: Tensor,
    ranks: Iterable[int] | None = None,
    observed: Tensor | None = None,
) -> GappyPCA:
    """The gappy PCA whose rank has the least squared error over the unseen values of held-out examples.

    `train`: whole examples [M, ...], or a gappy PCA fitted at the largest rank. `validation` [N, ...] with `masks` [N,
    1, H, W] or [N, d]. `ranks`: those to try; `usual_ranks` by default. `observed`: the values that are seen, such as
    `validation` with noise; `validation` itself by default. Of equal ranks the lowest is taken; `errors` of the result
    holds the mean squared error of each rank. Raises ValueError where no rank is possible or nothing is unseen.
    """
    unseen = ~rows_of(masks, validation).to(validation.device).bool()
    if not bool(unseen.any()):
        raise ValueError("a rank is chosen by the error on unseen values, and everything is seen")
    wanted = None if ranks is None else sorted(set(ranks))
    most = min(len(train) - 1, train[0].numel(), MOST) if isinstance(train, Tensor) else train.rank
    basis = train if isinstance(train, GappyPCA) else GappyPCA(max(wanted or [most])).fit(train)
    tried = [rank for rank in wanted or usual_ranks(basis.rank) if 0 <= rank <= basis.rank]
    if not tried:
        raise ValueError(f"none of the ranks {wanted} is possible: there are {basis.rank} axes")
    seen, errors = validation if observed is None else observed, {}
    for rank in tried:
        made = basis.of_rank(rank).complete(seen, masks)
        errors[rank] = float(mean_where((made - validation).square(), unseen).nanmean())
    chosen = basis.of_rank(min(tried, key=lambda rank: errors[rank]))
    chosen.errors = errors
    return chosen


def usual_ranks(most: int) -> list[int]:
    """0, 1, 2, ... up to 16, then in steps of about a sixth, up to and including `most`."""
    ranks = [*range(min(most, 16) + 1)]
    while ranks[-1] < most:
        ranks.append(min(most, ranks[-1] + max(1, ranks[-1] // 6)))
    return ranks


def rows_of(mask: Tensor, x: Tensor) -> Tensor:
    """A mask for each example."""
    if mask.ndim != x.ndim or len(mask) not in (1, len(x)):
        raise ValueError(
            f"a mask of x {list(x.shape)} has as many dimensions and a row for each example or one for "
            f"all; got {list(mask.shape)}"
        )
    return mask.expand(len(x), *mask.shape[1:])
