"""The divergence to the prior in three parts, read off a batch: what the aggregate posterior q(z) adds to q(z | x).

KL(q(z | x) || p(z)) is, on average over x, the index-code mutual information I(x; z), the total correlation
KL(q(z) || prod_j q(z_j)), and sum_j KL(q(z_j) || p(z_j)). Chen, Li, Grosse, Duvenaud: Isolating Sources of
Disentanglement in Variational Autoencoders, 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from polyvae.checks.names import find
from polyvae.checks.ranges import at_least
from polyvae.model.draw import total
from polyvae.model.vae import Draw, Latent
from polyvae.objectives.terms import marginals


def stratified(batch: int, examples: int, like: Tensor) -> Tensor:
    """log weights [B, B] of q(z_i | x_j) in the aggregate of N examples: 1 / N where i = j, elsewhere all alike.

    (N - 1) / (N (B - 1)) off the diagonal: the mean over the others in the batch stands for the N - 1 others, so that
    the estimate of q(z) is unbiased. It is the paper's stratified estimator, averaged over which of the others has the
    weight that makes up the sum. Its logarithm is biased, unless B = N, where it is q(z) itself.
    """
    others = log((examples - 1) / (examples * (batch - 1)))
    return torch.full((batch, batch), others, dtype=like.dtype, device=like.device).fill_diagonal_(-log(examples))


def weighted(batch: int, examples: int, like: Tensor) -> Tensor:
    """log weights [B, B], all -log(N B): biased, the constant aside not dependent on N."""
    return torch.full((batch, batch), -log(examples * batch), dtype=like.dtype, device=like.device)


ESTIMATORS: dict[str, Callable[[int, int, Tensor], Tensor]] = {"stratified": stratified, "weighted": weighted}


class _Split(nn.Module):
    """A part of the divergence, nats [K, B], over the named `latents` (all by default), by its minibatch estimator.

    `estimator`: "stratified" or "weighted". `examples`: N, how many the data hold; without it training tells the number
    of training examples. Over several processes each estimates q(z) from its own share of the batch.

    ValueError where N is not known, for a batch of one example, and for laws that cannot be split: see `check_split`.
    """

    divergence = True

    def __init__(
        self, estimator: str = "stratified", examples: int | None = None, latents: tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        if examples is not None:
            at_least("examples", examples, 2, "the examples that q(z) is the aggregate of")
        self.estimator = estimator
        self.weights = find(ESTIMATORS, estimator, "estimator")
        self.given = self.examples = examples
        self.latents = latents

    def trained_on(self, examples: int) -> None:
        """Tells how many examples there are, which counts where none was given."""
        self.examples = examples if self.given is None else self.given

    def forward(self, draw: Draw) -> Tensor:
        return total(self.part(draw.latents[name]) for name in self.latents or draw.latents)

    def part(self, latent: Latent) -> Tensor:
        """Of one latent, [K, B]."""
        raise NotImplementedError

    def aggregate(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """log q(z) [K, B] and sum_j log q(z_j) [K, B] at the draws."""
        if self.examples is None:
            raise ValueError(
                "examples: q(z) is the aggregate over all of the data, whose number is not known here; `fit` tells it, "
                "elsewhere give examples=N"
            )
        key = ("aggregate", self.estimator, self.examples, torch.is_grad_enabled())
        if key not in latent.kept:  # the parts of one divergence read the same sums over all pairs of a batch
            check_aggregate(latent)
            weights = self.weights(latent.z.shape[1], self.examples, latent.z)
            whole, single = log_pairs(latent.q, latent.z)
            product = (single + weights.unsqueeze(-1)).logsumexp(2).sum(2)
            latent.kept[key] = (whole + weights).logsumexp(2), product
        return latent.kept[key]

    def extra_repr(self) -> str:
        return f"{self.estimator!r}, examples={self.given}"


class MutualInformation(_Split):
    """log q(z | x) - log q(z), whose mean is the index-code mutual information; at most log N.

    Hoffman, Johnson: ELBO Surgery, 2016; Chen, Li, Grosse, Duvenaud, 2018.
    """

    trains_prior = False

    def part(self, latent: Latent) -> Tensor:
        return latent.log_q - self.aggregate(latent)[0]


class TotalCorrelation(_Split):
    """log q(z) - sum_j log q(z_j), whose mean is KL(q(z) || prod_j q(z_j)); the prior has no part in it.

    Watanabe: Information Theoretical Analysis of Multivariate Correlation, 1960; Chen, Li, Grosse, Duvenaud, 2018.
    """

    trains_prior = False

    def part(self, latent: Latent) -> Tensor:
        whole, product = self.aggregate(latent)
        return whole - product


class DimensionKL(_Split):
    """sum_j log q(z_j) - log p(z), whose mean is sum_j KL(q(z_j) || p(z_j)) where the prior factorises.

    ValueError for a prior that does not, or that depends on the example. Chen, Li, Grosse, Duvenaud, 2018.
    """

    def part(self, latent: Latent) -> Tensor:
        check_split(latent.q, latent.p)
        return self.aggregate(latent)[1] - latent.log_p


def log_pairs(q: Distribution, z: Tensor) -> tuple[Tensor, Tensor]:
    """log q(z_i | x_j) [K, n, B] and that of every dimension alone [K, n, B, d]: draws z [K, n, ...] under each row of
    q, of batch shape [B]. ValueError for a law without marginals."""
    z = z.unsqueeze(2)
    single = check_split(q).log_prob(z).flatten(3)
    if isinstance(q, Independent) and not q.base_dist.event_shape:
        return single.sum(3), single
    return q.log_prob(z.expand(-1, -1, *q.batch_shape, *z.shape[3:])), single  # not every law broadcasts


def check_aggregate(latent: Latent) -> None:
    """ValueError for a latent whose q(z) a batch does not tell."""
    rows = latent.z.shape[1]
    drawn = latent.summed is None and latent.given is False
    if not drawn or latent.q.batch_shape != (rows,) or latent.p.batch_shape:
        raise ValueError(
            f"the divergence of {latent.name!r} is not split: it is one to a prior for all examples, of a latent "
            "that is drawn from the example alone, neither given, nor summed over, nor below another latent"
        )
    if rows < 2:
        raise ValueError("the aggregate posterior needs a batch of at least 2 examples; got 1")


def check_split(q: Distribution, p: Distribution | None = None) -> Distribution:
    """The law of each dimension of a posterior, which the split of a divergence needs; ValueError where none is known,
    and for a prior that does not factorise into one law for all examples."""
    each = marginals(q)
    if each is None:
        raise ValueError(
            "posterior: the divergence is split by the laws of single dimensions, which a normal or a mixture of "
            f"normals has, diagonal or full; got {type(q).__name__}"
        )
    if p is not None and (p.batch_shape or not isinstance(p, Independent) or p.base_dist.event_shape):
        raise ValueError(
            "prior: the divergence is split over dimensions, and needs a prior that factorises over them, the same for "
            f"every example, such as the standard one; got {type(p).__name__}"
        )
    return each
