"""Labelled examples drawn from a conditional run, to train something else on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from polyvae.checks.names import one_of
from polyvae.checks.ranges import Count, Positive, Seed, ranged
from polyvae.data.exchange.codes import labels_of
from polyvae.data.exchange.given import present, taken
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import each_block, joined
from polyvae.evaluation.classes import known_labels
from polyvae.model.draw import first_heads
from polyvae.model.vae import VAE, Values
from polyvae.training.trained import Trained

How = Literal["prior", "posterior", "interpolation"]


@dataclass(frozen=True)
class _Asked:
    how: How
    temperature: float
    guidance: float
    noise: bool
    seed: int


@ranged
def augment(
    run: Trained,
    data: Any,
    per_class: Count,
    how: How = "prior",
    temperature: Positive = 1.0,
    guidance: float = 1.0,
    noise: bool | None = None,
    seed: Seed = 0,
) -> Split:
    """So many new examples x of each class y, drawn from a run conditioned on labels, class after class.

    `data`: real examples as `fit` takes them, of a Data its training part; those with a label are read. `how`: "prior",
    z ~ p(z | y); "posterior", z = m + t (z' - m) at z' ~ q(z | x, y) of a real example x of the class, m the centre of
    q; "interpolation", z = (1 - u) m_1 + u m_2 of two real examples of the class, u uniform on [0, 1]. Other conditions
    are those of the real examples, drawn evenly from the class. `temperature`: t, or of "prior" nothing but 1.
    `guidance`: w, see `Run.sample`. `noise`: whether x is drawn from p(x | z, y), as it is of tables by default, or
    expected. Grey levels are cut off at 0 and 1. The draws follow from `seed`.

    Raises ValueError for a run that reads no labels y, and for a class without a real example, by their names.
    """
    spec = run.spec
    one_of(get_args(How), how, "how")
    if how == "prior" and temperature != 1:
        raise ValueError(f"temperature moves draws about a real example: take how='posterior'; got {temperature:g}")
    if spec is None or not spec.classes or "y" not in run.model.conditions:
        raise ValueError("a run that is augmented from is conditioned on labels y; this one is not: train cvae")
    split = taken(data.train if isinstance(data, Data) else data, spec)
    if (labels := known_labels(split)) is None:
        raise ValueError("the data have no labels y, whose classes are augmented")
    split = split.take(labels[1].nonzero()[:, 0].to(split.device))
    y = labels[0][labels[1]]
    asked = _Asked(how, temperature, guidance, len(spec.x) == 1 if noise is None else noise, seed)
    draws = torch.Generator().manual_seed(seed)
    first, second = (split.take(_chosen(y, labels_of(spec), per_class, draws)) for _ in range(2))
    x = _decoded(run, first, {} if how == "prior" else _between(run, first, second, asked, draws), asked)
    return Split({"x": x.clamp(0, 1) if spec.unit else x, "y": first.tensors["y"].cpu()})


def _chosen(y: Tensor, names: tuple[str, ...], per_class: int, draws: torch.Generator) -> Tensor:
    """The numbers of examples drawn evenly from each class, [classes * per_class]."""
    found = []
    for label, name in enumerate(names):
        mine = (y == label).nonzero()[:, 0]
        if not len(mine):
            raise ValueError(f"the data have no example of the class {name}, of which some are asked for")
        found.append(mine[torch.randint(len(mine), (per_class,), generator=draws)])
    return torch.cat(found)


def _between(run: Trained, first: Split, second: Split, asked: _Asked, draws: torch.Generator) -> Values:
    """Every latent about a real example, or between two."""

    def about(model: VAE, batch: Values) -> Values:
        middle = model.centres(batch)
        if asked.how == "interpolation":
            return middle
        drawn = model.infer(batch).values
        return {name: z + asked.temperature * (drawn[name] - z) for name, z in middle.items()}

    z = joined(each_block(run, first, about, asked.seed))
    if asked.how == "posterior":
        return z
    other, u = joined(each_block(run, second, about, asked.seed)), torch.rand(len(first), generator=draws)
    return {name: torch.lerp(each, other[name], u.view(-1, *[1] * (each.ndim - 1))) for name, each in z.items()}


def _decoded(run: Trained, rows: Split, latents: Values, asked: _Asked) -> Tensor:
    """x at these latents, or at draws of the prior, and at the conditions of the rows."""
    model = run.model
    others = {name: value.cpu() for name, value in rows.tensors.items() if name in model.conditions}

    def generated(model: VAE, batch: Values) -> Values:
        w = asked.guidance
        laws = model.decode(batch, w) if latents else model.generate(batch, guidance=w)
        law = laws[first_heads(model.heads)[0]]
        return {"x": law.sample() if asked.noise else law.mean}  # pyright: ignore[reportReturnType]

    source = replace(run.recipe, observe=present(run.recipe.observe))
    return joined(each_block(source, Split({**others, **latents}), generated, asked.seed))["x"]
