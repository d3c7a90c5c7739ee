"""Evaluation: bounds, codes, pictures and distances, the same whatever trained the model and however it was batched."""

from polyvae.evaluate.blocks import BLOCK, each_block, evaluating, seeded
from polyvae.evaluate.bounds import Bounds, LogMeanExp, both_bounds, importance_bound
from polyvae.evaluate.codes import Code, describe_codes, moments, mutual_information
from polyvae.evaluate.frechet import Classifier, accuracy, frechet_distance, sampled_pictures, train_classifier
from polyvae.evaluate.pictures import errors, reconstruction_errors
from polyvae.evaluate.report import evaluate
from polyvae.evaluate.tables import table

__all__ = [
    "BLOCK",
    "Bounds",
    "Classifier",
    "Code",
    "LogMeanExp",
    "accuracy",
    "both_bounds",
    "describe_codes",
    "each_block",
    "errors",
    "evaluate",
    "evaluating",
    "frechet_distance",
    "importance_bound",
    "moments",
    "mutual_information",
    "reconstruction_errors",
    "sampled_pictures",
    "seeded",
    "table",
    "train_classifier",
]
