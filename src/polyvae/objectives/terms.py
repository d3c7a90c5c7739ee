"""Terms of an objective: costs read off a draw, per example [K, B] or scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)
from torch.nn import functional

from polyvae.model.distributions.codes import Quantised
from polyvae.model.distributions.low_rank import LowRankNormal
from polyvae.model.distributions.mixture import Stratified
from polyvae.model.draw import total
from polyvae.model.vae import Draw, Latent

Term = Callable[[Draw], Tensor]


class Reconstruction(nn.Module):
    """-sum_h w_h log p_h(x | z), nats [K, B], over the named `heads` (all by default); w_h is the weight of head h."""

    trains_prior = False

    def __init__(self, heads: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, draw: Draw) -> Tensor:
        return total(-draw.heads[name].weight * draw.heads[name].log_p for name in self.heads or draw.heads)


class KL(nn.Module):
    """KL(q(z | x) || p(z)), nats [K, B], over the named latents (all by default).

    With `free_bits` f > 0 each latent dimension costs sum_j max(f, E_batch KL_j), f in nats, so that no dimension is
    worth collapsing further (Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling: Improved Variational Inference
    with Inverse Autoregressive Flow, 2016). It needs a factorised posterior and prior. E_batch is the mean over what
    one process reads: over several, free bits are those of each one's share of the batch.
    """

    divergence = True

    def __init__(self, free_bits: float = 0.0, latents: tuple[str, ...] | None = None) -> None:
        super().__init__()
        if free_bits < 0:
            raise ValueError(f"free_bits is a number of nats, at least 0; got {free_bits}")
        self.free_bits = free_bits
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        chosen = [draw.latents[name] for name in self.latents or draw.latents]
        if self.free_bits == 0:
            return total(latent.kl for latent in chosen)
        floored = [_averaged(draw, latent).clamp(min=self.free_bits).sum() for latent in chosen]
        return torch.stack(floored).sum()


def _averaged(draw: Draw, latent: Latent) -> Tensor:
    """KL of every latent dimension, averaged over draws and batch, [d]."""
    kl = factorised_kl(latent)
    if draw.log_share is not None and len(kl) != latent.z.shape[1]:
        kl = draw.expect(draw.spread(kl))
    return kl.mean(0)


class Classification(nn.Module):
    """-log q(y = label | x) in nats, [B], where the label is known, else 0.

    `latent`: the name of y. `label`, `known`: those of its value, one-hot [B, C], and of the rows, boolean [B].

    Kingma, Rezende, Mohamed, Welling: Semi-supervised Learning with Deep Generative Models, 2014, equation 9.
    """

    trains_prior = False

    def __init__(self, latent: str = "y", label: str = "label", known: str = "y_known") -> None:
        super().__init__()
        self.latent, self.label, self.known = latent, label, known

    def forward(self, draw: Draw) -> Tensor:
        label, known = (draw.values[name] for name in (self.label, self.known))
        return -torch.where(known, draw.latents[self.latent].q.log_prob(label), 0.0)


class CodebookCost(nn.Module):
    """|sg(e) - c|^2 over z, [K, B]: draws the words c to the encoder's outputs e, which it does not move.

    Summed over the named `latents`, by default over every quantised one.
    """

    trains_prior = False

    def __init__(self, latents: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        return _gaps(draw, self.latents, lambda q: (q.encoded.detach(), q.vectors))


class Commitment(nn.Module):
    """|e - sg(c)|^2 over z, [K, B]: draws the encoder's outputs e to the words c, which it does not move.

    Summed over the named `latents`, by default over every quantised one.
    """

    trains_prior = False

    def __init__(self, latents: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        return _gaps(draw, self.latents, lambda q: (q.encoded, q.vectors.detach()))


def quantised(draw: Draw, names: tuple[str, ...] | None, what: str) -> list[Latent]:
    """The quantised latents among those of these names, or all; ValueError where there are none, for `what`."""
    chosen = [draw.latents[name] for name in names or draw.latents if isinstance(draw.latents[name].q, Quantised)]
    if not chosen:
        raise ValueError(f"{what} a quantised latent; the model has none")
    return chosen


def _gaps(draw: Draw, names: tuple[str, ...] | None, sides: Callable[[Quantised], tuple[Tensor, Tensor]]) -> Tensor:
    """Squared distances between the two sides, summed over quantised latents."""
    chosen = quantised(draw, names, "the terms of a codebook need")
    costs = []
    for latent in chosen:
        assert isinstance(latent.q, Quantised)
        cost = functional.mse_loss(*sides(latent.q), reduction="none").flatten(1).sum(1)
        costs.append(latent.per_draw(cost, "the cost"))  # one value for each of K draws, or one for each draw above
    return torch.stack(costs).sum(0)


class MMD(nn.Module):
    """Squared maximum mean discrepancy between the aggregate posterior and the prior, scalar.

    E k(z, z') + E k(p, p') - 2 E k(z, p) over z ~ q(z) and as many p ~ p(z), the diagonals left out (unbiased). Of K
    draws an example it is the mean of K such estimates, one for the k-th draws of all: two draws of one example are no
    two of q(z).
    `kernel`: "rbf", exp(-|a - b|^2 / (2 s^2)), or "imq", the inverse multiquadric C / (C + |a - b|^2) with C = 2 d s^2;
    `scale` s is in units of z, in which N(0, I) has deviation 1, and the RBF's s^2 is multiplied by the dimension d.
    Of a prior that depends on the example it looks at the whole batch, and does not see which z is whose. Over several
    processes it is the mean of each one's own, within its share of the batch: unbiased as well, but noisier than that
    of the whole batch, whose pairs across processes are left out. ValueError for a batch of one example.

    Gretton, Borgwardt, Rasch, Schoelkopf, Smola: A Kernel Two-Sample Test, 2012; Tolstikhin, Bousquet, Gelly,
    Schoelkopf: Wasserstein Auto-Encoders, 2018.
    """

    trains_prior = "by its draws"

    def __init__(self, kernel: str = "rbf", scale: float = 1.0) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise ValueError(f"kernel is one of {sorted(KERNELS)}; got {kernel!r}")
        if scale <= 0:
            raise ValueError(f"scale is a positive number; got {scale}")
        self.kernel = kernel
        self.scale = scale

    def forward(self, draw: Draw) -> Tensor:
        if draw.log_share is not None:
            raise ValueError("the MMD compares draws, and a latent that is summed over has none")
        parts = [self._discrepancy(latent) for latent in draw.latents.values()]
        return torch.stack(parts).sum()

    def _discrepancy(self, latent: Latent) -> Tensor:
        z, p = latent.z.flatten(2), latent.p
        count, rows = z.shape[:2]
        sample = p.rsample if p.has_rsample else p.sample
        if isinstance(p, Stratified):  # a reference that this term does not move
            sample = p.sample_apart
        times = count * rows // p.batch_shape.numel()  # a law of its own for each draw, each example, or one for all
        reference = (sample((times,)) if times > 1 else sample()).reshape(z.shape)
        found = [mmd(*pair, self.kernel, self.scale) for pair in zip(z, reference, strict=True)]
        return torch.stack(found).mean()

    def extra_repr(self) -> str:
        return f"{self.kernel!r}, scale={self.scale}"


def mmd(a: Tensor, b: Tensor, kernel: str = "rbf", scale: float = 1.0) -> Tensor:
    """Unbiased squared maximum mean discrepancy between two samples [N, d] and [M, d], N and M at least 2."""
    if min(len(a), len(b)) < 2:
        raise ValueError(f"the unbiased estimate needs at least 2 samples on each side; got {len(a)} and {len(b)}")
    width = a.shape[1] * scale**2
    k = KERNELS[kernel]
    within = sum((k(_distances(x, x), width).sum() - len(x)) / (len(x) * (len(x) - 1)) for x in (a, b))
    return within - 2 * k(_distances(a, b), width).mean()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # |a|^2 + |b|^2 - 2 ab: one matrix product, and unlike cdist its gradient is finite at distance zero. Of values far
    # from 0 single precision would keep no digits of the difference; what all have in common is no part of a distance.
    centre = torch.cat([a, b]).detach().mean(0)
    a, b = a - centre, b - centre
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)


KERNELS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "rbf": lambda squared, width: torch.exp(-squared / (2 * width)),
    "imq": lambda squared, width: 2 * width / (2 * width + squared),
}


def marginals(distribution: Distribution) -> Distribution | None:
    """The distribution of every coordinate on its own, event shape [], or None where no closed form is known."""
    if isinstance(distribution, Independent):
        inner = distribution.base_dist
        return inner if not inner.event_shape else marginals(inner)
    if isinstance(distribution, (MultivariateNormal, LowRankNormal)):
        return Normal(distribution.mean, distribution.variance.sqrt(), validate_args=False)
    if isinstance(distribution, MixtureSameFamily):
        component = marginals(distribution.component_distribution)
        if not isinstance(component, Normal):
            return None
        loc, scale = component.loc.movedim(-2, -1), component.scale.movedim(-2, -1)
        weights = distribution.mixture_distribution.logits.unsqueeze(-2).expand(loc.shape)
        return MixtureSameFamily(
            Categorical(logits=weights, validate_args=False),
            Normal(loc, scale, validate_args=False),
            validate_args=False,
        )
    return None


def factorised_kl(latent: Latent) -> Tensor:
    """KL(q_j || p_j) of every latent dimension, nats [..., d]; q and p must both factorise over dimensions."""
    q, p = latent.q, latent.p
    if (
        not (isinstance(q, Independent) and isinstance(p, Independent))
        or q.base_dist.event_shape
        or p.base_dist.event_shape
    ):
        raise ValueError(
            "free bits need a posterior and a prior that factorise over dimensions; "
            f"got {type(q).__name__} and {type(p).__name__}"
        )
    if not latent.separate:
        raise ValueError("free bits need a prior that is drawn before its posterior")
    if latent.given is not False:
        raise ValueError(f"free bits press no latent that is given, as {latent.name!r} is here")
    return kl_divergence(q.base_dist, p.base_dist)
