"""Variants by what they add to the bound or weigh in it: divergences, discrepancies, penalties."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Amount, Count, Positive, Weight
from polyvae.model.spec import Spec
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, MMD, Reconstruction
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
    `kernel`: "rbf" or "imq". `bandwidth`: the kernel's, in standard deviations of the prior.

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
