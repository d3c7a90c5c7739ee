"""Distributions and Kullback-Leibler divergences that torch.distributions lacks. None of them checks its arguments."""

from polyvae.model.distributions.bernoulli import Bernoulli, ContinuousBernoulli
from polyvae.model.distributions.categorical_codes import CategoricalCodes, RelaxedCodes
from polyvae.model.distributions.codes import CodeLaw, CodePrior, Quantised, UniformCodes
from polyvae.model.distributions.columns import Categories, Product, Standardised
from polyvae.model.distributions.counts import Counts, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from polyvae.model.distributions.coupled import CoupledLogisticMixture
from polyvae.model.distributions.exact import Exact
from polyvae.model.distributions.grey import DiscretisedLogistic, GridCategorical
from polyvae.model.distributions.hats import PiecewiseLinear
from polyvae.model.distributions.joint import Reshaped
from polyvae.model.distributions.laplace import SharedLaplace
from polyvae.model.distributions.law import Law
from polyvae.model.distributions.low_rank import LowRankNormal
from polyvae.model.distributions.mixture import Stratified
from polyvae.model.distributions.normal import CholeskyNormal, OptimalNormal, SharedNormal
from polyvae.model.distributions.normal_mixture import NormalMixture
from polyvae.model.distributions.one_hot import OneHot
from polyvae.model.distributions.pairwise import Couplings, Gibbs, Pairwise
from polyvae.model.distributions.point import Point
from polyvae.model.distributions.rectified import RectifiedFlow
from polyvae.model.distributions.structured import StructuredNormal
from polyvae.model.distributions.student import StudentT

__all__ = [
    "Bernoulli",
    "CategoricalCodes",
    "Categories",
    "CholeskyNormal",
    "CodeLaw",
    "CodePrior",
    "ContinuousBernoulli",
    "Counts",
    "CoupledLogisticMixture",
    "Couplings",
    "DiscretisedLogistic",
    "Exact",
    "Gibbs",
    "GridCategorical",
    "Law",
    "LowRankNormal",
    "NegativeBinomial",
    "NormalMixture",
    "OneHot",
    "OptimalNormal",
    "Pairwise",
    "PiecewiseLinear",
    "Point",
    "Poisson",
    "Product",
    "Quantised",
    "RectifiedFlow",
    "RelaxedCodes",
    "Reshaped",
    "SharedLaplace",
    "SharedNormal",
    "Standardised",
    "Stratified",
    "StructuredNormal",
    "StudentT",
    "UniformCodes",
    "ZeroInflatedNegativeBinomial",
]
