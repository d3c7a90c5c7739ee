"""Families by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

from polyvae.checks.names import find
from polyvae.model.families.counts import COUNTS
from polyvae.model.families.flow import InverseAutoregressive
from polyvae.model.families.joint import LowRankResiduals, StructuredNormal
from polyvae.model.families.pixels import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    CoupledLogisticMixture,
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    PiecewiseLinear,
    grey,
)
from polyvae.model.families.places import PlaceNormal
from polyvae.model.families.real import DiagonalNormal, FullNormal, Laplace, PixelNormal, Point, StudentT
from polyvae.model.families.vectors import LowRankNormal, MixtureNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Family

# Names on the command line. A posterior is made for a number of dimensions, a likelihood for the shape and the grey
# levels of a spec.
POSTERIORS: Mapping[str, Callable[[int], Family]] = {
    "diagonal": lambda dimensions: DiagonalNormal(),
    "full": lambda dimensions: FullNormal(),
    "low-rank": lambda dimensions: LowRankNormal(),
    "mixture": lambda dimensions: MixtureNormal(),
    "iaf": InverseAutoregressive,
    "point": lambda dimensions: Point(),
}

LIKELIHOODS: Mapping[str, Callable[[Spec], Family]] = {
    "bernoulli": lambda spec: Bernoulli(),
    "continuous-bernoulli": lambda spec: ContinuousBernoulli(),
    "normal": lambda spec: PixelNormal(sqrt(0.5)),  # squared error summed over the values, plus a constant
    "normal-learned": lambda spec: PixelNormal("learned"),
    "normal-network": lambda spec: PixelNormal("network"),
    "normal-optimal": lambda spec: PixelNormal("optimal"),
    "normal-places": lambda spec: PlaceNormal(spec.x),
    "low-rank": lambda spec: LowRankResiduals(),
    "laplace": lambda spec: Laplace("learned"),
    "laplace-0.75": lambda spec: Laplace(0.75, unit=spec.unit),
    "student-t": lambda spec: StudentT("learned"),
    "structured": lambda spec: structured(spec),
    "logistic": lambda spec: DiscretisedLogistic(grey(spec.levels)),
    "logistic-mixture": lambda spec: DiscretisedLogisticMixture(levels=grey(spec.levels)),
    "coupled-logistic-mixture": lambda spec: CoupledLogisticMixture(levels=grey(spec.levels)),
    "piecewise-linear": lambda spec: PiecewiseLinear(levels=grey(spec.levels)),
    "categorical": lambda spec: Categorical(grey(spec.levels)),
    **{name: lambda spec, make=make: make() for name, make in COUNTS.items()},
}


def posterior(name: str, dimensions: int = 16) -> Family:
    """A new family of that name in `POSTERIORS`, of a latent of so many dimensions; ValueError with the known names if
    there is none."""
    return find(POSTERIORS, name, "posterior")(dimensions)


def likelihood(name: str, levels: int | None = 256, shape: tuple[int, ...] = (1, 1, 1)) -> Family:
    """A new family of that name in `LIKELIHOODS` for values of that shape and so many grey levels, None for none.

    ValueError with the known names if there is none.
    """
    return find(LIKELIHOODS, name, "likelihood")(Spec(shape, levels=levels))


def structured(spec: Spec, neighbourhood: int = 1) -> StructuredNormal:
    """Structured residuals of this reach; of a table, which has no neighbours, of all its columns."""
    return StructuredNormal(neighbourhood if len(spec.x) > 1 else 0)
