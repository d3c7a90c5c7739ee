"""Gaussian processes from a vector to a vector: regression in closed form, as a part that learns nothing more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from polyvae.model.kernels import kernel, searched, squares
from polyvae.model.sized import Sized

SEARCHED = 256  # examples at most that kernels are found from; the processes rest on all
AT_ONCE = 2**24  # numbers of a covariance that are held at once


class Sharing(NamedTuple):
    """Which targets have one kernel: those from one of the `ends` to the next; `noise`: and one r."""

    ends: tuple[int, ...]
    noise: bool = False

    @classmethod
    def of(cls, targets: int, size: int, noise: bool = False, growth: int = 1) -> Sharing:
        """Groups of so many neighbours, each `growth` times as large as the one before."""
        ends = [0]
        while ends[-1] < targets:
            ends.append(min(targets, ends[-1] + size))
            size *= growth
        return cls(tuple(ends), noise)


class Processes(Sized):
    """y_j = f_j(v) + e_j, f_j a Gaussian process and e_j white noise, for every target j.

    cov(f_j(v), f_j(v')) = a_j h(sum_i (v_i - v'_i)^2 / l_i^2), var(e_j) = a_j r_j

    h(s) = (1 + s / (2 c))^-c, a rational quadratic kernel, or exp(-s / 2) for a large c

    mean(v) = h(v, V) (H + r I)^-1 y, variance(v) = a (1 + r - h(v, V) (H + r I)^-1 h(V, v))

    Groups of neighbouring targets share c, l and, where they are told to, r; every target has its own a. One l for all
    inputs, in their own units or in a common one, or one for each: what has the greatest marginal likelihood, less
    (d - 1) / 2 log N for d lengths. Numbers are in double precision; where a device has none, they stay on the CPU.

    Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, chapters 2, 4 and 5; Schwarz: Estimating the
    Dimension of a Model, 1978; Blum, Riedmiller: Optimization of Gaussian Process Hyperparameters using Rprop, 2013.
    """

    inputs: Tensor  # [N, d], less `centre`, over `scale`
    centre: Tensor
    scale: Tensor
    lengths: Tensor  # [G, d]
    shape: Tensor  # [G], c
    factors: Tensor  # [F, N, N], of H + r I, one for every pair of a group and an r that there is
    group: Tensor  # [F], whose h that is
    place: Tensor  # [R], which of the factors is a target's
    weights: Tensor  # [N, R]
    amplitude: Tensor  # [R]
    noise: Tensor  # [R], over the amplitude
    mean: Tensor  # [R]

    _COUNTS = ("group", "place")
    _NUMBERS = ("inputs", "centre", "scale", "lengths", "shape", "factors", "weights", "amplitude", "noise", "mean")

    def __init__(self) -> None:
        super().__init__()
        for name in (*self._COUNTS, *self._NUMBERS):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64 if name in self._COUNTS else torch.float64))

    @torch.no_grad()
    def fit(self, inputs: Tensor, targets: Tensor, sharing: Sharing | None = None, seed: int = 0) -> Processes:
        """Fits inputs [N, d] to targets [N, R]; returns itself.

        `sharing`: which targets share what, by default all of them h and l. Raises ValueError for fewer than two
        examples and for values that are not finite.
        """
        if len(inputs) < 2 or len(inputs) != len(targets):
            raise ValueError(
                f"a regression needs two examples or more; got {list(inputs.shape)} and {list(targets.shape)}"
            )
        v, y = inputs.detach().cpu().double(), targets.detach().cpu().double()
        if not bool(v.isfinite().all() & y.isfinite().all()):
            raise ValueError("a regression needs finite inputs and targets; some are infinite or NaN")
        self.centre, self.mean, self.scale = v.mean(0), y.mean(0), _spread(v)
        self.inputs, y = (v - self.centre) / self.scale, y - self.mean
        order = torch.randperm(len(v), generator=torch.Generator().manual_seed(seed))[:SEARCHED]
        sharing = sharing or Sharing((0, y.shape[1]))
        groups = list(pairwise(sharing.ends))
        found = searched(self.inputs[order], [y[order, a:b] for a, b in groups], self.scale, sharing.noise)
        self.lengths = torch.stack([each.lengths for each in found])
        self.shape = torch.tensor([each.shape for each in found], dtype=v.dtype)
        self.noise = torch.cat([each.noise for each in found])
        self._solve(y, torch.cat([torch.full((end - start,), g) for g, (start, end) in enumerate(groups)]))
        return self

    def _solve(self, y: Tensor, group: Tensor) -> None:
        pairs, self.place = torch.stack([group.double(), self.noise], 1).unique(dim=0, return_inverse=True)
        self.group, self.weights = pairs[:, 0].long(), torch.empty_like(y)
        covariances, factors, size = self._kernels(self.inputs), [], len(y)
        for number, (which, noise) in enumerate(zip(self.group.tolist(), pairs[:, 1].tolist(), strict=True)):
            covariance = covariances[which].clone()
            covariance.diagonal().add_(noise)
            factors.append(torch.linalg.cholesky(covariance))
            mine = self.place == number
            self.weights[:, mine] = torch.cholesky_solve(y[:, mine], factors[-1])
        self.factors = torch.stack(factors)
        self.amplitude = (y * self.weights).sum(0).clamp(min=1e-300) / size

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the targets at inputs [B, d], noise included, [B, R] each, in double precision.

        RuntimeError before a fit.
        """
        if not self.inputs.numel():
            raise RuntimeError("these processes are not fitted; polyvae.fit fits them, and Run.load brings them back")
        v = (inputs.to(self.inputs) - self.centre) / self.scale
        size = max(1, AT_ONCE // (len(self.factors) * len(self.inputs)))
        mean, variance = (torch.cat(each) for each in zip(*map(self._told, v.split(size)), strict=True))
        there = inputs.device
        if there.type == "mps":
            mean, variance = mean.float(), variance.float()
        return mean.to(there), variance.to(there)

    def left_out(self, folds: int) -> tuple[Tensor, Tensor]:
        """The errors of the examples, each predicted without its fold, and their variances, [N, R] each.

        e_F = ((K^-1)_FF)^-1 (K^-1 y)_F, with variance ((K^-1)_FF)^-1; folds are stretches of the examples' order, and
        the hyperparameters those of all.
        """
        fold = torch.arange(len(self.inputs)) * folds // len(self.inputs)
        inverse, error = torch.cholesky_inverse(self.factors), torch.empty_like(self.weights)
        variance = torch.empty_like(error)
        for mine in ((fold == each).nonzero()[:, 0] for each in range(folds)):
            left = torch.linalg.inv(inverse[:, mine][:, :, mine])
            error[mine] = torch.einsum("rij,jr->ir", left[self.place], self.weights[mine])
            variance[mine] = left.diagonal(dim1=1, dim2=2)[self.place].T
        return error, variance * self.amplitude

    def _told(self, v: Tensor) -> tuple[Tensor, Tensor]:
        seen = self._kernels(v)
        known = torch.linalg.solve_triangular(self.factors, seen[self.group].mT, upper=False).square().sum(1)
        own = self.group[self.place] == torch.arange(len(seen), device=v.device)[:, None]  # [G, R]
        mean = self.mean + (seen @ (self.weights * own[:, None])).sum(0)
        return mean, self.amplitude * ((1 - known).clamp(min=0)[self.place].T + self.noise)

    def _kernels(self, v: Tensor) -> Tensor:
        """h(v, V) of every group, [G, B, N]."""
        lengths = self.lengths[:, None]
        return kernel(squares(v / lengths, self.inputs / lengths), self.shape[:, None, None])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Processes:
        # Whatever type the networks run in, these numbers keep theirs; MPS has no double precision.
        device = fn(torch.empty(0)).device
        for name, value in self._buffers.items():
            if device.type != "mps" and value is not None:
                self._buffers[name] = value.to(device)
        return self

    def extra_repr(self) -> str:
        return f"examples={len(self.inputs)}, inputs={len(self.centre)}, targets={len(self.mean)}"


def _spread(values: Tensor) -> Tensor:
    """The standard deviation of each column, 1 of what never varies."""
    found = values.std(0, correction=0)
    return torch.where(found > 1e-12 * found.max(), found, 1.0)
