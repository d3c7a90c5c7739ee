"""Vectors whose statistics [z, z^2] are coupled in pairs, drawn by block Gibbs and normalised by annealing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import log, pi

import torch
from torch import Generator, Size, Tensor
from torch.distributions import constraints

from polyvae.checks.ranges import Amount, Count, check
from polyvae.model.cached import cached
from polyvae.model.distributions.law import Law

MIRRORED = 64  # pairs of chains, one of each pair the other's mirror image, whose mean is the law's


@dataclass(frozen=True)
class Gibbs:
    """How a `Pairwise` law is drawn, and how its partition function is estimated.

    sweeps: of all blocks, through which the gradient of a draw goes back. burn_in: sweeps before these, without
    gradient. temperatures: of the annealing. particles: of the annealing, for each row.
    """

    sweeps: Count = 4
    burn_in: Amount = 0
    temperatures: Count = 4
    particles: Count = 2

    def __post_init__(self) -> None:
        check(Gibbs, vars(self))


@dataclass(frozen=True)
class Couplings:
    """W and V of a `Pairwise` law [D, D], symmetric, zero within each of the blocks of these `sizes`; V is at least 0.

    I - W is positive definite, which makes the law one: see `Pairwise`. Whoever makes W answers for that.
    """

    linear: Tensor
    square: Tensor
    sizes: tuple[int, ...]

    def detached(self) -> Couplings:
        """The same without gradients."""
        return Couplings(self.linear.detach(), self.square.detach(), self.sizes)


class Pairwise(Law):
    """p(z) proportional to N(z; 0, I) exp(z' W z / 2 - (z^2)' V z^2 / 2 + nu1' z + nu2' z^2), V >= 0 >= nu2.

    With T(z_i) = [z_i, z_i^2] of each block z_i of z it is prod_i N(z_i; 0, I) exp(nu_i' T(z_i)) times prod_{i < j}
    exp(T(z_i)' G_ij T(z_j)), where G_ij holds W_ij, -V_ij and no product of the one statistic with the other. It is
    normalisable where I - W is positive definite: what V and nu2 add to the exponent is at most zero, and what remains
    is a normal law of that precision. Positive precisions of the conditionals alone would not do: those of W are 1
    whatever W is. z_i given the others is N(m, diag s^2), 1 / s^2 = 1 - 2 nu2_i + 2 sum_j V_ij z_j^2,
    m = s^2 (nu1_i + sum_j W_ij z_j).

    Where V = 0 the law is this normal one, of precision I - W - 2 diag(nu2), here the base: every chain of Gibbs sweeps
    starts at a draw of the base, whose gradient goes through the sweeps where none is burnt in, and annealing goes from
    its partition function to the law's, by V times shares that rise from 0 to 1. `log_partition` has its value from
    there, in expectation a lower bound, so that `log_prob` is in expectation too high, and its gradient from
    d log Z = E[d log of the unnormalised density], at states that take no gradient.

    `nu`: nu1 and nu2 [*batch, D], or None where both are zero and the batch shape is []. `states`: draws [C, *batch, D]
    at which the gradient of log Z is taken, by default those at which annealing ends, each by its weight. `log_z`: the
    value, where it is known. All densities in nats.

    Arnold, Strauss: Bivariate Distributions with Conditionals in Prescribed Exponential Families, 1991; Welling,
    Rosen-Zvi, Hinton: Exponential Family Harmoniums with an Application to Information Retrieval, 2004; Neal: Annealed
    Importance Sampling, 2001.
    """

    has_rsample = True

    def __init__(
        self,
        couplings: Couplings,
        how: Gibbs = Gibbs(),
        nu: tuple[Tensor, Tensor] | None = None,
        states: Tensor | None = None,
        log_z: Tensor | None = None,
    ) -> None:
        self.couplings, self.how, self.states, self.log_z = couplings, how, states, log_z
        zero = couplings.linear.new_zeros(len(couplings.linear))
        self.nu1, self.nu2 = (zero, zero) if nu is None else nu
        super().__init__(self.nu1.shape[:-1], self.nu1.shape[-1:])

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    def detached(self) -> Pairwise:
        """The same law whose parameters take no gradient."""
        known = None if self.log_z is None else self.log_z.detach()
        return Pairwise(self.couplings.detached(), self.how, (self.nu1.detach(), self.nu2.detach()), self.states, known)

    def energy(self, z: Tensor) -> Tensor:
        """log of the unnormalised density, the constants of N(0, I) among it, [..., *batch]."""
        return self._energy(z, z.square(), z, z.square())

    def log_prob(self, value: Tensor) -> Tensor:
        return self.energy(value) - self.log_partition

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        how, shape = self.how, Size(sample_shape) + self.batch_shape + self.event_shape
        with torch.set_grad_enabled(torch.is_grad_enabled() and not how.burn_in):
            z = self.swept(self.based(self._noise(shape)), how.burn_in)
        return self.swept(z, how.sweeps)

    def swept(self, z: Tensor, sweeps: int, share: float = 1.0, generator: Generator | None = None) -> Tensor:
        """z [..., *batch, D] after so many sweeps over the blocks, V multiplied by `share`."""
        for _ in range(sweeps):
            z = self._sweep(z, self._noise(z.shape, generator), share)
        return z

    def based(self, noise: Tensor) -> Tensor:
        """Draws of the base by standard normal noise [..., *batch, D]."""
        scale, tril, mean = self._base
        solved = torch.linalg.solve_triangular(tril.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)
        return mean + scale * solved

    @cached
    def base_log_partition(self) -> Tensor:
        """log Z of the base in closed form, [*batch]."""
        scale, tril, mean = self._base
        logdet = 2 * (tril.diagonal(dim1=-2, dim2=-1).log() - scale.log()).sum(-1)
        return 0.5 * ((self.nu1 * mean).sum(-1) - logdet)

    @cached
    def log_partition(self) -> Tensor:
        """log Z [*batch], its value and its gradient as the class says."""
        value, states, weights = self.log_z, self.states, None
        with torch.no_grad():
            if value is None or states is None:
                annealed, ends, shares = self.annealed()
                value = annealed if value is None else value
                states, weights = (ends, shares) if states is None else (states, weights)
            first, second = self._conditional_moments(states)
        if not torch.is_grad_enabled():
            return value
        # Each statistic at its conditional mean given the other blocks: less noise than at the states themselves.
        found = self._energy(first, second, states, states.square())
        slope = found.mean(0) if weights is None else (weights * found).sum(0)
        return value + slope - slope.detach()

    @torch.no_grad()
    def annealed(self, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """log Z [*batch], in expectation a lower bound; the states [C, *batch, D], and their weights [C, *batch]."""
        chains = self.how.particles
        z = self.based(self._noise((chains, *self.batch_shape, *self.event_shape), generator))
        log_w = z.new_zeros(z.shape[:-1])
        for share, step in self._shares():
            log_w = log_w - step * self._quartic(z.square(), z.square())
            z = self.swept(z, 1, share, generator)
        return self.base_log_partition + log_w.logsumexp(0) - log(chains), z, log_w.softmax(0)

    @torch.no_grad()
    def annealed_back(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """log Z [*batch] from draws z [C, *batch, D] of the law, in expectation an upper bound.

        Grosse, Ghahramani, Adams: Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo, 2015.
        """
        log_w = z.new_zeros(z.shape[:-1])
        for share, step in reversed(self._shares()):
            z = self.swept(z, 1, share, generator)
            log_w = log_w - step * self._quartic(z.square(), z.square())
        return self.base_log_partition + log(len(z)) - (-log_w).logsumexp(0)

    @property
    def mean(self) -> Tensor:
        """The mean of conditional means over chains by noise that is the same in all rows and at every call; exact
        where V = 0."""
        return self._moments[0]

    @property
    def variance(self) -> Tensor:
        """That of the same draws; unlike the mean it is not exact without quadratic couplings."""
        first, second = self._moments
        return second - first.square()

    @cached
    def _moments(self) -> tuple[Tensor, Tensor]:
        device = self.nu1.device
        generator = torch.Generator(device).manual_seed(0)
        rows = [1] * len(self.batch_shape)

        def noise() -> Tensor:
            own = self._noise((MIRRORED, *rows, *self.event_shape), generator)
            return torch.cat([own, -own]).expand(-1, *self.batch_shape, -1)

        z = self.based(noise())
        for _ in range(self.how.burn_in + self.how.sweeps):
            z = self._sweep(z, noise(), 1.0)
        first, second = self._conditional_moments(z)
        return first.mean(0), second.mean(0)

    @cached
    def _base(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scales s of the conditionals where V = 0, the Cholesky factor of I - s W s, and the mean of the base.

        The precision of the base is that matrix between 1 / s: in these units it is well conditioned whatever nu2 is.
        """
        scale = (1 - 2 * self.nu2).rsqrt()
        eye = torch.eye(scale.shape[-1], dtype=scale.dtype, device=scale.device)
        tril = torch.linalg.cholesky(eye - scale.unsqueeze(-1) * self.couplings.linear * scale.unsqueeze(-2))
        mean = torch.cholesky_solve((scale * self.nu1).unsqueeze(-1), tril).squeeze(-1)
        return scale, tril, scale * mean

    def _sweep(self, z: Tensor, noise: Tensor, share: float) -> Tensor:
        """Each block drawn in turn, given the newest values of the others."""
        sizes, linear, square = self.couplings.sizes, self.couplings.linear, 2 * share * self.couplings.square
        blocks, drawn = list(z.split(sizes, -1)), noise.split(sizes, -1)
        for i, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True)):
            at = slice(end - size, end)
            others = torch.cat(blocks, -1)
            precision = 1 - 2 * self.nu2[..., at] + others.square() @ square[:, at]
            mean = (self.nu1[..., at] + others @ linear[:, at]) / precision
            blocks[i] = mean + drawn[i] * precision.rsqrt()
        return torch.cat(blocks, -1)

    def _conditional_moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """E[z_i | the other blocks] and E[z_i^2 | the other blocks], [..., *batch, D]."""
        variance = 1 / (1 - 2 * self.nu2 + 2 * z.square() @ self.couplings.square)
        mean = (self.nu1 + z @ self.couplings.linear) * variance
        return mean, mean.square() + variance

    def _energy(self, first: Tensor, second: Tensor, z: Tensor, squared: Tensor) -> Tensor:
        """The energy, linear in `first` and `second`, which stand in the place of one z and one z^2 of each product."""
        single = (self.nu2 - 0.5) * second + (self.nu1 + 0.5 * z @ self.couplings.linear) * first
        return single.sum(-1) - self._quartic(second, squared) - 0.5 * z.shape[-1] * log(2 * pi)

    def _quartic(self, second: Tensor, squared: Tensor) -> Tensor:
        return 0.5 * ((squared @ self.couplings.square) * second).sum(-1)

    def _shares(self) -> list[tuple[float, float]]:
        """Each temperature's share of V and its step from the one before: small first, where the law changes most."""
        shares = [(t / self.how.temperatures) ** 2 for t in range(self.how.temperatures + 1)]
        return [(now, now - before) for before, now in pairwise(shares)]

    def _noise(self, shape: Sequence[int], generator: Generator | None = None) -> Tensor:
        like = {"dtype": self.nu1.dtype, "device": self.nu1.device}
        # A compiled step knows no generator, not even that there is none.
        return torch.randn(shape, **like) if generator is None else torch.randn(shape, generator=generator, **like)
