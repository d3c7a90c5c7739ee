"""Variants given an observation m = (x * mask, mask) of a few pixels of x: in a decoder, or in prior and posterior.

A decoder that reads m leaves posterior and prior of z as they are: the bound is on log p(x | m) with z independent of m
a priori, and only comparable at equal m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

from torch import nn

from polyvae.checks.names import find
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import Shape, mlp
from polyvae.model.networks.layers import Stacked, is_picture
from polyvae.model.networks.prepared import prepared, prepared_observation, prepared_shape
from polyvae.model.networks.sparse import Filled
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Head
from polyvae.objectives import balance
from polyvae.objectives.direct import Direct
from polyvae.objectives.objective import Weighted
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.apart import heads_apart, taught_apart
from polyvae.recipes.begun import LAWS, features_of, read_of
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import decoders_of, finished, trained_by
from polyvae.recipes.latents import LatentPart, divergence, latent_part, vector_decoders
from polyvae.recipes.observing import observed, of_random_size, shown_shape, usual_counts
from polyvae.recipes.options import (
    Codes,
    Conditions,
    Decoder,
    Gaussian,
    GivenM,
    Likelihood,
    Mask,
    Module,
    Tasks,
)
from polyvae.recipes.parts import encoder_family, network_of, reads_sensors
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.sensed import at_sensors

DIRECT = 0.1  # of the examples are decoded at z = 0, in such decoders that are not apart
TASKS = ("reconstruction", "reconstruction_given_m")  # the terms of two decoders


@recipe
def semi_conditional(
    spec: Spec,
    latent: Gaussian | Codes = Gaussian(),
    likelihood: Likelihood | None = None,
    decoder: Decoder = "flat",
    mask: Mask = Mask(),
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """log p(x | m) >= E_q(z | x)[log p(x | z, m)] - KL(q(z | x) || p(z)), m = (x * mask, mask) a few pixels of x.

    `likelihood`: by default what the kinds of the data ask for. `decoder`: "flat", the network's own with z and m
    flattened and joined, "multiscale", convolutions with the network's widths that meet m at every scale, or the same
    begun at what a law of the training pictures expects given m: "analysers", a mixture of factor analysers, or
    "normal-law", one normal law whose colours share a covariance.
    `condition`: posterior and likelihood also read y, or the values named. `objective`: what is minimised, by default
    minus the bound. `network`: beside the usual ones "sensing", for fields seen at fixed places, of which readings
    alone are read and which are written in principal axes.

    Gundersen, Oleynik, Blaser, Alendal: Semi-conditional Variational Auto-encoder for Flow Reconstruction and
    Uncertainty Quantification from Limited Observations, 2021.
    """
    y = Condition(spec, condition, latent)
    z = latent_part(at_sensors(latent, spec, mask, y), spec, y.shapes)
    features = {**y.features, **features_of(spec, latent, decoder, mask)}
    (p,) = decoders_of(spec, z, likelihood, decoder, y, [read_of(spec, mask, decoder)])
    loss = trained_by(objective, z, {"reconstruction": Reconstruction()})
    return finished(VAE(z.posterior, z.prior(), p, features), loss, observed(spec, mask, y), z.start)


@recipe
def multitask(
    spec: Spec,
    latent: Gaussian | Codes = Gaussian(),
    likelihood: Likelihood | None = None,
    decoder: Decoder = "flat",
    mask: Mask = Mask(),
    tasks: Tasks = Tasks(),
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """Reconstruction from z alone and from z and a few observed pixels m, of one encoder and one z.

    Two decoders: w1 E_q[log p(x | z)] + w2 E_q[log p(x | z, m)] - KL(q(z | x) || p(z)), heads "x" and "x_given_m". One:
    E_q[log p(x | z, m)] - KL, head "x", with masks of random size, so that the empty one asks for the first task. The
    plain bound is that of head "x", whatever the weights. Codes have the codebook's costs in the place of the KL.

    `likelihood`: by default what the kinds of the data ask for; the study's is "normal". `decoder`: of (z, m), "flat",
    the network's own with both flattened and joined, of codes in both heads, or "multiscale", convolutions with the
    network's widths that meet m at every scale, of codes beside a head x of convolutions alone. `exponent`: how many is
    drawn for each example, N (1 - u^(1/exponent)), down to none; by default 40 with one decoder. `condition`: posterior
    and likelihood also read y, or the values named. `objective`: what is minimised in the place of these terms.

    Zakovskis: Multitask Variational Autoencoders, 2024; Heydari, Thompson, Mehmood: SoftAdapt, 2019.
    """
    y, one = Condition(spec, condition, latent), tasks.decoders == 1
    factors, read = _balance(tasks, objective), read_of(spec, mask, decoder)
    z = latent_part(at_sensors(latent, spec, mask, y), spec, y.shapes)
    features = {**y.features, **features_of(spec, latent, decoder, mask)}
    found = decoders_of(spec, z, likelihood, decoder, y, [read] if one else [{}, read])
    heads = {name: Head(p, of="x") for name, p in zip(("x", "x_given_m"), found, strict=False)}
    costs = zip(TASKS, heads, (tasks.w1, tasks.w2), strict=False)
    terms = {name: Weighted(Reconstruction(None if one else (head,)), weight) for name, head, weight in costs}
    loss = trained_by(objective, z, terms, factors)
    seen = observed(spec, of_random_size(mask) if one else mask, y)
    return finished(VAE(z.posterior, z.prior(), heads, features), loss, seen, z.start)


def _balance(tasks: Tasks, objective: Module | None) -> balance.SoftAdapt | None:
    """What balances two decoders; ValueError where there is one, or where an objective of one's own does it."""
    if tasks.decoders == 1 and (tasks.softadapt is not None or tasks.w2 != 1):
        raise ValueError("w2 and softadapt balance two decoders; one has a single reconstruction, which w1 weighs")
    if objective is not None and Tasks(tasks.decoders) != tasks:
        raise ValueError("w1, w2 and softadapt weigh the terms of the recipe's own objective; leave out objective")
    if tasks.softadapt is None:
        return None
    try:
        return balance.SoftAdapt(TASKS, *astuple(tasks.softadapt))
    except ValueError as error:
        raise ValueError(f"softadapt_{error}") from error


