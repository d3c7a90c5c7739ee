"""Laws in closed form that complete a field from a few sensors: three an expert would take, and regression of ours.

What their choices are made by is the validation part, as it is measured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from fields_gaussian import gaussian_process as of_sensors
from fields_scores import HELD_OUT, Predictions, Trial
from torch import Tensor

import polyvae as pv
from polyvae.completion.kriging import Kriging
from polyvae.completion.normal import ConditionedNormal, best_ridge
from polyvae.completion.regression import best_regression

FEW = 1_000  # training fields, up to which several copies with noise of their own are taken, and a regression of ours
COPIES = 3
DRAWS = 100  # of what the sensors would read without noise
LEAST = 1e-12  # of a deviation


def normal_law(trial: Trial) -> Predictions:
    """The normal law of the training part, conditioned on readings with this noise; its ridge is the best of six."""
    law = ConditionedNormal.fit(trial.field.x("train"), noise=trial.noise**2)
    law = best_ridge(law, trial.observed["validation"], trial.mask)
    return _each(trial, lambda x: law.complete(x, trial.mask))


def kriging(trial: Trial) -> Predictions:
    """Kriging of every field by itself, with the kernel that is likeliest for the training part."""
    law = Kriging.fit(trial.field.x("train"))
    noise = torch.full((trial.field.data.spec.x[0],), trial.noise**2, dtype=torch.float64)
    return _each(trial, lambda x: law.complete(x, trial.mask, noise if trial.noise else None))


def gaussian_process(trial: Trial, modes: int, group: int) -> Predictions:
    """Regression from the sensors, the best of several ways of sharing kernels, and of scikit-learn's where fields are
    few; trained on readings with noise."""
    x, stream = trial.field.x("train"), torch.Generator().manual_seed(0)
    few = len(x) <= FEW
    x = x.repeat(COPIES if few and trial.noise else 1, 1, 1, 1)
    read = x + trial.noise * torch.randn(x.shape, generator=stream), trial.observed["validation"]
    seen = trial.mask[0].expand(x.shape[1:]) != 0
    basis = trial.field.basis.of_rank(min(modes, trial.field.basis.rank))
    law = best_regression(basis, x, seen, trial.truth["validation"], read)
    found = [_each(trial, lambda x: law.complete(x, trial.mask))]
    found += [of_sensors(trial, modes, group)] if few else []
    return min(found, key=lambda made: _error(trial, made))


def regression(trial: Trial, modes: int) -> Predictions | None:
    """`pv.recipes.gaussian_process`, told the noise; None where fields are many, which a network learns better."""
    data = trial.field.data
    if len(data.train) > FEW:
        return None
    positions = trial.positions.flatten().tolist()
    options = {"mask": "points", "positions": positions, "noise": trial.noise}
    recipe = pv.recipes.gaussian_process(data.spec, modes=modes, seed=0, **options)
    run = pv.fit(recipe, data)
    draws = DRAWS if trial.noise else 1  # without noise there is one

    def completed(x: Tensor) -> tuple[Tensor, Tensor]:
        found = pv.complete(run, x, trial.mask, draws=draws, quantiles=(), keep=0)
        return found.mean, found.std

    return _each(trial, completed)


def _each(trial: Trial, complete: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Predictions:
    found = {part: complete(trial.observed[part]) for part in HELD_OUT}
    return {part: (mean, std.clamp(min=LEAST)) for part, (mean, std) in found.items()}


def _error(trial: Trial, made: Predictions) -> float:
    """Squared error on the validation part."""
    return float((made["validation"][0] - trial.truth["validation"])[:, :, trial.field.fluid].square().sum())
