"""Published values that stand beside those of the comparison, with the network and the training they are of.

Negative log-likelihoods in nats, by importance sampling with 5,000 draws, of pictures binarised anew each time.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polyvae.recipes import RECIPES
from polyvae.recipes.flat import accepted

BURDA = "Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016"
TOMCZAK = "Tomczak, Welling: VAE with a VampPrior, 2018"
ONE = "one layer of 50, 784-200-200-50 with tanh; batches of 20, 3,280 passes"
TWO = "two layers of 100 and 50, 200-200 and 100-100 with tanh; batches of 20, 3,280 passes"
GATED = "gated 300-300, 40 dimensions, 500 pseudo-inputs"


@dataclass(frozen=True)
class Published:
    """A published value of a recipe with these options, of which the defaults count too."""

    dataset: str
    recipe: str
    nll: float
    setup: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    active: int | None = None


PUBLISHED = (
    Published("mnist", "vae", 86.76, ONE, BURDA, active=19),
    Published("mnist", "iwae", 85.54, ONE, BURDA, {"samples": 5}, 22),
    Published("mnist", "iwae", 84.78, ONE, BURDA, {"samples": 50}, 25),
    Published("mnist", "two_level", 85.33, TWO, BURDA),
    Published("mnist", "vamp_prior", 82.43, GATED, TOMCZAK),
    Published("omniglot", "vae", 108.11, ONE, BURDA),
    Published("omniglot", "iwae", 106.12, ONE, BURDA, {"samples": 5}),
    Published("omniglot", "iwae", 104.67, ONE, BURDA, {"samples": 50}),
    Published("omniglot", "vamp_prior", 106.78, GATED, TOMCZAK),
    Published("fashion_mnist", "vamp_prior", 227.35, GATED, TOMCZAK),
)
FREE = {"latent", "network", "widths", "top", "components"}  # sizes, which the set-up tells


def published(row: Mapping[str, Any], protocol: Mapping[str, Any]) -> Published | None:
    """The published value of the recipe of a row, where the study's pictures are binarised anew; None without one."""
    if protocol.get("binarise") not in ("auto", "dynamic"):
        return None
    build = RECIPES.get(row["recipe"])
    if build is None:
        return None
    said = {name: value for name, value in json.loads(row["options"]).items() if name not in FREE}
    known = accepted(inspect.unwrap(build))[0]
    for line in PUBLISHED:
        usual = {name: said.get(name, known[name].default) for name in line.options if name in known}
        same = usual == dict(line.options) and set(said) <= set(line.options)
        if (line.dataset, line.recipe) == (row["dataset"], row["recipe"]) and same:
            return line
    return None
