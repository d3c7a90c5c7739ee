"""Several codebooks that write one vector as several integers: one after the other, or each a part of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyvae.model.distributions.codes import Quantised
from polyvae.model.posteriors.codebook import Codebook, told

_BEAM = 16  # of sums of words that are looked at beside each other for the nearest


class _Several(nn.Module):
    """C codebooks of K words each; a map of codes [B, C, *rest] holds an integer of each at every place."""

    certain = True

    def __init__(self, codebooks: Sequence[Codebook]) -> None:
        super().__init__()
        if len({(each.size, each.dim) for each in codebooks}) != 1:
            raise ValueError(f"several codebooks hold as many words of one length; got {list(codebooks)}")
        self.codebooks = nn.ModuleList(codebooks)
        self.depth, self.size = len(codebooks), codebooks[0].size

    @property
    def each(self) -> list[Codebook]:
        """The codebooks in their order."""
        return [words for words in self.codebooks if isinstance(words, Codebook)]

    @property
    def weight(self) -> Tensor:
        """The words of the first codebook, on the device of all."""
        return self.each[0].weight

    def epoch_values(self) -> dict[str, float]:
        """Perplexity and share of the codes used since the last call, over all codebooks."""
        seen = torch.stack([words.seen for words in self.each])
        for words in self.each:
            words.seen.zero_()
        return told(seen)


class Residual(_Several):
    """C codebooks one after the other: each writes what those before it have left of the encoder's output.

    z = sum_i c_i,  c_i the word of codebook i nearest to r_i = e - sg(c_1 + ... + c_(i-1))

    The law's costs are those of every stage, the distances of r_i and c_i, one after the other along dimension 1. The
    gradient of z is passed to e once, by the identity or the rotation of the first codebook's choice. One stage is that
    codebook alone.

    Juang, Gray: Multiple Stage Vector Quantization for Speech Coding, 1982; Lee, Kim, Kim, Cho, Han: Autoregressive
    Image Generation using Residual Quantization, 2022.
    """

    def __init__(self, codebooks: Sequence[Codebook]) -> None:
        super().__init__(codebooks)
        self.dim = codebooks[0].dim

    def quantise(self, encoded: Tensor) -> Quantised:
        """The law of encoder outputs [B, D, *rest], codes [B, C, *rest]."""
        left, codes, lefts, words = encoded, [], [], []
        for stage in self.each:
            found, vectors = stage(left)
            codes.append(found)
            lefts.append(left)
            words.append(vectors)
            left = left - vectors.detach()
        mean = self.each[0].through(encoded, _total(words))
        return Quantised(torch.stack(codes, 1), torch.cat(lefts, 1), torch.cat(words, 1), mean)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, C, *rest] -> the sums of their words [B, D, *rest]."""
        return _total([stage.embed(each) for stage, each in zip(self.each, codes.unbind(1), strict=True)])

    @torch.no_grad()
    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, C, *rest] of the sum of words nearest to [B, D, *rest], of those that a beam of 16 sees.

        Not the codes that `quantise` finds: those take the nearest word at each stage, and a sum of words need not be
        written as it was made.
        """
        rows = encoded.movedim(1, -1).reshape(-1, self.dim)
        left, codes = rows.unsqueeze(1), rows.new_zeros(len(rows), 1, 0, dtype=torch.int64)
        for stage in self.each:
            words = stage.weight.to(rows.dtype)
            gaps = torch.cdist(left, words.expand(len(rows), -1, -1), compute_mode="donot_use_mm_for_euclid_dist")
            best = gaps.flatten(1).topk(min(_BEAM, gaps[0].numel()), 1, largest=False).indices
            before, word = best // self.size, best % self.size
            left = left.take_along_dim(before.unsqueeze(2), 1) - words[word]
            codes = torch.cat([codes.take_along_dim(before.unsqueeze(2), 1), word.unsqueeze(2)], 2)
        found = codes[:, 0].view(encoded.shape[0], *encoded.shape[2:], self.depth)
        return found.movedim(-1, 1)

    def start(self, encoded: Tensor) -> None:
        """Sets the words of each codebook by k-means over what those before it leave."""
        for stage in self.each:
            stage.start(encoded)
            encoded = encoded - stage.embed(stage.nearest(encoded)).detach()


class Grouped(_Several):
    """C codebooks beside each other: each writes a C-th of the encoder's channels. One group is that codebook alone.

    Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor Search, 2011.
    """

    def __init__(self, codebooks: Sequence[Codebook]) -> None:
        super().__init__(codebooks)
        self.dim = self.depth * codebooks[0].dim

    def quantise(self, encoded: Tensor) -> Quantised:
        """The law of encoder outputs [B, D, *rest], codes [B, C, *rest]."""
        laws = [words.quantise(part) for words, part in zip(self.each, encoded.chunk(self.depth, 1), strict=True)]
        vectors, mean = (torch.cat(sides, 1) for sides in ([q.vectors for q in laws], [q.mean for q in laws]))
        return Quantised(torch.stack([q.codes for q in laws], 1), encoded, vectors, mean)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, C, *rest] -> their words side by side [B, D, *rest]."""
        return torch.cat([words.embed(each) for words, each in zip(self.each, codes.unbind(1), strict=True)], 1)

    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, C, *rest] of the words nearest to the parts of [B, D, *rest]."""
        parts = encoded.chunk(self.depth, 1)
        return torch.stack([words.nearest(part) for words, part in zip(self.each, parts, strict=True)], 1)

    def start(self, encoded: Tensor) -> None:
        """Sets the words of each codebook by k-means over its channels."""
        for words, part in zip(self.each, encoded.chunk(self.depth, 1), strict=True):
            words.start(part)


def _total(parts: list[Tensor]) -> Tensor:
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
