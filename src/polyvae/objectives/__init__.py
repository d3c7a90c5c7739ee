"""Objectives: what training minimises, read off one draw of a model."""

from polyvae.objectives import terms
from polyvae.objectives.adversaries import (
    ClassifierCost,
    Deceived,
    FeatureLikelihood,
    Judged,
    MeanFeatures,
    Slope,
)
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
from polyvae.objectives.watching import Certainty, Spread, Told

__all__ = [
    "KL",
    "MMD",
    "Bound",
    "Certainty",
    "Classification",
    "ClassifierCost",
    "CodeSize",
    "CodebookCost",
    "Combined",
    "Commitment",
    "Covariance",
    "Critic",
    "Cyclical",
    "Deceived",
    "DimensionKL",
    "Discrimination",
    "DoublyReparametrised",
    "EntropyPenalty",
    "FeatureLikelihood",
    "Fooled",
    "GroupBalance",
    "ImportanceWeighted",
    "Judged",
    "Linear",
    "MeanFeatures",
    "MutualInformation",
    "Objective",
    "PartiallyImportanceWeighted",
    "Ratio",
    "Reconstruction",
    "Renyi",
    "Slope",
    "SoftAdapt",
    "SpectralNorms",
    "Spread",
    "Steepness",
    "StickingTheLanding",
    "Thermodynamic",
    "Told",
    "TotalCorrelation",
    "Weighted",
    "terms",
]
