"""Codes that are drawn, not rounded to: a categorical posterior, relaxed in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.distributions.categorical_codes import CategoricalCodes, RelaxedCodes
from polyvae.model.posteriors.codebook import Tally
from polyvae.model.precision import full, full_precision


class GumbelCodes(nn.Module):
    """q(k | x) = softmax(W e + b) at every place, over K learned words of D numbers.

    In training its law is relaxed: draws mix the words, at a temperature that falls from 1 as t^(n / `anneal`) to
    t, `temperature`, where it stays; n is the number of passes in training mode, which the buffer `steps` holds: a run
    that is resumed goes on with it. `hard` draws are words, with the gradient of the relaxed ones. In evaluation
    the law is the categorical one, whose bound is that of the discrete model.

    Jang, Gu, Poole: Categorical Reparameterization with Gumbel-Softmax, 2017; Maddison, Mnih, Teh: The Concrete
    Distribution, 2017.
    """

    certain = False
    steps: Tensor

    def __init__(self, size: int, dim: int, temperature: float = 0.5, anneal: int = 1000, hard: bool = False) -> None:
        super().__init__()
        if size < 2 or dim < 1:
            raise ValueError(f"a codebook holds at least 2 codes of at least 1 number; got {size} of {dim}")
        if temperature <= 0 or anneal < 1:
            raise ValueError(f"temperature is above 0 and anneal at least 1 step; got {temperature} and {anneal}")
        self.size, self.dim = size, dim
        self.temperature, self.anneal, self.hard = temperature, anneal, hard
        self.logits = nn.Linear(dim, size)
        self.weight = nn.Parameter(torch.randn(size, dim))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.tally = Tally(size)

    def quantise(self, encoded: Tensor) -> CategoricalCodes:
        """The law of encoder outputs [B, D, *rest]: relaxed in training mode."""
        with full_precision(encoded.device):
            logits = self.logits(full(encoded).movedim(1, -1)).movedim(-1, 1)
        if not self.training:
            return CategoricalCodes(logits, self)
        temperature = self.now
        self.steps += 1
        law = RelaxedCodes(logits, self, temperature, self.hard)
        self.tally(law.codes)
        return law

    @property
    def now(self) -> Tensor:
        """The temperature of the next draw in training, []."""
        return self.temperature ** (self.steps / self.anneal).clamp(max=1)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> their words [B, D, *rest]."""
        return F.embedding(codes, self.weight).movedim(-1, 1)

    @torch.no_grad()
    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, *rest] of the words nearest to [B, D, *rest]."""
        rows = full(encoded).movedim(1, -1)
        with full_precision(encoded.device):
            words = self.weight.to(rows.dtype)
            return (words.square().sum(1) - 2 * rows @ words.T).argmin(-1)

    def epoch_values(self) -> dict[str, float]:
        """The use of the likeliest codes since the last call, and the temperature."""
        return {**self.tally.epoch_values(), "temperature": float(self.now)}

    def extra_repr(self) -> str:
        return f"{self.size} x {self.dim}, temperature={self.temperature}, anneal={self.anneal}, hard={self.hard}"
