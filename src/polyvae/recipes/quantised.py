"""The vector-quantised autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from polyvae.checks.ranges import Amount, Count, Share, Weight, Widths
from polyvae.model.networks import Shape
from polyvae.model.networks.vq import flat, upsampling
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.latents import Codes, Words, vq_latent
from polyvae.recipes.parts import decoder_family
from polyvae.recipes.recording import Recipe, recipe

DECODERS: dict[str, Callable[[Shape, Shape, Sequence[int], int], nn.Module]] = {
    "map": upsampling,
    "flat": lambda code, output, widths, blocks: flat((code,), output, widths, blocks),
}


@recipe
def vq_vae(
    spec: Spec,
    codes: Codes = 128,
    dim: Count = 16,
    widths: Widths = (32, 64),
    blocks: Amount = 0,
    codebook: Words = "gradient",
    beta: Weight = 0.25,
    decoder: Literal["map", "flat"] = "map",
    likelihood: str | Family | None = None,
    revive: Share = 0.1,
    kmeans: bool = True,
) -> Recipe:
    """log p(x) >= log p(x | z) - P log K, z the nearest of K words at each of P places, trained with D_x / D_z times
    |sg(e) - z|^2 + beta |e - sg(z)|^2, e the encoder's output and D the number of values.

    `codes`: K. `dim`: numbers in a word. `widths`: channels of the strided convolutions, each of which halves the
    sides; the widths of a perceptron for tables. `blocks`: residual blocks after them. `codebook`: "gradient", or
    "ema", moving averages in place of the first cost. `beta`: weight of the commitment. `decoder`: "map", convolutions
    alone, or "flat", the map flattened into a linear layer first. `likelihood`: by default what the kinds of the data
    ask for; the study's is "normal". `revive`: the share of the even use below which a code starts anew. `kmeans`:
    whether the codes start at the centres of the first encoder outputs.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder is one of {', '.join(DECODERS)}; got {decoder!r}")
    z = vq_latent(spec, codes, dim, widths, blocks, codebook, beta, revive, kmeans)
    family = decoder_family(likelihood, spec)
    net = DECODERS[decoder](z.shape, (family.size(spec.x[0]), *spec.x[1:]), widths, blocks)
    model = VAE(z.posterior, z.prior, Conditional(net, family, "z"))
    return Recipe(model, Objective({"reconstruction": Reconstruction(), **z.terms}), start=z.start)
