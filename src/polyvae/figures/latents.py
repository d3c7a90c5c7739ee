"""The arrays of figures of the latents themselves: where examples lie, and what each dimension carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import one_of
from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, source_of
from polyvae.evaluation.classes import class_probabilities, labelled_latent
from polyvae.evaluation.codes import describe_codes
from polyvae.figures.kinds import GroupKL, KLBars, LatentMap
from polyvae.figures.looks import look_of, part
from polyvae.figures.subject import one_hot
from polyvae.model.vae import VAE, Values


def latent_of(model: VAE, name: str | None) -> str:
    """That latent, or the first that is no class; several with one law are one, of its name. ValueError for another."""
    names, classes = [unit.name for unit in model.plan.unit_of_prior.values()], one_hot(model)
    return (
        next((each for each in names if each not in classes), names[0])
        if name is None
        else one_of(names, name, "a latent of the model")
    )


def latent_map(
    source: Any,
    split: Split,
    latent: str | None = None,
    method: str | None = None,
    count: int = 5000,
    seed: int = 0,
    by_class: bool = False,
) -> LatentMap:
    """Posterior means of a seeded `count` of examples in two dimensions, with the names of their classes.

    `method`: "active", the two dimensions of most KL (else most variance), or "pca", the means' two principal axes;
    where none is given "active", and "pca" of a map of codes, whose single places are on a lattice. A latent of one
    dimension is drawn against itself. `by_class`: whether points are named by the likeliest class of the model, and not
    by the label of the data. ValueError for another method.
    """
    one_of(("active", "pca"), method or "active", "method")
    name = latent_of(source_of(source, "prior", what="a map of latents").model, latent)
    chosen = subset(split, count, seed)
    shown = part(len(chosen), len(split))
    code = describe_codes(source, chosen, seed)[name]
    method = method or ("active" if code.words is None else "pca")
    means = code.means.float()
    labels = None if (y := chosen.labels) is None else y.cpu().numpy()
    of, named = "label", not by_class or labelled_latent(source_of(source).model)
    if by_class:
        labels, of = class_probabilities(source, chosen, seed).argmax(1).numpy(), "class" if named else "cluster"
    if labels is not None and named and (look := look_of(source, chosen)).labels:
        labels = np.array([look.label(label) for label in labels])
    if method == "active" or means.shape[1] < 3:
        order = (code.activity if code.kl is None else code.kl).argsort(descending=True).tolist()
        two = [order[0], order[min(1, len(order) - 1)]]
        axes = (f"{name}[{two[0]}]", f"{name}[{two[1]}]")
        return LatentMap(means[:, two].numpy(), labels, axes, shown, of)
    centred = means - means.mean(0)
    principal = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :2]
    return LatentMap((centred @ principal).numpy(), labels, (f"{name}, first axis", f"{name}, second axis"), shown, of)


def kl_bars(source: Any, split: Split, count: int = 5000, seed: int = 0) -> KLBars:
    """KL of every dimension of every latent over a seeded `count` of examples; ValueError where no latent has one."""
    chosen = subset(split, count, seed)
    found = describe_codes(source, chosen, seed)
    bars = {name: code.kl.float().numpy() for name, code in found.items() if code.kl is not None}
    if not bars:
        raise ValueError("no latent of this model has a KL per dimension: its posteriors or priors have no marginals")
    return KLBars(bars, part(len(chosen), len(split)))


def group_kl(source: Any, split: Split, count: int = 5000, seed: int = 0) -> GroupKL:
    """KL of every latent over a seeded `count` of examples, from the top: how much each group of a ladder tells."""
    chosen, sizes = subset(split, count, seed), dict[str, int]()

    def measure(model: VAE, batch: Values) -> Tensor:
        draw = model.infer(batch)
        sizes.update({name: latent.z[0, 0].numel() for name, latent in draw.latents.items()})
        return torch.stack([draw.expect(latent.kl) for latent in draw.latents.values()], 1)

    means = torch.cat(each_block(source, chosen, measure, seed)).double().mean(0).tolist()
    kl = dict(zip(sizes, means, strict=True))
    units = source_of(source, "prior", what="the KL of its groups").model.plan.unit_of_prior.values()
    return GroupKL({unit.name: kl[unit.name] for unit in units}, sizes, part(len(chosen), len(split)))
