"""How much of a codebook is used: perplexity, share of the words, entropy of whole maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.model.posteriors.codebook import usage


@dataclass(frozen=True)
class CodeUse:
    """How N examples use a codebook of `size` words, a map of `positions` codes each.

    `perplexity`: exp H of the codes at all positions together, from 1 to `size`. `usage`: the share of words used. Of
    several codebooks, whose positions follow one another, H is the mean of theirs and the share one of all their words.
    `counts`: how often each word was used at each position, [positions, size].
    """

    size: int
    positions: int
    perplexity: float
    usage: float
    counts: Tensor


def use_of(codes: Tensor, size: int, codebooks: int) -> CodeUse:
    """The use of `size` words of each codebook by codes [N, P], those of one codebook after those of another."""
    positions = codes.shape[1]
    place = codes + size * torch.arange(positions)
    counts = place.flatten().bincount(minlength=size * positions).view(positions, size)
    found = usage(counts.view(codebooks, -1, size).sum(1).double())
    return CodeUse(size, positions, found["perplexity"], found["usage"], counts)


def entropy_of(codes: Tensor) -> float:
    """In nats, of the law of maps of codes of which [N, P] are as many draws."""
    counts = codes.unique(dim=0, return_counts=True)[1]
    share = counts.double() / counts.sum()
    return float(-torch.xlogy(share, share).sum())
