"""Decoders of recipes, the masks that some of them are trained on, and a model with all of them as a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch
from torch import nn

from polyvae.checks.names import find, one_of
from polyvae.model.families.real import Point
from polyvae.model.networks import Shape
from polyvae.model.networks.analysed import Analysed, analysed
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import centring, prepared, prepared_observation
from polyvae.model.parts import Head, by_name, evaluation_mode, given, home
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.exemplar import ExemplarPrior
from polyvae.model.protocol import Starts
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family, Values
from polyvae.objectives.bounds import Bound
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Term
from polyvae.observe.masks import SparsePixels, observation, observation_shape
from polyvae.observe.noise import Noisy
from polyvae.observe.transforms import Transform, chain
from polyvae.recipes.canonical import Canonical
from polyvae.recipes.conditions import Condition
from polyvae.recipes.latents import LatentPart, Reader
from polyvae.recipes.options import Codes, Gaussian, Mask, Where
from polyvae.recipes.parts import decoder_family, reads_sensors, weights_apart
from polyvae.recipes.recording import Recipe
from polyvae.recipes.sensed import NAME as SENSING
from polyvae.recipes.sensed import Sensed

ANALYSERS, ANALYSED = "analysers", "analysed"  # the decoder's name, and that of what it reads
SIZED = ("grid", "box")  # masks whose count is their layout, not how many of their pixels are seen


def decoder_of(
    spec: Spec, likelihood: str | Family | None, build: Reader, given: Mapping[str, Shape], own: bool = False
) -> Conditional:
    """p(x | given) with values of these shapes, z first; with a family of its `own` where it is one of several."""
    family = decoder_family(likelihood, spec)
    family = deepcopy(family) if own else family
    net = build(list(given.values()), (family.size(spec.x[0]), *spec.x[1:]))
    return Conditional(prepared(net, spec, tuple(given)), family, tuple(given))


def decoders_of(
    spec: Spec,
    z: LatentPart,
    likelihood: str | Family | None,
    which: str,
    y: Condition,
    beside: Sequence[Literal["", "m"]],
) -> list[Conditional]:
    """A decoder for each entry of `beside`, of z and y, and of m where it says so.

    `which`: "flat", or "multiscale" or "analysers", beside which one without m has no layer that flattens a map.
    """
    alone = find({"flat": "flat", "multiscale": "map", ANALYSERS: "map"}, which, "decoder")
    m = observed_shapes(spec, which)
    made = []
    for name in beside:
        given = {"z": z.shape, **y.shapes, **(m if name else {})}
        made.append(decoder_of(spec, likelihood, z.decoders[which if name else alone], given, own=len(beside) > 1))
    return made


def observed_shapes(spec: Spec, decoder: str) -> dict[str, Shape]:
    """What decoders, and a prior given m, read of an observation: its name and shape."""
    shape = prepared_observation(spec, observation_shape(spec.x))
    return {ANALYSED: (shape[0] + 2 * spec.x[0], *shape[1:])} if decoder == ANALYSERS else {"m": shape}


def analysed_features(spec: Spec, latent: Gaussian | Codes, decoder: str, mask: Mask) -> dict[str, nn.Module]:
    """The feature that the decoder "analysers" reads, none for another.

    ValueError, by name, for data that are no pictures of grey levels or bits, for a network of sensors, and beside
    noise of what is seen.
    """
    if decoder != ANALYSERS:
        return {}
    if lacking := _not_analysed(spec, latent, mask):
        raise ValueError(f"decoder: analysers are of {lacking}; take multiscale or flat")
    with weights_apart():
        return {ANALYSED: analysed(spec.x)}


def _not_analysed(spec: Spec, latent: Gaussian | Codes, mask: Mask) -> str:
    """What analysers are of, where that is something else."""
    if not is_picture(spec.x) or spec.columns or spec.levels is None:
        return "pictures of grey levels or bits"
    if isinstance(latent, Gaussian) and (latent.network == SENSING or reads_sensors(latent)):
        return "pictures that no network of sensors reads"
    return "what is seen without noise" if any(noises(spec, mask)) else ""


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
    return Recipe(model, objective, observe, monitor, start=_started(model, start))


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
    parts += [feature.start for feature in model.features.values() if isinstance(feature, Analysed)]
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


def observed(spec: Spec, mask: Mask, y: Condition) -> Transform:
    """The transform that adds m, then its noise, then what the condition asks for."""
    m, noise = sparse_pixels(spec, mask), noises(spec, mask)
    steps = [m, *([Noisy(noise)] if any(noise) else []), *y.observe.transforms]
    return chain(*steps) if len(steps) > 1 else m


def noises(spec: Spec, mask: Mask) -> tuple[float, ...]:
    """The standard deviation of the noise of every channel of a picture, or column of a table."""
    given = [float(each) for each in (mask.noise if isinstance(mask.noise, Sequence) else [mask.noise])]
    if len(given) not in (1, spec.x[0]):
        raise ValueError(f"noise is one number, or one for each of {spec.x[0]} channels; got {len(given)}")
    return tuple(given * spec.x[0] if len(given) == 1 else given)


def sparse_pixels(spec: Spec, mask: Mask) -> SparsePixels:
    """The transform that adds m, with `positions` of a picture as pairs or one after the other."""
    one_of(get_args(Where), mask.kind, "mask")
    count, positions, table = mask.count, mask.positions, not is_picture(spec.x)
    if count is not None and mask.exponent is not None and mask.kind not in SIZED:
        raise ValueError(f"count and exponent exclude each other, fixed or drawn; got {count} and {mask.exponent}")
    if count is None and mask.exponent is None and table and mask.kind == "uniform":
        count = 0.5  # a twentieth of a few columns is none
    if positions is not None and not table and isinstance(positions[0], int):
        if len(positions) % 2:
            raise ValueError(f"positions of a picture are row,column,row,column...; got {len(positions)} numbers")
        positions = list(zip(positions[::2], positions[1::2], strict=True))
    try:
        made = observation(mask.kind, count, mask.exponent, positions)
        with torch.random.fork_rng(devices=[]):  # a trial, which leaves the weights of a seeded recipe as they were
            made.mask(torch.zeros(1, *spec.x))
    except ValueError as error:
        if str(error).startswith(("count ", "positions ")):
            raise
        named = "positions" if mask.kind == "points" and count is None else "count"
        raise ValueError(f"{named} does not fit values of shape {' x '.join(map(str, spec.x))}: {error}") from error
    return made


def of_random_size(mask: Mask) -> Mask:
    """The masks of one decoder, by default with exponent 40; ValueError for a count, which would fix their size."""
    if mask.exponent is None and mask.count is not None and mask.kind not in SIZED:
        raise ValueError(
            "count and exponent: one decoder trains on masks of random size, which an exponent draws; "
            f"got count = {mask.count} alone: give exponent instead, or two decoders"
        )
    return replace(mask, exponent=40.0 if mask.exponent is None else mask.exponent)
