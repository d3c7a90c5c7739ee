"""Errors of completed values: numbers in units of their column's spread, labels and bits by their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from torch import Tensor

from polyvae.data.columns.kinds import varies
from polyvae.evaluation.calibration import LEVELS, coverage, mean_where
from polyvae.model.precision import wide
from polyvae.model.spec import Column

CODED = ("category", "bits")  # kinds of columns whose numbers are names
Bands = Mapping[float, tuple[Tensor, Tensor]]
_AVERAGED = ("crps", "wrong", "log_loss", "energy", "class_loss")


@dataclass(frozen=True)
class Errors:
    """Averages over examples: squared error per value and its standard error, the ranked probability score, coverage.

    `varying`: coverage of the values that differ between examples; those that never do, many in pictures, are
    easily covered. A method without spread has its mean absolute error as `crps`, and no coverage. Where the kinds
    of columns are known, these errors are those of numbers, divided by the standard deviation of their column;
    labels and bits have instead `wrong`, the share whose most probable code is wrong, and `log_loss`, the mean of
    -log p(true code) in nats. `energy`: the energy score of the joint draws, over the vector of an example's scored
    values. `class_loss`: minus the logarithm of the chance that a classifier gives the true class, averaged over
    the expected pictures of the draws of z, the seen pixels put in; in nats, where a classifier is given. None
    where no value is scored, or where the average is not finite, as for positive columns over tens of powers of
    ten: `infinite` names these.
    """

    mse: float | None
    mse_error: float | None
    crps: float | None
    coverage: dict[float, float | None]
    varying: dict[float, float | None]
    wrong: float | None = None
    log_loss: float | None = None
    energy: float | None = None
    class_loss: float | None = None
    infinite: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numbers:
    """Which columns of x [N, C, ...] hold numbers that vary (`kept`), and the unit of each (`scale`).

    Without columns, as in pictures, every value is a number in its own unit, and no value is a code. `logs`: which of
    the kept columns are positive, if any. `constant`: the names of the columns that do not vary.
    """

    kept: Tensor | None = None
    scale: Tensor | None = None
    coded: Tensor | None = None
    logs: Tensor | None = None
    constant: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: Sequence[Column], x: Tensor) -> Numbers:
        """The numbers among the columns, in units of their standard deviation over x; constant columns are left out."""
        if not columns:
            return cls()
        rows = x.double().transpose(0, 1).flatten(1)
        variance = (rows - rows[:, :1]).var(1, correction=0)
        coded = torch.tensor([column.kind in CODED for column in columns])
        vary = varies(rows.mean(1), variance)
        kept, shape = (~coded & vary).nonzero().flatten(), (-1, *[1] * (x.ndim - 2))
        logs = torch.tensor([columns[place].kind == "positive" for place in kept.tolist()]).view(shape)
        same = (~coded & ~vary).nonzero().flatten().tolist()
        names = tuple(columns[place].name or str(place) for place in same)
        scale = variance[kept].sqrt().view(shape)
        return cls(kept, scale, coded.nonzero().flatten(), logs if bool(logs.any()) else None, names)

    def plain(self, x: Tensor, dim: int = 1) -> Tensor:
        """The kept columns of x, which lie along `dim`, in their units."""
        if self.kept is None or self.scale is None:
            return x
        return x.index_select(dim, self.kept.to(x.device)) / self.scale.to(x)

    def straight(self, x: Tensor) -> Tensor:
        """Such numbers, positive ones as logarithms, so that a symmetric spread fits."""
        return x if self.logs is None else torch.where(self.logs.to(x.device), wide(x).log(), x)

    def bent(self, x: Tensor) -> Tensor:
        """The inverse of `straight`."""
        return x if self.logs is None else torch.where(self.logs.to(x.device), x.exp(), x)

    def moments(self, mean: Tensor, std: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of what `straight` returns; for logarithms, those of the draws [S, N, C, ...]."""
        if self.logs is None:
            return mean, std
        logs, rows = self.logs.to(mean.device), self.straight(draws)
        return torch.where(logs, rows.mean(0), mean), torch.where(logs, rows.std(0), std)

    def seen(self, mask: Tensor) -> Tensor:
        """The mask [N, d] of the kept columns; that of pictures and fields [N, 1, H, W] is the same for all columns."""
        return mask if self.kept is None or mask.ndim > 2 else mask.index_select(1, self.kept.to(mask.device))


