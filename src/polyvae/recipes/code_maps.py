"""Maps of codes at several scales, the coarsest drawn first: posteriors, features, priors and terms of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

import torch
from torch import nn

from polyvae.model.distributions.codes import depth_of
from polyvae.model.laws import centre
from polyvae.model.networks import Shape
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.networks.vq import coded, doubled, features, halved, pyramid
from polyvae.model.parts import Feature, evaluation_mode, given, home
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.objectives.objective import Weighted
from polyvae.recipes.bundles import moved
from polyvae.recipes.latents import LatentPart, map_decoders
from polyvae.recipes.options import Codes
from polyvae.recipes.quantisers import QUANTISERS, Coder, coder_of

LEVELS = ("top", "middle", "bottom")
_BLOCK = 256  # examples encoded at a time before training


@dataclass(frozen=True)
class CodeMaps(LatentPart):
    """Several latents in the place of one: posterior and prior by name, the `features` between them.

    `shape` is that of the lowest map; `read` are the shapes of what a decoder reads of all of them, by name.
    """

    features: Mapping[str, nn.Module] = field(default_factory=dict)
    read: Mapping[str, Shape] = field(default_factory=dict)


def code_maps(latent: Codes, spec: Spec, beside: Mapping[str, Shape], scales: int, codes_above: int | None) -> CodeMaps:
    """Codes at so many `scales`, each half as fine as the one below; with `codes_above` words above the lowest.

    Features of x, "x_bottom", are halved on the way up, "x_top"; each posterior reads those of its scale and what the
    maps above it say there: "above_bottom" is of "top", and of three levels of "middle" and "above_middle". The decoder
    reads the lowest map and what is above it. The terms of each level are weighed as those of `latent_part`.
    """
    if codes_above is not None and scales == 1:
        raise ValueError("codes_above: one scale has no map above the lowest; take scales = 2 or 3")
    names = (*LEVELS[: scales - 1], LEVELS[-1])
    sides = pyramid(prepared_shape(spec), latent.widths, scales)[::-1]
    if codes_above is not None and "count" not in QUANTISERS[latent.quantiser][1]:
        raise ValueError(f"codes_above is not read by quantiser {latent.quantiser!r}, whose words nothing counts")
    upper = latent if codes_above is None else moved(latent, {"count": codes_above})
    coders = {name: coder_of(latent if name == names[-1] else upper) for name in names}
    of_x = _of_x(latent, spec, beside, dict(zip(names, sides, strict=True)))
    posteriors: dict[str, nn.Module] = {}
    above: dict[str, nn.Module] = {}
    priors: dict[str, nn.Module] = {}
    terms: dict[str, Weighted] = {}
    seen: dict[str, Shape] = {}  # the map drawn last and what stands above it
    for name, side in zip(names, sides, strict=True):
        coder = coders[name]
        beside_x: dict[str, Shape] = {}
        if seen:
            beside_x = {f"above_{name}": side}
            above[f"above_{name}"] = Feature(doubled(list(seen.values()), side), tuple(seen))
        net, shape = coded([side, *beside_x.values()], coder.dim), (coder.dim, *side[1:])
        words = coder.build()
        posteriors[name] = Quantiser(net, words, (f"x_{name}", *beside_x))
        priors[name] = UniformPrior(words, (*depth_of(words), *side[1:]))
        terms |= _terms(coder, spec, shape, name)
        seen = {name: shape, **beside_x}
    lowest = seen[names[-1]]
    decoders = map_decoders(latent, spec)
    return CodeMaps(
        nn.ModuleDict(posteriors), lambda: nn.ModuleDict(priors), lowest, terms, decoders, None, {**of_x, **above}, seen
    )


def _of_x(latent: Codes, spec: Spec, beside: Mapping[str, Shape], sides: Mapping[str, Shape]) -> dict[str, nn.Module]:
    """The features of x and what stands beside it at every scale, the finest first."""
    names, reads = list(sides)[::-1], ("x", *beside)
    net = features((prepared_shape(spec), *beside.values()), latent.widths, latent.blocks)
    made: dict[str, nn.Module] = {f"x_{names[0]}": Feature(prepared(net, spec, reads), reads)}
    for below, name in pairwise(names):
        made[f"x_{name}"] = Feature(halved(sides[below]), f"x_{below}")
    return made


def _terms(coder: Coder, spec: Spec, shape: Shape, name: str) -> dict[str, Weighted]:
    """The terms of one level by names of its own; the KL is that of all levels."""
    found = coder.terms(spec.dimensions, prod(shape), (name,))
    return {each if each == "kl" else f"{each}_{name}": term for each, term in found.items()}


def level_by_level(latent: Codes, model: VAE) -> LevelByLevel | None:
    """What starts the codebooks of a model from data, None where they do not."""
    started = (isinstance(q, Quantiser) and hasattr(q.codebook, "start") for q in model.posterior.values())
    return LevelByLevel(model) if latent.kmeans and any(started) else None


@dataclass(frozen=True)
class LevelByLevel:
    """Starts the codebooks of a model from the highest down, each where the maps above it are of codes by then."""

    model: VAE

    def __call__(self, values: Values) -> None:
        count, device = len(values[self.model.inputs[0]]), home(self.model)
        blocks = [
            {name: value[first : first + _BLOCK].to(device) for name, value in values.items()}
            for first in range(0, count, _BLOCK)
        ]
        with evaluation_mode(self.model):
            for name, posterior in self.model.posterior.items():
                assert isinstance(posterior, Quantiser)
                blocks = [self.model.featured(block, given(posterior)) for block in blocks]
                posterior.start({each: torch.cat([block[each] for block in blocks]) for each in given(posterior)})
                blocks = [{**block, name: centre(posterior(block))} for block in blocks]
