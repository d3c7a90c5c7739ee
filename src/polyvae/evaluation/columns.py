"""How near the deterministic reconstruction comes in every column, whatever the columns' scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polyvae.data.split import Split
from polyvae.evaluation.pictures import reconstructed
from polyvae.spec import Spec


def column_errors(
    source: Any, split: Split, spec: Spec, seed: int = 0, device: torch.device | str | None = None
) -> dict[str, Any]:
    """What the mean of p(x | z) at the posterior mean misses of x, column by column and in the mean over them.

    "unexplained": sum (x - r)^2 / sum (x - mean x)^2 over a split, 0 of a perfect reconstruction and 1 of the column's
    mean, None of a column that does not vary. "wrong": of categories, the share of codes that are not the most probable
    one. "columns": both for each column by its name. Without columns in the spec the dict is empty.
    """
    return told(reconstructed(source, split, [sums], seed, device), spec) if spec.columns else {}


def sums(x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """What `told` needs of every example and column, float64 [N, columns], by name."""
    x, r = (v.flatten(2).double() if v.ndim > 2 else v[:, :, None].double() for v in (x, reconstruction))
    missed = (x != r.round()).double().mean(2)
    return {"x": x.mean(2), "square": x.square().mean(2), "error": (x - r).square().mean(2), "missed": missed}


def told(found: Mapping[str, Tensor], spec: Spec) -> dict[str, Any]:
    """What `column_errors` says, of the `sums` of all examples."""
    found = {name: found[name].mean(0) for name in ("x", "square", "error", "missed")}
    variance = found["square"] - found["x"].square()
    share = torch.where(variance > 1e-9 * found["square"], found["error"] / variance, torch.nan)
    rows, means = [], {}
    for place, column in enumerate(spec.columns):
        key = "wrong" if column.kind == "category" else "unexplained"
        value = float((found["missed"] if key == "wrong" else share)[place])
        rows.append({"name": column.name or str(place), "kind": column.kind, key: None if value != value else value})
        means.setdefault(key, []).append(value)
    averages = {key: float(torch.tensor(values, dtype=torch.float64).nanmean()) for key, values in means.items()}
    return {**averages, "columns": rows}
