"""POISE-VAE: a latent of each modality, all coupled in pairs by the prior."""

from __future__ import annotations

from polyvae.checks.ranges import Count
from polyvae.model.posteriors.pairwise import PairwisePosterior
from polyvae.model.presence import present
from polyvae.model.priors.pairwise import Coupling, PairwisePrior
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.observe.modalities import Present
from polyvae.recipes.decoders import finished
from polyvae.recipes.experts import experts_of, heads_of, modalities
from polyvae.recipes.options import Modal, Part
from polyvae.recipes.recording import Recipe, recipe


@recipe
def poise(
    spec: Spec,
    square: bool = True,
    dropped: Part = 0.5,
    samples: Count = 1,
    latent: Modal = Modal(),
) -> Recipe:
    """A latent z_m of each modality, which the prior couples in pairs by T(z) = [z, z^2], and an expert of each.

    p(z) proportional to prod_m N(z_m; 0, I) exp(sum_{m < n} T(z_m)' G_mn T(z_n)), q(z | x) to p(z) exp(sum_m nu_m(x_m)'
    T(z_m)), nu_m = 0 of a modality that is missing. Both are drawn by Gibbs sampling; see `Pairwise`.

    `square`: whether squares are coupled too; without, the prior is a normal law. `dropped`: the share of the training
    rows in which only some of the experts are asked, so that the couplings have to tell the rest. `samples`: K, the
    draws of the importance-weighted bound, only one of which has to explain what was not asked. With more than 1 each
    is vaguer; with 1, the plain bound, what differs within a class is averaged away. `expert`: "normal" alone.

    The prior is of the kind of Welling, Rosen-Zvi, Hinton: Exponential Family Harmoniums with an Application to
    Information Retrieval, 2004.
    """
    if latent.expert != "normal":
        raise ValueError(f"expert: what is coupled with z and z^2 is a normal law, normal; got {latent.expert!r}")
    specs, size = modalities(spec, "poise", own="z"), latent.dimensions
    names = {f"z_{name}": name for name in specs}
    experts = {f"z_{name}": expert for name, expert in experts_of(latent, specs, size).items()}
    known = {z: present(name) for z, name in names.items()}
    heads = heads_of(latent, specs, {name: {z: (size,)} for z, name in names.items()})
    coupling = Coupling(dict.fromkeys(names, size), square)
    q = PairwisePosterior(experts, coupling, known, dropped)
    model = VAE({"z": q}, {"z": PairwisePrior(coupling, dict.fromkeys(names, (size,)))}, heads)
    return finished(model, ImportanceWeighted(samples, weighted=True), Present.of(specs))
