"""Probabilities as whole numbers that sum to 2^24, and the real line in 2^16 bins of equal mass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PRECISION = 24  # bits of a count: rows of counts sum to 2^24
DIGIT = 8  # bits of a digit of a bin's number
DIGITS = 2
BINS = 2 ** (DIGIT * DIGITS)


def counts(probabilities: Tensor) -> np.ndarray:
    """Counts, int64 [n, S], of rows of S probabilities: each at least 1, each row's sum 2^24.

    n_s = 1 + floor((2^24 - S) p_s), what is left over given to the likeliest, the first of them. A row without mass, or
    with a number in it that is none, is even. ValueError for 2^24 symbols or more.
    """
    symbols = probabilities.shape[1]
    free = 2**PRECISION - symbols
    if free <= 0:
        raise ValueError(f"a table of {symbols:,} symbols; fewer than {2**PRECISION:,} have counts")
    mass = probabilities.sum(1, keepdim=True)
    usable = (mass > 0) & mass.isfinite()
    shares = torch.where(usable, probabilities / mass, 1 / symbols)
    found = (shares * free).floor().to(torch.int64)
    found.scatter_add_(1, shares.argmax(1, keepdim=True), free - found.sum(1, keepdim=True))
    return (found + 1).numpy()


def even(rows: int, symbols: int) -> Tensor:
    """Rows of equal probabilities."""
    return torch.full((rows, symbols), 1 / symbols, dtype=torch.float64)


def edges(before: Tensor, digit: int) -> Tensor:
    """The shares of mass [n, 257] at which the intervals of a digit end, the digits `before` it one number [n].

    From 0 to 1 of the first digit; of the next within the interval that the one before it chose.
    """
    inner = torch.arange(2**DIGIT + 1, dtype=torch.float64)
    return (before.to(torch.float64).unsqueeze(1) * 2**DIGIT + inner) / 2 ** (DIGIT * (digit + 1))


def middle(bins: Tensor) -> Tensor:
    """The share of mass below the middle of each bin."""
    return (bins.to(torch.float64) + 0.5) / BINS


def random_words(number: int, *key: int) -> np.ndarray:
    """Random words, uint32, none of them 0, the same for the same key wherever and whenever."""
    # Of NumPy's generators the raw bits alone are promised to stay as they are.
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(number)
    return (raw >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
