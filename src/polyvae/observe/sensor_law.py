"""What is expected of a normal law of fields, given what sensors read of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt

import torch
from torch import Tensor

PIECE = 2**22  # numbers of an array at once, 32 MiB
TINY = 1e-10  # of the mean variance, the least variance of the noise of a reading


def expected_crps(
    modes: Tensor,
    positions: Tensor | Sequence[Sequence[int]],
    noise: float | Tensor,
    rest: Tensor | None = None,
    judged: Tensor | None = None,
) -> float:
    """The mean ranked probability score that the normal law expects of itself, given sensors at `positions` [P, 2].

    That of a normal law of standard deviation s about what it describes is s / sqrt(pi). So this is the mean of
    s / sqrt(pi) over the judged values, s^2 being the diagonal of

    C - C_:s (C_ss + noise^2)^-1 C_s:,  C = R'R + diag(rest)

    The other arguments are those of
    `placement.greedy`. Raises ValueError for a position outside the field or given
    twice.

    Gneiting, Raftery: Strictly Proper Scoring Rules, Prediction, and Estimation, 2007.
    """
    height, width = modes.shape[2:]
    law = SensorLaw(modes, noise, rest, judged)
    pairs = torch.as_tensor(positions).view(-1, 2).tolist()
    if len({(row, column) for row, column in pairs}) < len(pairs):
        raise ValueError(f"positions name a place twice: {pairs}")
    for row, column in pairs:
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"position ({row}, {column}) lies outside a field of {height} x {width} points")
        law.read(row * width + column)
    return float(law.variance().clamp(min=0).sqrt().mean()) / sqrt(pi)


class SensorLaw:
    """What is left of the variance of a field given the sensors so far, in the space of its modes.

    x = R'z + r with z ~ N(0, 1) and r ~ N(0, rest), independent; a sensor reads y = R_s'z + r_s + e. Given that, the
    covariance of z is U (1 + S^2)^-1 U' along the singular vectors U of R_s over the deviations of r_s + e, and one
    elsewhere; its root goes into R. Given z and y, what is left of r_s is rest noise^2 / (rest + noise^2), its mean
    following y - R_s'z by the share g = rest / (rest + noise^2), so that x_s has (1 - g) R_s there.
    """

    def __init__(self, modes: Tensor, noise: float | Tensor, rest: Tensor | None, judged: Tensor | None) -> None:
        channels, places = modes.shape[1], modes.shape[2] * modes.shape[3]
        spread = torch.as_tensor(noise, dtype=torch.float64).cpu().reshape(-1)
        if len(spread) not in (1, channels) or not bool(((spread >= 0) & spread.isfinite()).all()):
            raise ValueError(
                f"noise is a standard deviation of at least 0, or one for each of {channels} channels; got {noise}"
            )
        self.told = modes.detach().cpu().double().flatten(2).clone()  # R [K, C, P], what sensors tell of z
        self.rest = self.told.new_zeros(channels, places) if rest is None else rest.detach().cpu().double().flatten(1)
        tiny = TINY * float((self.told.square().sum(0) + self.rest).mean())
        self.noise = (spread.square().expand(channels) + tiny)[:, None]
        index = torch.arange(places) if judged is None else judged.flatten().cpu().nonzero().squeeze(1)
        self.column = torch.full((places,), -1)  # of a place among those judged
        self.column[index] = torch.arange(len(index))
        self.left, self.own = self.told[:, :, index].clone(), self.rest[:, index].clone()
        self.many = max(1, PIECE // (channels**2 * max(1, len(index))))

    def variance(self) -> Tensor:
        """Of the judged values, [C J]."""
        return (self.left.square().sum(0) + self.own).flatten()

    def after(self, places: Tensor) -> Tensor:
        """The same after one more reading at each of the places [M], [M, C J]."""
        heard = self._heard(places)
        lower = torch.linalg.cholesky(heard.mT @ heard + torch.eye(heard.shape[2], dtype=heard.dtype))
        told = torch.linalg.solve_triangular(lower, heard.mT, upper=False)  # [M, C, K]
        lost = (told @ self.left.flatten(1)).square_().sum(1)
        found = (self.variance() - lost).unflatten(1, self.own.shape)
        mine = self.column[places]
        rows, columns = (mine >= 0).nonzero().squeeze(1), mine[mine >= 0]
        share, own = self._own(places[rows])
        modelled = found[rows, :, columns] - self.own[:, columns].T
        found[rows, :, columns] = (1 - share).square() * modelled + own
        return found.flatten(1)

    def read(self, place: int) -> None:
        """One more reading."""
        index = torch.tensor([place])
        axes, sizes, _ = torch.linalg.svd(self._heard(index)[0], full_matrices=False)
        lost = axes * (1 - (1 + sizes.square()).rsqrt())
        for root in (self.told, self.left):
            root -= (lost @ (axes.T @ root.flatten(1))).view(root.shape)
        if (column := int(self.column[place])) >= 0:
            share, own = self._own(index)
            self.left[:, :, column] *= 1 - share[0]
            self.own[:, column] = own[0]

    def _heard(self, places: Tensor) -> Tensor:
        """R_s over the deviations of r_s + e, [M, K, C]."""
        return (self.told[:, :, places] / (self.rest[:, places] + self.noise).sqrt()).permute(2, 0, 1)

    def _own(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """g, and what is left of the rest, at a reading's own place, [M, C] each."""
        rest = self.rest[:, places]
        share = rest / (rest + self.noise)
        return share.T, (share * self.noise).T
