"""Variants with a class c that no example tells: clusters, found with the rest and summed over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from polyvae.checks.ranges import Count, NumberOrShare
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import mlp
from polyvae.model.posteriors.bayes import Bayes
from polyvae.model.priors.classes import Classes, NormalOfClass
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Values
from polyvae.objectives.objective import Objective
from polyvae.observe.transforms import Chain
from polyvae.recipes.decoders import decoder_of, finished
from polyvae.recipes.latents import latent_part
from polyvae.recipes.options import Covariance, Gaussian, Likelihood
from polyvae.recipes.recording import Recipe, recipe

TRIES = 5  # starts of expectation maximisation, of which the likeliest result is taken


@recipe
def vade(
    spec: Spec,
    clusters: Count = 10,
    settle: NumberOrShare = 0.5,
    covariance: Covariance = "full",
    latent: Gaussian = Gaussian(10, "mlp", (400, 400)),
    likelihood: Likelihood | None = None,
) -> Recipe:
    """p(c) p(z | c) p(x | z) with p(z | c) = N(mu_c, S_c) and q(z | x) q(c | z), q(c | z) = p(c | z) by Bayes' rule.

    The bound is that of a mixture prior, sum_c p(c) p(z | c), of which c says the component. All clusters are one at
    first, and the model an ordinary one; after some epochs a mixture is fitted to its codes, and learned from then on.

    `clusters`: how many. `settle`: epochs before they part, or their share of all. `covariance`: of z in a cluster,
    "diagonal" or "full". `likelihood`: by default what the kinds of the data ask for. `prior`: is the mixture.

    Jiang, Zheng, Tan, Tang, Zhou: Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering,
    2017, whose covariances are diagonal and whose autoencoder is trained before, layer by layer.
    """
    _check_prior(latent)
    z = latent_part(latent, spec, {})
    p_c, p_z = Classes(clusters, learned=True), NormalOfClass(latent.dimensions, clusters, covariance == "full")
    p = decoder_of(spec, likelihood, z.decoders["flat"], {"z": z.shape})
    q = {"z": z.posterior, "c": Bayes("c", p_c, "z", p_z)}
    made = finished(VAE(q, {"c": p_c, "z": p_z}, p, summed="c"), Objective(), Chain())
    return replace(made, settle=(settle, Settling(made.model, p_c, p_z)))


@recipe
def gmvae(
    spec: Spec,
    clusters: Count = 10,
    top: Count = 10,
    latent: Gaussian = Gaussian(10, "mlp", (400, 400)),
    likelihood: Likelihood | None = None,
) -> Recipe:
    """p(w) p(c) p(z | w, c) p(x | z) with q(w | x) q(z | x) q(c | z, w), the last by Bayes' rule.

    p(z | w, c) is a network of w for each cluster c, so that a cluster may have any shape.

    `clusters`: how many. `top`: dimensions of w. `likelihood`: by default what the kinds of the data ask for. `prior`:
    is what the clusters make.

    Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran, Shanahan: Deep Unsupervised Clustering with Gaussian
    Mixture Variational Autoencoders, 2016.
    """
    _check_prior(latent)
    family = DiagonalNormal()
    z, w = latent_part(latent, spec, {}), latent_part(replace(latent, dimensions=top), spec, {})
    net = mlp([(top,), (clusters,)], (family.size(latent.dimensions),), (128,))
    p_c, p_z = Classes(clusters), Conditional(net, family, ("w", "c"))
    p = decoder_of(spec, likelihood, z.decoders["flat"], {"z": z.shape})
    q = {"w": w.posterior, "z": z.posterior, "c": Bayes("c", p_c, "z", p_z)}
    prior = {"w": StandardNormal(top), "c": p_c, "z": p_z}
    return finished(VAE(q, prior, p, summed="c"), Objective(), Chain())


def _check_prior(latent: Gaussian) -> None:
    """ValueError where another prior is asked for than that of the clusters, or its number of them by another name."""
    if latent.prior != "standard":
        raise ValueError(f"prior is what the clusters make, which is learned; got {latent.prior!r}: leave it away")
    if latent.components != Gaussian().components:
        raise ValueError(f"components are those of another prior; got {latent.components}: how many is `clusters`")


@dataclass(frozen=True)
class Settling:
    """Fits a mixture to draws of z of some examples and makes its components the clusters of the model."""

    model: VAE
    classes: Classes
    normals: NormalOfClass

    def check(self, examples: int) -> None:
        """ValueError for fewer examples than clusters."""
        if examples < len(self.classes.logits):
            raise ValueError(f"clusters: {len(self.classes.logits)} need as many training examples; got {examples}")

    @torch.no_grad()
    def __call__(self, values: Values) -> None:
        from sklearn.mixture import GaussianMixture

        z = self.model.infer(values).latents["z"].drawn[0].double().cpu().numpy()
        kind, count = "diag" if self.normals.lower is None else "full", len(self.classes.logits)
        self.check(len(z))
        state = int(torch.randint(2**31 - 1, ()))
        found: Any = GaussianMixture(count, covariance_type=kind, n_init=TRIES, reg_covar=1e-4, random_state=state).fit(
            z
        )
        covariances = torch.as_tensor(found.covariances_)
        self.normals.set(
            torch.as_tensor(found.means_), covariances if covariances.ndim == 3 else covariances.diag_embed()
        )
        self.classes.logits.copy_(torch.as_tensor(found.weights_).log())
