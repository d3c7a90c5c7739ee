"""Variants with a class y of which the data tell some: it is given where it is known, and summed over elsewhere."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from polyvae.checks.ranges import Count, Share, Weight
from polyvae.model.families.vectors import OneHot
from polyvae.model.networks import mlp
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.priors.classes import Classes
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Feature
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, Classification, Reconstruction
from polyvae.observe.transforms import Labels
from polyvae.recipes.conditions import unlabelled
from polyvae.recipes.decoders import decoder_of, finished
from polyvae.recipes.latents import vector_decoders
from polyvae.recipes.options import Gaussian, Likelihood
from polyvae.recipes.parts import SHARING, encoder_family, network_of, prior_of
from polyvae.recipes.recording import Recipe, recipe

KNOWN = ("label", "y_known")  # what `Labels` makes of a batch


@recipe
def m2(
    spec: Spec,
    classified: Weight = 10.0,
    often: Share = 0.1,
    features: Count = 256,
    latent: Gaussian = Gaussian(16, "mlp", (256,)),
    likelihood: Likelihood | None = None,
) -> Recipe:
    """log p(x, y) >= L(x, y) where y is known, log p(x) >= sum_y q(y | x) L(x, y) + H(q(y | x)) elsewhere.

    L(x, y) = E_q(z | x, y)[log p(x | z, y)] + log p(y) - KL(q(z | x, y) || p(z)), y one of the classes of the data,
    summed over exactly. -log q(y | x) is added where y is known. Both posteriors read one network of x, which is
    computed once for all classes.

    `classified`: what -log q(y | x) weighs. `often`: the share of an epoch that examples with a label make, the rarer
    of which come again. `features`: numbers of x that both posteriors read. `likelihood`: by default what the kinds of
    the data ask for. `prior`: of z, "standard", or another that reads nothing.

    Kingma, Rezende, Mohamed, Welling: Semi-supervised Learning with Deep Generative Models, 2014.
    """
    if latent.prior in SHARING:
        raise ValueError(f"prior: one that reads the posterior's network of x has none here; got {latent.prior!r}")
    if spec.classes is None:
        raise ValueError(f"m2 needs labels y of some classes, at least for a few examples; {unlabelled(spec)}")
    if likelihood == "normal-optimal":
        raise ValueError("likelihood: normal-optimal fits its scale to every class alike, likely or not; take another")
    y, family = (spec.classes,), encoder_family(latent.posterior, latent.dimensions)
    first = nn.Sequential(network_of(latent)((prepared_shape(spec),), (features,)), nn.ReLU())
    q_y = Conditional(mlp([(features,)], y, (features,)), OneHot(), "h")
    net = mlp([(features,), y], (family.size(latent.dimensions),), (features,))
    q_z = Conditional(net, family, ("h", "y"))
    z = {"z": (latent.dimensions,), "y": y}
    p = decoder_of(spec, likelihood, vector_decoders(latent, spec)["flat"], z)
    prior = {"y": Classes(spec.classes, of="y"), "z": prior_of(latent, q_z, spec, {})}
    model = VAE({"y": q_y, "z": q_z}, prior, p, {"h": Feature(prepared(first, spec, ("x",)), "x")}, summed="y")
    terms = {"reconstruction": Reconstruction(), "kl": KL(), "label": Weighted(Classification("y", *KNOWN), classified)}
    made = finished(model, Objective(terms, fixed={"y": KNOWN}), Labels(spec.classes))
    return replace(made, often=(KNOWN[1], often) if often else None)
