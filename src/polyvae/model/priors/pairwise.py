"""A joint prior of several latents whose statistics [z, z^2] are coupled in pairs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.pairwise import Couplings, Gibbs, Pairwise
from polyvae.model.precision import full_precision
from polyvae.model.vae import Values

MARGIN = 0.01  # the least eigenvalue of I - W: correlations reach 0.99 between two latents
FAINT = -5.0  # of the numbers behind V at first, whose softplus is 0.007
TRAINING, EVALUATION = Gibbs(), Gibbs(sweeps=4, burn_in=16, temperatures=32, particles=8)
ONCE = Gibbs(sweeps=1, burn_in=200, temperatures=300, particles=1024)  # of log Z of the prior, for given weights


class Coupling(nn.Module):
    """W and V of a `Pairwise` law of latents of these sizes, from weights that may be any numbers.

    W_ij = -(1 - c) Q_i Q_j', Q_i = L_i^-1 F_i, L_i the Cholesky factor of F_i F_i', F_i [d_i, D] a weight

    The rows of each Q_i are orthonormal, so that I - W = c I + (1 - c) Q Q', whose least eigenvalue is at least
    c = 0.01, whatever the weights are: the law is normalisable. Every W for which (I - W - c I) / (1 - c) is positive
    semidefinite is reached. V_ij = softplus(R_ij) / (d_i d_j)^1/2; with `square` False V = 0, and the law is normal.

    `start`: the correlation, given the other latents, between the k-th values of each two latents at first; of M
    latents it is divided by M - 1.
    """

    def __init__(self, sizes: Mapping[str, int], square: bool = True, start: float = 0.9) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"couplings are between at least two latents; got {list(sizes)}")
        for name, size in sizes.items():
            at_least(f"the size of {name!r}", size, 1)
        if not 0 <= start < 1 - MARGIN:
            raise ValueError(f"start is a correlation, at least 0 and below {1 - MARGIN:g}; got {start}")
        self.sizes = tuple(sizes.values())
        own = torch.block_diag(*(torch.ones(size, size) for size in self.sizes))
        width = torch.cat([torch.full((size,), float(size)) for size in self.sizes])
        self.across: Tensor
        self.register_buffer("across", (1 - own) / (width[:, None] * width).sqrt(), persistent=False)
        same = torch.cat([torch.eye(size, max(self.sizes)) for size in self.sizes])
        precision = torch.eye(len(own)) - (1 - own) * (same @ same.T) * (start / (len(sizes) - 1) / (1 - MARGIN))
        self.factor = nn.Parameter(torch.linalg.cholesky(precision))
        self.raw = nn.Parameter(torch.full_like(own, FAINT)) if square else None

    def forward(self) -> Couplings:
        with full_precision(self.factor.device):
            rows = torch.cat([self._orthonormal(factor) for factor in self.factor.split(self.sizes)])
            linear = (MARGIN - 1) * (self.across > 0) * (rows @ rows.T)
            square = torch.zeros_like(linear)
            if self.raw is not None:
                upper = F.softplus(self.raw).triu()
                square = self.across * (upper + upper.T)
            return Couplings(linear, square, self.sizes)

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, square={self.raw is not None}"

    @staticmethod
    def _orthonormal(factor: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(torch.linalg.cholesky(factor @ factor.T), factor, upper=False)


class PairwisePrior(nn.Module):
    """p(z_1 .. z_M) proportional to prod_i N(z_i; 0, I) exp(sum_{i < j} T(z_i)' G_ij T(z_j)), T(z) = [z, z^2].

    `shapes`: of the latents, each a vector. `coupling`: G. `chains`: how many persistent Gibbs chains there are, which
    move on by as many sweeps as `training` says at each pass in training mode, and at which the gradient of log Z is
    taken there; in evaluation mode nothing moves and draws follow from the generator alone. `training`, `evaluation`:
    how the law is drawn and normalised in either mode.

    In evaluation log Z is the larger of two estimates, the one in expectation too low, the other, from long runs back
    to the base, too high: what is subtracted from a lower bound on log p(x) must not be too small. Their chains have a
    seed of their own, so that it is a number of the weights alone, and it is kept until they change.

    Tieleman: Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient, 2008.
    """

    def __init__(
        self,
        coupling: Coupling,
        shapes: Mapping[str, tuple[int, ...]],
        chains: int = 256,
        training: Gibbs = TRAINING,
        evaluation: Gibbs = EVALUATION,
    ) -> None:
        super().__init__()
        at_least("chains", chains, 1)
        if tuple(prod(shape) for shape in shapes.values()) != coupling.sizes:
            raise ValueError(f"the couplings are of latents of sizes {coupling.sizes}; got {dict(shapes)}")
        self.coupling, self.shapes = coupling, dict(shapes)
        self.how = {True: training, False: evaluation}
        self.chains: Tensor
        law = Pairwise(coupling().detached(), training)
        self.register_buffer("chains", law.sample((chains,)))
        self._known: tuple[Couplings, Tensor, Tensor] | None = None

    def forward(self, values: Values) -> Pairwise:
        couplings, how = self.coupling(), self.how[self.training]
        if not self.training:
            log_z, states = self.normalised(couplings)
            return Pairwise(couplings, how, states=states, log_z=log_z)
        with torch.no_grad(), full_precision(self.chains.device):
            self.chains.copy_(Pairwise(couplings.detached(), how).swept(self.chains, how.sweeps))
        return Pairwise(couplings, how, states=self.chains.clone())

    def normalised(self, couplings: Couplings) -> tuple[Tensor, Tensor]:
        """log Z in evaluation, [], and states of the law, by what is kept where these are the weights it is of."""
        now = couplings.detached()
        if self._known is None or not _same(self._known[0], now):
            upper, states, lower = self.sandwich(now)
            self._known = now, torch.maximum(upper, lower), states
        return self._known[1:]

    @torch.no_grad()
    def sandwich(self, couplings: Couplings) -> tuple[Tensor, Tensor, Tensor]:
        """log Z in expectation from above, the states of the long runs it is from, and log Z from below."""
        law = Pairwise(couplings, ONCE)
        with full_precision(law.nu1.device):
            generator = torch.Generator(law.nu1.device).manual_seed(0)
            lower, states, _ = law.annealed(generator)
            states = law.swept(states, ONCE.burn_in, 1.0, generator)
            return law.annealed_back(states, generator), states, lower


def _same(one: Couplings, other: Couplings) -> bool:
    """Whether couplings are equal in every number, also in where and how precisely they are kept."""
    pairs = ((one.linear, other.linear), (one.square, other.square))
    return all(a.device == b.device and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
