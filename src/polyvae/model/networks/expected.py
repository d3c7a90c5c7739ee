"""An observation, and what a law of whole pictures expects given it: what decoders begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.model.analysers import Analysers, few_factors
from polyvae.model.draw import Values
from polyvae.model.networks.layers import LastConvolution
from polyvae.model.parts import Conditional, Family
from polyvae.model.precision import full, full_precision
from polyvae.model.separable import SeparableNormal, nearest
from polyvae.model.sized import Sized

COUNT, FACTORS = 30, 20
PAIRS = 2**23  # numbers at most in the products of every pair of factors, 32 MiB
ROUNDS, FLOOR = 5, 0.2  # of EM, and the least variance of a value's own: means count here, not densities
JUDGES, FEW = 256, 16


class Around(Sized, Conditional):
    """p(x | ., e) that begins at the law of which e is what it expects: raw = net(., e) + family.around(mean, std).

    The last name in `given` is that of e, (mean, std, m) as `Expected` says it, of which there may be fewer rows than
    of what the network makes. `family` has a function `around`: the raw output whose law has such a mean and spread.
    Weights of before there was that, which lack `begins`, are taken for those of a plain `Conditional`.
    """

    begins: Tensor | None

    def __init__(self, net: nn.Module, family: Family, given: str | Sequence[str]) -> None:
        super().__init__(net, family, given)
        self.register_buffer("begins", torch.ones(()))
        for part in net.modules():
            if isinstance(part, LastConvolution):
                for parameter in part.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, values: Values) -> Distribution:
        if self.begins is None:
            return super().forward(values)
        raw, e = (full(each) for each in (self.net(*[values[name] for name in self.given]), values[self.given[-1]]))
        mean, std, _ = e.tensor_split([e.shape[1] // 3, 2 * (e.shape[1] // 3)], 1)
        begun = cast(Any, self.family).around(mean, std)
        return self.family((raw.unflatten(0, (-1, len(e))) + begun).flatten(0, 1))

    def resize(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Begins nowhere where what is to be loaded does not say so."""
        if "begins" not in shapes:
            self.begins = None


class Expected(nn.Module):
    """An observation of pictures, and before it what a law says of the whole: the decoder and p(z | m) read both.

    m = (x mask, mask), [B, C + 1, H, W] -> (E[x | m], standard deviation, m), [B, 3 C + 1, H, W]. The law starts at
    training examples, and what of it is chosen at `JUDGES` others, seen as m shows them. `values`: the names of x and
    m.
    """

    def __init__(self, of: str = "x", given: str = "m") -> None:
        super().__init__()
        self.of, self.given = of, (given,)

    @torch.no_grad()
    def forward(self, values: Values) -> Tensor:
        m = values[self.given[0]]
        # Products over hundreds of values lose what tells laws apart in half precision.
        with full_precision(m.device):
            m = full(m)
            mean, std = self.expect(m[:, :-1], m[:, -1:])
            return torch.cat([mean, std, m], 1)

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Fits the law to examples and what is seen of them."""
        x, m = full(values[self.of]), full(values[self.given[0]])
        judges = min(JUDGES, len(x) // 4)
        self.fit(x[judges:], x[:judges], m[:judges, -1:])
        if FEW * judges > len(x):  # where they are few, those that chose are told of as well
            self.fit(x, x[:0], m[:0, -1:])

    def expect(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | m] and the standard deviation of each value, like x [B, C, H, W]."""
        raise NotImplementedError

    def fit(self, x: Tensor, judges: Tensor, seen: Tensor) -> None:
        """Fits the law to whole pictures, and chooses what is chosen of it by `judges` and what is `seen` of them.

        Where there are none, that stays as it was.
        """
        raise NotImplementedError


class Analysed(Expected):
    """What a mixture of `Analysers` expects, whose power is chosen."""

    def __init__(self, shape: Sequence[int], count: int, factors: int, of: str = "x", given: str = "m") -> None:
        super().__init__(of, given)
        self.analysers = Analysers(shape, count, factors)

    def expect(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        return self.analysers(x, seen)

    def fit(self, x: Tensor, judges: Tensor, seen: Tensor) -> None:
        self.analysers.fit(x, ROUNDS, FLOOR)
        if len(judges):
            self.analysers.choose_power(judges, seen)


class NormalExpected(Expected):
    """What a `SeparableNormal` expects; its ridge, and whether mirror images count, are chosen."""

    def __init__(self, shape: Sequence[int], of: str = "x", given: str = "m") -> None:
        super().__init__(of, given)
        self.law = SeparableNormal(shape)

    def expect(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        return self.law(x, seen)

    def fit(self, x: Tensor, judges: Tensor, seen: Tensor) -> None:
        if len(judges):
            self.law = nearest([deepcopy(self.law).fit(x, mirrored) for mirrored in (False, True)], judges, seen)
        else:
            self.law.fit(x, self.law.mirrored)


def analysed(shape: Sequence[int]) -> Analysed:
    """`Analysed` of `COUNT` analysers of up to `FACTORS` factors."""
    return Analysed(shape, COUNT, few_factors(shape, COUNT, FACTORS, PAIRS))
