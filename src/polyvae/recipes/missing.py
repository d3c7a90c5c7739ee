"""Variants for data that lack values: what is observed is explained, at random or with a model of what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import nn

from polyvae.checks.names import find
from polyvae.checks.ranges import Count
from polyvae.model.families.missingness import MECHANISMS, Missingness
from polyvae.model.laws import value_log_prob
from polyvae.model.networks import Shape
from polyvae.model.networks.layers import Stacked
from polyvae.model.networks.prepared import centring, prepared, prepared_shape
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Feature, Head
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.objectives.terms import Reconstruction
from polyvae.observe.gaps import Gaps
from polyvae.observe.transforms import chain
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import decoder_of, finished, trained_by
from polyvae.recipes.latents import LatentPart, divergence, latent_part, vector_decoders
from polyvae.recipes.options import Conditions, Gaussian, Likelihood, Missing, Module
from polyvae.recipes.parts import SHARING, encoder_family, network_of, prior_of
from polyvae.recipes.recording import Recipe, recipe

SAMPLES = 20


@recipe
def incomplete(
    spec: Spec,
    samples: Count | None = None,
    missing: Missing = "random",
    read_mask: bool = False,
    latent: Gaussian = Gaussian(),
    likelihood: Likelihood | None = None,
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """Learns from examples that lack values: log p(x_o) >= E log 1/K sum_k p(x_o | z_k) p(z_k) / q(z_k | x_o).

    x_o is what is observed of x, and what is not is read as the zero of standardised columns, a pixel by a perceptron
    as the mean of those seen there. Where the chance of being missing depends on the value that is missing, a model
    p(s | x) of the mask s is learned with the rest, and the bound is one on log p(x_o, s), the unseen values drawn from
    p(x | z). All of x observed, it is `iwae`.

    `samples`: K, the draws for each example, by default 20. `missing`: why values are missing: at "random", given what
    is observed; by "self-masking", a logistic function of the value itself for each column; by a "linear" or a
    "network" function of all values. `read_mask`: whether the encoder reads the mask beside x. `likelihood`: one of
    independent values, by default what the kinds of the data ask for. `condition`: posterior and likelihood also read
    y, or the values named. `objective`: what is minimised, by default minus this bound.

    Mattei, Frellsen: MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets, 2019; Ipsen, Mattei,
    Frellsen: not-MIWAE: Deep Generative Modelling with Missing not at Random Data, 2021.
    """
    y = Condition(spec, condition, latent)
    z = _reading_mask(latent, spec, y.shapes) if read_mask else latent_part(latent, spec, y.shapes)
    p = decoder_of(spec, likelihood, z.decoders["flat"], {"z": z.shape, **y.shapes})
    _check_single(p, spec)
    features, heads = ({}, {"x": Head(p, where="seen")}) if missing == "random" else _with_mask(p, missing, spec)
    loss = trained_by(_bound(samples, objective), z, {"reconstruction": Reconstruction()})
    model = VAE(z.posterior, z.prior(), heads, {**y.features, **features})
    centre = next(iter(centring(z.posterior)), None)
    return finished(model, loss, chain(Gaps(spec.columns, "s" in heads, centre), y.observe), z.start)


def _bound(samples: int | None, objective: nn.Module | None) -> nn.Module:
    if samples is not None and objective is not None:
        raise ValueError("samples are those of the recipe's own bound; an objective has its own: give one of the two")
    return ImportanceWeighted(samples or SAMPLES) if objective is None else objective


def _with_mask(p: Conditional, missing: str, spec: Spec) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The decoder's output as a feature, and two heads that read it: of what is seen of x, and of the mask."""
    mechanism = find(MECHANISMS, missing, "missing", ', or "random"')(spec)
    x = Head(Conditional(nn.Identity(), p.family, "raw"), where="seen")
    return {"raw": Feature(p.net, p.given)}, {"x": x, "s": Head(Missingness(mechanism, p.family, spec), of="s")}


def _reading_mask(latent: Gaussian, spec: Spec, beside: Mapping[str, Shape]) -> LatentPart:
    """z with a posterior that reads x and its mask as one picture or table."""
    if latent.prior in SHARING:
        raise ValueError(f"prior: the pseudo-inputs of {latent.prior!r} have no mask; leave read_mask away")
    family, wide = encoder_family(latent.posterior, latent.dimensions), prepared_shape(spec)
    both = (wide[0] + spec.x[0], *wide[1:])
    net = Stacked(network_of(latent)((both, *beside.values()), (family.size(latent.dimensions),)), 2)
    given = ("x", "seen", *beside)
    q = Conditional(prepared(net, spec, given), family, given)
    decoders = vector_decoders(latent, spec)
    return LatentPart(q, lambda: prior_of(latent, q, spec, beside), (latent.dimensions,), divergence(q), decoders)


def _check_single(p: Conditional, spec: Spec) -> None:
    """ValueError for a likelihood that has no score of single values, so that those missing could be left out."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        raw = torch.zeros(2, p.family.size(spec.x[0]), *spec.x[1:])
        law = p.family(raw)
        if getattr(law, "among", None) is None:
            with suppress(ValueError):
                value_log_prob(law, torch.ones(2, *spec.x))
                return
    raise ValueError(
        f"likelihood: what is observed is scored value by value, which {type(p.family).__name__} does not: its values "
        "depend on one another; take one of independent values, such as normal-learned"
    )
