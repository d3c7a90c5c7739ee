"""Variants by what they add to the bound or weigh in it: divergences, discrepancies, penalties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from polyvae.checks.ranges import Amount, Count, Positive, Weight, Widths
from polyvae.model.spec import Spec
from polyvae.objectives.aggregate import DimensionKL, MutualInformation, TotalCorrelation, check_split
from polyvae.objectives.critics import USUAL, Critic, Discrimination, Fooled, Ratio, from_prior, permuted
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.penalties import Covariance, check_covariance
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, MMD, Reconstruction
from polyvae.recipes.options import Estimator, Gaussian
from polyvae.recipes.parts import weights_apart
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def beta_vae(spec: Spec, beta: Weight = 4.0, kl_warmup: Amount = 0, free_bits: Weight = 0.0, **options: Any) -> Recipe:
    """E_q[log p(x | z)] - beta KL(q(z | x) || p(z)).

    `beta`: the weight of the KL. `kl_warmup`: steps over which it rises from 0. `free_bits`: nats below which a latent
    dimension is not pressed further.

    Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed, Lerchner: beta-VAE, 2017.
    """
    weight = Linear(0.0, beta, kl_warmup) if kl_warmup else beta
    terms = {"reconstruction": Reconstruction(), "kl": Weighted(KL(free_bits), weight)}
    return vae(spec, objective=Objective(terms), **options)


@recipe
def capacity_vae(
    spec: Spec, gamma: Weight = 100.0, capacity: Weight = 25.0, steps: Count = 10_000, **options: Any
) -> Recipe:
    """E_q[log p(x | z)] - gamma |KL(q(z | x) || p(z)) - C|, where C rises from 0.

    `gamma`: how hard the KL is held at C. `capacity`: the last C, in nats. `steps`: how many steps C takes.

    Burgess, Higgins, Pal, Matthey, Watters, Desjardins, Lerchner: Understanding Disentangling in beta-VAE, 2018.
    """
    kl = Weighted(KL(), gamma, target=Linear(0.0, capacity, steps))
    return vae(spec, objective=Objective({"reconstruction": Reconstruction(), "kl": kl}), **options)


@recipe
def mmd_vae(
    spec: Spec, alpha: float = 0.0, scale: float = 10.0, kernel: str = "rbf", bandwidth: Positive = 1.0, **options: Any
) -> Recipe:
    """E_q[log p(x | z)] - (1 - alpha) KL(q(z | x) || p(z)) - (alpha + scale - 1) MMD(q(z), p(z)).

    Both weights must be at least 0. `alpha`: how much of the KL is left out. `scale`: what the MMD weighs beside it.
    `kernel`: "rbf" or "imq". `bandwidth`: the kernel's, in units of z, in which the standard prior has the deviation 1.

    Zhao, Song, Ermon: InfoVAE: Balancing Learning and Inference in Variational Autoencoders, 2019, whose lambda is
    `scale`.
    """
    kl, mmd = 1 - alpha, alpha + scale - 1
    if min(kl, mmd) < 0:
        raise ValueError(
            f"alpha and scale weigh the KL by 1 - alpha = {kl:g} and the MMD by alpha + scale - 1 = {mmd:g}, both "
            f"must be at least 0; got {alpha} and {scale}"
        )
    terms = {
        "reconstruction": Reconstruction(),
        "kl": Weighted(KL(), kl),
        "mmd": Weighted(MMD(kernel, bandwidth), mmd),
    }
    return vae(spec, objective=Objective(terms), **options)


@recipe
def beta_tcvae(
    spec: Spec,
    alpha: Weight = 1.0,
    beta: Weight = 6.0,
    gamma: Weight = 1.0,
    estimator: Estimator = "stratified",
    examples: Count | None = None,
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z)] - alpha I(x; z) - beta KL(q(z) || prod_j q(z_j)) - gamma sum_j KL(q(z_j) || p(z_j)).

    `alpha`, `beta`, `gamma`: weights of the index-code mutual information, of the total correlation and of the
    divergence of single dimensions, which sum to the KL. `estimator`: of q(z) from a batch, "stratified" or "weighted".
    `examples`: how many the data hold, by default those that it is trained on. `prior`: one that factorises.

    Chen, Li, Grosse, Duvenaud: Isolating Sources of Disentanglement in Variational Autoencoders, 2018.
    """
    parts = {"mutual_information": (MutualInformation, alpha), "total_correlation": (TotalCorrelation, beta)}
    parts["dimension_kl"] = (DimensionKL, gamma)
    terms = {name: Weighted(part(estimator, examples), weight) for name, (part, weight) in parts.items()}
    return _split(vae(spec, objective=Objective({"reconstruction": Reconstruction(), **terms}), **options))


