"""Networks of a field that is seen by a few sensors: a linear completion in front, perceptrons for what is not linear.

A field is mean + coefficients @ axes, the axes those of a principal component analysis of the training part. Sensors
stay where they are, so that only their few values enter the perceptrons, not the picture that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.completion.gappy_pca import GappyPCA
from polyvae.model.networks import Shape, mlp
from polyvae.model.vae import Family

RIDGES = [10.0**power for power in range(-12, 1)]


@dataclass(frozen=True)
class NoisySensors:
    """A batch transform: normal noise of standard deviation `scale` on what sensors tell in m, afresh at every call.

    `rows`, `columns`: where they are. Values without an m pass as they are.
    """

    scale: float
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __call__(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if "m" not in values or not self.scale:
            return values
        m = values["m"].clone()
        told = m[:, :-1, self.rows, self.columns]
        m[:, :-1, self.rows, self.columns] = told + self.scale * torch.randn_like(told)
        return {**values, "m": m}


class PlaceNormal(Family):
    """Normal with a learned standard deviation for every place and channel: floor + exp(a parameter).

    With sensors that stay where they are, how well a place is known hardly depends on the moment.
    """

    def __init__(self, scale: Tensor, floor: float = 1e-3) -> None:
        super().__init__()
        self.floor = floor
        self.log_scale = nn.Parameter((scale.float() - floor).clamp(min=floor).log())

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return Independent(_PlaceNormal(raw, self.floor + self.log_scale.exp()), raw.ndim - 1, validate_args=False)


class _PlaceNormal(Normal):
    """The logarithm of a scale that all rows share, [C, H, W], is taken once, not for every row."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.shared = scale
        super().__init__(loc, scale.expand_as(loc), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        constant = self.shared.log() + 0.5 * log(2 * pi)
        return ((value - self.loc) / self.shared).square().mul(-0.5) - constant


@dataclass(frozen=True)
class LinearCompletion:
    """The linear completion of least expected squared error: coefficients = (sensors - their mean) @ gain.

    gain = G (G' G + r I)^-1 with G the axes scaled by their standard deviations, at the sensors, and r the variance of
    the noise as far as held-out data tell. `mean` [C, H, W]; `axes` [R, C H W], scaled so that coefficients have
    variance one; `positions` [P] of the sensors in a channel; `gain` [C P, R].
    """

    mean: Tensor
    axes: Tensor
    positions: Tensor
    gain: Tensor

    def sensors(self, x: Tensor) -> Tensor:
        """What the sensors tell beyond their mean, of pictures [N, C, H, W]: [N, C P]."""
        return (x - self.mean.to(x)).flatten(2)[:, :, self.positions].flatten(1)

    def complete(self, x: Tensor) -> Tensor:
        """Pictures [N, C, H, W] from the values at the sensors."""
        coefficients = self.sensors(x) @ self.gain.to(x)
        return self.mean.to(x) + (coefficients @ self.axes.to(x)).reshape(x.shape)


def linear_completion(
    basis: GappyPCA, x: Tensor, held_out: Tensor, positions: Tensor, noise: float
) -> LinearCompletion:
    """The linear completion in a basis fitted to x [N, C, H, W]; the ridge is the best of `RIDGES` on `held_out`.

    `positions` [P]: pixels of the sensors. `noise`: the standard deviation of what they measure.
    """
    mean = basis.mean.reshape(basis.shape)
    scales = ((x.double() - mean).flatten(1) @ basis.axes.T).square().mean(0).sqrt()
    axes = basis.axes * scales[:, None]
    generator = torch.Generator().manual_seed(0)
    truth, best = held_out.double(), None
    noisy = truth + noise * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    for ridge in RIDGES:
        found = LinearCompletion(mean, axes, positions, _gain(axes, basis.shape, positions, ridge))
        error = float((found.complete(noisy) - truth).square().sum())
        if best is None or error < best[0]:
            best = error, found
    assert best is not None
    return best[1]


def _gain(axes: Tensor, shape: Shape, positions: Tensor, ridge: float) -> Tensor:
    seen = axes.reshape(len(axes), shape[0], -1)[:, :, positions].flatten(1)  # [R, C P]
    return torch.linalg.solve(seen.T @ seen + ridge * torch.eye(seen.shape[1]).double(), seen.T)


class SensorNetwork(nn.Module):
    """[B, *input] ... -> [B, *output]: a perceptron of the latents, sensors and leading coefficients among the inputs.

    A vector enters as it is; an observation m (C + 1 channels) as the leading coefficients of its linear completion;
    a whole field (C channels, or both joined) as its own. A picture comes out as coefficients, to which those of the
    linear completion are added: the perceptron starts at zero and learns what that leaves.
    """

    mean: Tensor
    axes: Tensor
    gain: Tensor
    told: Tensor
    projection: Tensor
    positions: Tensor

    def __init__(
        self, linear: LinearCompletion, inputs: Sequence[Shape], output: Shape, hidden: Sequence[int], leading: int
    ) -> None:
        super().__init__()
        self.channels, self.output = linear.mean.shape[0], tuple(output)
        picture = len(output) == 3
        seen, whole = min(len(linear.gain), leading), min(len(linear.axes), leading)
        widths = {self.channels: whole, self.channels + 1: seen, 2 * self.channels + 1: whole + seen}
        sizes = [shape[0] if len(shape) == 1 else widths[shape[0]] for shape in inputs]
        self.perceptron = mlp([(sum(sizes),)], (len(linear.axes),) if picture else output, hidden, nn.SiLU)
        first = linear.axes[:whole]
        fixed = {"mean": linear.mean, "axes": linear.axes, "gain": linear.gain, "told": linear.gain[:, :seen]}
        fixed["projection"] = (first / first.square().sum(1, keepdim=True)).T
        for name, value in fixed.items():
            self.register_buffer(name, value.float().contiguous(), persistent=False)
        self.register_buffer("positions", linear.positions, persistent=False)
        if picture:
            last = self.perceptron.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, *tensors: Tensor) -> Tensor:
        told, sensors = [], None
        for value in tensors:
            if value.ndim == 2:
                told.append(value)
                continue
            if value.shape[1] != self.channels + 1:
                told.append((value[:, : self.channels] - self.mean).flatten(1) @ self.projection)
            if value.shape[1] > self.channels:
                sensors = value[:, -self.channels - 1 : -1].flatten(2)[:, :, self.positions]
                sensors = (sensors - self.mean.flatten(1)[:, self.positions]).flatten(1)
                told.append(sensors @ self.told)
        made = self.perceptron(torch.cat(told, 1))
        if sensors is None or len(self.output) == 1:
            return made
        return torch.addmm(self.mean.flatten(), made + sensors @ self.gain, self.axes).unflatten(1, self.output)


@dataclass(frozen=True)
class Sensing:
    """The builder of such networks, as recipes take it; `leading` coefficients of sensors and of whole fields."""

    linear: LinearCompletion
    hidden: tuple[int, ...]
    leading: int

    def __call__(self, inputs: Sequence[Shape], output: Shape) -> SensorNetwork:
        return SensorNetwork(self.linear, inputs, output, self.hidden, self.leading)
