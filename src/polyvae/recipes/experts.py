"""The pieces of recipes of several modalities: an expert and a head of each, and priors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from polyvae.checks.finite import check_finite
from polyvae.checks.names import find, near
from polyvae.model.families.real import DiagonalNormal, Laplace
from polyvae.model.networks import NETWORKS, Builder, Shape, mirrored, modes
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.mlp import mlp
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.networks.together import Together
from polyvae.model.parts import Head
from polyvae.model.presence import present
from polyvae.model.priors.laplace import StandardLaplace
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Family
from polyvae.recipes.decoders import decoder_of
from polyvae.recipes.options import Modal
from polyvae.recipes.parts import WITHOUT_STATISTICS
from polyvae.recipes.several import check_names, check_several

HIDDEN = 400  # of a perceptron, as in the papers that these recipes are of
SMALL = 32  # the side up to which a perceptron reads a grey picture
GREY = "laplace"  # its scale is learned, so that grey levels count as much as they are certain
SHARP = 1e-6  # the least scale of a normal expert: a field tells some of z to more than four digits

CONVOLVING = ("conv", "residual", "strided", "modes")
NAMED: Mapping[str, Builder] = {**WITHOUT_STATISTICS, "modes": modes}  # beside all networks, or in their places


def modalities(spec: Spec, recipe: str, latents: Sequence[str] = ("z",), own: str = "") -> dict[str, Spec]:
    """The modalities by name; ValueError, by the recipe, for data of one x, and for a name of one of its latents.

    `own`: what stands before the name of a modality in that of the latent which it has to itself.
    """
    check_several(spec, recipe)
    check_names(spec, recipe, [*latents, *(f"{own}_{name}" for name in spec.values if own)])
    return spec.values


def check_multiplied(latent: Modal, recipe: str) -> None:
    """ValueError, by the recipe, for experts whose product has no law of their kind."""
    if latent.expert != "normal":
        raise ValueError(
            f"expert: {recipe} multiplies its experts, which is for normal ones; {latent.expert!r} is for mmvae and "
            "mmvae_plus"
        )


def by_modality(given: Any, specs: Mapping[str, Spec], what: str) -> dict[str, Any]:
    """What is given for each modality: NAME=VALUE,..., a mapping, or one value for all; nothing for those left out.

    ValueError for the name of no modality, and for one that is given twice.
    """
    if given is None:
        return {}
    if isinstance(given, str) and "=" in given:
        pairs = [each.split("=", 1) for each in given.replace(" ", "").split(",")]
        if wrong := [pair[0] for pair in pairs if len(pair) < 2]:
            raise ValueError(f"{what} is one value for all modalities, or NAME=VALUE,...; got {wrong[0]!r} alone")
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError(f"{what} names each modality once; got {given!r}")
        given = dict(pairs)
    if not isinstance(given, Mapping):
        return dict.fromkeys(specs, given)
    if unknown := [name for name in given if name not in specs]:
        hint = near(str(unknown[0]), specs)
        raise ValueError(f"{what}: the modalities are {', '.join(specs)}; got {unknown[0]!r}{hint}")
    return dict(given)


def networks(latent: Modal, specs: Mapping[str, Spec]) -> dict[str, Builder]:
    """The builder of each modality's networks, without statistics of a batch, in which rows may be missing."""
    asked = by_modality(latent.network, specs, "network")
    pictured = {name for name, spec in specs.items() if is_picture(spec.x)}
    named = isinstance(latent.network, Mapping) or "=" in str(latent.network)
    vain = [name for name, which in asked.items() if name not in pictured and which in CONVOLVING]
    if vain and (named or not pictured):
        raise ValueError(
            f"network: {asked[vain[0]]!r} is for pictures and fields, and {vain[0]} is neither; "
            "for columns there are mlp and mlp-tanh"
        )
    return {name: _network(asked.get(name) or _usual(spec), name) for name, spec in specs.items()}


def _usual(spec: Spec) -> str:
    wide = is_picture(spec.x) and (spec.x[0] > 1 or max(spec.x[1:]) > SMALL)
    return "strided" if wide else "mlp"


def _network(which: str | Builder, name: str) -> Builder:
    known: Mapping[str, Callable[..., Any]] = {**NETWORKS, **NAMED}
    build = find(known, which, f"network of {name}", ", or a builder") if isinstance(which, str) else which
    return partial(build, hidden=(HIDDEN,)) if build is mlp else build


def expert_family(latent: Modal) -> Family:
    """The family of an expert's law."""
    return Laplace("network") if latent.expert == "laplace" else DiagonalNormal(SHARP)


def prior_of(latent: Modal, dimensions: int) -> nn.Module:
    """The standard law of the experts' kind."""
    return (StandardLaplace if latent.expert == "laplace" else StandardNormal)(dimensions)


def experts_of(latent: Modal, specs: Mapping[str, Spec], dimensions: int) -> dict[str, Conditional]:
    """q(. | x_m) of so many dimensions, one for each modality."""
    made = {}
    for name, build in networks(latent, specs).items():
        spec, family = specs[name], expert_family(latent)
        net = build([prepared_shape(spec)], (family.size(dimensions),))
        made[name] = Conditional(prepared(net, spec, ("x",), name), family, name)
    return made


def joint_of(latent: Modal, specs: Mapping[str, Spec], dimensions: int) -> Conditional:
    """q(. | x) of all modalities."""
    nets = [
        prepared(build([prepared_shape(specs[name])], (HIDDEN,)), specs[name], ("x",), name)
        for name, build in networks(latent, specs).items()
    ]
    family = expert_family(latent)
    return Conditional(Together(nets, HIDDEN, (family.size(dimensions),)), family, tuple(specs))


def heads_of(latent: Modal, specs: Mapping[str, Spec], reads: Mapping[str, Mapping[str, Shape]]) -> dict[str, Head]:
    """p(x_m | z ...) of each modality, scored in the rows that have it; `reads`: the latents that each reads."""
    asked = by_modality(latent.likelihood, specs, "likelihood")
    weights, made = weights_of(latent.weights, specs), {}
    for name, build in networks(latent, specs).items():
        spec = specs[name]
        which = asked.get(name) or (GREY if spec.grey else None)
        p = decoder_of(spec, which, mirrored(build), reads[name])
        made[name] = Head(p, of=name, weight=weights[name], where=present(name))
    return made


def weights_of(given: Any, specs: Mapping[str, Spec]) -> dict[str, float]:
    """What log p of each modality counts in training; ValueError for what is no weight."""
    sizes = {name: spec.dimensions for name, spec in specs.items()}
    if given == "balanced":
        return {name: max(sizes.values()) / size for name, size in sizes.items()}
    asked = {} if given == "even" else by_modality(given, specs, "weights")
    try:
        found = {name: float(asked.get(name, 1.0)) for name in specs}
    except (TypeError, ValueError):
        raise ValueError(f"weights is balanced, even, or NAME=NUMBER,...; got {given!r}") from None
    check_finite({f"weights of {name}": weight for name, weight in found.items()})
    if wrong := [name for name, weight in found.items() if weight < 0]:
        raise ValueError(f"weights are at least 0; got {found[wrong[0]]} for {wrong[0]}")
    if not any(found.values()):
        raise ValueError(f"weights: one above 0 at least, or nothing is learned; got {given}")
    return found


def shared(names: Sequence[str], dimensions: int) -> dict[str, dict[str, Shape]]:
    """The latents that each modality's head reads where all read z alone."""
    return {name: {"z": (dimensions,)} for name in names}
