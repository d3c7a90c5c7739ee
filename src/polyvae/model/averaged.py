"""Regression by several ways of choosing Gaussian processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyvae.model.processes import Processes, Sharing
from polyvae.model.sized import Sized

ALIKE = 256  # examples up to which several ways are tried
FOLDS = 10  # stretches of the examples, each of which is left out


class Averaged(Sized):
    """The mixture of several `Processes` that share differently, each by the inverse of its error on what is left out.

    w_i proportional to 1 / sum e_i^2, e_i the errors of examples each predicted without the stretch it lies in

    Few examples say little of kernels, and how much is shared decides what is told a little outside of them; there the
    members differ, which the mixture's variance counts. Of many examples there is one, whose groups of targets grow
    fourfold. Variances are stretched by what the errors left out show that they lack.
    """

    share: Tensor  # [M]
    stretch: Tensor  # [R]

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList()
        self.register_buffer("share", torch.zeros(0))
        self.register_buffer("stretch", torch.zeros(0))

    @torch.no_grad()
    def fit(self, inputs: Tensor, targets: Tensor, folds: int = FOLDS) -> Averaged:
        """Fits inputs [N, d] to targets [N, R]; returns itself. Raises ValueError as `Processes.fit`."""
        size, folds = targets.shape[1], min(folds, len(inputs))
        tried = [Sharing.of(size, 8, noise=True, growth=4)]
        if len(inputs) <= ALIKE:
            tried = [Sharing.of(size, each, noise) for each in (2, 8, size) for noise in (True, False)]
        self.members = nn.ModuleList(Processes().fit(inputs, targets, each) for each in dict.fromkeys(tried))
        errors, variances = map(torch.stack, zip(*(each.left_out(folds) for each in self._held()), strict=True))
        share = errors.square().sum((1, 2)).clamp(min=1e-300).reciprocal()
        self.share = (share / share.sum()).to(self.share)
        mean, spread = self._mixed(errors, variances)
        self.stretch = (mean.square() / spread).mean(0).to(self.stretch)
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the targets at inputs [B, d], [B, R] each."""
        told = (each(inputs) for each in self._held())
        mean, variance = self._mixed(*map(torch.stack, zip(*told, strict=True)))
        return mean, self.stretch.to(variance) * variance

    def _mixed(self, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture, of those of its members [M, B, R]."""
        share = self.share.to(means).view(-1, 1, 1)
        mean = (share * means).sum(0)
        return mean, (share * (variances + (means - mean).square())).sum(0)

    def _held(self) -> list[Processes]:
        return [each for each in self.members if isinstance(each, Processes)]

    def resize(self, shapes: Mapping[str, Sequence[int]]) -> None:
        super().resize(shapes)
        if "share" in shapes and len(self.members) != shapes["share"][0]:
            self.members = nn.ModuleList(Processes() for _ in range(shapes["share"][0]))
