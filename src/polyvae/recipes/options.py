"""What the options of recipes may be, and those that belong together. Nothing here imports torch.

An annotation of a recipe's parameter is one of these names. A dataclass is laid flat where a recipe is called by
keyword, in commands and in run folders: see `polyvae.recipes.flat`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Positive, Range, Share, Weight, Widths
from polyvae.recipes.bundles import Flat, bundle

if TYPE_CHECKING:
    from torch.nn import Module

    from polyvae.model.networks import Builder
    from polyvae.model.vae import Family
else:
    Family = Module = Builder = Callable[..., Any]

Network = str | Builder
Likelihood = str | Family
Posterior = str | Family | Callable[[int], Family]
Prior = str | Module
Flow = Literal["nsf", "maf"]
Conditioned = bool | str | Sequence[str]
Library = Literal["none", "observed", "latent"]
Words = Annotated[int, Range(2, LARGEST, whole=True)]
Learning = Literal["gradient", "ema"]
Quantisation = Literal["nearest", "residual", "grouped", "finite-scalar", "lookup-free", "gumbel"]
Levels = Annotated[Sequence[int], Range(3, LARGEST, whole=True)]
Decoder = Literal["flat", "multiscale", "analysers", "normal-law"]
Missing = Literal["random", "self-masking", "linear", "network"]
MapDecoder = Literal["map", "flat"]
PriorNetwork = Literal["encoder", "perceptron"]
Decoders = Annotated[int, Range(1, 2, whole=True)]
MapsAbove = Annotated[Sequence[int], Range(1, LARGEST, whole=True)]
Scales = Annotated[int, Range(1, 3, whole=True)]
Where = Literal["uniform", "gaussian", "grid", "box", "points", "half", "left", "right", "top", "bottom"]
Shown = Literal[Where, "readings"]
Slopes = Literal["original", "normalised", "loss-weighted"]
Mode = Literal["least-squares", "backward", "authors"]
Estimator = Literal["stratified", "weighted"]
Covariance = Literal["diagonal", "full"]
Penalty = Literal["l2", "gradient", "spectral"]
Window = Annotated[int, Range(2, LARGEST, whole=True)]
Several = Annotated[int, Range(2, LARGEST, whole=True)]
Part = Annotated[float, Range(0, 1)]
Merge = Literal["residual", "network", "precision"]
RungNetwork = Literal["mlp", "mlp-tanh", "conv", "residual"]
Sizes = Annotated[int | Sequence[int], Range(1, LARGEST, whole=True)]
Noise = Annotated[float | Sequence[float], Range(0)]
Within = Annotated[float, Range(0, 1, open=True, below=True)]
Game = Literal["minimax", "non-saturating", "hinge", "wasserstein"]
Kernel = Annotated[int, Range(3, LARGEST, whole=True, odd=True)]
PerModality = str | Mapping[str, Any] | Callable[..., Any] | None
Expert = Literal["normal", "laplace"]
Gradient = Literal["dreg", "plain"]

# The names that parameters without a `Literal` admit beside objects.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "network": ("mlp", "mlp-tanh", "conv", "residual", "strided"),
    "likelihood": (
        "bernoulli",
        "continuous-bernoulli",
        "normal",
        "normal-learned",
        "normal-network",
        "normal-optimal",
        "normal-places",
        "low-rank",
        "laplace",
        "laplace-0.75",
        "student-t",
        "structured",
        "logistic",
        "logistic-mixture",
        "coupled-logistic-mixture",
        "piecewise-linear",
        "categorical",
        "poisson",
        "negative-binomial",
        "negative-binomial-network",
        "zero-inflated-negative-binomial",
        "zero-inflated-negative-binomial-network",
    ),
    "posterior": ("diagonal", "full", "low-rank", "mixture", "iaf", "point"),
    "prior": ("standard", "mixture", "vamp", "flow", "autoregressive", "exemplar", "conditional"),
    "kernel": ("rbf", "imq"),
}
# Of recipes that read an observation at fixed places.
OF_SENSORS: Mapping[str, tuple[str, ...]] = {**CHOICES, "network": (*CHOICES["network"], "sensing")}
# Of recipes of several modalities, as one for all or NAME=VALUE,....
OF_MODALITIES: Mapping[str, tuple[str, ...]] = {**CHOICES, "network": (*CHOICES["network"], "modes")}


# Recipes that take a dataclass or its options, told to who gives it, by its name, to one that does not.
HOMES: Mapping[str, str] = {
    "codes": "vq_vae",
    "mask": "semi_conditional",
    "tasks": "multitask",
    "softadapt": "multitask",
    "decoders": "multitask",
}


@bundle
class Gaussian:
    """A vector z: q(z | x) of any family, by default N(mu, diag s^2), and p(z), by default N(0, I).

    `dimensions`: dimensions of z. `network`: "mlp", "mlp-tanh", "conv", "residual", "strided" or a builder of modules.
    `widths`: of the network's layers, or their channels, in the encoder's order. `posterior`: "diagonal", "full"
    (covariance), "low-rank" (and diagonal), "mixture" (of normals), "iaf" (a flow), "point", a family, or what is
    called with the dimensions and makes one. `prior`: "standard", "mixture", "vamp" or "exemplar" (with which "conv"
    and "residual" have GroupNorm, since data and pseudo-inputs share the encoder), "flow", "autoregressive",
    "conditional" (on y) or a module. `components`: of a mixture, a VampPrior or each law of an autoregressive prior, or
    how many exemplars.
    """

    dimensions: Annotated[Count, Flat("latent")] = 16
    network: Network = "conv"
    widths: Widths | None = None
    posterior: Posterior = "diagonal"
    prior: Prior = "standard"
    components: Count = 10


@bundle
class Modal:
    """A vector z that several modalities share: a law q(z | x_m) of each, p(z) of the same kind, N(0, I) by default.

    `dimensions`: dimensions of z. `network`: of each modality, one name or builder for all, or NAME=NETWORK,..., by
    default "strided" of colours and of pictures above 32 x 32, "mlp" of all else, and of columns whatever picture
    network all have; "modes" of fields, which starts at canonical correlation analysis. `expert`: what law experts and
    prior follow, "normal" or, where experts are not multiplied, "laplace". `likelihood`: of each modality, one for all
    or NAME=LIKELIHOOD,..., by default "laplace" of grey levels, and elsewhere what the kinds of the data ask for.
    `weights`: what log p of each modality counts in training, never in a bound: "balanced", the largest number of
    values among the modalities over its own; "even", all 1; or NAME=NUMBER,....
    """

    dimensions: Annotated[Count, Flat("latent")] = 20
    network: PerModality = None
    expert: Expert = "normal"
    likelihood: PerModality = None
    weights: PerModality = "balanced"


@bundle
class Codes:
    """A map z of the words of a codebook, each place of it the word nearest to the encoder's output.

    `count`: words in the codebook, K. `dim`: numbers in a word. `widths`: channels of the strided convolutions, each of
    which halves the sides; the widths of a perceptron for tables. `blocks`: residual blocks after the
    convolutions. `codebook`: "gradient", or "ema", moving averages in place of the codebook's cost. `beta`: weight of
    the commitment. `revive`: the share of the even use below which a word starts anew. `kmeans`: whether the words
    start at the centres of the first encoder outputs. `quantiser`: how a vector becomes integers: "nearest", "residual"
    (several codebooks, one after the other), "grouped" (several, each for a part of the channels), "finite-scalar"
    (every channel rounded), "lookup-free" (signs) or "gumbel" (drawn). `depth`: integers at a place, of "residual" and
    "grouped". `rotation`: whether the gradient passes to the encoder by the rotation trick, where a word is the
    nearest. `levels`: of each channel, of "finite-scalar". `entropy`: weight of the entropies, of "lookup-free".
    `temperature`: of the draws of "gumbel". `anneal`: steps in which it falls there from 1. `hard`: whether its draws
    are words in training.
    """

    count: Annotated[Words, Flat("codes")] = 128
    dim: Count = 16
    widths: Widths = (32, 64)
    blocks: Amount = 0
    codebook: Learning = "gradient"
    beta: Weight = 0.25
    revive: Share = 0.1
    kmeans: bool = True
    quantiser: Quantisation = "nearest"
    depth: Count = 2
    rotation: bool = False
    levels: Levels = (5, 5, 5)
    entropy: Weight = 0.5
    temperature: Positive = 0.5
    anneal: Count = 1000
    hard: bool = False


@bundle
class Groups:
    """Groups of latents z1, z2, ... from the top, drawn one after the other at scales that grow finer.

    `per_scale`: how many at each scale, from the top. `latent`: dimensions of z, or channels of its map, of all
    scales or of each, from the top. `network`: "residual" or "conv", maps at half the sides from scale to scale, or
    "mlp" or "mlp-tanh", vectors, as tables always have. `widths`: of the values on either path, of all scales or of
    each, from the bottom. `blocks`: residual blocks, convolutions or layers on either path at each step. `merge`: what
    the posterior makes of the data below and of the prior: "residual", relative to the prior, "network", one that
    reads both, or "precision", their product.
    """

    per_scale: Widths = (2, 2)
    latent: Sizes = 8
    network: RungNetwork = "residual"
    widths: Widths | None = None
    blocks: Count = 1
    merge: Merge = "residual"


@bundle
class Pressure:
    """How hard the divergence of each group presses while it is trained.

    `kl_warmup`: steps over which the weight of the KL rises from 0, without which groups below the top may stay closed.
    `free_bits`: nats below which a group is not pressed further, of the mean over a batch. `balance`: whether, as long
    as the weight rises, the more each group's KL and size are the harder it is pressed. `spectral_weight`: weight of
    the sum of the layers' largest singular values.
    """

    kl_warmup: Amount = 1000
    free_bits: Weight = 0.0
    balance: bool = False
    spectral_weight: Weight = 0.0


@bundle
class Mask:
    """Which pixels of a picture, or columns of a table, an observation shows, or what sensors between pixels read.

    `kind`: which pixels are seen; "readings" of a field at `positions` that need not be whole numbers. `count`: how
    many, a number or a share below 1; by default a twentieth of a picture, half a table. `exponent`: how many is drawn
    for each example, N (1 - u^(1/exponent)), down to none. `positions`: of mask "points" or "readings",
    row,column,row,column... of a picture or columns of a table. `noise`: standard deviation of the normal noise of what
    is seen, in the data's units, of all channels or of each, or of each reading, channel by channel; drawn afresh for
    every batch. `failing`: the chance of each reading to be missing. `history`: how many times of a series readings are
    of, the present one among them.
    """

    kind: Annotated[Shown, Flat("mask")] = "uniform"
    count: NumberOrShare | None = None
    exponent: Positive | None = None
    positions: Sequence[float] | None = None
    noise: Noise = 0.0
    failing: Share = 0.0
    history: Count = 1


@bundle
class GivenM:
    """What an observation m alone tells of z and x.

    `network`: of p(z | m), "encoder", built like the encoder over m and, of a picture, m filled in from what is seen,
    or "perceptron", of m flattened. `apart`: the weight in training of a network of m that says x by itself, to which z
    then only adds, `without_z` in what training prints; by default 0.5 with the decoder analysers, else 0, none.
    `direct`: where apart is 0, the share of the examples of a batch that are decoded at z = 0; by default 0.1 where the
    decoder begins at a law, else 0. What m says alone, in either way, counts half or more in a completion's mean.
    """

    network: Annotated[PriorNetwork, Flat("prior_network")] = "encoder"
    direct: Share | None = None
    apart: Share | None = None


@bundle
class SoftAdapt:
    """Factors that sum to one and multiply the weights of two reconstructions, the larger for what falls more slowly.

    `variant`: "original", "normalised" or "loss-weighted". `beta`: how sharply they differ. `window`: steps that make a
    slope. `frequency`: steps between new factors. `mode`: the slope, "least-squares", "backward" or as its "authors"
    coded it.

    Heydari, Thompson, Mehmood: SoftAdapt, 2019.
    """

    variant: Annotated[Slopes, Flat("softadapt_variant")] = "original"
    beta: Annotated[float, Flat("softadapt_beta")] = 0.1
    window: Annotated[Window, Flat("softadapt_window")] = 5
    frequency: Annotated[Count, Flat("softadapt_frequency")] = 1
    mode: Annotated[Mode, Flat("softadapt_mode")] = "least-squares"


@bundle
class Adversary:
    """A discriminator that tells x from what is decoded, and the game that it plays.

    `widths`: channels of its convolutions, which halve the sides, or the widths of a perceptron for tables. `rate`:
    factor of the learning rate for it. `game`: "minimax", "non-saturating", "hinge" or "wasserstein". `layer`: whose
    outputs are its features, by default the last before its logit. `patches`: whether it judges each patch of a picture
    by itself. `spectral`: whether its layers are divided by their largest singular values. `r1`: weight of the squared
    slope at the data.
    """

    widths: Annotated[Widths, Flat("critic")] = (32, 64, 128)
    rate: Annotated[Positive, Flat("critic_rate")] = 1.0
    game: Game = "non-saturating"
    layer: Count | None = None
    patches: bool = False
    spectral: bool = False
    r1: Weight = 0.0


@bundle
class Tasks:
    """Reconstruction from z alone and from z and an observation m: by how many decoders, and what each weighs.

    `decoders`: 2, or 1 that reads both. `w1`, `w2`: weights of the two reconstructions in training. `softadapt`:
    whether factors that sum to one multiply w1 and w2, the larger for what falls more slowly.
    """

    decoders: Decoders = 2
    w1: Weight = 1.0
    w2: Weight = 1.0
    softadapt: SoftAdapt | None = None


@bundle
class Conditions:
    """What a model reads beside x, and whether it learns to do without.

    `names`: True for the labels or vectors y, or names of values beside x, such as y,angle: labels, vectors or pictures
    each. `dropped`: the share of the training rows in which each of them is hidden, so that the model has a bound and
    samples without them too, and guidance; 0 where the data alone lack some.
    """

    names: Annotated[Conditioned, Flat("condition")] = False
    dropped: Part | None = None
