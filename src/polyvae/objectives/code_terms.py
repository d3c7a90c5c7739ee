"""Terms of an objective that codes without a codebook need."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from polyvae.model.distributions.codes import Quantised
from polyvae.model.vae import Draw
from polyvae.objectives.terms import quantised

_BITS = 10  # of a code that are looked at together


class EntropyPenalty(nn.Module):
    """E_i H(p(k | e_i)) - H(E_i p(k | e_i)) of sign bits, nats a place, scalar: each code sure, all of them used.

    p(k | e) = prod_j sigmoid(4 e_j s_j / t), the softmax of -|e - c_k|^2 / t over the 2^D words of signs s; E_i is the
    mean over all places of all examples, t the `temperature`. It lies between -D log 2 and 0. The second entropy is
    exact up to 10 bits; of more it is the sum of those of 10 at a time, which bounds it from above. Over several
    processes it is of what each one reads. Summed over the named `latents`, by default over every quantised one.
    ValueError without a quantised latent.

    Yu, Lezama, Gundavarapu, Versari, Sohn, Minnen, et al.: Language Model Beats Diffusion: Tokenizer is Key to Visual
    Generation, 2023; Jansen, Ellis, Hershey, Moore, Plakal, Popat, Saurous: Coincidence, Categorization, and
    Consolidation, 2020.
    """

    trains_prior = False

    def __init__(self, temperature: float = 0.1, latents: tuple[str, ...] | None = None) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is a positive number; got {temperature}")
        self.temperature = temperature
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        chosen = quantised(draw, self.latents, "the entropy of code bits needs")
        return torch.stack([self._penalty(latent.q) for latent in chosen]).sum()

    def _penalty(self, q: Distribution) -> Tensor:
        assert isinstance(q, Quantised)
        logits = 4 * q.encoded.movedim(1, -1).flatten(0, -2) / self.temperature
        sure = _entropy(torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], -1)).sum(1).mean()
        cuts = [*range(0, logits.shape[1], _BITS), logits.shape[1]]
        return sure - torch.stack([_used(logits[:, first:end]) for first, end in pairwise(cuts)]).sum()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def _used(logits: Tensor) -> Tensor:
    """H of the mean over rows [N, D] of the law of D independent bits, []."""
    joint = logits.new_ones(len(logits), 1)
    for column in logits.unbind(1):
        bit = torch.stack([(-column).sigmoid(), column.sigmoid()], 1)
        joint = (joint.unsqueeze(2) * bit.unsqueeze(1)).flatten(1)
    mean = joint.mean(0)
    return -(mean * mean.clamp(min=torch.finfo(mean.dtype).tiny).log()).sum()


def _entropy(log_p: Tensor) -> Tensor:
    """Of laws [..., K] given by log-probabilities, [...]."""
    return -(log_p.exp() * log_p).sum(-1)
