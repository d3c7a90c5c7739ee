"""Adversarial hybrids: a discriminator of x beside a model, as terms with an optimiser group of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from polyvae.checks.ranges import Positive, Weight
from polyvae.model.families.columns import is_law
from polyvae.model.networks.discriminator import Discriminator, Judging
from polyvae.model.networks.prepared import Standardise, prepared_shape
from polyvae.model.spec import Spec
from polyvae.objectives.adversaries import (
    ClassifierCost,
    Deceived,
    FeatureLikelihood,
    Judged,
    MeanFeatures,
    Slope,
)
from polyvae.objectives.critics import USUAL
from polyvae.objectives.decoded import BOTH, Source
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.objectives.watching import Certainty, Spread, Told
from polyvae.recipes.conditions import conditioned, held
from polyvae.recipes.options import Adversary, Conditions, Likelihood
from polyvae.recipes.parts import weights_apart
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae

WHOLE = ("bits", "real", "grey")  # kinds of numbers that a mean of the likelihood is like


@recipe
def vae_gan(
    spec: Spec,
    gamma: Positive = 0.1,
    feature_scale: Positive | None = None,
    pixel_weight: Weight = 0.0,
    adversary: Adversary = Adversary(),
    likelihood: Likelihood | None = None,
    condition: Conditions = Conditions(),
    **options: Any,
) -> Recipe:
    """E_q[log N(f(x); f(x~), s^2 I)] - KL(q(z | x) || p(z)) for the encoder, f a discriminator's features; the VAE-GAN.

    x~ is decoded from z and x_p from the prior. The decoder maximises gamma log N(f(x); f(x~), s^2 I) and that x~ and
    x_p pass for data, the discriminator that they do not; neither reaches the encoder. `gamma`: what likeness weighs
    beside the game. `feature_scale`: s, 1 in the paper, by default the best one of each batch. `pixel_weight`: weight
    of log p(x | z), which chooses the best epoch and whose bound is reported, trained or not. `game`: "minimax" in the
    paper. `likelihood`: by default "normal-optimal", "bernoulli" of bits; where pixels weigh nothing, one with nothing
    to learn. `condition`: posterior, likelihood and discriminator also read y, or the values named.

    Larsen, Sønderby, Larochelle, Winther: Autoencoding beyond Pixels Using a Learned Similarity Metric, 2016.
    """
    y = _y(spec, condition)
    judge = _discriminator(spec, adversary, y)
    terms: dict[str, Any] = {"features": Weighted(FeatureLikelihood(judge, [*y], 1 / gamma, feature_scale), gamma)}
    terms["kl"] = KL()
    terms["reconstruction"] = Weighted(Reconstruction() if pixel_weight else Told(Reconstruction()), pixel_weight)
    loss = Objective({**terms, **_game(judge, adversary, [*y])})
    chosen = _likelihood(spec, likelihood, "normal-optimal")
    made = _learning(vae(spec, likelihood=chosen, condition=condition, objective=loss, **options), pixel_weight)
    # The bound falls while the model learns a likeness that it knows nothing of, and the game's values move.
    return replace(made, monitor="reconstruction")


@recipe
def cvae_gan(
    spec: Spec,
    kl: Weight = 3.0,
    matching: Weight = 1e-3,
    feature_scale: Positive | None = None,
    pixel_weight: Weight = 1.0,
    adversary: Adversary = Adversary(),
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z, y) + sum_f log N(f(x); f(x~), s_f^2 I)] - lambda KL(q || p), f of two networks; the CVAE-GAN.

    f are the features of a discriminator and of a classifier of y. The decoder also brings the mean features of its
    draws to those of the data, the discriminator's as a whole and the classifier's class by class: that is its side of
    the game. `kl`: lambda. `matching`: weight of both mean features. `feature_scale`: s, by default the best one of
    each batch. `pixel_weight`: weight of log p(x | z, y). The paper's cost has pixel_weight 1/2, feature_scale 1 and
    the likelihood "normal".

    Bao, Chen, Wen, Li, Hua: CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training, 2017.
    """
    judge, classifier = (
        _discriminator(spec, adversary, {}),
        _discriminator(spec, adversary, {}, _y(spec, Conditions(True))["y"][0]),
    )
    terms: dict[str, Any] = {"reconstruction": Weighted(Reconstruction(), pixel_weight), "kl": Weighted(KL(), kl)}
    terms["features"] = FeatureLikelihood(judge, scale=feature_scale)
    terms["class_features"] = FeatureLikelihood(classifier, scale=feature_scale)
    terms["mean"] = Weighted(MeanFeatures(judge), matching)
    terms["class_mean"] = Weighted(MeanFeatures(classifier, ["y"]), matching)
    terms["classifier"] = ClassifierCost(classifier, spec.classes is not None)
    own = _game(judge, adversary, [], ("prior",), ("y",))
    del own["adversary"]  # whose place the mean features take
    return _learning(
        vae(spec, condition=True, dropped=None, objective=Objective({**terms, **own}), **options), pixel_weight
    )


