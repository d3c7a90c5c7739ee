"""Scores of disentanglement: how the dimensions of codes hold the factors that examples were made of."""

from polyvae.evaluation.disentanglement.correlation import GaussianTotalCorrelation
from polyvae.evaluation.disentanglement.fixed import BetaVAEScore, FactorVAEScore
from polyvae.evaluation.disentanglement.information import MIG, Modularity
from polyvae.evaluation.disentanglement.prediction import DCI, SAP, Explicitness
from polyvae.evaluation.disentanglement.report import AGGREGATE, APART, FACTORS, SCORES, disentanglement, factors_of

__all__ = [
    "AGGREGATE",
    "APART",
    "DCI",
    "FACTORS",
    "MIG",
    "SAP",
    "SCORES",
    "BetaVAEScore",
    "Explicitness",
    "FactorVAEScore",
    "GaussianTotalCorrelation",
    "Modularity",
    "disentanglement",
    "factors_of",
]
