"""A recipe whose divergence weighs so many times as much, and one training of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from polyvae.objectives.objective import Objective, Weighted
from polyvae.recipes import Recipe
from polyvae.study import trained


@dataclass(frozen=True)
class Job(trained.Job):
    """A training of a recipe whose divergence weighs `beta` times as much."""

    beta: float = 1.0

    def recipe(self) -> Recipe:
        return weighing(super().recipe(), self.beta)


def weighing(recipe: Recipe, beta: float) -> Recipe:
    """The recipe whose terms that are a divergence, the KL or its parts, weigh `beta` times as much.

    Its best epoch is that of the loss: the bound would choose another point of the curve. ValueError for an objective
    without such a term, or whose weight moves or has a target.
    """
    objective = recipe.objective
    if not isinstance(objective, Objective):
        raise ValueError(f"it minimises {type(objective).__name__}, which has no weight of a divergence; take vae")
    terms = {name: cast(Weighted, each) for name, each in objective.terms.items()}
    pressed = [name for name, each in terms.items() if getattr(each.term, "divergence", False)]
    if not pressed:
        raise ValueError(f"no term of its objective ({', '.join(terms)}) is a divergence to be weighed; take vae")
    for name in pressed:
        if callable(terms[name].weight) or terms[name].target is not None:
            raise ValueError(f"its term {name} has a weight that moves, or a target; leave out its warm-up or capacity")
        terms[name] = Weighted(terms[name].term, beta * cast(float, terms[name].weight))
    made = Objective(terms, objective.samples, objective.balance)
    return replace(recipe, objective=made, monitor="loss")