@recipe
def factor_vae(
    spec: Spec,
    gamma: Weight = 10.0,
    latent: Gaussian = Gaussian(),
    critic: Widths = (256, 256, 256),
    critic_rate: Positive = 1.0,
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) - gamma KL(q(z) || prod_j q(z_j)), the last as a critic sees it.

    The critic tells draws of z from draws with each dimension permuted across the batch. `gamma`: what the total
    correlation weighs. `critic`: widths of its layers. `critic_rate`: factor of the learning rate for it.

    Kim, Mnih: Disentangling by Factorising, 2018, with a critic of 6 layers of 1000.
    """
    judge = _critic(latent, critic, critic_rate)
    terms = {"reconstruction": Reconstruction(), "kl": KL(), "total_correlation": Weighted(Ratio(judge), gamma)}
    terms["critic"] = Discrimination(judge, permuted)
    return vae(spec, latent, objective=Objective(terms), **options)


@recipe
def dip_vae(
    spec: Spec,
    off_diagonal: Weight = 10.0,
    diagonal: Weight = 10.0,
    aggregate: bool = True,
    latent: Gaussian = Gaussian(),
    **options: Any,
) -> Recipe:
    """The bound - lambda_od sum_i!=j C_ij^2 - lambda_d sum_i (C_ii - 1)^2, C the covariance of the codes.

    `off_diagonal`: lambda_od. `diagonal`: lambda_d. `aggregate`: whether C is that of the codes with their noise
    (DIP-VAE II), or of their means alone (I, with a lambda_d of some ten times lambda_od).

    Kumar, Sattigeri, Balakrishnan: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations,
    2018.
    """
    terms = {"reconstruction": Reconstruction(), "kl": Weighted(KL())}
    terms["off_diagonal"] = Weighted(Covariance("off-diagonal", aggregate), off_diagonal)
    terms["diagonal"] = Weighted(Covariance("diagonal", aggregate), diagonal)
    made = vae(spec, latent, objective=Objective(terms), **options)
    family = made.model.posterior["z"].family
    check_covariance(family(torch.zeros(2, family.size(latent.dimensions))))  # pyright: ignore
    return made


@recipe
def adversarial_autoencoder(
    spec: Spec,
    adversary: Weight = 10.0,
    latent: Gaussian = Gaussian(posterior="point"),
    critic: Widths = (256, 256, 256),
    critic_rate: Positive = 0.1,
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z)], where a critic that tells q(z) from p(z) is to be fooled; the AAE.

    No divergence is computed, so that the posterior may be a point, which has no bound on log p(x). `adversary`: what
    it weighs to fool the critic. `critic`: widths of its layers. `critic_rate`: factor of the learning rate for it; one
    that learns as fast as the encoder tells codes of many dimensions from draws at once, and then teaches nothing.
    `posterior`: "point", or a law, of which noise is drawn and of which the loss chooses the best epoch, without the
    critic's cost. `prior`: one with nothing to learn.

    Makhzani, Shlens, Jaitly, Goodfellow, Frey: Adversarial Autoencoders, 2015.
    """
    judge = _critic(latent, critic, critic_rate)
    terms = {"reconstruction": Reconstruction(), "adversary": Weighted(Fooled(judge), adversary)}
    terms["critic"] = Discrimination(judge, from_prior)
    return vae(spec, latent, objective=Objective(terms), **options)


def _critic(latent: Gaussian, widths: Widths, rate: float) -> Critic:
    """A critic of z, whose weights are drawn apart, so that a seed draws the model's as it does without one."""
    with weights_apart():
        return Critic(latent.dimensions, widths, replace(USUAL, lr_scale=rate))


def _split(made: Recipe) -> Recipe:
    """The recipe; ValueError where the divergence of a latent has no split over dimensions."""
    for name, q in made.model.posterior.items():
        prior, family = made.model.prior[name], getattr(q, "family", None)
        if getattr(prior, "given", ()):
            raise ValueError("prior: the divergence is split by one prior for all examples; take the standard one")
        if family is not None:
            p = prior({})
            check_split(family(torch.zeros(2, family.size(p.event_shape[0]))), p)
    return made
