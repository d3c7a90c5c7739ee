"""Objectives: what training minimises, read off one draw of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.finite import check_finite
from polyvae.checks.names import kind
from polyvae.checks.ranges import at_least
from polyvae.model.draw import total
from polyvae.model.parts import names
from polyvae.model.vae import Draw, Values
from polyvae.objectives.schedules import Number, Step, _at
from polyvae.objectives.terms import KL, Reconstruction, Term


class Weighted(nn.Module):
    """weight * term, or weight * |term - target| per example; both are numbers or schedules of the step.

    With a `floor` the cost is weight * max(term, floor), of the term's mean over draws and batch: below it nothing
    presses the term further, free bits of all that it is of.

    Of several draws the distance is that of their mean: |.| of each draw would punish the noise of an estimated term.
    A term without a closed form, such as the KL to a mixture, is best given a few `samples`.
    """

    def __init__(self, term: Term, weight: Number = 1.0, target: Number | None = None, floor: float = 0.0) -> None:
        super().__init__()
        if isinstance(term, type) or not callable(term):
            write = f"{term.__name__}()" if isinstance(term, type) else "Weighted(term, weight)"
            raise TypeError(f"a term is called with a draw; got {kind(term)}: write {write}")
        check_finite({"weight": weight, "target": target, "floor": floor})
        if floor < 0:
            raise ValueError(f"floor is a value of the term, at least 0, none where it is 0; got {floor}")
        self.term = term
        self.weight = weight
        self.target = target
        self.floor = floor

    def forward(self, value: Tensor, step: Step) -> Tensor:
        """The cost of the term's value at this step, scalar."""
        if self.target is not None:
            value = value.mean(0) if value.ndim > 1 else value
            value = (value - _at(self.target, step)).abs()
        mean = value.mean()
        return _at(self.weight, step) * (mean.clamp(min=self.floor) if self.floor else mean)

    @property
    def plain(self) -> bool:
        """Whether the cost is the term's mean as it is."""
        return self.target is None and not self.floor and not callable(self.weight) and self.weight == 1

    def extra_repr(self) -> str:
        target = "" if self.target is None else f", target={self.target}"
        return f"weight={self.weight}{target}" + (f", floor={self.floor}" if self.floor else "")


class Objective(nn.Module):
    """A weighted sum of terms over K `samples`, each averaged over samples and batch.

    By default the negative evidence lower bound, E_q[-log p(x | z)] + KL(q || p), in nats. `balance`, where given, is
    called with the unweighted terms by name and returns factors for some of them, which multiply their weights; see
    `polyvae.objectives.balance`. Beside loss, terms and bound, "model_loss" is the loss without terms that do not train
    the model, a critic's own cost, where there are such.

    `fixed` are latents that examples may bring: for each the name of its value in the batch, or a pair of that and of
    the name of the rows, boolean [B], in which it is known. The bound there is on log p(x, latent).
    """

    def __init__(
        self,
        terms: Mapping[str, Term | Weighted] | None = None,
        samples: int = 1,
        balance: nn.Module | None = None,
        fixed: Mapping[str, str | tuple[str, str]] | None = None,
    ) -> None:
        super().__init__()
        at_least("samples", samples, 1, "draws of the latents")
        chosen = {"reconstruction": Reconstruction(), "kl": KL()} if terms is None else terms
        if not isinstance(chosen, (Mapping, nn.ModuleDict)):
            raise TypeError(f"terms go by name, as {{'kl': KL()}}; got {kind(chosen)}")
        if reserved := {"loss", "model_loss", "bound"} & set(chosen):
            raise ValueError(f"a term may not be named {sorted(reserved)}: the objective reports those itself")
        if not chosen:
            raise ValueError("an objective needs at least one term")
        if unknown := set(getattr(balance, "names", ())) - set(chosen):
            raise ValueError(f"{sorted(unknown)} are to be balanced; the terms are {list(chosen)}")
        self.terms = nn.ModuleDict({n: t if isinstance(t, Weighted) else Weighted(t) for n, t in chosen.items()})
        self.apart = {n for n, t in self.terms.items() if not getattr(t.term, "trains_model", True)}
        self.samples = samples
        self.balance = balance
        self.fixed = dict(fixed or {})

    def forward(self, model: Callable[..., Draw], batch: Values, step: Step = 0) -> dict[str, Tensor]:
        """The loss to minimise, every term unweighted, and the plain bound; scalars."""
        draw = model(batch, self.samples, fixed=self._given(batch)) if self.fixed else model(batch, self.samples)
        terms, costs = {}, {}
        for name, weighted in self.terms.items():
            assert isinstance(weighted, Weighted)
            value = draw.weighed(weighted.term(draw))
            terms[name] = value.mean()
            costs[name] = terms[name] if weighted.plain else weighted(value, step)
        if self.balance is not None:
            factors = self.balance({name: term.detach() for name, term in terms.items()})
            costs.update({name: factor * costs[name] for name, factor in factors.items()})
        values = report(total(costs.values()), terms, draw)
        own = [cost.detach() for name, cost in costs.items() if name not in self.apart]
        if self.apart and own:
            values["model_loss"] = total(own)
        return values

    def _given(self, batch: Values) -> dict[str, Any]:
        """The latents that this batch brings, with the rows in which it does."""
        for name in (each for latent in self.fixed.values() for each in names(latent)):
            if name not in batch:
                raise KeyError(f"the objective is given {name!r} with the examples; the batch holds {sorted(batch)}")
        return {
            latent: batch[of] if isinstance(of, str) else (batch[of[0]], batch[of[1]])
            for latent, of in self.fixed.items()
        }


def report(loss: Tensor, terms: dict[str, Tensor], draw: Draw) -> dict[str, Tensor]:
    """What an objective returns: the loss, the terms and the plain bound, which no weight or schedule touches."""
    with torch.no_grad():
        return {"loss": loss, **{n: t.detach() for n, t in terms.items()}, "bound": draw.elbo.mean()}
