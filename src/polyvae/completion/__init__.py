"""Completion: what a model, or a baseline, predicts for a whole example of which a few values are seen."""

from polyvae.completion.baselines import Baseline, Learned, baselines
from polyvae.completion.complete import Completion, CompletionSettings, complete
from polyvae.completion.impute import Imputation, imputed, missing_scores
from polyvae.completion.predictive import Completer
from polyvae.completion.scores import Score, score_completions
from polyvae.completion.translate import translate

__all__ = [
    "Baseline",
    "Completer",
    "Completion",
    "CompletionSettings",
    "Imputation",
    "Learned",
    "Score",
    "baselines",
    "complete",
    "imputed",
    "missing_scores",
    "score_completions",
    "translate",
]
