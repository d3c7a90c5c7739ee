"""Latents in groups, one drawn below the other, inferred from below and from above at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

from torch import nn

from polyvae.checks.names import find
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.families.relative import Beside, PrecisionNormal, ResidualNormal
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.networks.rungs import Maps, Rungs, Vectors
from polyvae.model.parts import Feature
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family
from polyvae.objectives.balance import GroupBalance
from polyvae.objectives.objective import Weighted
from polyvae.objectives.penalties import SpectralNorms
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import finished, trained_by
from polyvae.recipes.latents import LatentPart
from polyvae.recipes.options import Conditions, Groups, Likelihood, Module, Pressure
from polyvae.recipes.parts import decoder_family
from polyvae.recipes.recording import Recipe, recipe


@recipe
def ladder(
    spec: Spec,
    latents: Groups = Groups(),
    likelihood: Likelihood | None = None,
    condition: Conditions = Conditions(),
    pressure: Pressure = Pressure(),
    objective: Module | None = None,
) -> Recipe:
    """p(z1) prod_l p(z_l | h_l) p(x | h), h_l of the z above z_l, and q(z1 | x) prod_l q(z_l | e_l, h_l), e_l of x.

    `likelihood`: by default that of the data. `condition`: both paths also read y, or the values named. `objective`:
    what is minimised in the place of minus the bound, whose every group has a term of its own, kl_z1, kl_z2, ...

    Sonderby, Raiko, Maaloe, Sonderby, Winther: Ladder Variational Autoencoders, 2016; in small Vahdat, Kautz: NVAE: A
    Deep Hierarchical Variational Autoencoder, 2020, and Child: Very Deep VAEs Generalize Autoregressive Models and Can
    Outperform Them on Images, 2021.
    """
    y, rungs = Condition(spec, condition), rungs_of(spec, latents)
    model = ladder_of(spec, rungs, latents, y, decoder_family(likelihood, spec))
    terms, balance = pressing(model, pressure, {z: prod(rungs.latent(n)) for z, n in scales_of(latents).items()})
    if objective is not None and pressure != Pressure():
        raise ValueError(f"objective takes the place of its usual terms, and so of {pressure}; give one of both")
    if getattr(objective, "weighs_paths", False) and len(model.prior) > 1:
        raise ValueError(
            "objective: posteriors read features of latents above, through which this bound has no gradient"
        )
    whole = LatentPart(model.posterior["z1"], lambda: model.prior["z1"], (), terms, {})
    return finished(model, trained_by(objective, whole, {"reconstruction": Reconstruction()}, balance), y.observe)


def ladder_of(spec: Spec, rungs: Rungs, latents: Groups, y: Condition, family: Family) -> VAE:
    """The model of such groups, both paths of which read the condition where they begin."""
    features: dict[str, nn.Module] = dict(y.features)
    priors: dict[str, nn.Module] = {}
    posteriors: dict[str, nn.Module] = {}
    shapes, given = {"x": prepared_shape(spec), **y.shapes}, ("x", *y.shapes)
    for scale in range(len(latents.per_scale)):
        net, name = rungs.up([shapes[each] for each in given], scale), f"e{scale}"
        features[name] = Feature(prepared(net, spec, given), given)
        shapes[name], given = rungs.path(scale), (name,)
    places = scales_of(latents)
    for n, ((z, scale), below) in enumerate(zip(places.items(), [*places.values(), 0][1:], strict=True), 1):
        e, h, r = f"e{scale}", f"h{n}", f"r{n}"
        shapes[z] = rungs.latent(scale)
        if n == 1:
            priors[z] = StandardNormal(shapes[z])
            posteriors[z] = Conditional(rungs.raw([shapes[e]], scale, 2), DiagonalNormal(), e)
        else:
            features[r] = Feature(rungs.raw([shapes[h]], scale, 2), h)
            priors[z] = Conditional(nn.Identity(), DiagonalNormal(), r)
            posteriors[z] = find(MERGES, latents.merge, "merge")(rungs, scale, (e, h, r))
        given = (z, *y.shapes) if n == 1 else (h, z)
        net = rungs.down([shapes[each] for each in given], scale, below, n > 1)
        features[f"h{n + 1}"], shapes[f"h{n + 1}"] = Feature(net, given), rungs.path(below)
    out = rungs.out((family.size(spec.x[0]), *spec.x[1:]))
    return VAE(posteriors, priors, Conditional(out, family, f"h{len(places) + 1}"), features)


def scales_of(latents: Groups) -> dict[str, int]:
    """The scale of each latent, 0 at the bottom; names from the top."""
    scales = [scale for scale, count in enumerate(latents.per_scale[::-1]) for _ in range(count)][::-1]
    return {f"z{n}": scale for n, scale in enumerate(scales, 1)}


def _residual(rungs: Rungs, scale: int, names: tuple[str, str, str]) -> Conditional:
    net = rungs.raw([rungs.path(scale)] * 2, scale, 2)
    return Conditional(Beside(net), ResidualNormal(), names)


def _network(rungs: Rungs, scale: int, names: tuple[str, str, str]) -> Conditional:
    return Conditional(rungs.raw([rungs.path(scale)] * 2, scale, 2), DiagonalNormal(), names[:2])


def _precision(rungs: Rungs, scale: int, names: tuple[str, str, str]) -> Conditional:
    return Conditional(Beside(rungs.raw([rungs.path(scale)], scale, 2)), PrecisionNormal(), names[::2])


MERGES: dict[str, Callable[[Rungs, int, tuple[str, str, str]], Conditional]] = {
    "residual": _residual,
    "network": _network,
    "precision": _precision,
}


def rungs_of(spec: Spec, latents: Groups) -> Rungs:
    """The networks of the groups' scales: maps of pictures, where vectors are not asked for, else vectors.

    ValueError where numbers are of another count of scales.
    """
    scales, vectors = len(latents.per_scale), find(VECTORS, latents.network, "network")
    pictures = is_picture(spec.x) and latents.network in MAPS
    usual = [32 * min(2**scale, 2) if pictures else max(64, 256 >> scale) for scale in range(scales)]
    widths = _of_scales("widths", usual if latents.widths is None else latents.widths, scales)
    sizes = _of_scales("latent", latents.latent, scales)[::-1]
    if pictures:
        return Maps(widths, sizes, (spec.x[1], spec.x[2]), latents.blocks, MAPS[latents.network])
    return vectors(widths, sizes, latents.blocks)


MAPS = {"residual": True, "conv": False}
VECTORS: dict[str, Callable[..., Rungs]] = {  # of tables, whatever is asked for
    "mlp": Vectors,
    "mlp-tanh": partial(Vectors, activation=nn.Tanh, centred=True),
    **dict.fromkeys(MAPS, Vectors),
}


def _of_scales(name: str, given: int | Sequence[int], scales: int) -> list[int]:
    """A number for each scale, as many as there are or one for all."""
    values = [given] if isinstance(given, int) else list(given)
    if len(values) not in (1, scales):
        raise ValueError(
            f"{name} is one number for all scales, or for each of {scales}, as many as per_scale has; got {values}"
        )
    return values * (scales // len(values))


def pressing(model: VAE, pressure: Pressure, sizes: Mapping[str, int]) -> tuple[dict[str, Weighted], nn.Module | None]:
    """The terms of the objective beside the reconstruction, and what balances them while their weight rises."""
    steps = pressure.kl_warmup
    if pressure.balance and not steps:
        raise ValueError("balance: groups are balanced while the weight of the KL rises; give kl_warmup, its steps")
    weight: Any = Linear(0.0, 1.0, steps) if steps else 1.0
    terms = {f"kl_{z}": Weighted(KL(latents=(z,)), weight, floor=pressure.free_bits) for z in sizes}
    if pressure.spectral_weight:
        terms["spectral"] = Weighted(SpectralNorms(model), pressure.spectral_weight)
    named = {f"kl_{z}": size for z, size in sizes.items()}
    return terms, GroupBalance(named, steps) if pressure.balance else None
