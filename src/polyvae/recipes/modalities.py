"""Variants of several modalities, any of which may be missing: what experts make together, and what trains them."""

from __future__ import annotations

from polyvae.checks.ranges import Amount, Count, Positive, Weight
from polyvae.model.posteriors.experts import Experts, each, every
from polyvae.model.posteriors.private import SharedAndPrivate
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.objectives.gradients import DoublyReparametrised
from polyvae.objectives.modalities import ComponentKL, ExpertKL, SubsetBounds
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.observe.modalities import Present
from polyvae.recipes.decoders import finished
from polyvae.recipes.experts import check_multiplied, experts_of, heads_of, joint_of, modalities, prior_of, shared
from polyvae.recipes.options import Gradient, Modal, Part
from polyvae.recipes.recording import Recipe, recipe

BOUNDS = {"dreg": DoublyReparametrised, "plain": ImportanceWeighted}


@recipe
def mvae(spec: Spec, drawn: Amount | None = None, beta: Weight = 1.0, latent: Modal = Modal()) -> Recipe:
    """A product of experts with the prior: q(z | x_A) proportional to p(z) prod_{m in A} q(z | x_m).

    The bound on log p(x) is maximised with those of each modality alone, and of `drawn` subsets of them.

    `drawn`: subsets drawn for each row, by default 1 of three modalities and more, else 0. `beta`: weight of the
    divergence.

    Wu, Goodman: Multimodal Generative Models for Scalable Weakly-Supervised Learning, 2018.
    """
    check_multiplied(latent, "mvae")
    specs, size = modalities(spec, "mvae"), latent.dimensions
    q = Experts(experts_of(latent, specs, size), prior=True)
    model = VAE(q, prior_of(latent, size), heads_of(latent, specs, shared(tuple(specs), size)))
    loss = Objective({"reconstruction": Reconstruction(), "kl": Weighted(KL(), beta)})
    drawn = int(len(specs) > 2) if drawn is None else drawn
    return finished(model, SubsetBounds(loss, tuple(specs), drawn), Present.of(specs))


@recipe
def mmvae(spec: Spec, samples: Count = 10, gradient: Gradient = "dreg", latent: Modal = Modal()) -> Recipe:
    """A mixture of experts, q(z | x_A) = mean over m in A of q(z | x_m), and the mean of the experts' own bounds.

    1/M sum_m E log 1/K sum_k p(x, z_mk) / q(z_mk | x), z_mk drawn from the expert of m: each has to explain every
    modality.

    `samples`: K, the draws of each expert. `gradient`: "dreg", doubly reparametrised, less noisy and for the experts
    biased where these overlap in part, or "plain".

    Shi, Siddharth, Paige, Torr: Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models,
    2019.
    """
    specs, size = modalities(spec, "mmvae"), latent.dimensions
    q = Experts(experts_of(latent, specs, size), each(tuple(specs)))
    model = VAE(q, prior_of(latent, size), heads_of(latent, specs, shared(tuple(specs), size)))
    return finished(model, BOUNDS[gradient](samples, len(specs), weighted=True), Present.of(specs))


@recipe
def mopoe(spec: Spec, samples: Count = 1, beta: Weight = 1.0, latent: Modal = Modal()) -> Recipe:
    """A mixture of products of experts, q(z | x_A) the mean over the subsets s of A of prod_{m in s} q(z | x_m).

    `samples`: draws for each example, spread over the subsets. `beta`: weight of the divergence, the mean of those of
    all subsets.

    Sutter, Daunhawer, Vogt: Generalized Multimodal ELBO, 2021.
    """
    check_multiplied(latent, "mopoe")
    specs, size = modalities(spec, "mopoe"), latent.dimensions
    q = Experts(experts_of(latent, specs, size), every(tuple(specs)))
    model = VAE(q, prior_of(latent, size), heads_of(latent, specs, shared(tuple(specs), size)))
    loss = Objective({"reconstruction": Reconstruction(), "kl": Weighted(ComponentKL(), beta)}, samples)
    return finished(model, loss, Present.of(specs))


