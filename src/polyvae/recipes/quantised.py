"""The vector-quantised variants: others with `Codes` for a latent."""

from __future__ import annotations

from typing import Any

from polyvae.checks.names import find
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.code_maps import code_maps, level_by_level
from polyvae.recipes.conditioning import multitask, semi_conditional
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import decoder_of, finished, trained_by
from polyvae.recipes.latents import latent_part
from polyvae.recipes.options import Codes, Conditions, Likelihood, MapDecoder, Module, Scales, Words
from polyvae.recipes.recording import Recipe, recipe


@recipe
def vq_vae(
    spec: Spec,
    latent: Codes = Codes(),
    likelihood: Likelihood | None = None,
    decoder: MapDecoder = "map",
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """log p(x) >= log p(x | z) - P log K, z the nearest of K words at each of P places, trained with D_x / D_z times
    |sg(e) - z|^2 + beta |e - sg(z)|^2, e the encoder's output and D the number of values.

    `likelihood`: by default what the kinds of the data ask for; the study's is "normal". `decoder`: "map", convolutions
    alone, or "flat", the map flattened into a linear layer first. `condition`: encoder and decoder also read y, or the
    values named. `objective`: what is minimised in the place of these terms.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """
    y = Condition(spec, condition)
    z = latent_part(latent, spec, y.shapes)
    network = find({"map": z.decoders["map"], "flat": z.decoders["flat"]}, decoder, "decoder")
    p = decoder_of(spec, likelihood, network, {"z": z.shape, **y.shapes})
    loss = trained_by(objective, z, {"reconstruction": Reconstruction()})
    return finished(VAE(z.posterior, z.prior(), p, y.features), loss, y.observe, z.start)


@recipe
def vq_vae_2(
    spec: Spec,
    latent: Codes = Codes(),
    scales: Scales = 2,
    codes_above: Words | None = None,
    likelihood: Likelihood | None = None,
    decoder: MapDecoder = "map",
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """log p(x) >= log p(x | z_1 ... z_L) - sum_l P_l log K_l, z_l maps of codes, each half as fine as the one below.

    The highest map is drawn first; the posterior of each lower one reads the encoder's features at its scale and those
    that are decoded from the maps above, and the decoder reads all maps. Every level has the terms of `vq_vae`, weighed
    by its own number of values, and its own codebook; one level is `vq_vae`.

    `scales`: how many maps there are, L: "top" and "bottom", or "top", "middle" and "bottom"; the residual `blocks`
    stand at the lowest scale. `codes_above`: words in the codebooks above the lowest, by default as many as in that.
    `likelihood`: by default what the kinds of the data ask for. `decoder`: "map", convolutions alone, or "flat", the
    maps flattened into a linear layer first. `condition`: encoder and decoder also read y, or the values named.
    `objective`: what is minimised in the place of these terms.

    Razavi, van den Oord, Vinyals: Generating Diverse High-Fidelity Images with VQ-VAE-2, 2019.
    """
    y = Condition(spec, condition)
    z = code_maps(latent, spec, y.shapes, scales, codes_above)
    network = find({"map": z.decoders["map"], "flat": z.decoders["flat"]}, decoder, "decoder")
    p = decoder_of(spec, likelihood, network, {**z.read, **y.shapes})
    loss = trained_by(objective, z, {"reconstruction": Reconstruction()})
    model = VAE(z.posterior, z.prior(), p, {**y.features, **z.features})
    return finished(model, loss, y.observe, level_by_level(latent, model))


@recipe
def vq_semi_conditional(spec: Spec, latent: Codes = Codes(), **options: Any) -> Recipe:
    """log p(x | m) >= log p(x | z, m) - P log K, z the nearest of K words at each of P places, m a few pixels of x.

    `semi_conditional(spec, latent=Codes())` by another name.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017; the observation as in
    `semi_conditional`.
    """
    return semi_conditional(spec, latent=latent, **options)


@recipe
def vq_multitask(spec: Spec, latent: Codes = Codes(), **options: Any) -> Recipe:
    """`multitask` with a quantised latent: reconstruction from the map z alone and from z and a few observed pixels m.

    `multitask(spec, latent=Codes())` by another name.

    Zakovskis: Multitask Variational Autoencoders, 2024; van den Oord, Vinyals, Kavukcuoglu: Neural Discrete
    Representation Learning, 2017; Heydari, Thompson, Mehmood: SoftAdapt, 2019.
    """
    return multitask(spec, latent=latent, **options)
