"""Decoders of recipes, and a model with all of them as a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

from torch import nn

from polyvae.checks.names import find
from polyvae.model.families.real import Point
from polyvae.model.networks import Shape
from polyvae.model.networks.expected import Around, Expected
from polyvae.model.networks.prepared import centring, prepared
from polyvae.model.parts import Head, by_name, evaluation_mode, given, home
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.exemplar import ExemplarPrior
from polyvae.model.protocol import Starts
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family, Values
from polyvae.objectives.bounds import Bound
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Term
from polyvae.recipes.begun import LAWS, begun_at
from polyvae.recipes.canonical import Canonical
from polyvae.recipes.conditions import Condition
from polyvae.recipes.latents import LatentPart, Reader
from polyvae.recipes.parts import decoder_family
from polyvae.recipes.recording import SHOWN, Recipe
from polyvae.recipes.sensed import Sensed


def decoder_of(
    spec: Spec, likelihood: str | Family | None, build: Reader, given: Mapping[str, Shape], own: bool = False
) -> Conditional:
    """p(x | given) with values of these shapes, z first; with a family of its `own` where it is one of several."""
    law = begun_at(given)
    if likelihood is None and law is not None and law.spread and spec.levels != 2:
        likelihood = "normal-network"  # which begins at the law's spread too
    family = decoder_family(likelihood, spec)
    family = deepcopy(family) if own else family
    net = build(list(given.values()), (family.size(spec.x[0]), *spec.x[1:]))
    return (Around if law is not None and hasattr(family, "around") else Conditional)(
        prepared(net, spec, tuple(given)), family, tuple(given)
    )


def decoders_of(
    spec: Spec,
    z: LatentPart,
    likelihood: str | Family | None,
    which: str,
    y: Condition,
    beside: Sequence[Mapping[str, Shape]],
) -> list[Conditional]:
    """A decoder for each entry of `beside`, of z and y, and of what it reads of m, see `begun.read_of`.

    `which`: "flat", or "multiscale" or one of `begun.LAWS`: beside these one without m has no layer that flattens maps.
    """
    alone = find({"flat": "flat", "multiscale": "map", **dict.fromkeys(LAWS, "map")}, which, "decoder")
    made = []
    for m in beside:
        build = z.decoders[which if m else alone]
        made.append(decoder_of(spec, likelihood, build, {"z": z.shape, **y.shapes, **m}, own=len(beside) > 1))
    return made


def trained_by(
    objective: nn.Module | None,
    z: LatentPart,
    terms: Mapping[str, Term | Weighted],
    balance: nn.Module | None = None,
) -> nn.Module:
    """The objective given, or one of these terms and those of z; ValueError for one that leaves a part untrained."""
    if objective is None:
        return Objective({**terms, **z.terms}, balance=balance)
    if not isinstance(objective, (Objective, Bound)):
        return objective
    weighted = isinstance(objective, Bound)
    held = _terms(objective)
    asked: dict[str, type] = {name: type(each.term) for name, each in z.terms.items() if not isinstance(each.term, KL)}
    if missing := [name for name, kind in asked.items() if not any(isinstance(term, kind) for term in held)]:
        raise ValueError(f"objective: codes are trained by {' and '.join(missing)}; take an Objective with these terms")
    commits = any(isinstance(each.term, Commitment) for each in z.terms.values())
    if not commits and any(isinstance(term, (CodebookCost, Commitment)) for term in held):
        raise ValueError("objective: the terms of a codebook need codes of one; z has none that they would train")
    relaxed = [q for q in by_name(z.posterior, "z").values() if isinstance(q, Quantiser) and not q.certain]
    if weighted and relaxed:
        raise ValueError("objective: codes that are relaxed in training have no density; take an Objective with the KL")
    if weighted and len(terms) > 1:
        raise ValueError(f"objective: {objective.called} holds one decoder of x; take decoders = 1")
    return objective


def finished(
    model: VAE,
    objective: nn.Module,
    observe: Callable[[Values], Values],
    start: Callable[[Values], None] | None = None,
) -> Recipe:
    """The recipe of a model: its best weights are those of the best bound, where training has to do with a bound.

    A point for a posterior has none, and its reconstruction chooses. Where no term of the objective is a divergence,
    nothing holds a law's bound up, which falls while the model learns: the loss chooses, without a critic's own cost.

    ValueError where a prior has something to learn and a point for a posterior to learn it from, or no term.
    """
    point = any(isinstance(getattr(q, "family", None), Point) for q in model.posterior.values())
    shared = set(model.posterior.parameters())  # a codebook is trained with its encoder
    learned = [p for p in model.prior.values() if any(each.requires_grad for each in set(p.parameters()) - shared)]
    if point and (isinstance(objective, Bound) or _has_divergence(objective)):
        raise ValueError("posterior: a point has no divergence, which this objective asks for; take ae or another one")
    if point and learned:
        raise ValueError("posterior: a point has no divergence, which would train the prior; take another one")
    # An exemplar prior has nothing of its own, and yet what holds the codes to its draws alone holds them to their own.
    held = learned + [p for p in model.prior.values() if isinstance(p, ExemplarPrior)]
    if isinstance(objective, Objective) and held:
        weighted = (cast(Weighted, each) for each in objective.terms.values())
        if not any(_trains(each, held) for each in weighted if callable(each.weight) or each.weight != 0):
            raise ValueError("prior: no term of the objective trains it; add the KL, or take the standard prior")
    monitor = "reconstruction" if point else _monitored(model, objective)
    # A mixture of many laws is fitted to more examples than a codebook.
    shown = 4 * SHOWN if any(isinstance(part, Expected) for part in model.features.values()) else SHOWN
    return Recipe(model, objective, observe, monitor, start=_started(model, start), shown=shown)


def _monitored(model: VAE, objective: nn.Module) -> str:
    """The validation value that chooses the best weights of a model whose bound is finite.

    The plain bound may fall while a tighter one, which is trained, still rises: that one chooses.
    """
    if isinstance(objective, Bound) and not objective.plain:
        return "loss"
    if not isinstance(objective, Objective) or all(getattr(q, "certain", False) for q in model.posterior.values()):
        return "bound"  # of a map of codes the divergence is a constant, and needs no term
    if _has_divergence(objective):
        return "bound"
    return "model_loss" if objective.apart else "loss"


def _terms(objective: nn.Module) -> list[Term]:
    """The terms of an objective that has some."""
    return [cast(Weighted, each).term for each in objective.terms.values()] if isinstance(objective, Objective) else []


def _has_divergence(objective: nn.Module) -> bool:
    return any(getattr(term, "divergence", False) for term in _terms(objective))


def _trains(weighted: Weighted, priors: Sequence[nn.Module]) -> bool:
    """Whether a term moves one of these priors."""
    reaches = getattr(weighted.term, "trains_prior", True)
    if reaches == "by its draws":
        return any(getattr(prior, "reparametrised", True) for prior in priors)
    return reaches


def _started(model: VAE, first: Callable[[Values], None] | None) -> Callable[[Values], None] | None:
    """What a recipe shows the first examples to: layers that centre, what is said, priors and heads that start."""
    parts: list[Callable[[Values], None]] = [] if first is None else [first]
    parts += [feature.start for feature in model.features.values() if isinstance(feature, Expected)]
    parts += [prior.start for prior in model.prior.values() if isinstance(prior, Starts)]
    canonical = Canonical.of(model)
    sensed = Sensed.of(model)
    parts += [each for each in (canonical, sensed) if each is not None]
    parts += [head.start for head in model.heads.values() if isinstance(head, Head) and head.starts]
    return Starting(model, parts) if parts or centring(model) else None


@dataclass(frozen=True)
class Starting:
    """Shows examples to what centres and to each of these, in this order; it goes to other processes with the model.

    Parts that read a feature of the examples, such as a condition where some are hidden, are shown that too.
    """

    model: VAE
    parts: Sequence[Callable[[Values], None]]

    def __call__(self, values: Values) -> None:
        for layer in centring(self.model):
            layer.start(values)
        if not self.parts:
            return
        model, home_values = self.model, {name: value.to(home(self.model)) for name, value in values.items()}
        # A prior that starts is made of its posterior, and reads what that reads.
        started = any(isinstance(prior, Starts) for prior in model.prior.values())
        readers = [q for q in model.posterior.values() if started or isinstance(q, Starts)]
        read = {
            name
            for part in readers
            for name in given(part)
            if model.plan.behind([name]) <= {*model.plan.features, *values}
        }
        with evaluation_mode(model):
            shown = model.featured(home_values, read)
        for part in self.parts:
            part(shown)
