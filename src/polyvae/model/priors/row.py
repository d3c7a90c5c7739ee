"""The law of a vector as that of several latents, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.distributions import Distribution

from polyvae.model.vae import Values


class Row(nn.Module):
    """p(z_1 .. z_M) = p(z), z the latents in a row, in which p may tell of each what it has to do with the others.

    `prior`: of the vector, one that reads nothing. `shapes`: of the latents, in their order.
    """

    def __init__(self, prior: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.prior, self.shapes = prior, {name: tuple(shape) for name, shape in shapes.items()}
        self.reparametrised = getattr(prior, "reparametrised", True)

    def forward(self, values: Values) -> Distribution:
        return self.prior(values)

    def extra_repr(self) -> str:
        return ", ".join(self.shapes)