@recipe
def jmvae(spec: Spec, alpha: Weight = 0.1, beta: Weight = 1.0, latent: Modal = Modal()) -> Recipe:
    """A joint encoder q(z | x) of all modalities, and an expert of each that is drawn to it.

    E log p(x | z) - KL(q(z | x) || p(z)) - alpha sum_m KL(q(z | x) || q(z | x_m)), and of some
    of the modalities the product of their experts.

    `alpha`: weight of the sum of these divergences. `beta`: weight of the divergence from the prior.

    Suzuki, Nakayama, Matsuo: Joint Multimodal Learning with Deep Generative Models, 2017 (JMVAE-kl).
    """
    check_multiplied(latent, "jmvae")
    specs, size = modalities(spec, "jmvae"), latent.dimensions
    q = Experts(experts_of(latent, specs, size), joint=joint_of(latent, specs, size))
    model = VAE(q, prior_of(latent, size), heads_of(latent, specs, shared(tuple(specs), size)))
    terms = {
        "reconstruction": Reconstruction(),
        "kl": Weighted(KL(), beta),
        "experts": Weighted(ExpertKL(), alpha),
    }
    return finished(model, Objective(terms), Present.of(specs))


@recipe
def mvtcae(spec: Spec, alpha: Part = 5 / 6, beta: Positive = 1.0, latent: Modal = Modal()) -> Recipe:
    """A product of experts, which are drawn to what they say together: a bound on the modalities' total correlation.

    (M - a) / M E log p(x | z) - b ((1 - a) KL(q(z | x) || p(z)) + a / M sum_m KL(q(z | x) || q(z | x_m))), a, b `alpha`
    and `beta`.

    `alpha`: how much the experts count beside the prior. `beta`: weight of both divergences.

    Hwang, Kim, Hong, Kim: Multi-View Representation Learning via Total Correlation Objective, 2021.
    """
    check_multiplied(latent, "mvtcae")
    specs, size = modalities(spec, "mvtcae"), latent.dimensions
    count = len(specs)
    q = Experts(experts_of(latent, specs, size))
    model = VAE(q, prior_of(latent, size), heads_of(latent, specs, shared(tuple(specs), size)))
    terms = {
        "reconstruction": Weighted(Reconstruction(), (count - alpha) / count),
        "kl": Weighted(KL(), beta * (1 - alpha)),
        "experts": Weighted(ExpertKL(), beta * alpha / count),
    }
    return finished(model, Objective(terms), Present.of(specs))


@recipe
def mmvae_plus(
    spec: Spec,
    private: Count = 10,
    samples: Count = 10,
    gradient: Gradient = "dreg",
    latent: Modal = Modal(),
) -> Recipe:
    """A mixture of experts of a shared z, with a latent w_m that each modality has to itself.

    Where the expert of one modality speaks, the others are explained with w drawn from laws that know nothing of them,
    so that what modalities have in common is in z alone.

    `private`: dimensions of each w_m. `samples`: K, the draws of each expert. `gradient`: as of `mmvae`.

    Palumbo, Daunhawer, Vogt: MMVAE+: Enhancing the Generative Quality of Multimodal VAEs without Compromises, 2023.
    """
    specs, size = modalities(spec, "mmvae_plus", ("z", "latents"), "w"), latent.dimensions
    q = SharedAndPrivate(experts_of(latent, specs, size + private), size, private)
    p = {name: prior_of(latent, shape[0]) for name, shape in q.shapes.items()}
    reads = {name: {"z": (size,), f"w_{name}": (private,)} for name in specs}
    model = VAE({"latents": q}, p, heads_of(latent, specs, reads))
    return finished(model, BOUNDS[gradient](samples, len(specs), weighted=True), Present.of(specs))


@recipe
def dmvae(
    spec: Spec, private: Count = 10, samples: Count | None = None, beta: Weight = 1.0, latent: Modal = Modal()
) -> Recipe:
    """A shared z whose posterior is a product of experts or one of them by turns, and a latent w_m of each modality.

    `private`: dimensions of each w_m. `samples`: draws for each example, by default one of the product and one of each
    expert. `beta`: weight of the divergences.

    Lee, Pavlovic: Private-Shared Disentangled Multimodal VAE for Learning of Latent Representations, 2021.
    """
    check_multiplied(latent, "dmvae")
    specs, size = modalities(spec, "dmvae", own="w"), latent.dimensions
    names = tuple(specs)
    experts = experts_of(latent, specs, size)
    own = experts_of(latent, specs, private)
    q = {"z": Experts(experts, (names, *each(names)))}
    q |= {f"w_{name}": Experts({name: own[name]}) for name in names}
    p = {"z": prior_of(latent, size), **{f"w_{name}": prior_of(latent, private) for name in names}}
    reads = {name: {"z": (size,), f"w_{name}": (private,)} for name in names}
    model = VAE(q, p, heads_of(latent, specs, reads))
    terms = {"reconstruction": Reconstruction(), "kl": Weighted(ComponentKL(), beta)}
    return finished(model, Objective(terms, samples or len(names) + 1), Present.of(specs))
