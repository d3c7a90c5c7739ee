"""Codebooks that are not learned: the points of a lattice, to which the encoder's output is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.distributions.codes import Quantised
from polyvae.model.posteriors.codebook import Tally

_MOST_BITS = 18  # of a code: the words are listed
_EDGE = 1e-3  # by how much less than its outermost half step a bounded value comes near it, as a share


class FiniteScalar(nn.Module):
    """Every channel rounded to one of a few values: K = L_1 ... L_D words that nothing has to learn.

    z_j = round(b_j(e_j)) / (L_j div 2),  b_j(e) = h tanh(e + artanh(o / h)) - o,  h = (1 - 0.001) (L_j - 1) / 2

    with o = 1/2 for an even number of levels, which makes the values -L_j/2 ... L_j/2 - 1 and keeps b_j(0) = 0, and
    o = 0 for an odd one. The gradient passes straight through the rounding and on through b. The integer of a word
    counts its digits from the first, k = k_1 + L_1 (k_2 + L_2 ...). ValueError below three levels, where b is flat.

    Mentzer, Minnen, Agustsson, Tschannen: Finite Scalar Quantization: VQ-VAE Made Simple, 2023.
    """

    certain = True
    weight: Tensor
    middle: Tensor
    shift: Tensor
    bound: Tensor
    steps: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        if not self.levels or min(self.levels) < 3:
            raise ValueError(f"levels are at least 3 for each channel (two are lookup-free codes); got {list(levels)}")
        self.size, self.dim = prod(self.levels), len(self.levels)
        count = torch.tensor(self.levels)
        half, shift = count // 2, (1 - count % 2) / 2
        self._hold("middle", half)
        self._hold("shift", shift)
        self._hold("bound", (1 - _EDGE) * (count - 1) / 2)
        self._hold("weight", (_digits(torch.arange(self.size), self.levels) - half) / half)
        self.register_buffer("steps", _steps(self.levels), persistent=False)
        self.tally = Tally(self.size)

    def quantise(self, encoded: Tensor) -> Quantised:
        """The law of encoder outputs [B, D, *rest]; `encoded` of the law is bounded as its words are."""
        half, shift, bound = (_along(each, encoded) for each in (self.middle, self.shift, self.bound))
        bounded = (bound * torch.tanh(encoded + torch.atanh(shift / bound)) - shift) / half
        rounded = (bounded.detach() * half).round()
        codes = _number((rounded + half).movedim(1, -1).long(), self.steps)
        self.tally(codes)
        return Quantised(codes, bounded, rounded / half)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> their words [B, D, *rest]."""
        return F.embedding(codes, self.weight).movedim(-1, 1)

    @torch.no_grad()
    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, *rest] of the words nearest to [B, D, *rest]."""
        half = _along(self.middle, encoded)
        digits = ((encoded * half).round() + half).movedim(1, -1)
        most = 2 * self.middle - (self.shift > 0) * 1
        return _number(digits.clamp(min=0).minimum(most.to(digits)).long(), self.steps)

    def _hold(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class LookupFree(nn.Module):
    """The sign of every channel: K = 2^D words of -1 and 1, and the sign bits are the code's, the first the smallest.

    z_j = 1 where e_j > 0, else -1, with the gradient of the identity (straight through)

    Needs `terms.Commitment`, which keeps e near the signs, and `code_terms.EntropyPenalty`, which spreads the codes.

    Yu, Lezama, Gundavarapu, Versari, Sohn, Minnen, et al.: Language Model Beats Diffusion: Tokenizer is Key to Visual
    Generation, 2023.
    """

    certain = True
    weight: Tensor
    steps: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if not 1 <= dim <= _MOST_BITS:
            raise ValueError(f"lookup-free codes have 1 to {_MOST_BITS} bits; got {dim}")
        self.size, self.dim = 2**dim, dim
        words = 2.0 * _digits(torch.arange(self.size), (2,) * dim) - 1
        self.register_buffer("weight", words.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("steps", _steps((2,) * dim), persistent=False)
        self.tally = Tally(self.size)

    def quantise(self, encoded: Tensor) -> Quantised:
        """The law of encoder outputs [B, D, *rest]."""
        codes = self.nearest(encoded)
        self.tally(codes)
        return Quantised(codes, encoded, self.embed(codes))

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> their words [B, D, *rest]."""
        return F.embedding(codes, self.weight).movedim(-1, 1)

    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, *rest] of the signs of [B, D, *rest]."""
        return _number((encoded.detach() > 0).long().movedim(1, -1), self.steps)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _digits(numbers: Tensor, levels: Sequence[int]) -> Tensor:
    """Integers [...] -> their digits [..., D], the first the smallest, each below its `levels`."""
    return numbers.unsqueeze(-1) // _steps(levels) % torch.tensor(levels)


def _number(digits: Tensor, steps: Tensor) -> Tensor:
    """Digits [..., D] -> integers [...], `steps` what each digit counts."""
    return (digits * steps).sum(-1)


def _steps(levels: Sequence[int]) -> Tensor:
    """What a digit of each place counts: 1, L_1, L_1 L_2 ..."""
    return torch.tensor([prod(levels[:place]) for place in range(len(levels))])


def _along(values: Tensor, encoded: Tensor) -> Tensor:
    """[D] beside [B, D, *rest]."""
    return values.to(encoded.dtype).view(-1, *[1] * (encoded.ndim - 2))
