"""Families by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

from polyvae.checks.names import find
from polyvae.model.families.counts import COUNTS
from polyvae.model.families.pixels import Bernoulli, Categorical, DiscretisedLogistic, DiscretisedLogisticMixture, grey
from polyvae.model.families.real import DiagonalNormal, FullNormal, Laplace, PixelNormal, Point
from polyvae.model.vae import Family

# Names on the command line. A likelihood is made for a number of grey levels, None where the data have none.
POSTERIORS: Mapping[str, Callable[[], Family]] = {"diagonal": DiagonalNormal, "full": FullNormal, "point": Point}


LIKELIHOODS: Mapping[str, Callable[[int | None], Family]] = {
    "bernoulli": lambda levels: Bernoulli(),
    "normal": lambda levels: PixelNormal(sqrt(0.5)),  # squared error summed over the values, plus a constant
    "normal-learned": lambda levels: PixelNormal("learned"),
    "normal-network": lambda levels: PixelNormal("network"),
    "normal-optimal": lambda levels: PixelNormal("optimal"),
    "laplace": lambda levels: Laplace("learned"),
    "logistic": lambda levels: DiscretisedLogistic(grey(levels)),
    "logistic-mixture": lambda levels: DiscretisedLogisticMixture(levels=grey(levels)),
    "categorical": lambda levels: Categorical(grey(levels)),
    **{name: lambda levels, make=make: make() for name, make in COUNTS.items()},
}


def posterior(name: str) -> Family:
    """A new family of that name in `POSTERIORS`; ValueError with the known names if there is none."""
    return find(POSTERIORS, name, "posterior")()


def likelihood(name: str, levels: int | None = 256) -> Family:
    """A new family of that name in `LIKELIHOODS`; ValueError with the known names if there is none."""
    return find(LIKELIHOODS, name, "likelihood")(levels)
