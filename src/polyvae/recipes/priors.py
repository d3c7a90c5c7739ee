"""Variants by their prior, trained with the rest."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Count
from polyvae.model.spec import Spec
from polyvae.recipes.options import Flow, Network
from polyvae.recipes.parts import flow_of
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def vamp_prior(spec: Spec, components: Count = 500, network: Network = "mlp", **options: Any) -> Recipe:
    """p(z) = 1/M sum_m q(z | u_m) over M learned pseudo-inputs.

    `components`: M, how many pseudo-inputs, which begin as training examples. `network`: "mlp", "conv", "residual"
    (these two with GroupNorm) or a builder of modules without BatchNorm, whose statistics would mix data and
    pseudo-inputs.

    Tomczak, Welling: VAE with a VampPrior, 2018.
    """
    return vae(spec, prior="vamp", components=components, network=network, **options)


@recipe
def mixture_prior(spec: Spec, components: Count = 10, **options: Any) -> Recipe:
    """p(z) = sum_m w_m N(mu_m, diag s_m^2), learned.

    `components`: how many normals.

    Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran, Shanahan: Deep Unsupervised Clustering with Gaussian
    Mixture Variational Autoencoders, 2016, is a relative with a discrete latent.
    """
    return vae(spec, prior="mixture", components=components, **options)


@recipe
def flow_prior(spec: Spec, flow: Flow = "nsf", transforms: Count = 3, **options: Any) -> Recipe:
    """p(z) = N(T(z); 0, I) |det dT/dz|, T a neural spline flow or a masked autoregressive one, learned.

    `flow`: "nsf", splines between -5 and 5, or "maf", affine maps. `transforms`: maps one after the other.

    Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever, Abbeel: Variational Lossy Autoencoder, 2017; Durkan,
    Bekasov, Murray, Papamakarios: Neural Spline Flows, 2019.
    """
    return vae(spec, prior=flow_of(flow, transforms), **options)


@recipe
def autoregressive_prior(spec: Spec, components: Count = 10, **options: Any) -> Recipe:
    """p(z) = prod_i p(z_i | z_1 ... z_(i-1)), each a mixture of normals, by one masked network.

    `components`: normals in the law of each dimension.

    Germain, Gregor, Murray, Larochelle: MADE: Masked Autoencoder for Distribution Estimation, 2015; of latents: Chen et
    al.: Variational Lossy Autoencoder, 2017.
    """
    return vae(spec, prior="autoregressive", components=components, **options)


@recipe
def exemplar_prior(spec: Spec, components: Count = 500, network: Network = "mlp", **options: Any) -> Recipe:
    """p(z) = 1/M sum_m q(z | x_m) over M training examples, an example left out of its own sum in training.

    `components`: M, how many examples, at most 4,096. `network`: "mlp", "conv", "residual" (these two with GroupNorm)
    or a builder of modules without BatchNorm, whose statistics would mix data and exemplars.

    Norouzi, Fleet, Norouzi: Exemplar VAE: Linking Generative Models, Nearest Neighbor Retrieval, and Data Augmentation,
    2020.
    """
    return vae(spec, prior="exemplar", components=components, network=network, **options)
