"""A field ready to be compared on, what sensors tell of its held-out times, and how well a method completes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polyvae.completion.gappy_pca import GappyPCA
from polyvae.data import Data, Split
from polyvae.evaluation.calibration import Calibration, calibrate, normal_crps
from polyvae.model.spec import Column
from polyvae.observe.placement import pivoted_qr

LEVEL = 0.95  # of the bands
HELD_OUT = ("validation", "test")
STRIDE = 13  # of the places that the spread is scaled by
FITTED = 1_500  # times at most that the principal axes are found from
# Of the held-out parts: the mean [N, C, H, W] and the standard deviation of what a method says.
Predictions = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Field:
    """A data set whose channels have mean 0 and variance 1 in the fluid, over the training part.

    `fluid` [H, W]: where there is any, 0 elsewhere. `centre`, `scale` [C, 1, 1]: back to the field's own units by
    x scale + centre. `basis`: its principal axes.
    """

    data: Data
    fluid: Tensor
    centre: Tensor
    scale: Tensor
    basis: GappyPCA

    @classmethod
    def of(cls, data: Data) -> Field:
        """The field in a data set; a place is solid where every channel is 0 at all times."""
        parts = {name: getattr(data, name).tensors["x"] for name in ("train", *HELD_OUT)}
        fluid = torch.stack([(x != 0).any(0).any(0) for x in parts.values()]).any(0)
        inside = parts["train"][:, :, fluid]
        centre, scale = (value.view(-1, 1, 1) for value in (inside.mean((0, 2)), inside.std((0, 2))))
        parts = {name: (x - centre) / scale * fluid for name, x in parts.items()}
        basis = GappyPCA(300).fit(parts["train"][:: -(-len(parts["train"]) // FITTED)])
        splits = {name: Split({**getattr(data, name).tensors, "x": x}) for name, x in parts.items()}
        # Networks that are told the field's own units would standardise once more.
        spec = replace(data.spec, columns=[Column("real", column.name) for column in data.spec.columns])
        return cls(replace(data, spec=spec, **splits), fluid, centre, scale, basis)

    def x(self, part: str) -> Tensor:
        """The fields of "train", "validation" or "test", [N, C, H, W]."""
        return getattr(self.data, part).tensors["x"]

    def sensors(self, count: int) -> Tensor:
        """Positions [count, 2] (row, column) by pivoted QR of the leading axes, each scaled by its deviation."""
        axes = self.basis.axes[: 3 * count]
        centred = (self.x("train").double() - self.basis.mean.view(self.basis.shape)).flatten(1)
        modes = (axes * (centred @ axes.T).std(0)[:, None]).unflatten(1, self.basis.shape)
        chosen = pivoted_qr(modes, count, self.fluid)
        return chosen[chosen[:, 1].argsort(stable=True)]


@dataclass(frozen=True)
class Trial:
    """Sensors at `positions` [P, 2] whose measurements have normal noise of standard deviation `noise`.

    `truth`, `observed`: of the held-out parts, several draws of the noise after one another, the observed values being
    of use at the sensors only.
    """

    field: Field
    positions: Tensor
    noise: float
    truth: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]

    @classmethod
    def of(cls, field: Field, count: int, noise: float, draws: int = 1) -> Trial:
        """The noise is the same at every call; without noise one draw is all."""
        generator = torch.Generator().manual_seed(1)
        truth = {part: field.x(part).repeat(draws if noise else 1, 1, 1, 1) for part in HELD_OUT}
        observed = {part: x + noise * torch.randn(x.shape, generator=generator) for part, x in truth.items()}
        return cls(field, field.sensors(count), noise, truth, observed)

    @property
    def mask(self) -> Tensor:
        """1 at the sensors, [1, 1, H, W]."""
        mask = torch.zeros(1, 1, *self.field.fluid.shape)
        mask[:, :, self.positions[:, 0], self.positions[:, 1]] = 1.0
        return mask


@dataclass(frozen=True)
class Score:
    """Over all channels and places of the fluid: relative error, ranked probability score, coverage of 95 % bands.

    `error`: |mean - x| / |x - the training part's mean|, roots of sums over all test fields. `crps`: in standard
    deviations of a channel. `factor`: half the width of a calibrated band, in stated standard deviations.
    """

    error: float
    crps: float
    coverage: float
    factor: float


def calibrated(trial: Trial, predictions: Predictions) -> Calibration:
    """The factors of a method's spread, from the validation part; of neighbouring places, which err alike, a few."""
    held_out = trial.truth["validation"], *predictions["validation"]
    truth, mean, std = (value[:, :, trial.field.fluid][:, :, ::STRIDE] for value in held_out)
    return calibrate(truth, mean, std, (LEVEL,), over="all")


def score(trial: Trial, predictions: Predictions) -> Score:
    """The errors on the test part, the spread scaled on the validation part."""
    fluid, found = trial.field.fluid, calibrated(trial, predictions)
    truth, mean, std = (value[:, :, fluid] for value in (trial.truth["test"], *predictions["test"]))
    low, high = found.band(mean, std, LEVEL)
    usual = trial.field.x("train").mean(0)[:, fluid]
    error = ((mean - truth).square().sum() / (truth - usual).square().sum()).sqrt()
    covered = ((low <= truth) & (truth <= high)).float().mean()
    crps = normal_crps(truth, mean, found.scale.to(std) * std).mean()
    return Score(float(error), float(crps), float(covered), float(found.factors[LEVEL]))


def without_spread(trial: Trial, means: Mapping[str, Tensor]) -> Predictions:
    """A method that states no spread takes the root mean square of its validation errors, place by place."""
    spread = (means["validation"] - trial.truth["validation"]).square().mean(0, keepdim=True).sqrt().clamp(min=1e-12)
    return {part: (mean, spread.expand_as(mean)) for part, mean in means.items()}
