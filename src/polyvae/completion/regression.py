"""Regression from what is seen, at places that are the same in all examples, to principal components."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from polyvae.completion.gappy_pca import GappyPCA
from polyvae.model.processes import Processes, Sharing
from polyvae.recipes.canonical import leading

SIZES = (2, 8)  # of groups of components that share a kernel; beside them all of them


@dataclass(frozen=True, eq=False)
class Regression:
    """x = mean + c(seen) axes, c by Gaussian processes with the kernels of greatest marginal likelihood.

    What an expert begins with. `processes`: whose inputs are the seen values `index` [s] of an example, flattened.
    `left` [D]: the variance of what the axes leave out.

    Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, chapters 2 and 5.
    """

    basis: GappyPCA
    processes: Processes
    index: Tensor
    left: Tensor

    @classmethod
    def fit(cls, basis: GappyPCA, x: Tensor, seen: Tensor, sharing: Sharing, read: Tensor | None = None) -> Regression:
        """Fits to whole examples x [N, ...]; `seen` [...]: the values that are; `read`: x as it is read, with noise."""
        centred = x.detach().flatten(1).cpu().double() - basis.mean
        codes = centred @ basis.axes.T
        index = seen.flatten().nonzero()[:, 0].cpu()
        told = (x if read is None else read).flatten(1)[:, index]
        left = (centred - codes @ basis.axes).square().mean(0)
        return cls(basis, Processes().fit(told, codes, sharing), index, left)

    def complete(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x [N, ...], from its values at the places that were fitted."""
        mean, variance = self.processes(x.detach().flatten(1)[:, self.index.to(x.device)].cpu())
        found = self.basis.mean + mean @ self.basis.axes
        spread = (variance @ self.basis.axes.square() + self.left).sqrt()
        return found.view(x.shape).to(x), spread.view(x.shape).to(x)


def sharings(targets: int) -> list[Sharing]:
    """Ways of sharing kernels among so many components that are tried."""
    tried = [Sharing.of(targets, size, noise) for size in (*SIZES, targets) for noise in (True, False)]
    return list(dict.fromkeys(tried))


def best_regression(
    basis: GappyPCA, x: Tensor, seen: Tensor, held: Tensor, read: tuple[Tensor, Tensor] | None = None
) -> Regression:
    """The regression of the least squared error on held-out examples, over ways of sharing kernels.

    `read`: both x and `held` as they are read. Of many examples one way alone is tried.
    """
    codes = (x.detach().flatten(1).cpu().double() - basis.mean) @ basis.axes.T
    basis = basis.of_rank(leading(codes.square().sum(0)))
    ways = sharings(basis.rank) if len(x) <= 512 else [Sharing.of(basis.rank, 8, noise=True, growth=4)]
    told, asked = (None, held) if read is None else read
    made = [Regression.fit(basis, x, seen, way, told) for way in ways]
    if len(made) == 1:
        return made[0]
    return min(made, key=lambda each: float((each.complete(asked, seen[None])[0] - held).square().sum()))
