"""Pressure from velocity without a model: linear methods and a kernel, over everything that they leave open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

import polyvae as pv
from polyvae.study.multimodal.baselines import Fitting
from polyvae.study.multimodal.baselines import cca as study_cca

GIVEN, ASKED = "flow", "pressure"
COMPONENTS = (8, 12, 16, 24, 32, 40, 50, 60, 70, 80, 89)
PENALTIES = (0.0, *np.logspace(-16, -6, 31))  # shares of the largest squared singular value


@dataclass(frozen=True)
class Wake:
    """Fields as rows [N, D] in double precision, by part and modality."""

    data: pv.data.Data
    rows: Mapping[str, Mapping[str, np.ndarray]]

    @classmethod
    def of(cls, data: pv.data.Data) -> Wake:
        """Of data of two modalities."""
        rows = {}
        for name, split in data.parts.items():
            batch = split.batch(torch.arange(len(split)))
            rows[name] = {each: batch[each].flatten(1).double().numpy() for each in (GIVEN, ASKED)}
        return cls(data, rows)

    def values(self, part: str, name: str) -> Tensor:
        """One modality of a part as it is, [N, C, H, W]."""
        split = self.data.parts[part]
        return split.batch(torch.arange(len(split)))[name]


# What is tried: what was chosen, and the pressure that it makes of the validation and the test part.
Tried = Iterable[tuple[str, dict[str, np.ndarray]]]
HELD = ("validation", "test")


@dataclass(frozen=True)
class Components:
    """Principal components of a modality: scores of the training part [N, R], and codes of any."""

    mean: np.ndarray
    scores: np.ndarray
    values: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Components:
        """Of rows; the last, which is nothing but rounding, is left away."""
        u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
        return cls(x.mean(0), u[:, :-1], s[:-1], v[:-1])

    def codes(self, x: np.ndarray) -> np.ndarray:
        """[N, R]."""
        return (x - self.mean) @ self.axes.T


def canonical(wake: Wake) -> Tried:
    """Canonical correlation analysis of k components of either, with a ridge; d pairs of variates are kept.

    Hotelling: Relations Between Two Sets of Variates, 1936; Vinod: Canonical Ridge and Econometrics of Joint
    Production, 1976.
    """
    x, y = (Components.of(wake.rows["train"][name]) for name in (GIVEN, ASKED))
    codes, target = {part: x.codes(wake.rows[part][GIVEN]) for part in HELD}, y.scores * y.values
    for k, ridge in product((k for k in COMPONENTS if k <= len(x.values)), PENALTIES):
        one, other = (c.values[:k] / np.sqrt(c.values[:k] ** 2 + ridge * c.values[0] ** 2) for c in (x, y))
        left, _, _ = np.linalg.svd((x.scores[:, :k] * one).T @ (y.scores[:, :k] * other))
        weights = (one / x.values[:k])[:, None] * left
        variates = (x.scores[:, :k] * x.values[:k]) @ weights
        for d in sorted({k, *(d for d in COMPONENTS if d < k)}):
            slopes = np.linalg.lstsq(variates[:, :d], target[:, :k], rcond=None)[0]
            back = weights[:, :d] @ slopes @ y.axes[:k]
            yield f"{k} components, {d} pairs, ridge {ridge:.0e}", {n: y.mean + codes[n][:, :k] @ back for n in HELD}


def ridge_regression(wake: Wake) -> Tried:
    """Ridge regression of the whole field of pressure on k components of velocity."""
    x, target = Components.of(wake.rows["train"][GIVEN]), wake.rows["train"][ASKED]
    codes = {part: x.codes(wake.rows[part][GIVEN]) for part in HELD}
    told = x.scores.T @ (target - target.mean(0))
    for k, ridge in product((k for k in COMPONENTS if k <= len(x.values)), PENALTIES):
        shrunk = x.values[:k] / (x.values[:k] ** 2 + ridge * x.values[0] ** 2)
        slopes = shrunk[:, None] * told[:k]
        yield f"{k} components, ridge {ridge:.0e}", {n: target.mean(0) + codes[n][:, :k] @ slopes for n in HELD}


def kernel_ridge(wake: Wake) -> Tried:
    """Kernel ridge regression, the mean of a Gaussian process: a linear kernel of components over s^p, s their
    deviations, and a radial one of the first two, which tell the phase."""
    x, target = Components.of(wake.rows["train"][GIVEN]), wake.rows["train"][ASKED]
    codes = {part: x.codes(wake.rows[part][GIVEN]) for part in ("train", *HELD)}
    s = x.values / x.values[0]
    plane = x.values[0] / len(target) ** 0.5
    centred = target - target.mean(0)
    for power, width, weight in product((0.0, 0.25, 0.5), (0.1, 0.2, 0.5), (0.0, 1e-7, 1e-6, 1e-5, 1e-4)):
        if weight == 0 and width != 0.1:
            continue

        def kernel(part: str, power: float = power, width: float = width, weight: float = weight) -> np.ndarray:
            one, other = (codes[n] / x.values[0] / s**power for n in (part, "train"))
            apart = ((codes[part][:, None, :2] - codes["train"][None, :, :2]) ** 2).sum(2) / plane**2
            return one @ other.T + weight * np.exp(-apart / 2 / width**2)

        values, vectors = np.linalg.eigh(kernel("train"))
        kernels = {n: kernel(n) @ vectors for n in HELD}
        turned = vectors.T @ centred
        for penalty in np.logspace(-14, -6, 17):
            slopes = turned / (values.clip(0) + penalty)[:, None]
            label = f"power {power}, width {width}, weight {weight:.0e}, ridge {penalty:.0e}"
            yield label, {n: target.mean(0) + kernels[n] @ slopes for n in HELD}


def study_baseline(wake: Wake) -> Tried:
    """The baseline `cca` of `polyvae study multimodal`, with its own defaults."""
    made = study_cca(Fitting(wake.data))
    yield "", {n: made({GIVEN: wake.values(n, GIVEN)})[ASKED].flatten(1).double().numpy() for n in HELD}


CLOSED: dict[str, Callable[[Wake], Tried]] = {
    "cca, as in the study": study_baseline,
    "cca": canonical,
    "ridge": ridge_regression,
    "kernel ridge": kernel_ridge,
}
