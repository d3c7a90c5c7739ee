"""The pieces of variants that see an observation: their decoders, the masks they train on, one head or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from polyvae.model.families.real import Point
from polyvae.model.networks import Builder, Shape
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared, prepared_observation
from polyvae.model.networks.sparse import multiscale
from polyvae.model.networks.vq import flat, upsampling
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family, Head
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import Reconstruction
from polyvae.observe.masks import SparsePixels, observation, observation_shape
from polyvae.recipes.latents import LatentPart
from polyvae.recipes.parts import decoder_family, decoder_net
from polyvae.recipes.recording import Recipe

TASKS = ("reconstruction", "reconstruction_given_m")  # the terms of two decoders
SIZED = ("grid", "box")  # masks whose count is their layout, not how many of their pixels are seen


Build = Callable[[Sequence[Shape], Family], nn.Module]


@dataclass(frozen=True)
class Parts:
    """What Gaussian and quantised variants differ in: the latent, and builders of decoders of z and of (z, m)."""

    spec: Spec
    likelihood: str | Family | None
    latent: LatentPart
    alone: Build
    seeing: Build

    def head(self, *given: str) -> Conditional:
        """p(x | given), with a network and a family of its own."""
        family = decoder_family(self.likelihood, self.spec)
        if isinstance(self.likelihood, Family):
            family = deepcopy(family)  # two decoders are two also in what their families learn
        m = prepared_observation(self.spec, observation_shape(self.spec.x))
        shapes = {"z": self.latent.shape, "m": m}
        build = self.seeing if "m" in given else self.alone
        net = build([shapes[name] for name in given], family)
        return Conditional(prepared(net, self.spec, given), family, given)


def gaussian(
    spec: Spec,
    likelihood: str | Family | None,
    latent: LatentPart,
    network: str | Builder,
    widths: Sequence[int] | None,
    decoder: str,
) -> Parts:
    """Parts of a vector z: z alone is read by the network's own decoder, which "flat" is too."""

    def own(inputs: Sequence[Shape], family: Family) -> nn.Module:
        return decoder_net(network, widths, inputs, spec.x, family)

    def scales(inputs: Sequence[Shape], family: Family) -> nn.Module:
        if not is_picture(spec.x):
            return own(inputs, family)
        output = family.size(spec.x[0]), *spec.x[1:]
        return multiscale(inputs, output) if widths is None else multiscale(inputs, output, widths)

    return Parts(spec, likelihood, latent, own, _chosen(decoder, own, scales))


def quantised(
    spec: Spec,
    likelihood: str | Family | None,
    latent: LatentPart,
    widths: Sequence[int],
    blocks: int,
    decoder: str,
) -> Parts:
    """Parts of a map z: beside "flat" z alone is read flat too, beside "multiscale" by convolutions of the map."""

    def output(family: Family) -> Shape:
        return family.size(spec.x[0]), *spec.x[1:]

    def flattened(inputs: Sequence[Shape], family: Family) -> nn.Module:
        return flat(inputs, output(family), widths, blocks)

    def scales(inputs: Sequence[Shape], family: Family) -> nn.Module:
        if not is_picture(spec.x):
            return flattened(inputs, family)
        return multiscale(inputs, output(family), widths, blocks, statistics=False)

    def mapped(inputs: Sequence[Shape], family: Family) -> nn.Module:
        return upsampling(inputs[0], output(family), widths, blocks)

    alone = _chosen(decoder, flattened, mapped)
    return Parts(spec, likelihood, latent, alone, _chosen(decoder, flattened, scales))


def _chosen(decoder: str, flattened: Build, scales: Build) -> Build:
    known = {"flat": flattened, "multiscale": scales}
    if decoder not in known:
        raise ValueError(f"decoder is one of {', '.join(known)}; got {decoder!r}")
    return known[decoder]


def observed(
    spec: Spec,
    mask: str,
    count: int | float | None,
    exponent: float | None,
    positions: Sequence[int] | Sequence[Sequence[int]] | None,
) -> SparsePixels:
    """The transform that adds m, with `positions` of a picture as pairs or one after the other."""
    table = not is_picture(spec.x)
    if count is not None and exponent is not None and mask not in SIZED:
        raise ValueError(f"count and exponent exclude each other, fixed or drawn; got {count} and {exponent}")
    if count is None and exponent is None and table and mask == "uniform":
        count = 0.5  # a twentieth of a few columns is none
    if positions is not None and not table and isinstance(positions[0], int):
        if len(positions) % 2:
            raise ValueError(f"positions of a picture are row,column,row,column...; got {len(positions)} numbers")
        positions = list(zip(positions[::2], positions[1::2], strict=True))  # pyright: ignore[reportAssignmentType]
    try:
        made = observation(mask, count, exponent, positions)
        with torch.random.fork_rng(devices=[]):  # a trial, which leaves the weights of a seeded recipe as they were
            made.mask(torch.zeros(1, *spec.x))
    except ValueError as error:
        if str(error).startswith(("count ", "positions ")):
            raise
        named = "positions" if mask == "points" and count is None else "count"
        raise ValueError(f"{named} does not fit values of shape {' x '.join(map(str, spec.x))}: {error}") from error
    return made


def of_random_size(mask: str, count: int | float | None, exponent: float | None) -> float:
    """The exponent of one decoder's masks, by default 40; ValueError for a count, which would fix their size."""
    if exponent is None and count is not None and mask not in SIZED:
        raise ValueError(
            "count and exponent: one decoder trains on masks of random size, which an exponent draws; "
            f"got count = {count} alone: give exponent instead, or two decoders"
        )
    return 40.0 if exponent is None else exponent


def one_head(parts: Parts, observe: SparsePixels, weight: float = 1.0, objective: nn.Module | None = None) -> Recipe:
    """A recipe whose only decoder reads z and m."""
    latent = parts.latent
    model = VAE(latent.posterior, latent.prior, parts.head("z", "m"))
    terms = {"reconstruction": Weighted(Reconstruction(), weight), **latent.terms}
    return _recipe(parts, model, objective or Objective(terms), observe)


def two_heads(parts: Parts, observe: SparsePixels, w1: float, w2: float, balance: nn.Module | None) -> Recipe:
    """A recipe with a decoder of z, which the bound is of, and one of z and m."""
    latent = parts.latent
    heads = {"x": parts.head("z"), "x_given_m": Head(parts.head("z", "m"), of="x")}
    costs = (Weighted(Reconstruction((name,)), weight) for name, weight in zip(heads, (w1, w2), strict=True))
    terms = dict(zip(TASKS, costs, strict=True))
    objective = Objective({**terms, **latent.terms}, balance=balance)
    return _recipe(parts, VAE(latent.posterior, latent.prior, heads), objective, observe)


def _recipe(parts: Parts, model: VAE, objective: nn.Module, observe: SparsePixels) -> Recipe:
    point = isinstance(getattr(parts.latent.posterior, "family", None), Point)  # a point has no bound
    monitor = "reconstruction" if point else "bound"
    return Recipe(model, objective, observe, monitor, start=parts.latent.start)
