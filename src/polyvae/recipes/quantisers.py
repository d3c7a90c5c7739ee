"""How the vectors of a map become integers, by name: the codebook that `Codes` asks for and the terms that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from torch import nn

from polyvae.checks.names import find
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.gumbel import GumbelCodes
from polyvae.model.posteriors.lattice import FiniteScalar, LookupFree
from polyvae.model.posteriors.stages import Grouped, Residual
from polyvae.objectives.code_terms import EntropyPenalty
from polyvae.objectives.objective import Weighted
from polyvae.objectives.terms import KL, CodebookCost, Commitment
from polyvae.recipes.options import Codes

CODEBOOKS = {"gradient": False, "ema": True}  # whether the words are moving averages
Latents = tuple[str, ...] | None
_LEARNED = ("count", "dim", "codebook", "beta", "revive", "kmeans", "rotation")  # what a `Codebook` reads


@dataclass(frozen=True)
class Coder:
    """A quantiser as a recipe makes it: `dim` numbers a vector, the codebook, and its terms.

    These are made of the sizes of x and z, and of the names of the latents that they are of, all where that is None.

    The codebook is made after the networks, so that these have the same weights whichever is chosen.
    """

    dim: int
    build: Callable[[], nn.Module]
    terms: Callable[[int, int, Latents], Mapping[str, Weighted]]


def coder_of(latent: Codes) -> Coder:
    """The quantiser that `latent` names; ValueError where it sets, by name, what that quantiser does not read."""
    make, reads = find(QUANTISERS, latent.quantiser, "quantiser")
    known, plain = {*reads, "quantiser", "widths", "blocks"}, Codes()
    for name in (each.name for each in fields(latent)):
        if name not in known and getattr(latent, name) != getattr(plain, name):
            said = {"count": "codes"}
            mine = ", ".join(said.get(each, each) for each in reads)
            which = f"{said.get(name, name)} is not read by quantiser {latent.quantiser!r}"
            raise ValueError(f"{which}, which reads {mine}; leave it out or take another quantiser")
    return make(latent)


def _nearest(latent: Codes) -> Coder:
    return Coder(latent.dim, lambda: _codebook(latent, latent.dim), _costs(latent))


def _residual(latent: Codes) -> Coder:
    stages = range(latent.depth)
    return Coder(latent.dim, lambda: Residual([_codebook(latent, latent.dim) for _ in stages]), _costs(latent))


def _grouped(latent: Codes) -> Coder:
    part, rest = divmod(latent.dim, latent.depth)
    if rest:
        raise ValueError(f"depth: {latent.depth} groups do not share {latent.dim} channels evenly; change dim")
    groups = range(latent.depth)
    return Coder(latent.dim, lambda: Grouped([_codebook(latent, part) for _ in groups]), _costs(latent))


def _finite_scalar(latent: Codes) -> Coder:
    return Coder(len(latent.levels), lambda: FiniteScalar(latent.levels), lambda x, z, of: {"kl": Weighted(KL())})


def _lookup_free(latent: Codes) -> Coder:
    bits = latent.count.bit_length() - 1
    if latent.count != 2**bits:
        raise ValueError(
            f"codes: quantiser 'lookup-free' has 2, 4, 8 ..., the signs of some channels; got {latent.count}"
        )

    def terms(x: int, z: int, of: Latents) -> dict[str, Weighted]:
        # The entropies are means over places, as a mean over pixels is; times D_x they stand beside a sum of those.
        entropy = Weighted(EntropyPenalty(latents=of), latent.entropy * x)
        return {"commitment": Weighted(Commitment(of), latent.beta * (x / z)), "entropy": entropy}

    return Coder(bits, lambda: LookupFree(bits), terms)


def _gumbel(latent: Codes) -> Coder:
    sizes = latent.count, latent.dim, latent.temperature, latent.anneal, latent.hard
    return Coder(latent.dim, lambda: GumbelCodes(*sizes), lambda x, z, of: {"kl": Weighted(KL())})


def _codebook(latent: Codes, dim: int) -> Codebook:
    average = find(CODEBOOKS, latent.codebook, "codebook")
    return Codebook(latent.count, dim, average, revive=latent.revive, rotation=latent.rotation)


def _costs(latent: Codes) -> Callable[[int, int, Latents], Mapping[str, Weighted]]:
    """Both squared errors, weighed so that they stand as means of elements do beside a mean over pixels."""
    average = find(CODEBOOKS, latent.codebook, "codebook")

    def terms(x: int, z: int, of: Latents) -> dict[str, Weighted]:
        moved = {} if average else {"codebook": Weighted(CodebookCost(of), x / z)}
        return {**moved, "commitment": Weighted(Commitment(of), latent.beta * (x / z))}

    return terms


# What makes each, and the fields of `Codes` that it reads beside those of the networks.
QUANTISERS: dict[str, tuple[Callable[[Codes], Coder], tuple[str, ...]]] = {
    "nearest": (_nearest, _LEARNED),
    "residual": (_residual, (*_LEARNED, "depth")),
    "grouped": (_grouped, (*_LEARNED, "depth")),
    "finite-scalar": (_finite_scalar, ("levels",)),
    "lookup-free": (_lookup_free, ("count", "beta", "entropy")),
    "gumbel": (_gumbel, ("count", "dim", "temperature", "anneal", "hard")),
}
