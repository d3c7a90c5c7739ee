"""Posteriors that no family makes: modules that map values to the distribution of a latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.model.distributions.codes import CodeLaw
from polyvae.model.precision import full
from polyvae.model.vae import Values

_BLOCK = 256  # examples encoded at a time before training


class Quantiser(nn.Module):
    """q(z | x): a network's output [B, D, *rest], each of its vectors replaced by words of a codebook.

    `net` is called with one tensor per name in `given`, in that order. `codebook`: a `Codebook`, of whose words the
    nearest is taken, or another module with what `distributions.codes.Words` asks for and `quantise`, from encoder
    outputs to a law over maps of its words; it says in `certain` whether all draws of that law are one.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """

    def __init__(self, net: nn.Module, codebook: Any, given: str | Sequence[str] = ("x",)) -> None:
        super().__init__()
        self.net = net
        self.codebook = codebook
        self.given = (given,) if isinstance(given, str) else tuple(given)
        self.certain = bool(codebook.certain)

    def forward(self, values: Values) -> CodeLaw:
        return self.codebook.quantise(self._encoded(values))

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> z [B, D, *rest]."""
        return self.codebook.embed(codes)

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Sets a codebook that starts from data by what the untrained network makes of some examples."""
        if not hasattr(self.codebook, "start"):
            return
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
