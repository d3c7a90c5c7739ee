"""Objectives: what training minimises, read off one draw of a model."""

from polyvae.objectives import terms
from polyvae.objectives.aggregate import DimensionKL, MutualInformation, TotalCorrelation
from polyvae.objectives.balance import GroupBalance, SoftAdapt
from polyvae.objectives.bounds import Bound, Combined, ImportanceWeighted, Renyi
from polyvae.objectives.code_terms import EntropyPenalty
from polyvae.objectives.critics import Critic, Discrimination, Fooled, Ratio
from polyvae.objectives.gradients import (
    DoublyReparametrised,
    PartiallyImportanceWeighted,
    StickingTheLanding,
    Thermodynamic,
)
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.penalties import CodeSize, Covariance, SpectralNorms, Steepness
from polyvae.objectives.schedules import Cyclical, Linear
from polyvae.objectives.terms import KL, MMD, Classification, CodebookCost, Commitment, Reconstruction

__all__ = [
    "KL",
    "MMD",
    "Bound",
    "Classification",
    "CodeSize",
    "CodebookCost",
    "Combined",
    "Commitment",
    "Covariance",
    "Critic",
    "Cyclical",
    "DimensionKL",
    "Discrimination",
    "DoublyReparametrised",
    "EntropyPenalty",
    "Fooled",
    "GroupBalance",
    "ImportanceWeighted",
    "Linear",
    "MutualInformation",
    "Objective",
    "PartiallyImportanceWeighted",
    "Ratio",
    "Reconstruction",
    "Renyi",
    "SoftAdapt",
    "SpectralNorms",
    "Steepness",
    "StickingTheLanding",
    "Thermodynamic",
    "TotalCorrelation",
    "Weighted",
    "terms",
]
