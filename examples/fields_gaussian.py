"""Gaussian processes from the sensors to a field's principal coefficients: what an expert would begin with.

Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, chapters 2 and 5; with sensors and principal axes
of a flow as in Maulik et al.: Latent-space time evolution of non-intrusive reduced-order models using Gaussian process
emulation, 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from fields_scores import HELD_OUT, Predictions, Trial
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from torch import Tensor

ENERGY = 1e-9  # of the training part, which the axes that are left out may hold; with noise (noise / 50)^2
REPEATS = 3  # of a small training part, with noise of their own
DRAWS = 3  # of that noise, of which the best is taken
SEARCHED = 500  # examples at most that hyperparameters are found from
JITTER = 1e-10  # of a coefficient's variance: what float32 leaves of digits
# Amplitude, length and noise, in variances of a coefficient and of the sensors. Beyond an end the law stays what it is
# there, white noise or a plane. scikit-learn warns of bounds that are met, so its own lie further out.
BOX = np.log([(1e-4, 1e4), (1e-2, 1e4), (1e-9, 1e1)])
GRID = np.log(list(product((1.0, 100.0), (0.3, 1.0, 3.0, 10.0, 30.0), (1e-8, 1e-5, 1e-2))))
STARTS = 2  # from its best points
FAR = (1e-20, 1e20)


def gaussian_process(trial: Trial, modes: int, group: int) -> Predictions:
    """The best of a few by the error on the validation part: two measures of distance, and several draws of the noise.

    Distances are in every sensor's own standard deviation, or in one of all; the latter is right where noise of one
    size is what matters. `modes`: principal axes at most. `group`: neighbouring axes that share the hyperparameters of
    a process.
    """
    truth, fluid = trial.truth["validation"], trial.field.fluid
    draws = DRAWS if _repeats(trial) > 1 else 1
    found = [_completed(trial, modes, group, own, seed) for own in (True, False) for seed in range(draws)]
    return min(found, key=lambda made: float((made["validation"][0] - truth)[:, :, fluid].square().sum()))


def _repeats(trial: Trial) -> int:
    return REPEATS if trial.noise and REPEATS * len(trial.field.x("train")) <= SEARCHED else 1


def _completed(trial: Trial, modes: int, group: int, own: bool, seed: int) -> Predictions:
    field, basis = trial.field, trial.field.basis
    x = field.x("train")
    centred = (x.double() - basis.mean.view(basis.shape)).flatten(1)
    coefficients = centred @ basis.axes.T
    held = coefficients.square().sum(0).cumsum(0) / centred.square().sum()
    count = min(int((held < 1 - max(ENERGY, (trial.noise / 50) ** 2)).sum()) + 1, modes, len(held))
    axes, coefficients = basis.axes[:count], coefficients[:, :count]
    # What the axes leave out, at every place, joins the variance.
    left = (centred - coefficients @ axes).square().mean(0)

    repeats = _repeats(trial)
    told = _told(trial, x).repeat(repeats, 1)
    told += trial.noise * torch.randn(told.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    centre, scale = told.mean(0), told.std(0)
    scale = scale if own else scale.square().mean().sqrt()
    size = coefficients.std(0)
    law = Processes.fit(((told - centre) / scale).numpy(), (coefficients / size).repeat(repeats, 1).numpy(), group)

    def completed(observed: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = law((_told(trial, observed) - centre).div(scale).numpy())
        field = basis.mean + (torch.from_numpy(mean) * size) @ axes
        spread = ((torch.from_numpy(std) * size).square() @ axes.square() + left).sqrt().clamp(min=1e-12)
        return field.view(observed.shape).float(), spread.view(observed.shape).float()

    return {part: completed(trial.observed[part]) for part in HELD_OUT}


def _told(trial: Trial, x: Tensor) -> Tensor:
    """What the sensors measure of fields [N, C, H, W]: float64 [N, C P]."""
    return x[:, :, trial.positions[:, 0], trial.positions[:, 1]].flatten(1).double()


@dataclass(frozen=True)
class Processes:
    """Gaussian processes, one for each group of targets, whose amplitude, length and noise its targets share.

    k(s, s') = a exp(-|s - s'|^2 / (2 l^2)) + r [s = s']
    """

    parts: Sequence[GaussianProcessRegressor]

    @classmethod
    def fit(cls, inputs: np.ndarray, targets: np.ndarray, group: int) -> Processes:
        """Fits inputs [N, d] to targets [N, R] of variance one.

        Hyperparameters have the greatest marginal likelihood on a seeded subset, which is all of a small set.
        """
        chosen = np.sort(np.random.default_rng(0).permutation(len(inputs))[:SEARCHED])
        parts = []
        for start in range(0, targets.shape[1], group):
            mine = targets[:, start : start + group]
            kernel = ConstantKernel(1.0, FAR) * RBF(1.0, FAR) + WhiteKernel(1.0, FAR)
            part = GaussianProcessRegressor(kernel, alpha=JITTER, optimizer=_searched)
            part.fit(inputs[chosen], mine[chosen])
            if len(chosen) < len(inputs):
                part = GaussianProcessRegressor(part.kernel_, alpha=JITTER, optimizer=None).fit(inputs, mine)
            parts.append(part)
        return cls(parts)

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations at inputs [N, d], [N, R] each, noise included."""
        found = [part.predict(inputs, return_std=True) for part in self.parts]
        means, stds = (
            np.concatenate([each.reshape(len(inputs), -1) for each in side], 1) for side in zip(*found, strict=True)
        )
        return means, stds


def _searched(cost: Callable[..., Any], theta: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
    """The best point of `BOX` that a search from the best of `GRID` ends at.

    From a single start a quick oscillation ends as white noise, another optimum. Near the best one the likelihood of
    data without noise is flat within rounding, so that a search ends there by its line search, not by its gradient.
    """
    starts = sorted(GRID, key=lambda point: cost(point, False))[:STARTS]
    found = [minimize(cost, start, jac=True, bounds=BOX, method="L-BFGS-B") for start in starts]
    best = min(found, key=lambda each: each.fun)
    return best.x, best.fun
