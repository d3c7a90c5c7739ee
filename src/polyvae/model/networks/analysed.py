"""An observation, and what a mixture of factor analysers expects of the whole: what decoders begin with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyvae.model.analysers import Analysers, few_factors
from polyvae.model.draw import Values
from polyvae.model.precision import full, full_precision

COUNT, FACTORS = 30, 20
PAIRS = 2**23  # numbers at most in the products of every pair of factors, 32 MiB
ROUNDS, FLOOR = 5, 0.2  # of EM, and the least variance of a value's own: means count here, not densities
JUDGES = 256


class Analysed(nn.Module):
    """An observation of pictures, and before it what analysers say of the whole: the decoder and p(z | m) read both.

    m = (x mask, mask), [B, C + 1, H, W] -> (E[x | m], standard deviation, m), [B, 3 C + 1, H, W]. It starts at
    training examples, its power at `JUDGES` others, seen as m shows them. `values`: the names of x and m.
    """

    def __init__(self, shape: Sequence[int], count: int, factors: int, of: str = "x", given: str = "m") -> None:
        super().__init__()
        self.of, self.given = of, (given,)
        self.analysers = Analysers(shape, count, factors)

    @torch.no_grad()
    def forward(self, values: Values) -> Tensor:
        m = values[self.given[0]]
        # Products over hundreds of values lose what tells analysers apart in half precision.
        with full_precision(m.device):
            m = full(m)
            mean, std = self.analysers(m[:, :-1], m[:, -1:])
            return torch.cat([mean, std, m], 1)

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Fits the analysers to examples and what is seen of them."""
        x, m = full(values[self.of]), full(values[self.given[0]])
        judges = min(JUDGES, len(x) // 4)
        self.analysers.fit(x[judges:], ROUNDS, FLOOR)
        if judges:
            self.analysers.choose_power(x[:judges], m[:judges, -1:])


def analysed(shape: Sequence[int]) -> Analysed:
    """`Analysed` of `COUNT` analysers of up to `FACTORS` factors."""
    return Analysed(shape, COUNT, few_factors(shape, COUNT, FACTORS, PAIRS))
