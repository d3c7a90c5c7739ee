"""The law of a completion as a distribution: its moments as they were found, new draws, and log p of a truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.completion.completer import WEIGHED, Completer, sees
from polyvae.completion.masked import Masked
from polyvae.completion.seen import own_ratio, seen_score
from polyvae.evaluation.blocks import ALL, evaluating
from polyvae.evaluation.bounds import LogMeanExp
from polyvae.model.distributions.law import Law
from polyvae.model.draw import total
from polyvae.model.families.real import Point
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import sparse

Result = TypeVar("Result")


@dataclass(frozen=True, repr=False)
class Known:
    """What is known of N examples, and who completes them.

    `x` [N, ...], where `mask`, boolean, marks what is seen; `others`: what else the model reads. `m`: the observation,
    where it is not made of these.
    """

    made: Masked
    completer: Completer
    x: Tensor
    mask: Tensor
    others: Mapping[str, Tensor]
    seed: int = 0
    device: torch.device | str | None = None
    m: Tensor | None = None

    def each(self, read: Callable[[Values, slice], Result], seed: int) -> list[Result]:
        """What `read` says of each block of examples: what the model may read of them, and which rows they are."""
        made, model = self.made, self.made.model
        with evaluating(model, self.device) as target:

            def block(rows: slice) -> Result:
                values = {key: value[rows].to(target) for key, value in self.others.items()}
                values[made.of] = torch.nan_to_num(self.x[rows].to(target, _dtype(model)))
                if self.m is None:
                    seen = sparse(values[made.of], self.mask[rows].to(target))
                else:
                    seen = self.m[rows].to(values[made.of])
                return read({**made.observe(values), made.name: seen}, rows)

            return ALL.each(len(self.x), block, target, seed)


class Predicted(Law):
    """p(x | m) of N examples, the mixture over z of the likelihoods p(x | z, m): batch [N], event that of x.

    `mean`, `variance`: those of the completion, the variance that of draws around the mean. `sample` and `log_prob` ask
    the model again, which is kept, and not copied: one that has been trained on since answers as it is now.
    """

    def __init__(self, known: Known, mean: Tensor, std: Tensor) -> None:
        super().__init__(mean.shape[:1], mean.shape[1:])
        self.known, self._mean, self._std = known, mean, std

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return self._std.square()

    @property
    def stddev(self) -> Tensor:
        return self._std

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Joint draws of all values, [*shape, N, ...], by torch's generator: of z, and of the likelihood at each."""
        known, asked = self.known, prod(sample_shape)
        if not asked:
            return self._mean.new_empty(*sample_shape, *self._mean.shape)
        candidates = known.completer.candidates
        more = None if candidates is None else max(candidates, asked)
        completer = replace(known.completer, draws=asked, candidates=more, noise=True)

        def read(batch: Values, rows: slice) -> Tensor:
            return torch.cat([found.draws for found in completer.predict(known.made.model, batch)], 1)

        found = torch.cat(known.each(read, int(torch.randint(2**62, ()))), 1).to(self._mean.device)
        return found.reshape(*sample_shape, *self._mean.shape)

    def log_prob(self, value: Tensor, samples: int | None = None) -> Tensor:
        """log p(x_unseen | m) of a truth [N, ...] by K draws of z, nats, float64 [N]; what is NaN in it is not scored.

            log 1/K sum_k p(x_unseen | z_k, m) p(z_k | m) / q(z_k | x, m),  z_k ~ q(z | x, m)

        by the model's own posterior, which reads the truth; it is at most log p in expectation, and rises to it with K,
        `samples`, by default the draws of the completion. Where no posterior reads x, or it is a point, or latents are
        summed over, z is drawn from the prior with equal weights, which takes more of them. With weigh="seen", or
        "hamiltonian", it is log p(x) - log p(x_seen), the second by the candidates from the prior; with use_x that of
        the mixture over q(z | x, m) as it is, which has seen the x completed. Raises ValueError for another shape and
        for likelihoods of values that are not independent given z.

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
        """
        known, shape = self.known, self.batch_shape + self.event_shape
        count = known.completer.draws if samples is None else samples
        at_least("samples", count, 1, "draws of the latents")
        if value.shape != shape:
            raise ValueError(f"a truth has the shape of what was completed, {list(shape)}; got {list(value.shape)}")

        def read(batch: Values, rows: slice) -> Tensor:
            x, truth = batch[known.made.of], value[rows].to(batch[known.made.of])
            seen = known.mask[rows].to(x.device).expand_as(x)
            scored = ~seen & ~truth.isnan()
            # The posterior reads a whole example: of what is unknown of the truth, what is expected there.
            truth = torch.where(seen, x, torch.where(scored, truth, self._mean[rows].to(x)))
            return _log_prob(known.completer, known.made.model, batch, truth, seen, scored, count)

        return torch.cat(known.each(read, known.seed)).to(self._mean.device)


def _log_prob(
    completer: Completer, model: VAE, batch: Values, x: Tensor, seen: Tensor, unseen: Tensor, count: int
) -> Tensor:
    """log p of values of x that are not seen under a model, [n]."""
    weighed = completer.latents in WEIGHED
    scored = unseen | seen if weighed else unseen
    found = LogMeanExp()
    read = batch if completer.latents == "posterior" else {**batch, completer.of: x}
    for latents, weight in _proposed(completer, model, read, count):
        weight = weight + own_ratio(model, read, latents) if weighed else weight
        _add(found, completer, model, batch, latents, weight, x, scored)
    none = ~unseen.flatten(1).any(1)
    if not weighed:
        return found.value.masked_fill(none, 0.0)
    evidence = LogMeanExp()
    for many in completer.counts(batch, completer.candidates or 10 * completer.draws):
        latents = completer.drawn(model, batch, many)
        _add(evidence, completer, model, batch, latents, own_ratio(model, batch, latents), x, seen)
    return (found.value - evidence.value).masked_fill(none, 0.0)


def _add(
    found: LogMeanExp,
    completer: Completer,
    model: VAE,
    batch: Values,
    latents: Mapping[str, Tensor],
    weight: Tensor | float,
    x: Tensor,
    scored: Tensor,
) -> None:
    """Takes in the weights of k draws of the latents [k, n, ...], and their likelihoods of what is scored of x."""
    laws = completer.decoded(model, completer.head_of(model), batch, latents)
    found.add(torch.cat([seen_score(law, x, scored, count) for law, count in laws]) + weight)


def _proposed(
    completer: Completer, model: VAE, batch: Values, count: int
) -> Iterator[tuple[dict[str, Tensor], Tensor | float]]:
    """So many draws of the latents, some at a time, [k, n, ...], and log p(z | m) - log q(z | x, m) of each, [k, n]."""
    posteriors = list(model.posterior.values())
    reads = any(sees(model, q, completer.of) for q in posteriors) and set(model.inputs) <= set(batch)
    points = any(isinstance(getattr(q, "family", None), Point) for q in posteriors)
    plain = completer.latents == "posterior"
    for many in completer.counts(batch, count):
        if not plain and (not reads or points or model.summed):
            yield completer.drawn(model, batch, many), 0.0
            continue
        draw = model.infer(batch, many)
        latents = {name: draw.values[name].unflatten(0, (many, -1)) for name in model.plan.latents}
        weights = total(latent.log_p - latent.log_proposal for latent in draw.latents.values())
        yield latents, 0.0 if plain else weights


def _dtype(model: VAE) -> torch.dtype:
    return next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)