def of_numbers(
    name: str, x: Tensor, mean: Tensor, score: Tensor, bands: Bands, where: Tensor, vary: Tensor
) -> dict[str, Tensor]:
    """The errors of every example over the values in `where`, [N] each, by "name quantity"; `vary` [...] varies."""
    score = torch.where(score.isnan() & ~x.isnan(), torch.inf, score)  # of draws that are no finite numbers
    found = {f"{name} mse": mean_where((mean - x).square(), where), f"{name} crps": mean_where(score, where)}
    vary = where & vary.to(x.device)
    for level, band in bands.items():
        found |= {f"{name} {level}": coverage(x, *band, where), f"{name} varying {level}": coverage(x, *band, vary)}
    return found


def of_codes(
    name: str, x: Tensor, chances: Sequence[tuple[Tensor, Tensor]], where: Tensor, by: Numbers
) -> dict[str, Tensor]:
    """Error rate and log loss of the columns of x [N, C, ...] that hold labels or bits, [N] each, by "name quantity".

    `chances`: columns and the probability of every code there, [N or 1, columns, ..., codes].
    """
    if by.coded is None or not len(by.coded):
        return {}
    wrong, loss, told = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x, dtype=torch.bool)
    for place, chance in chances:
        codes = x.index_select(1, place).long()
        # A chance below the smallest number counts as that: the loss of one value never hides all others'.
        log = chance.clamp(min=torch.finfo(chance.dtype).tiny).log()
        loss[:, place] = -log.expand(*codes.shape, -1).gather(-1, codes[..., None]).squeeze(-1)
        wrong[:, place] = (chance.argmax(-1) != codes).to(x.dtype)
        told[:, place] = True
    asked = torch.zeros_like(told).index_fill(1, by.coded.to(x.device), True) & told & where
    return {f"{name} wrong": mean_where(wrong, asked), f"{name} log_loss": mean_where(loss, asked)}


def shares_of(columns: Sequence[Column], x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For every column of labels or bits: its place, and how often each code occurs there, [1, 1, ..., codes]."""
    found = []
    for place, column in enumerate(columns):
        if column.kind in CODED:
            size = 2 if column.labels is None else len(column.labels)
            counts = torch.bincount(x[:, place].flatten().long(), minlength=size) + 1
            found.append((torch.tensor([place]), (counts / counts.sum()).view(*[1] * x.ndim, size)))
    return found


def averages(name: str, found: Mapping[str, Tensor]) -> Errors:
    """The average of every quantity over the examples that have a scored value."""
    mse = found.get(f"{name} mse", torch.empty(0)).double()
    mse = mse[~mse.isnan()]
    shares, varied = (
        {level: _mean(found[key.format(level)]) for level in LEVELS if key.format(level) in found}
        for key in (f"{name} {{}}", f"{name} varying {{}}")
    )
    single = {
        "mse": _mean(mse),
        "mse_error": float(mse.std()) / sqrt(len(mse)) if len(mse) > 1 else None,
        **{key: _mean(found[f"{name} {key}"]) if f"{name} {key}" in found else None for key in _AVERAGED},
    }
    infinite = tuple(key for key, value in single.items() if value is not None and not isfinite(value))
    told = {key: None if key in infinite else value for key, value in single.items()}
    return Errors(coverage=shares, varying=varied, infinite=infinite, **told)


def _mean(values: Tensor) -> float | None:
    values = values.double()
    return float(values.nanmean()) if bool((~values.isnan()).any()) else None
