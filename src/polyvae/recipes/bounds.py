"""Variants by their bound: another estimate of log p(x) that training maximises, or another gradient of it."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Count
from polyvae.model.spec import Spec
from polyvae.objectives.bounds import Combined, ImportanceWeighted, Renyi
from polyvae.objectives.gradients import (
    DoublyReparametrised,
    PartiallyImportanceWeighted,
    StickingTheLanding,
    Thermodynamic,
)
from polyvae.recipes.options import Part, Several, Within
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def iwae(spec: Spec, samples: Count = 5, **options: Any) -> Recipe:
    """The importance-weighted bound log 1/K sum_k p(x, z_k) / q(z_k | x).

    `samples`: K, the draws for each example.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
    """
    return vae(spec, objective=ImportanceWeighted(samples), **options)


@recipe
def miwae(spec: Spec, samples: Count = 5, groups: Count = 5, **options: Any) -> Recipe:
    """The mean of M importance-weighted bounds of K draws each; with K = 1 the plain bound.

    `samples`: K, the draws in a group. `groups`: M, how many groups of them.

    Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018.
    """
    return vae(spec, objective=ImportanceWeighted(samples, groups), **options)


@recipe
def ciwae(spec: Spec, samples: Count = 5, beta: Part = 0.5, **options: Any) -> Recipe:
    """beta times the plain bound and 1 - beta times the importance-weighted one.

    `samples`: K, the draws for each example. `beta`: the share of the plain bound.

    Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018.
    """
    return vae(spec, objective=Combined(samples, beta), **options)


@recipe
def piwae(spec: Spec, samples: Count = 5, groups: Count = 5, **options: Any) -> Recipe:
    """The importance-weighted bound of all M K draws for the decoder, the mean of M bounds of K for the encoder.

    `samples`: K, the draws in a group. `groups`: M, how many groups of them.

    Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018.
    """
    return vae(spec, objective=PartiallyImportanceWeighted(samples, groups), **options)


@recipe
def dreg(spec: Spec, samples: Count = 5, **options: Any) -> Recipe:
    """The importance-weighted bound, the encoder's gradient reparametrised twice: the same in expectation, less noisy.

    `samples`: K, the draws for each example.

    Tucker, Lawson, Gu, Maddison: Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2019.
    """
    return vae(spec, objective=DoublyReparametrised(samples), **options)


@recipe
def sticking_the_landing(spec: Spec, samples: Count = 1, **options: Any) -> Recipe:
    """The plain bound at draws, the gradient of log q along their path alone: no noise where the posterior is exact.

    `samples`: the draws for each example.

    Roeder, Wu, Duvenaud: Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference,
    2017.
    """
    return vae(spec, objective=StickingTheLanding(samples), **options)


@recipe
def renyi(spec: Spec, samples: Count = 5, alpha: float = 0.5, **options: Any) -> Recipe:
    """1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha), w_k = p(x, z_k) / q(z_k | x).

    `samples`: K, the draws for each example. `alpha`: 0 is the importance-weighted bound, 1 the plain one; between them
    the bound lies between, below 0 it may exceed log p(x).

    Li, Turner: Renyi Divergence Variational Inference, 2016.
    """
    return vae(spec, objective=Renyi(samples, alpha), **options)


@recipe
def thermodynamic(
    spec: Spec, samples: Several = 10, partitions: Count = 5, first: Within = 0.1, **options: Any
) -> Recipe:
    """sum_j (b_j+1 - b_j) E_j[log p(x, z) / q(z | x)], E_j over p(x, z)^b_j q(z | x)^(1 - b_j), b from 0 to 1.

    `samples`: the draws for each example. `partitions`: into how many parts 0 to 1 is cut; one makes the plain bound.
    `first`: where the first ends, from which the others go in even steps of the logarithm.

    Masrani, Le, Wood: The Thermodynamic Variational Objective, 2019.
    """
    return vae(spec, objective=Thermodynamic(samples, partitions, first), **options)
