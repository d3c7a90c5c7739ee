"""How near the deterministic reconstruction comes in every column, whatever the columns' scales."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, isnan
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.data.columns.kinds import varies
from polyvae.data.split import Split
from polyvae.evaluation.pictures import Measure, mean_known, reconstructed
from polyvae.model.distributions.columns import Product, Standardised
from polyvae.model.spec import Spec


def column_errors(
    source: Any, split: Split, spec: Spec, seed: int = 0, device: torch.device | str | None = None
) -> dict[str, Any]:
    """What the mean of p(x | z) at the posterior mean misses of x, column by column and in the mean over them.

    "unexplained": sum (x - r)^2 / sum (x - mean x)^2 over a split, 0 of a perfect reconstruction and 1 of the column's
    mean, None of a column that does not vary (`varies`), and in the mean where none does; of positive columns in
    logarithms, r the mean of log x at the posterior mean. "wrong": of categories, the
    share of codes that are not the most probable one. "columns": both for each column by its name. Without columns in
    the spec the dict is empty.
    """
    return told(reconstructed(source, split, [by_column(spec)], seed, device), spec) if spec.columns else {}


def by_column(spec: Spec) -> Measure:
    """The `sums` of x and its reconstruction, logarithms in the place of positive columns."""
    positive = torch.tensor([column.kind == "positive" for column in spec.columns])
    return lambda x, law: sums(_logs(x, positive), _plain_mean(law, positive))


def _logs(x: Tensor, positive: Tensor) -> Tensor:
    """x [N, C, ...] in double precision, of positive columns log x, and of what is not above 0 that of almost 0."""
    x = x.double()
    chosen = positive.to(x.device).view(-1, *[1] * (x.ndim - 2))
    return torch.where(chosen, x.clamp(min=torch.finfo(torch.float32).tiny).log(), x)


def _plain_mean(law: Distribution, positive: Tensor) -> Tensor:
    """The mean of what `_logs` makes of a draw; where the law does not tell, what that makes of its mean."""
    if isinstance(law, Product):
        pairs = zip(law.parts, law.places, strict=True)
        return torch.cat([_plain_mean(part, positive[place.cpu()]) for part, place in pairs], 1)[:, law.order]
    if isinstance(law, Standardised) and law.log:
        return (law.centre + law.scale * law.base.mean).double()
    return _logs(law.mean, positive)


def sums(x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """What `told` needs of every example and column, float64 [N, columns], by name; of what is known of x alone."""
    x, r = (v.flatten(2).double() if v.ndim > 2 else v[:, :, None].double() for v in (x, reconstruction))
    missed = mean_known((x != r.round()).double(), x, 2)
    mean = mean_known(x, x, 2)
    within = mean_known((x - mean[:, :, None]).square(), x, 2)  # squares of x itself would cancel far from zero
    return {"x": mean, "within": within, "error": mean_known((x - r).square(), x, 2), "missed": missed}


def told(found: Mapping[str, Tensor], spec: Spec) -> dict[str, Any]:
    """What `column_errors` says, of the `sums` of all examples."""
    x = found["x"]
    within, error, missed = (mean_known(found[name], x, 0) for name in ("within", "error", "missed"))
    mean = mean_known(x, x, 0)
    variance = mean_known((x - mean).square(), x, 0) + within
    share = torch.where(varies(mean, variance), error / variance, torch.nan)
    rows, means = [], {}
    for place, column in enumerate(spec.columns):
        key = "wrong" if column.kind == "category" else "unexplained"
        value = float((missed if key == "wrong" else share)[place])
        rows.append({"name": column.name or str(place), "kind": column.kind, key: None if isnan(value) else value})
        means.setdefault(key, []).extend([] if isnan(value) else [value])
    averages = {key: fsum(values) / len(values) if values else None for key, values in means.items()}
    return {**averages, "columns": rows}
