"""Posteriors that no family makes: modules that map values to the distribution of a latent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyvae.model.distributions.codes import Quantised
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.precision import full
from polyvae.model.vae import Values

_BLOCK = 256  # examples encoded at a time before training


class Quantiser(nn.Module):
    """q(z | x): a network's output [B, D, *rest], each of its vectors replaced by the nearest word of a codebook.

    `net` is called with one tensor per name in `given`, in that order.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """

    certain = True  # all its draws are one

    def __init__(self, net: nn.Module, codebook: Codebook, given: str | Sequence[str] = ("x",)) -> None:
        super().__init__()
        self.net = net
        self.codebook = codebook
        self.given = (given,) if isinstance(given, str) else tuple(given)

    def forward(self, values: Values) -> Quantised:
        encoded = self._encoded(values)
        codes, vectors = self.codebook(encoded)
        return Quantised(codes, encoded, vectors)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> z [B, D, *rest]."""
        return self.codebook.embed(codes)

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Sets the codebook by k-means over what the untrained network makes of some examples."""
        training, device = self.net.training, self.codebook.weight.device
        self.net.eval()
        count = len(values[self.given[0]])
        blocks = [slice(first, first + _BLOCK) for first in range(0, count, _BLOCK)]
        encoded = [self._encoded({name: values[name][block].to(device) for name in self.given}) for block in blocks]
        self.net.train(training)
        self.codebook.start(torch.cat(encoded))

    def _encoded(self, values: Values) -> Tensor:
        encoded = self.net(*[values[name] for name in self.given])
        # Distances and the codebook's costs need single precision.
        return full(encoded)

    def extra_repr(self) -> str:
        return f"given={self.given}"
