"""Evaluation: bounds, codes, pictures and distances, the same whatever trained the model and however it was batched."""

from polyvae.evaluation.ais import Annealed, Annealing, annealed
from polyvae.evaluation.blocks import BLOCK, each_block, evaluating, seeded
from polyvae.evaluation.bounds import Bounds, LogMeanExp, both_bounds, importance_bound
from polyvae.evaluation.calibration import Calibration, calibrate, coverage, crps, energy_score, normal_crps, varying
from polyvae.evaluation.classes import (
    Classified,
    class_probabilities,
    classification,
    classify,
    clustering,
)
from polyvae.evaluation.classifier import Classifier, accuracy, recognisable, train_classifier
from polyvae.evaluation.codes import Code, describe_codes, moments, mutual_information
from polyvae.evaluation.frechet import frechet_distance, sampled_pictures
from polyvae.evaluation.information import Information
from polyvae.evaluation.pictures import errors, reconstruction_errors
from polyvae.evaluation.refine import Refinement, refined, refinement
from polyvae.evaluation.report import EvaluationSettings, evaluate
from polyvae.evaluation.tables import table
from polyvae.evaluation.zero_shot import generalised, made_features, softmax_regression

__all__ = [
    "BLOCK",
    "Annealed",
    "Annealing",
    "Bounds",
    "Calibration",
    "Classified",
    "Classifier",
    "Code",
    "EvaluationSettings",
    "Information",
    "LogMeanExp",
    "Refinement",
    "accuracy",
    "annealed",
    "both_bounds",
    "calibrate",
    "class_probabilities",
    "classification",
    "classify",
    "clustering",
    "coverage",
    "crps",
    "describe_codes",
    "each_block",
    "energy_score",
    "errors",
    "evaluate",
    "evaluating",
    "frechet_distance",
    "generalised",
    "importance_bound",
    "made_features",
    "moments",
    "mutual_information",
    "normal_crps",
    "recognisable",
    "reconstruction_errors",
    "refined",
    "refinement",
    "sampled_pictures",
    "seeded",
    "softmax_regression",
    "table",
    "train_classifier",
    "varying",
]