@recipe
def zero_shot_vae_gan(
    spec: Spec,
    gamma: Weight = 1.0,
    slope: Weight = 10.0,
    adversary: Adversary = Adversary(widths=(256, 256), game="wasserstein"),
    likelihood: Likelihood | None = None,
    **options: Any,
) -> Recipe:
    """log p(x | y) >= E_q[log p(x | z, y)] - KL(q || p), and a critic of (x, y) that draws of the prior are to pass.

    x are features, y attributes of their class: decoded with the attributes of classes that were never seen, draws of
    the prior make examples of them, on which a classifier is trained. `gamma`: what the game weighs for the decoder.
    `slope`: weight of slopes of the critic other than 1 between data and draws, of the game "wasserstein".
    `likelihood`: by default that of the data.

    Xian, Sharma, Schiele, Akata: f-VAEGAN-D2: A Feature Generating Framework for Any-Shot Learning, 2019; Gao, Hou,
    Qin, Chen, Liu, Zhu, Shao: Zero-VAE-GAN: Generating Unseen Features for Generalized and Transductive Zero-Shot
    Learning, 2020.
    """
    y = _y(spec, Conditions(True))
    judge = _discriminator(spec, adversary, y)
    own = _game(judge, adversary, [*y], ("prior",))
    own["adversary"] = Weighted(own["adversary"], gamma)
    if adversary.game == "wasserstein":
        own["slope"] = Weighted(Slope(judge, "between", [*y]), slope)
    loss = Objective({"reconstruction": Reconstruction(), "kl": KL(), **own})
    return vae(spec, likelihood=likelihood, condition=True, dropped=None, objective=loss, **options)


def _y(spec: Spec, wanted: Conditions) -> dict[str, tuple[int, ...]]:
    """The shapes of what a critic reads beside x, by name. ValueError for what it cannot read."""
    if wanted.dropped is not None:
        raise ValueError("dropped: a critic reads the conditions in all rows; leave it away, or take vae")
    found = {name: held(spec, name, "condition").read for name in conditioned(wanted)}
    if maps := [name for name, shape in found.items() if len(shape) > 1]:
        raise ValueError(f"condition: a critic reads labels and vectors, and {maps} are pictures: take vae")
    return found


def _discriminator(
    spec: Spec, adversary: Adversary, beside: dict[str, tuple[int, ...]], classes: int | None = None
) -> Discriminator:
    """A discriminator of x and what is beside it, or a classifier of so many classes; weights are drawn apart."""
    if others := [kind for kind in spec.kinds if kind not in WHOLE]:
        raise ValueError(f"a critic of x reads {', '.join(WHOLE)} values, and these hold {', '.join(others)}: take vae")
    judging = Judging(adversary.widths, adversary.layer, adversary.patches and classes is None, adversary.spectral)
    prepare = None if spec.unit or not spec.columns else Standardise(spec.columns)
    with weights_apart(0 if classes is None else 1):
        group = replace(USUAL, lr_scale=adversary.rate)
        return Discriminator([prepared_shape(spec), *beside.values()], classes or 1, judging, group, prepare)


def _game(
    judge: nn.Module,
    adversary: Adversary,
    given: Sequence[str],
    sources: Sequence[Source] = BOTH,
    within: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Both sides of a game, what keeps the discriminator flat, and what tells how it goes, which weighs nothing."""
    terms: dict[str, Any] = {"adversary": Deceived(judge, adversary.game, sources, given)}
    terms["critic"] = Judged(judge, adversary.game, sources, given)
    if adversary.r1:
        terms["r1"] = Weighted(Slope(judge, "data", given), adversary.r1)
    terms["spread"] = Weighted(Spread(given if within is None else within), 0.0)
    if adversary.game != "wasserstein":  # whose critic has no probabilities
        terms["certainty"] = Weighted(Certainty(judge, sources, given), 0.0)
    return terms


def _likelihood(spec: Spec, likelihood: Likelihood | None, usual: str) -> Likelihood | None:
    """What is asked for, or of real numbers and pictures the usual one, of others their own."""
    if likelihood is not None or spec.levels == 2 or (spec.columns and not is_law(usual, spec)):
        return likelihood
    return usual


def _learning(made: Recipe, pixel_weight: float) -> Recipe:
    """The recipe; ValueError where its likelihood has something to learn, and nothing to learn it from."""
    family = getattr(made.model.heads["x"].likelihood, "family", None)
    if not pixel_weight and isinstance(family, nn.Module) and any(True for _ in family.parameters()):
        raise ValueError(
            "likelihood: where pixels weigh nothing, nothing trains its scale; take normal-optimal, normal or "
            "bernoulli, or pixel_weight above 0"
        )
    return made
