"""The named variants: each a choice along one of the five axes, and all of them combine."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from polyvae.checks.ranges import Count
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import VAE
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import Reconstruction
from polyvae.observe.transforms import chain
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import decoder_of, finished, trained_by
from polyvae.recipes.latents import latent_part
from polyvae.recipes.library_size import library_of
from polyvae.recipes.options import Conditions, Gaussian, Library, Likelihood, Module, Posterior, Prior
from polyvae.recipes.parts import normal_given
from polyvae.recipes.recording import Recipe, recipe


@recipe
def vae(
    spec: Spec,
    latent: Gaussian = Gaussian(),
    likelihood: Likelihood | None = None,
    condition: Conditions = Conditions(),
    library: Library = "none",
    objective: Module | None = None,
) -> Recipe:
    """The variational autoencoder, and the place where the axes combine.

    log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)), in nats.

    `likelihood`: by default what the kinds of the data ask for, "normal-learned" of grey pictures, "bernoulli" of bits;
    "normal" is a normal of variance 1/2, whose cost is the squared error summed over pixels. `condition`: posterior and
    likelihood also read y, or the values named. `library`: of counts, what their means are shares of: "none", the
    means are the network's; "observed", the total of x, which the bound is then given; "latent", a second latent "l",
    log-normal with the moments of the totals. `objective`: what is minimised, by default minus the bound.

    Kingma, Welling: Auto-Encoding Variational Bayes, 2014; Rezende, Mohamed, Wierstra: Stochastic Backpropagation,
    2014.
    """
    y = Condition(spec, condition, latent, maps=True)
    size = library_of(library, spec, latent)
    z = latent_part(latent, spec, y.shapes)
    network = z.decoders["maps" if y.maps else "flat"]
    p = size.shared(decoder_of(spec, likelihood, network, {"z": z.shape, **y.shapes}), spec.x[0])
    model = VAE({"z": z.posterior, **size.posterior}, {"z": z.prior(), **size.prior}, p, y.features)
    loss = trained_by(objective, z, {"reconstruction": Reconstruction()})
    return finished(model, loss, chain(y.observe, size.observe), size.start)


@recipe
def ae(spec: Spec, posterior: Posterior = "point", **options: Any) -> Recipe:
    """The plain autoencoder: a point for a posterior and no divergence, so that no bound on log p(x) exists.

    `posterior`: "point", or another whose divergence is left out, where the loss chooses the best epoch. `prior`:
    "standard", since no other would be trained.
    """
    prior = options.get("prior", "standard")
    if isinstance(prior, str) and prior != "standard":
        raise ValueError(f"prior: nothing trains one where the divergence is left out; got {prior!r}")
    return vae(spec, posterior=posterior, objective=Objective({"reconstruction": Reconstruction()}), **options)


@recipe
def cvae(spec: Spec, prior: Prior = "standard", condition: Conditions = Conditions(True), **options: Any) -> Recipe:
    """log p(x | y) >= E_q(z | x, y)[log p(x | z, y)] - KL(q(z | x, y) || p(z)), y labels, vectors, pictures or several.

    `prior`: "standard", one for every y, or "conditional", a learned p(z | y).

    Sohn, Lee, Yan: Learning Structured Output Representation using Deep Conditional Generative Models, 2015.
    """
    return vae(spec, condition=condition, prior=prior, **options)


@recipe
def two_level(
    spec: Spec,
    latent: Gaussian = Gaussian(),
    top: Count = 8,
    likelihood: Likelihood | None = None,
    condition: Conditions = Conditions(),
    objective: Module | None = None,
) -> Recipe:
    """p(z2) p(z1 | z2) p(x | z1, z2) with q(z2 | x) q(z1 | x, z2).

    `latent`: dimensions of z1, the lower. `top`: dimensions of z2. `prior`: of z2, "standard", "mixture", "vamp",
    "conditional" (on y) or a module. `likelihood`: by default that of the data. `condition`: posteriors and likelihood
    also read y, or the values named. `objective`: what is minimised, by default minus the bound.

    Tomczak, Welling: VAE with a VampPrior, 2018, section 4 (its two-layered model, with a standard normal on top).
    """
    y = Condition(spec, condition, latent, maps=True)
    apart = replace(latent, dimensions=top, posterior=deepcopy(latent.posterior))  # a family may hold weights
    z2 = latent_part(apart, spec, y.shapes)
    z1 = latent_part(latent, spec, {"z2": z2.shape, **y.shapes})
    below = normal_given(("z2",), (z2.shape,), latent.dimensions)
    network = z1.decoders["maps" if y.maps else "flat"]
    p = decoder_of(spec, likelihood, network, {"z1": z1.shape, "z2": z2.shape, **y.shapes})
    model = VAE({"z2": z2.posterior, "z1": z1.posterior}, {"z2": z2.prior(), "z1": below}, p, y.features)
    return finished(model, trained_by(objective, z1, {"reconstruction": Reconstruction()}), y.observe)


@recipe
def count_vae(
    spec: Spec,
    likelihood: Likelihood = "zero-inflated-negative-binomial",
    library: Library = "observed",
    latent: Gaussian = Gaussian(10, "mlp", (128,)),
    **options: Any,
) -> Recipe:
    """Counts whose means are shares of a library size n: mu = n softmax(f(z)), log(1 + x) at the encoder's input.

    `likelihood`: "poisson", "negative-binomial" or "zero-inflated-negative-binomial", the latter two with one
    dispersion for each column; with "-network" behind the name, one for each value. `library`: n, the "observed" total
    of x, which the bound is then given, or a "latent" one, log-normal with the moments of the totals; "none" leaves
    the means to the network. Batches are a `condition`.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """
    if not spec.columns:
        spec = replace(spec, columns=(Column("counts"),) * spec.x[0], levels=None)
    elif others := [kind for kind in spec.kinds if kind != "counts"]:
        raise ValueError(
            f"count_vae is for columns of counts only, and these hold {', '.join(others)}: take vae, which gives each "
            "kind its own likelihood, or say that they are counts (kind='counts')"
        )
    return vae(spec, latent, likelihood, library=library, **options)
