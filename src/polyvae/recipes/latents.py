"""A latent as recipes put it together: posterior, prior, the terms that train them, and what data set beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from torch import nn

from polyvae.checks.ranges import LARGEST, Range
from polyvae.model.networks import Builder, Shape
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.networks.vq import downsampling
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import Family, Values
from polyvae.objectives.objective import Weighted
from polyvae.objectives.terms import KL, CodebookCost, Commitment
from polyvae.recipes.parts import encoder_family, reader_of_x


@dataclass(frozen=True)
class LatentPart:
    """One latent of a recipe: its posterior and prior, the shape of z, its terms of the objective by name.

    `start`, where set, belongs into `Recipe.start`.
    """

    posterior: nn.Module
    prior: nn.Module
    shape: Shape
    terms: dict[str, Weighted]
    start: Callable[[Values], None] | None = None


def gaussian_latent(
    spec: Spec,
    latent: int,
    network: str | Builder = "conv",
    widths: Sequence[int] | None = None,
    posterior: str | Family = "diagonal",
    beside: Mapping[str, Shape] | None = None,
) -> LatentPart:
    """z of `latent` dimensions with a standard normal prior; term "kl".

    `beside`: names and shapes of what the posterior reads beside x.
    """
    q = reader_of_x(spec, network, widths, beside or {}, latent, encoder_family(posterior))
    return LatentPart(q, StandardNormal(latent), (latent,), {"kl": Weighted(KL())})


Codes = Annotated[int, Range(2, LARGEST, whole=True)]
Words = Literal["gradient", "ema"]
CODEBOOKS = {"gradient": False, "ema": True}  # whether the words are moving averages


def vq_latent(
    spec: Spec,
    codes: int = 128,
    dim: int = 16,
    widths: Sequence[int] = (32, 64),
    blocks: int = 0,
    codebook: str = "gradient",
    beta: float = 0.25,
    revive: float = 0.1,
    kmeans: bool = True,
) -> LatentPart:
    """z a map of words out of `codes`, each of `dim` numbers, with equal probabilities; terms "codebook", "commitment".

    Both squared errors are summed over z and weighed by D_x / D_z, the numbers of values in x and z, the commitment by
    `beta` too: beside a squared error summed over x they stand as means of elements do beside a mean over pixels.
    `codebook`: "gradient", or "ema", moving averages, which have no codebook term. `revive`: see `Codebook`. `kmeans`:
    whether the words start at the centres of the first encoder outputs.
    """
    if codebook not in CODEBOOKS:
        raise ValueError(f"codebook is one of {', '.join(CODEBOOKS)}; got {codebook!r}")
    if beta < 0:
        raise ValueError(f"beta is at least 0; got {beta}")
    net, shape = downsampling(prepared_shape(spec), dim, widths, blocks)
    average = CODEBOOKS[codebook]
    words = Codebook(codes, dim, average, revive=revive)
    ratio = spec.dimensions / prod(shape)
    terms = {} if average else {"codebook": Weighted(CodebookCost(), ratio)}
    terms["commitment"] = Weighted(Commitment(), beta * ratio)
    posterior = Quantiser(prepared(net, spec, ("x",)), words)
    start = posterior.start if kmeans else None
    return LatentPart(posterior, UniformPrior(words, shape[1:]), shape, terms, start)
