"""What each of several latents adds to a reconstruction, the highest first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating, seeded
from polyvae.figures.kinds import Levels
from polyvae.figures.looks import part
from polyvae.figures.subject import one_hot, subject_of
from polyvae.model.distributions.codes import CodePrior
from polyvae.model.laws import centre
from polyvae.model.parts import given, shapes
from polyvae.model.priors.pixelcnn import PixelCNNPrior

_DRAWS = 256  # of codes whose law has no mean, and whose mean is shown


def levels(source: Any, split: Split, count: int = 12, seed: int = 0) -> Levels:
    """A seeded `count` of examples, and their reconstructions from the highest latent alone, from two, up to all.

    Latents above are at the posterior's centre, those below at the prior's given these: its mean, of a PixelCNN the
    likeliest code at each position in turn, of uniform codes the mean word. ValueError where there is one latent, one
    law of several, or a class, between whose values nothing is learned.
    """
    shown = subject_of(source, split, "encode", "decode", "prior")
    model = shown.model
    parts = (*model.posterior.values(), *model.prior.values())
    if len(model.prior) < 2 or any(map(shapes, parts)) or one_hot(model):
        raise ValueError("the model has no latents above each other, each with a law of its own")
    chosen = subset(split, count, seed)
    with evaluating(model) as device, seeded(device, seed, 3):
        batch = shown.batch(chosen, range(len(chosen)), device, seed)
        known = {name: batch[name] for name in {*model.inputs, *model.conditions}}
        centres = model.centres(batch)
        rows, names, pictures = list(model.prior), ["original"], [batch[shown.of]]
        for held in range(1, len(rows) + 1):
            values = dict(known)
            for place, name in enumerate(rows):
                values[name] = centres[name] if place < held else _from_above(shown.model, name, values, len(chosen))
            names.append("all" if held == len(rows) else " and ".join(rows[:held]))
            pictures.append(model.decode(values)[shown.head].mean)
        array = shown.array(torch.stack(pictures))
    return Levels(array, tuple(names), **shown.look.words(part(len(chosen), len(split))))


def _from_above(model: Any, name: str, values: dict[str, Tensor], rows: int) -> Tensor:
    """Where the prior of a latent is centred, given those above it, [rows, ...]."""
    prior = model.prior[name]
    prior = prior.sharpened(0.0) if isinstance(prior, PixelCNNPrior) else prior
    z = _centre(prior(model.featured(values, given(prior))))
    return z if z.shape[:1] == (rows,) and prior.given else z.expand(rows, *z.shape)


def _centre(p: Distribution) -> Tensor:
    if not isinstance(p, CodePrior):
        return centre(p)
    return p.sample() if getattr(p, "temperature", 1.0) == 0 else p.sample((_DRAWS,)).mean(0)
