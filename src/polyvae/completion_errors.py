"""Errors of completed values: of numbers beside the spread of their column, of labels and bits by their chances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from polyvae.evaluation.calibration import LEVELS, coverage, mean_where
from polyvae.spec import Column

CODED = ("category", "bits")  # kinds of columns whose numbers are names
Bands = Mapping[float, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Errors:
    """Averages over examples: squared error per value and its standard error, the ranked probability score, coverage.

    `varying`: coverage of the values that differ between examples alone; those that never do are easily covered, and in
    pictures many. `crps` of a method without spread is its mean absolute error, and it has no coverage. Of columns of
    known kinds all these are of numbers, each divided by the standard deviation of its column; labels and bits have
    instead `wrong`, the share that are not the most probable code, and `log_loss`, the mean of -log p of the true one,
    in nats. None where no example has a value to score.
    """

    mse: float | None
    mse_error: float | None
    crps: float | None
    coverage: dict[float, float | None]
    varying: dict[float, float | None]
    wrong: float | None = None
    log_loss: float | None = None


@dataclass(frozen=True)
class Numbers:
    """Which columns of x [N, C, ...] hold numbers that vary (`kept`), and what one unit of each is (`scale`).

    Without columns, as in pictures, every value is a number in its own unit, and no value is coded.
    """

    kept: Tensor | None = None
    scale: Tensor | None = None
    coded: Tensor | None = None

    @classmethod
    def of(cls, columns: Sequence[Column], x: Tensor) -> Numbers:
        """Of columns, each beside its standard deviation among the examples x; a constant one is left out."""
        if not columns:
            return cls()
        rows = x.double().transpose(0, 1).flatten(1)
        spread, size = rows.std(1, correction=0), rows.square().mean(1).sqrt()
        coded = torch.tensor([column.kind in CODED for column in columns])
        kept = (~coded & (spread > 3e-5 * size)).nonzero().flatten()
        return cls(kept, spread[kept].view(-1, *[1] * (x.ndim - 2)), coded.nonzero().flatten())

    def plain(self, x: Tensor, dim: int = 1) -> Tensor:
        """Those columns of x, which lie along `dim`, in their units."""
        if self.kept is None or self.scale is None:
            return x
        return x.index_select(dim, self.kept.to(x.device)) / self.scale.to(x)

    def seen(self, mask: Tensor) -> Tensor:
        """What a mask [N, d] says of those columns; that of pictures and fields [N, 1, H, W] is the same for all."""
        return mask if self.kept is None or mask.ndim > 2 else mask.index_select(1, self.kept.to(mask.device))


def of_numbers(
    name: str, x: Tensor, mean: Tensor, score: Tensor, bands: Bands, where: Tensor, vary: Tensor
) -> dict[str, Tensor]:
    """The errors of every example where `where` says so, [N] each, by "name quantity"; `vary` [...]: what varies."""
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


def averages(name: str, found: Mapping[str, Tensor]) -> Errors:
    """The averages of every quantity over the examples that have something to score."""
    mse = found.get(f"{name} mse", torch.empty(0)).double()
    mse = mse[~mse.isnan()]
    error = float(mse.std()) / sqrt(len(mse)) if len(mse) > 1 else None
    shares, varied = (
        {level: _mean(found[key.format(level)]) for level in LEVELS if key.format(level) in found}
        for key in (f"{name} {{}}", f"{name} varying {{}}")
    )
    rest = (_mean(found[key]) if (key := f"{name} {quantity}") in found else None for quantity in ("wrong", "log_loss"))
    crps = _mean(found[f"{name} crps"]) if f"{name} crps" in found else None
    return Errors(_mean(mse), error, crps, shares, varied, *rest)


def _mean(values: Tensor) -> float | None:
    values = values.double()
    return float(values.nanmean()) if bool((~values.isnan()).any()) else None
