"""What one pass of a model leaves behind: draws of the latents, scores of the observed, and the bounds of both."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, kl_divergence

from polyvae.model.cached import cached
from polyvae.model.laws import INDEPENDENT

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Latent:
    """A latent variable in one pass: posterior q, prior p and the values z [K, B, ...].

    `drawn` are the draws in the shape in which q made them, `drawn_log_q` their log q where q told it with them.
    `separate` is False when p was given something drawn with or after z; then only the sampled KL is unbiased. `name`
    is what errors call it. `given` is True where z was given to the pass, in all rows or in those of [B]: there it is
    observed, q is not asked and KL is -log p(z). `summed` counts the values over which z runs, each once in
    every draw, and `chosen` [K, B] says which of them are a row's own, all of them where it is not given. `kept` is
    what terms share that is costly to make, by a key of their own.
    """

    q: Distribution
    p: Distribution
    z: Tensor
    drawn: Tensor
    separate: bool = True
    name: str = "z"
    drawn_log_q: Tensor | None = None
    given: Tensor | bool = False
    summed: int | None = None
    chosen: Tensor | None = None
    kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached
    def log_q(self) -> Tensor:
        """log q(z | ...) at the draws, [K, B] nats; 0 where z was given."""
        if self.given is True:
            return torch.zeros_like(self.log_p)
        found = self.q.log_prob(self.drawn) if self.drawn_log_q is None else self.drawn_log_q
        found = self.per_draw(found, "log q")
        return torch.where(self.given, 0.0, found) if isinstance(self.given, Tensor) else found

    @cached
    def log_p(self) -> Tensor:
        """log p(z | ...) at z, [K, B] nats."""
        return self.per_draw(_score(self.p, self.z), "log p")

    @cached
    def log_proposal(self) -> Tensor:
        """The log-density with which z [K, B] was proposed: log q of a draw, 0 of what was given, -log C of C values
        that are summed over, infinite of those that are not a row's own."""
        if self.summed is None:
            return self.log_q
        even = torch.full_like(self.log_q, -log(self.summed))
        return even if self.chosen is None else torch.where(self.chosen, even, inf)

    @cached
    def log_share(self) -> Tensor | None:
        """log of what each value counts in an expectation over z, [K, B], or None for draws, which count alike."""
        if self.summed is None:
            return None
        if self.chosen is None or not isinstance(self.given, Tensor):
            return self.log_q
        mine = torch.where(self.chosen, 0.0, -inf)
        # Where a given value is none of those summed over, this is NaN, which is told: a share of 0 would not be.
        single = mine - (mine.logsumexp(0) - log(len(mine) / self.summed))
        return torch.where(self.given, single, self.log_q)

    @cached
    def analytic_kl(self) -> Tensor | None:
        """KL(q || p) in closed form, [K, B] nats, or None where none is known."""
        if not self.separate or self.summed is not None or self.given is True:
            return None
        try:
            divergence = kl_divergence(self.q, self.p)
        except NotImplementedError:
            return None
        return self.per_draw(divergence, "KL(q || p)")

    @property
    def analytic(self) -> bool:
        """Whether the mean of `kl` is exact, by a closed form or a sum, rather than the estimate at the draws."""
        return self.summed is not None or self.analytic_kl is not None

    @cached
    def kl(self) -> Tensor:
        """KL(q || p), [K, B] nats: in closed form where one is known, else log q(z) - log p(z); -log p(z) where z was
        given."""
        if self.analytic_kl is None:
            return self.log_q - self.log_p
        if not isinstance(self.given, Tensor):
            return self.analytic_kl
        return torch.where(self.given, -self.log_p, self.analytic_kl)

    @cached
    def entropy(self) -> Tensor:
        """-E_q[log q(z | ...)], [K, B] nats: in closed form where one is known, else -log q(z); 0 where z was given."""
        if self.summed is not None or self.given is True:
            return -self.log_q
        try:
            closed = self.per_draw(self.q.entropy(), "the entropy")
        except NotImplementedError:
            return -self.log_q
        return torch.where(self.given, 0.0, closed) if isinstance(self.given, Tensor) else closed

    def per_draw(self, value: Tensor, what: str) -> Tensor:
        """[], [B], [K' * B] or [K', B] -> [K, B]; a value of any other shape would be broadcast into another number.

        K' is K, or what K was before a later latent was summed over.
        """
        shape = self.z.shape[:2]
        if value.shape == (shape.numel(),):
            return value.view(shape)
        if value.shape in (shape, shape[1:], Size()):
            return value.expand(shape)
        samples, rows = shape
        count = value.shape.numel() // max(1, rows)
        if value.shape not in ((count * rows,), (count, rows)) or count == 0 or samples % count:
            raise ValueError(
                f"{what} of the latent {self.name!r} has shape {list(value.shape)}, one number a draw would be "
                f"{list(shape)}; {INDEPENDENT}"
            )
        return value.reshape(count, rows).repeat(samples // count, 1)


@dataclass(frozen=True)
class Observed:
    """An observed variable in one pass: its likelihood p, its value x [B, ...], log p(x | ...) [K, B] nats, weight.

    `of` is the name of the value. `scored`, boolean [B] or of the shape of x, says which rows or values are scored, all
    of them where it is None.
    """

    p: Distribution
    x: Tensor
    log_p: Tensor
    weight: float
    of: str = "x"
    scored: Tensor | None = None


@dataclass(frozen=True)
class Draw:
    """What one pass of a VAE leaves behind, for K samples of B examples.

    `values` holds the batch and every latent, folded to [K * B, ...]. Where a latent is summed over, K counts each draw
    once for every value. `decode` and `encode` are the model's, for terms that look at other latents than these, such
    as draws of the prior. `paths` are the latents as posteriors read them that are drawn later; heads and priors read
    those of `values`, which are views of these.
    """

    samples: int
    values: Values
    latents: Mapping[str, Latent]
    heads: Mapping[str, Observed]
    decode: Callable[[Values], dict[str, Distribution]] | None = None
    encode: Callable[[Values], dict[str, Distribution]] | None = None
    paths: Values = field(default_factory=dict)

    @cached
    def log_px(self) -> Tensor:
        """log p(x | z), all observed values together, unweighted, [K, B] nats.

        Two heads of one value are two models of it, whose sum would bound nothing: the first of them counts.
        """
        return total(self.heads[name].log_p for name in first_heads(self.heads))

    @cached
    def kl(self) -> Tensor:
        """KL(q || p) over all latents, [K, B] nats."""
        return total(latent.kl for latent in self.latents.values())

    @cached
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z | x), [K, B] nats, whose mean over K in the exponent is p(x) in expectation.

        What was given or is summed over has in the place of q that with which it was proposed.
        """
        return self.log_px + total(latent.log_p - latent.log_proposal for latent in self.latents.values())

    @cached
    def log_share(self) -> Tensor | None:
        """log of K times what each sample counts in an expectation, [K, B], or None where all count alike."""
        parts = [(latent.log_share, latent.summed) for latent in self.latents.values()]
        shares = [share + log(count) for share, count in parts if share is not None and count is not None]
        return total(shares) if shares else None

    def weighed(self, value: Tensor) -> Tensor:
        """[K, B, ...] times what each sample counts, so that its mean over K is its expectation; a scalar as it is."""
        if self.log_share is None or value.ndim < 2:
            return value
        share = self.log_share.view(*self.log_share.shape, *[1] * (value.ndim - 2))
        # A value that does not count may be infinite.
        return share.exp() * torch.where(share > -inf, value, torch.zeros_like(value))

    def spread(self, value: Tensor) -> Tensor:
        """[B, ...] or [K' * B, ...] -> [K, B, ...], K' being what K was before a later latent was summed over."""
        samples, rows = next(iter(self.latents.values())).z.shape[:2]
        value = value.unflatten(0, (-1, rows))
        return value.repeat(samples // len(value), *[1] * (value.ndim - 1))

    def expect(self, value: Tensor) -> Tensor:
        """The expectation over the latents of a value [K, B, ...], [B, ...]."""
        return self.weighed(value).mean(0)

    @property
    def elbo(self) -> Tensor:
        """The plain evidence lower bound E_q[log p(x | z)] - KL(q || p), [B] nats.

        Kingma, Welling: Auto-Encoding Variational Bayes, 2014.
        """
        return self.expect(self.log_px - self.kl)

    @property
    def importance_bound(self) -> Tensor:
        """log 1/K sum_k p(x, z_k) / q(z_k | x), [B] nats.

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
        """
        return self.log_weight.logsumexp(0) - log(self.samples)


def first_heads(heads: Any) -> list[str]:
    """The names of the heads that enter a bound, out of any named heads: of those with the same `of`, the first."""
    names: dict[str, str] = {}
    for name, head in heads.items():
        names.setdefault(head.of, name)
    return list(names.values())


def _score(p: Distribution, z: Tensor) -> Tensor:
    """log p(z) for z [K, B, ...] under p with batch shape [], [B] or [K' * B], K' at most K: see `Latent.per_draw`."""
    samples, rows = z.shape[:2]
    if p.batch_shape == (samples * rows,):
        return p.log_prob(z.flatten(0, 1)).view(samples, rows)
    if len(p.batch_shape) == 1 and p.batch_shape != (rows,):
        return p.log_prob(z[: p.batch_shape[0] // rows].flatten(0, 1))
    return p.log_prob(z)


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of tensors, in their order."""
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
