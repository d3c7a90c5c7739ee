"""Completion: what a model, or a baseline, predicts for a whole example of which a few values are seen."""

from polyvae.completion.baselines import Baseline, Completed, Learned, baselines
from polyvae.completion.complete import Completion, CompletionSettings, complete
from polyvae.completion.completer import Completer
from polyvae.completion.impute import Imputation, imputed, missing_scores
from polyvae.completion.normal import ConditionedNormal
from polyvae.completion.normal_mixture import ConditionedMixture
from polyvae.completion.scores import Score, score_completions
from polyvae.completion.translate import translate

__all__ = [
    "Baseline",
    "Completed",
    "Completer",
    "Completion",
    "CompletionSettings",
    "ConditionedMixture",
    "ConditionedNormal",
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
