"""A prior made of what the encoder says of training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.mixture import mixture
from polyvae.model.parts import given
from polyvae.model.vae import Values


class ExemplarPrior(nn.Module):
    """p(z) = 1/M sum_m q(z | x_m): the posterior's mixture over M stored training examples, which `start` fills in.

    In training an example that is stored itself is left out of its own sum, unless nothing else were left: it would
    hide in its own posterior. It is known by its values, so that one whose bits are drawn anew in each epoch is not.
    In evaluation, and where it generates, p(z) is the whole sum. `posterior` is the model's own; `shapes` holds those
    of an example's values, for each name the posterior reads; with fewer examples than M the sum is over those. The
    paper gives every component one learned scale; here each has its posterior's.

    Norouzi, Fleet, Norouzi: Exemplar VAE: Linking Generative Models, Nearest Neighbor Retrieval, and Data Augmentation,
    2020.
    """

    reparametrised = False

    count: Tensor

    def __init__(self, posterior: nn.Module, shapes: Mapping[str, Sequence[int]], exemplars: int = 500) -> None:
        super().__init__()
        at_least("exemplars", exemplars, 1)
        names = given(posterior)
        if set(names) != set(shapes):
            raise ValueError(f"the posterior reads {list(names)}, shapes are given for {sorted(shapes)}")
        self.posterior, self.names, self.exemplars = posterior, names, exemplars
        for name in names:  # faint noise, until it is shown examples
            self.register_buffer(f"stored_{name}", torch.rand(exemplars, *shapes[name]) * 0.1)
        self.register_buffer("count", torch.tensor(exemplars))

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Stores the first M of these examples."""
        for name, held in self.stored().items():
            rows = values[name][: self.exemplars]
            held[: len(rows)] = rows.to(held)
            self.count.fill_(len(rows))

    def stored(self) -> dict[str, Tensor]:
        """The examples, by what the posterior reads of them, [M, ...] each."""
        return {name: getattr(self, f"stored_{name}") for name in self.names}

    def forward(self, values: Values) -> Distribution:
        stored = self.stored()
        components = self.posterior(stored)
        held = torch.arange(self.exemplars, device=self.count.device) < self.count
        if self.training and all(name in values for name in self.names):
            own = hashed([values[name] for name in self.names])[:, None] == hashed(list(stored.values()))
            others = held & ~own
            held = torch.where(others.any(1, keepdim=True), others, held)
        first = next(iter(stored.values()))
        return mixture(
            torch.zeros(held.shape, dtype=first.dtype, device=held.device).masked_fill(~held, -inf), components
        )

    def extra_repr(self) -> str:
        return f"exemplars={self.exemplars}"


def hashed(values: Sequence[Tensor]) -> Tensor:
    """A number of 64 bits of every row of values [N, ...] together, int64 [N]: the same of the same rows alone, and
    whatever rows stand beside, since whole numbers add up in any order."""
    found = torch.zeros(len(values[0]), dtype=torch.int64, device=values[0].device)
    for n, value in enumerate(values):
        bits = value.detach().flatten(1).float().contiguous().view(torch.int32).long()
        generator = torch.Generator().manual_seed(n)
        odd = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator) * 2 + 1
        found = found + (bits * odd.to(bits.device)).sum(1)
    return found
