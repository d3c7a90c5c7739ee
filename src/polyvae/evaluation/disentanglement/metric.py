"""What the scores share: codes and factors of all examples, kept until the score is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class OneFactor(ValueError):
    """A score that sets factors beside each other has a single one that varies."""


def several(factors: Mapping[int, np.ndarray], score: str) -> list[np.ndarray]:
    """The factors. Raises OneFactor."""
    if len(factors) < 2:
        raise OneFactor(f"{score} needs two factors that vary; got 1")
    return list(factors.values())


class CodesMetric(Metric):
    """A score of codes [N, d] against the factors [N, F] of the same examples, whole numbers.

    It is computed from all examples at once, so that it does not depend on how they came. Factors of one value in all
    examples say nothing and are left out. Raises ValueError for codes or factors of another shape, for codes that are
    not finite, for factors that are not whole numbers, and where no factor varies.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    codes: list[Tensor]
    factors: list[Tensor]

    def __init__(self, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        self.add_state("codes", [], dist_reduce_fx="cat")
        self.add_state("factors", [], dist_reduce_fx="cat")

    def update(self, codes: Tensor, factors: Tensor) -> None:
        """Takes codes [B, d] and factors [B, F], or a single one [B]."""
        factors = factors[:, None] if factors.ndim == 1 else factors
        if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
            raise ValueError(f"codes are [B, d], factors [B, F]; got {list(codes.shape)} and {list(factors.shape)}")
        if factors.is_floating_point() and bool((factors != factors.round()).any()):
            raise ValueError("factors are whole numbers, a class or a place each; got others: cut them into bins")
        self.codes.append(codes.detach())
        self.factors.append(factors.detach())

    def gathered(self) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Codes [N, d] in float64, and by its column each factor that varies, [N] numbers from 0 on without gaps."""
        if not self.codes:
            raise ValueError(f"{type(self).__name__} was given no codes: update(codes, factors) takes them")
        codes = dim_zero_cat(self.codes).cpu().double().numpy()
        columns = dim_zero_cat(self.factors).cpu().numpy().T
        if not np.isfinite(codes).all():
            raise ValueError("codes hold values that are not finite")
        found = {column: np.unique(each, return_inverse=True)[1].reshape(-1) for column, each in enumerate(columns)}
        varying = {column: each for column, each in found.items() if each.max() > 0}
        if not varying:
            raise ValueError("no factor varies among the examples, so that no code can tell it")
        return codes, varying


def single(value: float | np.floating) -> Tensor:
    """A score as torchmetrics returns it."""
    return torch.tensor(float(value), dtype=torch.float64)
