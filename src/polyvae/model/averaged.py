"""Regression by several ways of choosing Gaussian processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyvae.model.processes import Processes, Sharing
from polyvae.model.sized import Sized
from polyvae.model.stacking import stacked

ALIKE = 256  # examples up to which several ways are tried
NEAR = (1, 3)  # examples of a stretch that weights are found by, and of the longest the members' own variances
FOLDS = 10  # long stretches of the examples


class Averaged(Sized):
    """A weighted sum of several `Processes` that share differently, each target with weights of its own.

    mean_j = sum_i w_ij mean_ij

    variance_j = s_j sum_i w_ij variance_ij + a_j / M sum_i (mean_ij - mean_j)^2

    w_j is `stacked` from the errors of examples each predicted without the stretch it lies in, the mean of the weights
    by single examples and by three in a row. s_j makes the first part the mean square of the errors of three, where
    the members nearly agree. Outside of the examples they do not, and nobody knows which of them is right, so that all
    count alike: a_j, M at most, makes the second part that of the errors of a tenth of the examples.

    Few examples say little of kernels, and how much is shared decides what is told a little outside of them. Of many
    examples there is one member, whose groups of targets grow fourfold; its variances are those of a tenth left out.
    """

    share: Tensor  # [M, R]; of a run before weights were a target's own, [M]
    stretch: Tensor  # [2, R], s and a; of such a run [R], of both

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList()
        self.register_buffer("share", torch.zeros(0, 0))
        self.register_buffer("stretch", torch.zeros(2, 0))

    @torch.no_grad()
    def fit(self, inputs: Tensor, targets: Tensor) -> Averaged:
        """Fits inputs [N, d] to targets [N, R]; returns itself. Raises ValueError as `Processes.fit`."""
        size, count = targets.shape[1], len(inputs)
        tried = [Sharing.of(size, 8, noise=True, growth=4)]
        if count <= ALIKE and size > 1:  # of a single target there is nothing to share
            tried += [Sharing.of(size, each, noise) for each in (2, 8, size) for noise in (True, False)]
        self.members = nn.ModuleList(Processes().fit(inputs, targets, each) for each in dict.fromkeys(tried))
        far = self._left_out(min(FOLDS, count))
        near = [self._left_out(-(-count // each)) for each in NEAR] if len(self.members) > 1 else [far]
        self.share = torch.stack([stacked(errors) for errors, _ in near]).mean(0).to(self.share)
        mean, own, _ = self._parts(*near[-1])
        wrong, _, apart = self._parts(*far)
        lacking = (wrong.square().sum(0) / apart.sum(0)).nan_to_num(0.0).clamp(max=len(self.members))
        self.stretch = torch.stack([(mean.square() / own).mean(0), lacking]).to(self.stretch)
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the targets at inputs [B, d], [B, R] each."""
        told = (each(inputs) for each in self._held())
        mean, own, apart = self._parts(*map(torch.stack, zip(*told, strict=True)))
        stretch = self.stretch.to(mean).expand(2, -1)
        return mean, stretch[0] * own + stretch[1] * apart

    def _left_out(self, folds: int) -> tuple[Tensor, Tensor]:
        """Errors and variances [M, N, R] of the members, of examples each predicted without its stretch."""
        errors, variances = zip(*(each.left_out(folds) for each in self._held()), strict=True)
        return torch.stack(errors), torch.stack(variances)

    def _parts(self, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean [B, R] of members [M, B, R], what they have of variance themselves, and what they differ by."""
        alike = self.share.dim() == 1
        share = self.share.to(means).view(len(means), 1, -1)
        mean = (share * means).sum(0)
        apart = (means - mean).square()
        return mean, (share * variances).sum(0), (share * apart).sum(0) if alike else apart.mean(0)

    def _held(self) -> list[Processes]:
        return [each for each in self.members if isinstance(each, Processes)]

    def resize(self, shapes: Mapping[str, Sequence[int]]) -> None:
        super().resize(shapes)
        if "share" in shapes and len(self.members) != shapes["share"][0]:
            self.members = nn.ModuleList(Processes() for _ in range(shapes["share"][0]))
