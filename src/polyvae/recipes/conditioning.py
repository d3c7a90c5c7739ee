"""Variants that see an observation m = (x * mask, mask) of a few pixels of x: in a decoder, or in prior and posterior.

A decoder that reads m leaves posterior and prior of z as they are: the bound is on log p(x | m) with z independent of m
a priori, and only comparable at equal m.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from torch import nn

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Positive, Range, Share, Weight, Widths
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import Shape
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared, prepared_observation, prepared_shape
from polyvae.model.networks.sparse import Filled, Stacked
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Family
from polyvae.objectives.balance import SoftAdapt
from polyvae.objectives.objective import Weighted
from polyvae.objectives.terms import KL
from polyvae.observe.masks import observation_shape
from polyvae.recipes.decoders import TASKS, Parts, gaussian, observed, of_random_size, one_head, quantised, two_heads
from polyvae.recipes.latents import Codes, LatentPart, Words, gaussian_latent, vq_latent
from polyvae.recipes.parts import encoder_family, encoder_net
from polyvae.recipes.recording import Recipe, recipe

Mask = Literal["uniform", "gaussian", "grid", "box", "points", "left", "right", "top", "bottom"]
Decoder = Literal["flat", "multiscale"]
Variant = Literal["original", "normalised", "loss-weighted"]
Mode = Literal["least-squares", "backward", "authors"]
Window = Annotated[int, Range(2, LARGEST, whole=True)]
Decoders = Annotated[int, Range(1, 2, whole=True)]
Network = str | Callable[..., nn.Module]


def _like_the_encoder(
    network: Network, widths: Sequence[int] | None, m: Shape, latent: int, family: Family
) -> nn.Module:
    if not is_picture(m):
        return encoder_net(network, widths, (m,), latent, family)
    return Filled(encoder_net(network, widths, ((2 * m[0] - 1, *m[1:]),), latent, family))


PRIOR_NETWORKS: dict[str, Callable[[Network, Sequence[int] | None, Shape, int, Family], nn.Module]] = {
    "encoder": _like_the_encoder,
    "perceptron": lambda network, widths, m, latent, family: encoder_net("mlp", None, (m,), latent, family),
}


@recipe
def semi_conditional(
    spec: Spec,
    latent: Count = 16,
    network: Network = "conv",
    widths: Widths | None = None,
    likelihood: str | Family | None = None,
    posterior: str | Family = "diagonal",
    decoder: Decoder = "flat",
    mask: Mask = "uniform",
    count: NumberOrShare | None = None,
    exponent: Positive | None = None,
    positions: Sequence[int] | None = None,
    objective: nn.Module | None = None,
) -> Recipe:
    """log p(x | m) >= E_q(z | x)[log p(x | z, m)] - KL(q(z | x) || p(z)), m = (x * mask, mask) a few pixels of x.

    `latent`: dimensions of z. `network`: "mlp", "conv", "residual" or a builder of modules. `widths`: its layers'
    widths or channels, in the encoder's order. `likelihood`: by default what the kinds of the data ask for. `decoder`:
    "flat", the network's own with z and m flattened and joined, or "multiscale", convolutions with the network's widths
    that meet m at every scale. `mask`: which pixels are seen. `count`: how many, a number or a share below 1; by
    default a twentieth of a picture, half a table. `exponent`: how many is drawn for each example, N (1 -
    u^(1/exponent)), down to none. `positions`: of mask "points", row,column,row,column... of a picture or columns of a
    table.

    Gundersen, Oleynik, Blaser, Alendal: Semi-conditional Variational Auto-encoder for Flow Reconstruction and
    Uncertainty Quantification from Limited Observations, 2021.
    """
    z = gaussian_latent(spec, latent, network, widths, posterior)
    parts = gaussian(spec, likelihood, z, network, widths, decoder)
    return one_head(parts, observed(spec, mask, count, exponent, positions), objective=objective)


@recipe
def vq_semi_conditional(
    spec: Spec,
    codes: Codes = 128,
    dim: Count = 16,
    widths: Widths = (32, 64),
    blocks: Amount = 0,
    codebook: Words = "gradient",
    beta: Weight = 0.25,
    likelihood: str | Family | None = None,
    revive: Share = 0.1,
    kmeans: bool = True,
    decoder: Decoder = "flat",
    mask: Mask = "uniform",
    count: NumberOrShare | None = None,
    exponent: Positive | None = None,
    positions: Sequence[int] | None = None,
) -> Recipe:
    """log p(x | m) >= log p(x | z, m) - P log K, z the nearest of K words at each of P places, m a few pixels of x.

    `codes`: K. `dim`: a word's length. `widths`: channels of the strided convolutions. `blocks`: residual blocks after
    them. `codebook`: "gradient", or "ema", moving averages. `beta`: weight of the commitment. `likelihood`: by default
    what the kinds of the data ask for. `revive`: the share of the even use below which a code starts anew. `kmeans`:
    whether the codes start at the centres of encoder outputs. `decoder`: "flat", the map and m flattened, joined and
    one linear layer before the transposed convolutions, or "multiscale", convolutions that meet m at every scale.
    `mask`: which pixels are seen. `count`: how many, a number or a share below 1; by default a twentieth of a picture,
    half a table. `exponent`: how many is drawn for each example, N (1 - u^(1/exponent)), down to none. `positions`: of
    mask "points", row,column,row,column... of a picture or columns of a table.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017; the observation as in
    `semi_conditional`.
    """
    z = vq_latent(spec, codes, dim, widths, blocks, codebook, beta, revive, kmeans)
    parts = quantised(spec, likelihood, z, widths, blocks, decoder)
    return one_head(parts, observed(spec, mask, count, exponent, positions))


@recipe
def multitask(
    spec: Spec,
    decoders: Decoders = 2,
    w1: Weight = 1.0,
    w2: Weight = 1.0,
    latent: Count = 16,
    network: Network = "conv",
    widths: Widths | None = None,
    likelihood: str | Family | None = None,
    posterior: str | Family = "diagonal",
    decoder: Decoder = "flat",
    mask: Mask = "uniform",
    count: NumberOrShare | None = None,
    exponent: Positive | None = None,
    positions: Sequence[int] | None = None,
    softadapt: bool = False,
    softadapt_variant: Variant = "original",
    softadapt_beta: float = 0.1,
    softadapt_window: Window = 5,
    softadapt_frequency: Count = 1,
    softadapt_mode: Mode = "least-squares",
) -> Recipe:
    """Reconstruction from z alone and from z and a few observed pixels m, of one encoder and one z.

    Two decoders: w1 E_q[log p(x | z)] + w2 E_q[log p(x | z, m)] - KL(q(z | x) || p(z)), heads "x" and "x_given_m". One:
    E_q[log p(x | z, m)] - KL, head "x", with masks of random size, so that the empty one asks for the first task. The
    plain bound is that of head "x", whatever the weights.

    `decoders`: 2 or 1. `w1`, `w2`: weights of the two reconstructions in training. `latent`: dimensions of z.
    `network`: "mlp", "conv", "residual" or a builder of modules. `widths`: its layers' widths or channels, in the
    encoder's order. `likelihood`: by default what the kinds of the data ask for; the study's is "normal". `decoder`: of
    (z, m), "flat", the network's own with both flattened and joined, or "multiscale", convolutions with the network's
    widths that meet m at every scale. `mask`: which pixels are seen. `count`: how many, a number or a share below 1; by
    default a twentieth of a picture, half a table. `exponent`: how many is drawn for each example, N (1 -
    u^(1/exponent)), down to none; by default 40 with one decoder. `positions`: of mask "points",
    row,column,row,column... of a picture or columns of a table. `softadapt`: whether factors that sum to one multiply
    w1 and w2, the larger for what falls more slowly. `softadapt_variant`: "original", "normalised" or "loss-weighted".
    `softadapt_beta`: how sharply they differ. `softadapt_window`: steps that make a slope. `softadapt_frequency`: steps
    between new factors. `softadapt_mode`: the slope, "least-squares", "backward" or as its "authors" coded it.

    Zakovskis: Multitask Variational Autoencoders, 2024; Heydari, Thompson, Mehmood: SoftAdapt, 2019.
    """
    z = gaussian_latent(spec, latent, network, widths, posterior)
    parts = gaussian(spec, likelihood, z, network, widths, decoder)
    chosen = softadapt_variant, softadapt_beta, softadapt_window, softadapt_frequency, softadapt_mode
    balance = SoftAdapt(TASKS, *chosen) if softadapt else None
    return _tasks(parts, decoders, (w1, w2), balance, (mask, count, exponent, positions))


@recipe
def vq_multitask(
    spec: Spec,
    decoders: Decoders = 2,
    w1: Weight = 1.0,
    w2: Weight = 1.0,
    codes: Codes = 128,
    dim: Count = 16,
    widths: Widths = (32, 64),
    blocks: Amount = 0,
    codebook: Words = "gradient",
    beta: Weight = 0.25,
    likelihood: str | Family | None = None,
    revive: Share = 0.1,
    kmeans: bool = True,
    decoder: Decoder = "flat",
    mask: Mask = "uniform",
    count: NumberOrShare | None = None,
    exponent: Positive | None = None,
    positions: Sequence[int] | None = None,
    softadapt: bool = False,
    softadapt_variant: Variant = "original",
    softadapt_beta: float = 0.1,
    softadapt_window: Window = 5,
    softadapt_frequency: Count = 1,
    softadapt_mode: Mode = "least-squares",
) -> Recipe:
    """`multitask` with a quantised latent: reconstruction from the map z alone and from z and a few observed pixels m.

    Two decoders: w1 log p(x | z) + w2 log p(x | z, m) less the codebook's costs, heads "x" and "x_given_m". One: head
    "x" given (z, m), with masks of random size down to the empty one.

    `decoders`: 2 or 1. `w1`, `w2`: weights of the two reconstructions in training. `codes`: K. `dim`: a word's length.
    `widths`: channels of the strided convolutions. `blocks`: residual blocks after them. `codebook`: "gradient", or
    "ema", moving averages. `beta`: weight of the commitment. `likelihood`: by default what the kinds of the data ask
    for; the study's is "normal". `revive`: the share of the even use below which a code starts anew. `kmeans`: whether
    the codes start at the centres of encoder outputs. `decoder`: "flat", all inputs flattened, joined and one linear
    layer before the transposed convolutions, in both heads, or "multiscale", convolutions of the map that meet m at
    every scale beside a head x of convolutions alone. `mask`: which pixels are seen. `count`: how many, a number or a
    share below 1; by default a twentieth of a picture, half a table. `exponent`: how many is drawn for each example, N
    (1 - u^(1/exponent)), down to none; by default 40 with one decoder. `positions`: of mask "points",
    row,column,row,column... of a picture or columns of a table. `softadapt`: whether factors that sum to one multiply
    w1 and w2, the larger for what falls more slowly. `softadapt_variant`: "original", "normalised" or "loss-weighted".
    `softadapt_beta`: how sharply they differ. `softadapt_window`: steps that make a slope. `softadapt_frequency`: steps
    between new factors. `softadapt_mode`: the slope, "least-squares", "backward" or as its "authors" coded it.

    Zakovskis: Multitask Variational Autoencoders, 2024; van den Oord, Vinyals, Kavukcuoglu: Neural Discrete
    Representation Learning, 2017; Heydari, Thompson, Mehmood: SoftAdapt, 2019.
    """
    z = vq_latent(spec, codes, dim, widths, blocks, codebook, beta, revive, kmeans)
    parts = quantised(spec, likelihood, z, widths, blocks, decoder)
    chosen = softadapt_variant, softadapt_beta, softadapt_window, softadapt_frequency, softadapt_mode
    balance = SoftAdapt(TASKS, *chosen) if softadapt else None
    return _tasks(parts, decoders, (w1, w2), balance, (mask, count, exponent, positions))


@recipe
def arbitrary_conditioning(
    spec: Spec,
    latent: Count = 16,
    network: Network = "conv",
    widths: Widths | None = None,
    likelihood: str | Family | None = None,
    posterior: str | Family = "diagonal",
    decoder: Decoder = "multiscale",
    prior_network: Literal["encoder", "perceptron"] = "encoder",
    mask: Mask = "uniform",
    count: NumberOrShare | None = None,
    exponent: Positive | None = None,
    positions: Sequence[int] | None = None,
    objective: nn.Module | None = None,
) -> Recipe:
    """log p(x | m) >= E_q(z | x, m)[log p(x | z, m)] - KL(q(z | x, m) || p(z | m)): m alone places z.

    `latent`: dimensions of z. `network`: "mlp", "conv", "residual" or a builder of modules. `widths`: its layers'
    widths or channels, in the encoder's order. `likelihood`: by default what the kinds of the data ask for. `decoder`:
    "multiscale", convolutions with the network's widths that meet m at every scale, or "flat", the network's own with z
    and m flattened and joined. `prior_network`: of p(z | m), "encoder", built like the encoder over m and, of a
    picture, m filled in from what is seen, or "perceptron", of m flattened. `mask`: which pixels are seen. `count`: how
    many, a number or a share below 1; by default drawn, see exponent. `exponent`: how many is drawn for each example, N
    (1 - u^(1/exponent)), down to none; by default 20 for pictures and 1 for tables. `positions`: of mask "points",
    row,column,row,column... of a picture or columns of a table.

    Ivanov, Figurnov, Vetrov: Variational Autoencoder with Arbitrary Conditioning, 2019; Sohn, Lee, Yan: Learning
    Structured Output Representation using Deep Conditional Generative Models, 2015.
    """
    if count is None and exponent is None and mask in ("uniform", "gaussian"):
        exponent = 20.0 if is_picture(spec.x) else 1.0
    if prior_network not in PRIOR_NETWORKS:
        raise ValueError(f"prior_network is one of {', '.join(PRIOR_NETWORKS)}; got {prior_network!r}")
    q_family, p_family = encoder_family(posterior), DiagonalNormal()
    m = prepared_observation(spec, observation_shape(spec.x))
    both = (prepared_shape(spec)[0] + m[0], *m[1:])
    q_net = Stacked(encoder_net(network, widths, (both,), latent, q_family))
    p_net = PRIOR_NETWORKS[prior_network](network, widths, m, latent, p_family)
    q = Conditional(prepared(q_net, spec, ("x", "m")), q_family, ("x", "m"))
    z = LatentPart(q, Conditional(prepared(p_net, spec, ("m",)), p_family, "m"), (latent,), {"kl": Weighted(KL())})
    parts = gaussian(spec, likelihood, z, network, widths, decoder)
    return one_head(parts, observed(spec, mask, count, exponent, positions), objective=objective)


def _tasks(
    parts: Parts, decoders: int, weights: tuple[float, float], balance: SoftAdapt | None, seen: tuple[Any, ...]
) -> Recipe:
    """Both tasks by one decoder or by two; `seen` is mask, count, exponent and positions."""
    mask, count, exponent, positions = seen
    if decoders == 2:
        return two_heads(parts, observed(parts.spec, *seen), *weights, balance)
    if balance is not None or weights[1] != 1:
        raise ValueError("w2 and softadapt balance two decoders; one has a single reconstruction, which w1 weighs")
    exponent = of_random_size(mask, count, exponent)
    return one_head(parts, observed(parts.spec, mask, count, exponent, positions), weights[0])
