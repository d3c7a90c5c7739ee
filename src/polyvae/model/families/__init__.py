"""Families: an unconstrained tensor becomes a distribution."""

from polyvae.model.families.columns import CategoryCodes, ColumnFamily, ColumnNormal, StandardisedFamily
from polyvae.model.families.counts import COUNTS, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from polyvae.model.families.flow import InverseAutoregressive
from polyvae.model.families.joint import LowRankResiduals, StructuredNormal
from polyvae.model.families.named import LIKELIHOODS, POSTERIORS, likelihood, posterior
from polyvae.model.families.pixels import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    CoupledLogisticMixture,
    DiscretisedLogistic,
    DiscretisedLogisticMixture,
    PiecewiseLinear,
)
from polyvae.model.families.places import PlaceNormal
from polyvae.model.families.real import DiagonalNormal, FixedNormal, FullNormal, Laplace, PixelNormal, Point, StudentT
from polyvae.model.families.relative import PrecisionNormal, ResidualNormal
from polyvae.model.families.vectors import LowRankNormal, MixtureNormal, OneHot

__all__ = [
    "COUNTS",
    "LIKELIHOODS",
    "POSTERIORS",
    "Bernoulli",
    "Categorical",
    "CategoryCodes",
    "ColumnFamily",
    "ColumnNormal",
    "ContinuousBernoulli",
    "CoupledLogisticMixture",
    "DiagonalNormal",
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "FixedNormal",
    "FullNormal",
    "InverseAutoregressive",
    "Laplace",
    "LowRankNormal",
    "LowRankResiduals",
    "MixtureNormal",
    "NegativeBinomial",
    "OneHot",
    "PiecewiseLinear",
    "PixelNormal",
    "PlaceNormal",
    "Point",
    "Poisson",
    "PrecisionNormal",
    "ResidualNormal",
    "StandardisedFamily",
    "StructuredNormal",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "likelihood",
    "posterior",
]
