"""Where networks of modes start: at the canonical variates that all modalities tell, by linear maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from polyvae.model.families.places import PlaceNormal
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks.layers import set_buffers
from polyvae.model.networks.modes import ModesDecoder, ModesEncoder
from polyvae.model.networks.prepared import Prepared
from polyvae.model.parts import Conditional, Head
from polyvae.model.presence import present
from polyvae.model.vae import VAE, Values

ROWS = 512  # examples at most that the maps are made of
FEWEST = 4  # examples that they are made of at all
FAINTEST = 1e-12  # a singular value as a share of the largest, below which there is nothing
RIDGES = [10.0 ** (-power / 4) for power in range(4, 37)]  # shares of the largest singular value
FOLDS = 10
ENERGY = 1e-10  # of the examples, which the components that are left out may hold
FEW, SPARE, PASSES = 4, 10, 4  # of a random search: it pays for a quarter of all components, and is sure of them


def leading(energies: Tensor) -> int:
    """How many of the first components, with these sums of squares, leave less than `ENERGY` of all, at least one."""
    held = energies.cumsum(0)
    return min(int((held < (1 - ENERGY) * held[-1]).sum()) + 1, len(held))


@dataclass(frozen=True)
class Principal:
    """x [N, D] = mean + scores diag(values) axes: scores [N, R] of orthonormal columns, axes [R, D] of such rows."""

    mean: Tensor
    scores: Tensor
    values: Tensor
    axes: Tensor

    @classmethod
    def of(cls, x: Tensor, most: int | None = None) -> Principal:
        """Of rows x, in double precision; of many the first `most` alone, which a search from random rows finds."""
        x = x.double()
        mean = x.mean(0)
        if most is None or FEW * most > min(x.shape):
            u, s, v = torch.linalg.svd(x - mean, full_matrices=False)
        else:
            u, s, v = torch.svd_lowrank(x - mean, most + SPARE, niter=PASSES)
            v = v.T
        u, s, v = u[:, :most], s[:most], v[:most]
        kept = s > FAINTEST * s[:1]
        return cls(mean, u[:, kept], s[kept], v[kept])

    @property
    def codes(self) -> Tensor:
        """The components of each row, [N, R]."""
        return self.scores * self.values

    def shrunk(self, ridge: float) -> Tensor:
        """What a regression on x leaves of each component, s / (s + r), r a share of the largest s."""
        return self.values / (self.values + ridge * self.values[:1])

    def slopes(self, target: Tensor, ridge: float) -> Tensor:
        """The regression [R, T] of `target` [N, T] on the components: scores^T target, shrunk, over s."""
        return (self.shrunk(ridge) / self.values).unsqueeze(1) * (self.scores.T @ target)

    def left_out(self, target: Tensor, ridges: Sequence[float]) -> Tensor:
        """The errors [L, N, T] of the regression of `target` on x in each tenth of the rows, by a fit to the others."""
        codes, errors = self.codes, target.new_empty(len(ridges), *target.shape)
        for fold in range(min(FOLDS, len(target))):
            held = torch.arange(len(target), device=target.device) % FOLDS == fold
            rest, known = Principal.of(codes[~held]), target[~held]
            seen = (codes[held] - rest.mean) @ rest.axes.T
            for place, ridge in enumerate(ridges):
                errors[place, held] = target[held] - known.mean(0) - seen @ rest.slopes(known - known.mean(0), ridge)
        return errors

    def best(self, targets: Sequence[Tensor]) -> float:
        """The ridge of the least left-out error over the targets, each as a share of its size; 0 without any."""
        if not targets:
            return 0.0
        errors = self.left_out(torch.cat([each / each.norm() for each in targets], 1), RIDGES)
        return RIDGES[int(errors.square().sum((1, 2)).argmin())]


@dataclass(frozen=True)
class Canonical:
    """Starts networks of modes at generalised canonical correlation analysis, as `start` of a recipe.

    z = sqrt(N) times the leading left singular vectors of [U_m H_m^(1/2)]_m, x_m = mean + U_m S_m V_m,
    H_m = S_m / (S_m + r_m)

    the variates that regressions on the modalities tell best on average; of one modality its principal components. An
    encoder starts as the regression V_m^T S_m^-1 H_m U_m^T z, with the deviation of its errors for a scale; a decoder
    as the regression of x_m on z. r_m is that with which x_m predicts the others best, a tenth of the rows by a fit to
    the rest. These errors are the units of what perceptrons add and the scales of a likelihood that begins at some, on
    the wide side: the spread of z, which is part of them, comes on top. A component is shrunk by s / (s + r), not by a
    ridge's s^2 / (s^2 + r): weak ones, which tell what strong ones do not, keep more. Where a model has several
    latents, what each is for is not known: maps start at zero, and perceptrons read and write principal components.

    Kettenring: Canonical Analysis of Several Sets of Variables, 1971 (MAXVAR).
    """

    model: VAE

    @classmethod
    def of(cls, model: VAE) -> Canonical | None:
        """That of a model that has such networks; ValueError where one is to make what is no mean of a field."""
        for head in _heads(model):
            if not hasattr(head.likelihood.family, "plain"):
                raise ValueError(
                    f"network: modes are of real numbers, such as velocities; take another one for {head.of!r}, "
                    "whose likelihood is of another kind"
                )
        return cls(model) if _encoders(model) or _heads(model) else None

    @torch.no_grad()
    def __call__(self, values: Values) -> None:
        encoders, heads = _encoders(self.model), _heads(self.model)
        names = list(dict.fromkeys([*(part.given[0] for part in encoders), *(str(head.of) for head in heads)]))
        there = torch.stack([values[present(name)] for name in names]).all(0)
        rows = there.nonzero()[:ROWS, 0]
        if len(rows) < FEWEST:
            raise ValueError(
                f"network: modes start at examples that have all of {', '.join(names)}, at least {FEWEST}; these are "
                f"{len(rows)}"
            )
        read = {part.given[0]: part.net.layers[0](values[part.given[0]][rows]) for part in encoders}
        said = {str(head.of): head.likelihood.family.plain(values[str(head.of)][rows]) for head in heads}
        x = {name: Principal.of((said | read)[name].flatten(1)) for name in names}
        ridges = {name: each.best([o.codes for n, o in x.items() if n != name]) for name, each in x.items()}
        z = self._variates(x, ridges)
        for part in encoders:
            _start_encoder(part, x[part.given[0]], ridges[part.given[0]], z)
        for head in heads:
            own = x[str(head.of)]
            told = [o.left_out(own.codes, [ridges[name]])[0] for name, o in x.items() if o is not own]
            _start_decoder(head, own, z, torch.cat(told or [own.left_out(own.codes, [0.0])[0]]))

    def _variates(self, x: Mapping[str, Principal], ridges: Mapping[str, float]) -> Tensor:
        joint = torch.cat([each.scores * each.shrunk(ridges[name]).sqrt() for name, each in x.items()], 1)
        if len(self.model.plan.latents) > 1:
            return joint[:, :0]
        return torch.linalg.svd(joint, full_matrices=False)[0] * sqrt(len(joint))


def _start_encoder(part: Any, x: Principal, ridge: float, z: Tensor) -> None:
    net: ModesEncoder = part.net.net
    z = z[:, : len(net.bias) // 2]
    size, count = z.shape[1], min(net.leading.shape[1], len(x.values))
    # Not above the prior's, which is that of a variate of which nothing is known.
    scale = x.left_out(z, [ridge])[0].square().mean(0).sqrt().clamp(1e-6, 1)
    leading = x.axes[:count].T / x.values[:count] * sqrt(len(z))
    bias, units = torch.zeros_like(net.bias).double(), torch.ones_like(net.bias).double()
    units[:size] = scale
    if isinstance(part.family, DiagonalNormal):
        bias[len(bias) // 2 :][:size] = part.family.raw_scale(scale)
    set_buffers(net, mean=x.mean, leading=leading, linear=x.axes.T @ x.slopes(z, ridge), bias=bias, units=units)


def _start_decoder(head: Any, x: Principal, z: Tensor, told: Tensor) -> None:
    """`told`: the errors of what is said of the components of x without seeing x, [L N, R]."""
    part = head.likelihood
    net: Any = part.net.net if isinstance(part.net, Prepared) else part.net
    z = z[:, : len(net.linear)]
    linear = z.T @ x.codes / len(z)
    left = x.codes - z @ linear  # by too few variates
    errors = told + left.repeat(len(told) // len(left), 1)
    _, spread, ways = torch.linalg.svd(errors, full_matrices=False)
    rest = (ways * (spread / sqrt(len(errors))).unsqueeze(1))[: len(net.rest)] @ x.axes
    set_buffers(net, mean=x.mean, linear=linear @ x.axes, rest=rest)
    inner = part.family.family
    if isinstance(inner, PlaceNormal):
        inner.begin((errors @ x.axes).square().mean(0).sqrt())


def _encoders(model: VAE) -> list[Any]:
    """The laws of the posterior that read a modality through a network of modes."""
    laws = (part for part in model.posterior.modules() if isinstance(part, Conditional))
    return [part for part in laws if isinstance(part.net, Prepared) and isinstance(part.net.net, ModesEncoder)]


def _heads(model: VAE) -> list[Any]:
    """The heads that say a modality through one."""
    return [
        head
        for head in model.heads.values()
        if isinstance(head, Head)
        and isinstance(head.likelihood, Conditional)
        and any(isinstance(part, ModesDecoder) for part in head.likelihood.net.modules())
    ]
