"""Draws of the latents that agree with what is seen: weighed by it and drawn again, and moved under its law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.evaluation.hamiltonian import adapted, check_moved, first_step, moved, sloped
from polyvae.model.draw import total
from polyvae.model.laws import repeat, value_log_prob
from polyvae.model.parts import given, shapes
from polyvae.model.precision import full_precision
from polyvae.model.priors.completing import Completing
from polyvae.model.vae import VAE, Values

if TYPE_CHECKING:
    from polyvae.completion.completer import Completer

LEAPFROGS = 5  # of each proposal
METHOD = "weigh='hamiltonian'"


def resampled(latents: Mapping[str, Tensor], score: Tensor, draws: int) -> tuple[dict[str, Tensor], Tensor]:
    """Draws [k, n, ...] taken again with chances proportional to e^score [k, n], and their effective number [n].

    ValueError where no score of an example is finite.
    """
    weights = score.softmax(0)
    if not bool(weights.isfinite().all()):  # a draw by such weights would end the process on a GPU
        raise ValueError(
            "what is seen of an example has no finite likelihood at any of its candidates, so that none can be "
            "weighed: look at the scale of the likelihood and of the data, or leave weigh='seen' away"
        )
    index = torch.multinomial(weights.T, draws, replacement=True).T
    drawn = {
        name: torch.take_along_dim(value, index.reshape(*index.shape, *[1] * (value.ndim - 2)), 0)
        for name, value in latents.items()
    }
    return drawn, 1 / weights.square().sum(0)


def seen_score(law: Distribution, x: Tensor, seen: Tensor, count: int) -> Tensor:
    """log p of the seen values of x [n, ...] under laws of k draws of each, [k n] -> [k, n]."""
    score = torch.where(repeat(seen, count), value_log_prob(law, repeat(x, count)), 0.0)
    return score.flatten(1).sum(1).unflatten(0, (count, -1))


def seen_in(m: Tensor, x: Tensor) -> Tensor:
    """Which values of x an observation sees, boolean in the shape of x."""
    return (m[:, x.shape[1] :] != 0).expand_as(x)


def own_ratio(model: VAE, batch: Values, latents: Mapping[str, Tensor]) -> Tensor | float:
    """log p(z) - log q(z | m) of draws [k, n, ...], [k, n], of a model that draws from q(z | m) in its own prior's
    place; 0 of others."""
    parts = {name: part for name, part in model.prior.items() if isinstance(part, Completing)}
    if not parts:
        return 0.0
    own = total(_scored(model, part.own, name, batch, latents) for name, part in parts.items())
    return own - total(_scored(model, part.matched, name, batch, latents) for name, part in parts.items())


def _scored(model: VAE, part: nn.Module, name: str, batch: Values, latents: Mapping[str, Tensor]) -> Tensor:
    """log of the density of a part at draws [k, n, ...] of its latent, [k, n]."""
    of, count = shapes(part), len(next(iter(latents.values())))
    z = torch.cat([latents[each].flatten(2) for each in of], 2) if of else latents[name]
    below = bool(model.plan.reads(part) & set(latents))
    values: dict[str, Tensor] = dict(batch)
    if below:  # one law for each draw, not for each example
        values = {key: repeat(batch[key], count) for key in model.plan.known(given(part))}
        values |= {key: each.flatten(0, 1) for key, each in latents.items()}
    law = part(model.featured(values, given(part)))
    with full_precision(z.device):
        found = law.log_prob(z.flatten(0, 1) if below else z)
    return found.view(z.shape[:2])


class Target:
    """log p(z) + log p(x_seen | z, m), whose law of z is p(z | x_seen, m), at rows z [k n, D] of all latents.

    `latents`: draws of them [k, n, ...], which say their shapes.
    """

    def __init__(
        self, completer: Completer, model: VAE, head: str, batch: Values, latents: Mapping[str, Tensor]
    ) -> None:
        self.completer, self.model, self.head, self.batch = completer, model, head, batch
        self.shapes = {name: value.shape[2:] for name, value in latents.items()}
        self.count, self.rows = next(iter(latents.values())).shape[:2]
        self.seen = seen_in(batch[completer.name], batch[completer.of])

    def check(self, latents: Mapping[str, Tensor]) -> None:
        """ValueError, by name, for latents that no gradient moves."""
        values = {**self.batch, **{name: value[0] for name, value in latents.items()}}
        instead = "take weigh='seen', which weighs draws"
        for name, part in self.model.prior.items():
            own = _own(part)
            law = own(self.model.featured(values, given(own)))
            check_moved(name, law, name in self.model.summed, METHOD, instead)

    def slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Its logarithm and the gradient in z, some draws of all examples at a time."""
        counts = [count * self.rows for count in self.completer.counts(self.batch, self.count)]
        pieces = [sloped(self.density, each) for each in z.split(counts)]
        values, slopes = zip(*pieces, strict=True)
        return torch.cat(values), torch.cat(slopes)

    def density(self, z: Tensor) -> Tensor:
        """Its logarithm."""
        latents, model = self.apart(z), self.model
        prior = total(_scored(model, _own(part), name, self.batch, latents) for name, part in model.prior.items())
        x = self.batch[self.completer.of]
        laws = self.completer.decoded(model, self.head, self.batch, latents)
        with full_precision(z.device):
            likelihood = torch.cat([seen_score(law, x, self.seen, count) for law, count in laws])
        return (prior + likelihood).flatten()

    def apart(self, z: Tensor) -> dict[str, Tensor]:
        """Rows [k n, D] as latents by name, [k, n, ...]."""
        pieces = z.split([shape.numel() for shape in self.shapes.values()], 1)
        return {
            name: piece.reshape(-1, self.rows, *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }


def hamiltonian(
    target: Target, latents: Mapping[str, Tensor], effective: Tensor, moves: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Draws of the latents [k, n, ...] after so many Hamiltonian moves each, and their effective number [n].

    Every draw is a chain of its own. In the first half of the moves each example's step is adapted to the share of its
    proposals that are accepted; then it stays. Draws taken again by weights, `effective` in number, are copies of each
    other until they have moved: of S draws of which two have one origin with probability 1 / `effective`, and whose
    correlation with their own start is r,

        S / (1 + (S - 1) r^2 / effective),  r = 1 - E|z - z_start|^2 / (2 Var z), from 0 to 1, averaged over dimensions

    count as independent.

    Gilks, Berzuini: Following a Moving Target, Monte Carlo Inference for Dynamic Bayesian Models, 2001 (resample-move).
    """
    start = torch.cat([value.flatten(2) for value in latents.values()], 2)
    z, rows = start.flatten(0, 1), start.shape[1]
    step = first_step(z, rows)
    for move in range(moves):
        z, rate = moved(z, target.slope, step.repeat(len(start)), LEAPFROGS)
        if move < moves // 2:
            step = adapted(step, rate)
    found = z.view_as(start)
    spread = found.var(0, correction=0).clamp(min=torch.finfo(z.dtype).tiny)
    kept = (1 - (found - start).square().mean(0) / (2 * spread)).mean(1).clamp(0, 1)
    count = len(start)
    return target.apart(z), count / (1 + (count - 1) * kept.square() / effective.clamp(min=1))


def _own(part: nn.Module) -> Any:
    """The prior that a model was trained with."""
    return part.own if isinstance(part, Completing) else part
