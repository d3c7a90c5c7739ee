"""Objectives: what training minimises, read off one draw of a model."""

from polyvae.objectives import terms
from polyvae.objectives.aggregate import DimensionKL, MutualInformation, TotalCorrelation
from polyvae.objectives.balance import SoftAdapt
from polyvae.objectives.critics import Critic, Discrimination, Fooled, Ratio
from polyvae.objectives.objective import ImportanceWeighted, Objective, Weighted
from polyvae.objectives.schedules import Cyclical, Linear
from polyvae.objectives.terms import KL, MMD, CodebookCost, Commitment, Reconstruction

__all__ = [
    "KL",
    "MMD",
    "CodebookCost",
    "Commitment",
    "Critic",
    "Cyclical",
    "DimensionKL",
    "Discrimination",
    "Fooled",
    "ImportanceWeighted",
    "Linear",
    "MutualInformation",
    "Objective",
    "Ratio",
    "Reconstruction",
    "SoftAdapt",
    "TotalCorrelation",
    "Weighted",
    "terms",
]
