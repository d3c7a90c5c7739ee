"""Variants by their bound: another estimate of log p(x) that training maximises."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Count
from polyvae.model.spec import Spec
from polyvae.objectives.objective import ImportanceWeighted
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def iwae(spec: Spec, samples: Count = 5, **options: Any) -> Recipe:
    """The importance-weighted bound log 1/K sum_k p(x, z_k) / q(z_k | x).

    `samples`: K, the draws for each example.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
    """
    return vae(spec, objective=ImportanceWeighted(samples), **options)
