"""Variants with a class c that no example tells: clusters, found with the rest and summed over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from polyvae.checks.ranges import Count, NumberOrShare
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.laws import centre
from polyvae.model.networks import mlp
from polyvae.model.posteriors.bayes import Bayes
from polyvae.model.priors.classes import Classes, NormalOfClass
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Values
from polyvae.objectives.objective import Objective
from polyvae.observe.transforms import Chain
from polyvae.recipes.communities import communities
from polyvae.recipes.decoders import decoder_of, finished
from polyvae.recipes.latents import latent_part
from polyvae.recipes.options import Covariance, Gaussian, Likelihood
from polyvae.recipes.recording import Recipe, recipe

LEAST = 1e-4  # variance that a cluster has in any direction when it begins


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
    first, and the model an ordinary one; after some epochs they become the communities of its codes, groups of each
    other's neighbours, and are learned from then on.

    `clusters`: how many. `settle`: epochs before they part, or their share of all. `covariance`: of z in a cluster,
    "diagonal" or "full". `likelihood`: by default what the kinds of the data ask for. `prior`: is the mixture.

    Jiang, Zheng, Tan, Tang, Zhou: Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering,
    2017, whose covariances are diagonal, begin as a mixture of normals fitted to the codes, and whose autoencoder is
    trained before, layer by layer.
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
    """ValueError where another prior is asked for than that of the clusters."""
    if latent.prior != "standard":
        raise ValueError(f"prior is what the clusters make, which is learned; got {latent.prior!r}: leave it away")


@dataclass(frozen=True)
class Settling:
    """Makes communities of the codes of some examples the clusters of the model.

    p(c) is the share of a community and p(z | c) has the moments of draws of z of its examples, whose covariance is
    drawn to the one of all communities by as many examples as z has dimensions.
    """

    model: VAE
    classes: Classes
    normals: NormalOfClass

    def check(self, examples: int) -> None:
        """ValueError for fewer examples than clusters."""
        if examples < len(self.classes.logits):
            raise ValueError(f"clusters: {len(self.classes.logits)} need as many training examples; got {examples}")

    @torch.no_grad()
    def __call__(self, values: Values) -> None:
        latent, count = self.model.infer(values).latents["z"], len(self.classes.logits)
        z, codes = latent.drawn[0].double().cpu(), centre(latent.q).double().cpu().numpy()
        self.check(len(z))
        found = torch.from_numpy(communities(codes, count, int(torch.randint(2**31 - 1, ()))))
        member = nn.functional.one_hot(found, count).to(z)
        sizes = member.sum(0)
        means = member.T @ z / sizes[:, None]
        apart = z - means[found]
        squares = torch.einsum("nc,ni,nj->cij", member, apart, apart)
        pooled, size = squares.sum(0) / len(z), z.shape[1]
        covariances = (squares + size * pooled) / (sizes + size)[:, None, None] + LEAST * torch.eye(size).to(z)
        self.normals.set(means, covariances)
        self.classes.logits.copy_((sizes / len(z)).log())
