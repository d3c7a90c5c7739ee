"""How near the deterministic reconstruction comes in every column, whatever the columns' scales."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, isnan
from typing import Any

import torch
from torch import Tensor

from polyvae.data.kinds import varies
from polyvae.data.split import Split
from polyvae.evaluation.pictures import reconstructed
from polyvae.spec import Spec


def column_errors(
    source: Any, split: Split, spec: Spec, seed: int = 0, device: torch.device | str | None = None
) -> dict[str, Any]:
    """What the mean of p(x | z) at the posterior mean misses of x, column by column and in the mean over them.

    "unexplained": sum (x - r)^2 / sum (x - mean x)^2 over a split, 0 of a perfect reconstruction and 1 of the column's
    mean, None of a column that does not vary (`varies`), and in the mean where none does. "wrong": of categories, the
    share of codes that are not the most probable one. "columns": both for each column by its name. Without columns in
    the spec the dict is empty.
    """
    return told(reconstructed(source, split, [sums], seed, device), spec) if spec.columns else {}


def sums(x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """What `told` needs of every example and column, float64 [N, columns], by name."""
    x, r = (v.flatten(2).double() if v.ndim > 2 else v[:, :, None].double() for v in (x, reconstruction))
    missed = (x != r.round()).double().mean(2)
    mean = x.mean(2)
    within = (x - mean[:, :, None]).square().mean(2)  # squares of x itself would cancel far from zero
    return {"x": mean, "within": within, "error": (x - r).square().mean(2), "missed": missed}


def told(found: Mapping[str, Tensor], spec: Spec) -> dict[str, Any]:
    """What `column_errors` says, of the `sums` of all examples."""
    x, (within, error, missed) = found["x"], (found[name].mean(0) for name in ("within", "error", "missed"))
    mean = x.mean(0)
    variance = (x - mean).square().mean(0) + within
    share = torch.where(varies(mean, variance), error / variance, torch.nan)
    rows, means = [], {}
    for place, column in enumerate(spec.columns):
        key = "wrong" if column.kind == "category" else "unexplained"
        value = float((missed if key == "wrong" else share)[place])
        rows.append({"name": column.name or str(place), "kind": column.kind, key: None if isnan(value) else value})
        means.setdefault(key, []).extend([] if isnan(value) else [value])
    averages = {key: fsum(values) / len(values) if values else None for key, values in means.items()}
    return {**averages, "columns": rows}
