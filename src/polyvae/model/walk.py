"""One pass through a model: what is known of its values so far, at the rows of the batch and at those of the draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from polyvae.model.distributions.joint import SideBySide
from polyvae.model.draw import Latent, Values
from polyvae.model.laws import check_law, drawn, repeat
from polyvae.model.parts import apart, given, observed, shapes, shared
from polyvae.model.plan import Node, Unit
from polyvae.model.precision import full_precision

Fixed = Mapping[str, Tensor | tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Proposed:
    """What a posterior made: law, draws as it drew them, log q where it told it, and over how many values it runs."""

    law: Distribution
    draws: Tensor
    log_q: Tensor | None = None
    summed: int | None = None


class Walk:
    """Values by name at the B rows of a batch (`rows`) and at the K * B rows of the draws (`folded`).

    K is `samples`; a latent that is summed over multiplies it by the number of its values. `fixed` are latents that are
    given: a value [B, ...], or a pair of it and of the rows, boolean [B], in which it is given. `paths` are the latents
    as later posteriors read them; `folded` holds views of them, which what scores reads, so that an objective may weigh
    what is said of a draw by its scores apart from what is said by later draws.
    """

    def __init__(self, batch: Values, samples: int, of: str, fixed: Fixed) -> None:
        self.rows, self.folded, self.paths = dict(batch), dict[str, Tensor](), dict[str, Tensor]()
        self.samples, self.count, self.device = samples, len(batch[of]), batch[of].device
        self.first = samples
        self.fixed = in_rows(fixed, self.count)
        self.proposed: dict[str, Proposed] = {}
        self.priors: dict[str, Distribution] = {}
        self.drawn_at: dict[str, int] = {}

    def scored(self, part: nn.Module) -> tuple[Values, int]:
        """What a likelihood reads, and K at its rows: it is asked once where it reads no latent that is summed over
        later, whose values come one after the other. What it shares between draws has the rows of the batch."""
        names = (*given(part), *observed(part))
        alone = {name: self.rows[name] for name in shared(part) if name in self.rows}
        folded = tuple(name for name in names if name not in alone)
        values = self.values(folded, True)
        samples = max((self.drawn_at.get(name, self.first) for name in names), default=self.samples)
        if samples == self.samples:
            return {**values, **alone} if alone else values, samples
        return {**{name: values[name][: samples * self.count] for name in folded}, **alone}, samples

    def values(self, names: tuple[str, ...], folds: bool) -> Values:
        """The values of these names, and maybe others, at the rows of the draws or of the batch."""
        if not folds:
            return self.rows
        for name in names:
            if name not in self.folded:
                self.folded[name] = repeat(self.rows[name], self.samples)
        return self.folded

    def feature(self, node: Node, part: nn.Module) -> None:
        """Computes a feature."""
        (self.folded if node.folds else self.rows)[node.name] = part(self.values(given(part), node.folds))
        if node.folds:
            self.drawn_at[node.name] = self.samples

    def posterior(self, node: Node, part: nn.Module, summed: bool) -> None:
        """Draws a latent, takes it as it is given, or runs through its values."""
        read = self.values(given(part), node.folds)
        q, name = part({**read, **self.paths} if node.folds else read), node.name
        rows = self.samples * self.count if node.folds else self.count
        check_law(q, f"the posterior of {name!r}", [(rows,)])
        if name in self.fixed:
            check_fixed(name, self.fixed[name], q.event_shape)
        with full_precision(self.device):
            if name in self.fixed and self.fixed[name][1] is None:
                made = Proposed(q, z := repeat(self.fixed[name][0], self.samples))
            elif summed:
                made, z = self._enumerated(q, node)
            else:
                draws, log_q = drawn(q, () if node.folds else (self.samples,), f"the posterior of {name!r}")
                made, z = Proposed(q, draws, log_q), draws if node.folds else draws.flatten(0, 1)
                z = given_or(z, self.fixed.get(name), self.samples)
        self.proposed[name] = made
        self.paths.update(latents := apart(part, name, z))
        self.folded.update({latent: value.view_as(value) for latent, value in latents.items()})
        self.drawn_at.update(dict.fromkeys(latents, self.samples))

    def prior(self, node: Node, part: nn.Module, unit: Unit) -> None:
        """Reads a prior."""
        p, name = part(self.values(given(part), node.folds)), node.name
        event = self._law([self.proposed[key].law for key in unit.posteriors]).event_shape
        event = event if len(unit.priors) == 1 else self.folded[name].shape[1:]
        check_law(p, f"the prior of {name!r}", [(), (self.count,), (self.samples * self.count,)], event)
        for latent, shape in shapes(part).items():
            if self.folded[latent].shape[1:] != Size(shape):
                found = list(self.folded[latent].shape[1:])
                raise ValueError(f"the prior {name!r} has {latent!r} of shape {list(shape)}, its posterior {found}")
        self.priors[name] = p

    def latent(self, unit: Unit) -> Latent:
        """A latent as the bound scores it."""
        made = [self.proposed[key] for key in unit.posteriors]
        q, p = self._law([each.law for each in made]), self._law([self.priors[key] for key in unit.priors])
        shape = Size((self.samples, self.count))
        if len(made) == 1:
            draws, log_q = made[0].draws, made[0].log_q
        else:
            draws = torch.cat([each.draws.flatten(each.draws.ndim - len(each.law.event_shape)) for each in made], -1)
            log_q = None
        pieces = [self.folded[name].unflatten(0, shape) for name in unit.members]
        z = pieces[0] if len(pieces) == 1 else torch.cat([piece.flatten(2) for piece in pieces], -1)
        latent = Latent(q, p, z, draws, unit.separate, unit.name, log_q, summed=made[0].summed)
        return self._given(latent) if unit.name in self.fixed else latent

    def _given(self, latent: Latent) -> Latent:
        value, known = self.fixed[latent.name]
        shape = self.samples, self.count
        if known is None:
            return replace(latent, given=True)
        chosen = None if latent.summed is None else (latent.z == value).reshape(*shape, -1).all(-1) | ~known
        return replace(latent, given=known, chosen=chosen)

    def _enumerated(self, q: Distribution, node: Node) -> tuple[Proposed, Tensor]:
        """Runs through the values of a law, each once for every draw before it: the first for all, then the second."""
        if not q.has_enumerate_support:
            raise ValueError(f"{node.name!r} is to be summed over, but {type(q).__name__} cannot list its values")
        support = q.enumerate_support()
        log_q, values = q.log_prob(support), len(support)
        if not node.folds:  # one law for all draws before
            support = support.unsqueeze(1).expand(-1, self.samples, *support.shape[1:]).flatten(1, 2)
            log_q = log_q.unsqueeze(1).expand(-1, self.samples, -1)
        self.folded = {name: repeat(value, values) for name, value in self.folded.items()}
        self.paths = {name: repeat(value, values) for name, value in self.paths.items()}
        self.samples *= values
        return Proposed(q, support, log_q.reshape(self.samples, self.count), values), support.flatten(0, 1)

    @staticmethod
    def _law(laws: list[Distribution]) -> Distribution:
        return laws[0] if len(laws) == 1 else SideBySide(laws)


Held = tuple[Tensor, Tensor | None]


def in_rows(fixed: Fixed, count: int) -> dict[str, Held]:
    """Latents that are given, each with the rows in which it is, None for all of so many.

    ValueError for another number of rows, TypeError for rows that are not booleans.
    """
    held: dict[str, Held] = {n: value if isinstance(value, tuple) else (value, None) for n, value in fixed.items()}
    for name, (value, known) in held.items():
        if len(value) != count or (known is not None and known.shape != (count,)):
            rows = f"{len(value)} values" + ("" if known is None else f" and rows {list(known.shape)}")
            raise ValueError(f"fixed gives {name!r} a value for each of {count} examples; got {rows}")
        if known is not None and known.dtype != torch.bool:
            raise TypeError(f"fixed says of each row whether {name!r} is given, True or False; got {known.dtype}")
    return held


def check_fixed(name: str, held: Held, event: Size) -> None:
    """ValueError where the values that are given have another shape than the latent."""
    if held[0].shape[1:] != event:
        raise ValueError(f"fixed gives {name!r} values of shape {list(held[0].shape[1:])}; it has {list(event)}")


def given_or(z: Tensor, held: Held | None, samples: int) -> Tensor:
    """z [K * B, ...], in the rows in which it is given the value that is given [B, ...]."""
    if held is None:
        return z
    value, known = held
    value = repeat(value, samples)
    return value if known is None else torch.where(repeat(known, samples).view(-1, *[1] * (z.ndim - 1)), value, z)
