"""Objectives: what training minimises, read off one draw of a model."""

from polyvae.objectives import terms
from polyvae.objectives.balance import SoftAdapt
from polyvae.objectives.objective import ImportanceWeighted, Objective, Weighted
from polyvae.objectives.schedules import Cyclical, Linear
from polyvae.objectives.terms import KL, MMD, CodebookCost, Commitment, Reconstruction

__all__ = [
    "KL",
    "MMD",
    "CodebookCost",
    "Commitment",
    "Cyclical",
    "ImportanceWeighted",
    "Linear",
    "Objective",
    "Reconstruction",
    "SoftAdapt",
    "Weighted",
    "terms",
]