def _like_the_encoder(latent: Gaussian, inputs: Sequence[Shape], output: Shape, told: bool) -> nn.Module:
    m, *others = inputs
    if told or not is_picture(m) or reads_sensors(latent):
        return network_of(latent)(inputs, output)
    return Filled(network_of(latent)(((2 * m[0] - 1, *m[1:]), *others), output))


PriorNet = Callable[[Gaussian, Sequence[Shape], Shape, bool], nn.Module]
PRIOR_NETWORKS: dict[str, PriorNet] = {
    "encoder": _like_the_encoder,
    "perceptron": lambda latent, inputs, output, told: mlp(inputs, output),
}


@recipe
def arbitrary_conditioning(
    spec: Spec,
    latent: Gaussian = Gaussian(),
    likelihood: Likelihood | None = None,
    decoder: Decoder = "multiscale",
    given: GivenM = GivenM(),
    mask: Mask = Mask(),
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """log p(x | m) >= E_q(z | x, m)[log p(x | z, m)] - KL(q(z | x, m) || p(z | m)): m alone places z.

    `likelihood`: by default what the kinds of the data ask for. `decoder`: "multiscale", convolutions with the
    network's widths that meet m at every scale, "analysers" or "normal-law", the same begun at what a mixture of factor
    analysers of the training pictures, or a normal law whose colours share a covariance, expects given m, which p(z |
    m) then reads too, or "flat", the network's own with z and m flattened and joined. `prior`: "standard" alone, since
    that given m is learned. `count`: how many, a number or a share below 1; by default drawn, of pictures as often from
    one to ten as from ten to a hundred, from none to all, of tables any number alike. `exponent`: how many is drawn for
    each example, N (1 - u^(1/exponent)), down to none. `condition`: posterior, prior and likelihood also read y, or the
    values named. `objective`: what is minimised, by default minus the bound.

    Ivanov, Figurnov, Vetrov: Variational Autoencoder with Arbitrary Conditioning, 2019; Sohn, Lee, Yan: Learning
    Structured Output Representation using Deep Conditional Generative Models, 2015.
    """
    if latent.prior != "standard":
        raise ValueError(f"prior is learned given m, which prior_network says more of; got {latent.prior!r}")
    y, read = Condition(spec, condition), read_of(spec, mask, decoder)
    features = {**y.features, **features_of(spec, latent, decoder, mask)}
    network = find(PRIOR_NETWORKS, given.network, "prior_network")
    z = _placed_by_m(at_sensors(latent, spec, mask, y), spec, y, shown_shape(spec, mask), read, network)
    direct, apart = _shares(given, decoder, y, objective)
    heads: Head | dict[str, Head]
    if apart:
        more, heads = heads_apart(spec, latent, likelihood, z, read)
        features, loss = {**features, **more}, taught_apart(apart, z)
    else:
        (p,) = decoders_of(spec, z, likelihood, decoder, y, [read])
        heads, reconstruction = Head(p, direct=direct > 0), {"reconstruction": Reconstruction()}
        loss = Direct({"z": z.shape}, direct) if direct else trained_by(objective, z, reconstruction)
    model = VAE(z.posterior, z.prior(), heads, features)
    return finished(model, loss, observed(spec, mask, y, usual_counts(spec)))


def _shares(given: GivenM, decoder: str, y: Condition, objective: nn.Module | None) -> tuple[float, float]:
    """The share of examples decoded at z = 0, and the weight of a network of m alone; at most one is not zero.

    ValueError where both are asked for, or an objective of one's own leaves none, or there is no such network.
    """
    if objective is not None and given.direct:
        raise ValueError("direct is a part of the recipe's own objective; leave out objective, or take Direct for it")
    if objective is not None and given.apart:
        raise ValueError("apart is trained by the recipe's own objective; leave out objective")
    if given.direct and given.apart:
        raise ValueError("apart and direct both train what m says alone; leave out one of them")
    if given.apart and decoder == "flat":
        raise ValueError("apart: a network of m alone is no part of decoder flat; take multiscale, or leave out apart")
    if given.apart and y.shapes:
        raise ValueError("apart: a network of m alone reads no condition; leave out one of them, or take direct")
    law = LAWS.get(decoder) if objective is None else None
    apart = law.apart if law is not None and given.direct is None and not y.shapes else 0.0
    apart = apart if given.apart is None else given.apart
    direct = DIRECT if law is not None and not apart else 0.0
    return direct if given.direct is None else given.direct, apart


def _placed_by_m(
    latent: Gaussian, spec: Spec, y: Condition, seen: Shape, read: Mapping[str, Shape], network: PriorNet
) -> LatentPart:
    """z with a posterior that reads x and m, as one picture or table but for sensors, and a prior that `read`s m."""
    q_family, p_family = encoder_family(latent.posterior, latent.dimensions), DiagonalNormal()
    x, m, others = prepared_shape(spec), prepared_observation(spec, seen), list(y.shapes.values())
    apart, size = reads_sensors(latent), (q_family.size(latent.dimensions),)
    both = [x, m] if apart else [(x[0] + m[0], *m[1:])]
    q_net = network_of(latent)((*both, *others), size)
    q_net = q_net if apart else Stacked(q_net, 2)
    p_net = network(latent, (*read.values(), *others), (p_family.size(latent.dimensions),), "m" not in read)
    q_given, p_given = ("x", "m", *y.shapes), (*read, *y.shapes)
    q = Conditional(prepared(q_net, spec, q_given), q_family, q_given)
    p = Conditional(prepared(p_net, spec, p_given), p_family, p_given)
    return LatentPart(q, lambda: p, (latent.dimensions,), divergence(q), vector_decoders(latent, spec))
