"""The linear completion of a field that is seen by a few sensors.

A field is mean + coefficients @ axes, the axes those of a principal component analysis of the training part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.completion.gappy_pca import GappyPCA

RIDGES = [10.0**power for power in range(-12, 1)]


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


def _gain(axes: Tensor, shape: tuple[int, ...], positions: Tensor, ridge: float) -> Tensor:
    seen = axes.reshape(len(axes), shape[0], -1)[:, :, positions].flatten(1)  # [R, C P]
    return torch.linalg.solve(seen.T @ seen + ridge * torch.eye(seen.shape[1]).double(), seen.T)
