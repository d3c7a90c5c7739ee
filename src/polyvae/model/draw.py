"""What one pass of a model leaves behind: draws of the latents, scores of the observed, and the bounds of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, kl_divergence

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Latent:
    """A latent variable in one pass: posterior q, prior p and the draws z [K, B, ...].

    `drawn` are the draws in the shape in which q made them. `separate` is False when p was given something drawn with
    or after z; then only the sampled KL is unbiased. `name` is what errors call it.
    """

    q: Distribution
    p: Distribution
    z: Tensor
    drawn: Tensor
    separate: bool = True
    name: str = "z"

    @cached_property
    def log_q(self) -> Tensor:
        """log q(z | ...) at the draws, [K, B] nats."""
        return self._per_draw(self.q.log_prob(self.drawn), "log q")

    @cached_property
    def log_p(self) -> Tensor:
        """log p(z | ...) at the draws, [K, B] nats."""
        return self._per_draw(_score(self.p, self.z), "log p")

    @cached_property
    def analytic_kl(self) -> Tensor | None:
        """KL(q || p) in closed form, [K, B] nats, or None where none is known."""
        if not self.separate:
            return None
        try:
            divergence = kl_divergence(self.q, self.p)
        except NotImplementedError:
            return None
        return self._per_draw(divergence, "KL(q || p)")

    @property
    def analytic(self) -> bool:
        """Whether `kl` is the closed form rather than the estimate at the draws."""
        return self.analytic_kl is not None

    @cached_property
    def kl(self) -> Tensor:
        """KL(q || p), [K, B] nats: in closed form where one is known, else log q(z) - log p(z) at the draws."""
        return self.log_q - self.log_p if self.analytic_kl is None else self.analytic_kl

    def _per_draw(self, value: Tensor, what: str) -> Tensor:
        """[], [B], [K * B] or [K, B] -> [K, B]; a value of any other shape would be broadcast into another number."""
        shape = self.z.shape[:2]
        if value.shape == (shape.numel(),):
            return value.view(shape)
        if value.shape not in (shape, shape[1:], Size()):
            raise ValueError(
                f"{what} of the latent {self.name!r} has shape {list(value.shape)}, one number a draw would be "
                f"{list(shape)}; {INDEPENDENT}"
            )
        return value.expand(shape)


@dataclass(frozen=True)
class Observed:
    """An observed variable in one pass: its likelihood p, its value x [B, ...], log p(x | ...) [K, B] nats, weight.

    `of` is the name of the value.
    """

    p: Distribution
    x: Tensor
    log_p: Tensor
    weight: float
    of: str = "x"


@dataclass(frozen=True)
class Draw:
    """What one pass of a VAE leaves behind, for K samples of B examples.

    `values` holds the batch and every latent drawn, latents folded to [K * B, ...].
    """

    samples: int
    values: Values
    latents: Mapping[str, Latent]
    heads: Mapping[str, Observed]

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x | z), all observed values together, unweighted, [K, B] nats.

        Two heads of one value are two models of it, whose sum would bound nothing: the first of them counts.
        """
        return _total(self.heads[name].log_p for name in first_heads(self.heads))

    @cached_property
    def kl(self) -> Tensor:
        """KL(q || p) over all latents, [K, B] nats."""
        return _total(latent.kl for latent in self.latents.values())

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z | x), [K, B] nats."""
        return self.log_px + _total(latent.log_p - latent.log_q for latent in self.latents.values())

    @property
    def elbo(self) -> Tensor:
        """The plain evidence lower bound E_q[log p(x | z)] - KL(q || p), [B] nats.

        Kingma, Welling: Auto-Encoding Variational Bayes, 2014.
        """
        return (self.log_px - self.kl).mean(0)

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


INDEPENDENT = "torch.distributions.Independent(law, n) makes the law's last n batch dimensions part of its event"


def repeat(value: Tensor, samples: int) -> Tensor:
    """[B, ...] -> [K * B, ...], all rows for the first sample, then for the second."""
    return value if samples == 1 else value.expand(samples, *value.shape).flatten(0, 1)


def _score(p: Distribution, z: Tensor) -> Tensor:
    """log p(z) for z [K, B, ...] under p with batch shape [], [B] or [K * B]."""
    samples, rows = z.shape[:2]
    if p.batch_shape == (samples * rows,):
        return p.log_prob(z.flatten(0, 1)).view(samples, rows)
    return p.log_prob(z)


def log_likelihood(p: Distribution, x: Tensor, samples: int, scored: Tensor | None = None) -> Tensor:
    """log p(x) for x [B, ...] under p with batch shape [K * B], as [K, B]; zero where `scored` [B] is False."""
    if scored is not None:
        among = getattr(p, "among", None)  # the laws that fit themselves to what they score
        p = p if among is None else among(scored)
        # What is not scored may be NaN, whose gradient a mask on the score alone would let through. One is a value of
        # every law, where zero is none of a positive one.
        known = torch.where(scored.view(-1, *[1] * (x.dim() - 1)), x, torch.ones_like(x))
        return torch.where(scored, log_likelihood(p, known, samples), 0.0)
    unfold = getattr(p, "unfold", None)  # the laws that can read x in place, without K copies of it
    if unfold is not None:
        return unfold(samples).log_prob(x)
    return p.log_prob(repeat(x, samples)).view(samples, len(x))


def check_law(law: Distribution, what: str, batches: Collection[Sequence[int]], event: Sequence[int]) -> None:
    """ValueError unless a law has one of the batch shapes and the event shape that the model needs."""
    if law.event_shape != event or law.batch_shape not in batches:
        expected = " or ".join(sorted({str(list(batch)) for batch in batches}))
        raise ValueError(
            f"{what} ({type(law).__name__}) has batch shape {list(law.batch_shape)} and event shape "
            f"{list(law.event_shape)}; the model needs batch shape {expected} and event shape {list(event)}"
            + (f"; {INDEPENDENT}" if len(law.batch_shape) > 1 or len(law.event_shape) < len(event) else "")
        )


def _total(parts: Iterable[Tensor]) -> Tensor:
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
