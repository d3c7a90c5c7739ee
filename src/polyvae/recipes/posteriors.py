"""Variants by their posterior: another law of the encoder."""

from __future__ import annotations

from functools import partial
from typing import Any

from polyvae.checks.ranges import Count, Widths
from polyvae.model.families.flow import InverseAutoregressive
from polyvae.model.families.vectors import LowRankNormal, MixtureNormal
from polyvae.model.spec import Spec
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def full_covariance(spec: Spec, **options: Any) -> Recipe:
    """q(z | x) = N(mu, L L^T): z = mu + L eps with L lower triangular.

    Kingma, Welling: An Introduction to Variational Autoencoders, 2019, section 2.5.1.
    """
    return vae(spec, posterior="full", **options)


@recipe
def low_rank(spec: Spec, rank: Count = 2, **options: Any) -> Recipe:
    """q(z | x) = N(mu, diag s^2 + V V^T): z = mu + s eps + V a, V with few columns.

    `rank`: columns of V.

    Rezende, Mohamed, Wierstra: Stochastic Backpropagation and Approximate Inference in Deep Generative Models, 2014,
    section 4.3, has one column, in the precision.
    """
    return vae(spec, posterior=LowRankNormal(rank), **options)


@recipe
def mixture_posterior(spec: Spec, normals: Count = 5, **options: Any) -> Recipe:
    """q(z | x) = sum_k w_k N(mu_k, diag s_k^2), weights, locs and scales from the encoder.

    `normals`: how many; `components` are those of a prior. With one it is the diagonal normal. Its draws have gradients
    by implicit reparametrisation, also to the weights.

    Figurnov, Mohamed, Mnih: Implicit Reparameterization Gradients, 2018.
    """
    return vae(spec, posterior=MixtureNormal(normals), **options)


@recipe
def iaf(spec: Spec, transforms: Count = 2, context: Count = 32, hidden: Widths = (64,), **options: Any) -> Recipe:
    """q(z | x) an inverse autoregressive flow: z = T_n(... T_1(eps, c) ..., c), c the encoder's output.

    `transforms`: how many maps. `context`: numbers of c. `hidden`: widths of the perceptron of each map. It needs zuko:
    pip install polyvae[flows].

    Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling: Improved Variational Inference with Inverse Autoregressive
    Flow, 2016.
    """
    flow = partial(InverseAutoregressive, context=context, transforms=transforms, widths=hidden)
    return vae(spec, posterior=flow, **options)
