"""Laws over maps of code words: the quantised posterior and priors over its integers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf, log
from typing import Any, Protocol

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from polyvae.model.distributions.law import Law


class _Words(constraints.Constraint):
    """Vectors of a codebook: as many as there are codes, whatever they hold."""

    is_discrete = True
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        return value.isfinite()


def word_maps(event_dim: int) -> constraints.Constraint:
    """The support of laws over maps of words, whose events have so many dimensions."""
    return constraints.independent(_Words(), event_dim)


class Words(Protocol):
    """What a law over codes needs of a codebook: K `size` words of D `dim` numbers, `weight` on their device.

    A codebook with an attribute `depth` C writes a vector as C integers, each below K, which are the first dimension of
    its maps of codes; one without writes it as one integer.
    """

    @property
    def size(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def weight(self) -> Tensor: ...

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> words [B, D, *rest]."""
        ...

    def nearest(self, encoded: Tensor) -> Tensor:
        """[B, D, *rest] -> the codes [B, *rest] of the nearest words."""
        ...


class CodeLaw(Law, ABC):
    """A posterior over maps of code words: `codes`, the likeliest integers [B, *rest] int64, are its map's name."""

    codes: Tensor

    @abstractmethod
    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Maps of integers, int64 [*sample_shape, B, *rest]."""


class Quantised(CodeLaw):
    """All probability on one map of code words: the posterior of a vector-quantised model.

    q(z | x) = 1 at z_i = c_(k_i), k_i = argmin_k |e_i - c_k|^2

    Holds `codes` k [B, *rest] int64, `encoded` e [B, D, *rest] with its gradient, and `vectors` c_k [B, D, *rest] with
    the codebook's where it is a parameter. Draws and mean are the vectors, with the gradient of the identity to
    `encoded` (straight through) and none to the codebook.

    A `mean` z [B, D', *rest] that is given is drawn in the place of the vectors, with the gradient that it has: then
    `encoded` and `vectors` are the pairs whose distances the costs of a codebook are, such as those of several stages.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """

    has_rsample = True

    def __init__(self, codes: Tensor, encoded: Tensor, vectors: Tensor, mean: Tensor | None = None) -> None:
        self.codes = codes
        self.encoded = encoded
        self.vectors = vectors
        self._mean = mean
        event = encoded if mean is None else mean
        super().__init__(event.shape[:1], event.shape[1:])

    @property
    def mean(self) -> Tensor:
        return straight_through(self.encoded, self.vectors) if self._mean is None else self._mean

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.mean)

    @property
    def support(self) -> constraints.Constraint:
        return word_maps(len(self.event_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.mean.expand(self._extended_shape(Size(sample_shape)))

    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.codes.expand(*sample_shape, *self.codes.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 at its own draws, -inf elsewhere."""
        same = (value == self.mean).flatten(-len(self.event_shape)).all(-1)
        return torch.where(same, 0.0, -inf).to(self.encoded.dtype)


def straight_through(encoded: Tensor, vectors: Tensor) -> Tensor:
    """The vectors, to the last bit, with the gradient of the identity to `encoded`."""
    # Which encoded + (vectors - encoded).detach() would not be.
    return vectors.detach() + (encoded - encoded.detach())


class CodePrior(Law, ABC):
    """A law over maps of code words that knows them by their integers.

    `positions`: the shape *rest of a map of codes, C integers at a place first where the codebook has a `depth` C.
    Batch shape [] (one law for all) or [B]. A subclass says how probable a map is and draws one; `codebook` turns
    integers into vectors and back.
    """

    def __init__(self, codebook: Words, positions: Sequence[int], batch_shape: Size = Size()) -> None:  # noqa: B008
        self.codebook = codebook
        self.positions = Size(positions)
        places = self.positions[len(depth_of(codebook)) :]
        super().__init__(batch_shape, Size((codebook.dim, *places)))

    @property
    def support(self) -> constraints.Constraint:
        return word_maps(len(self.event_shape))

    @abstractmethod
    def log_prob_codes(self, codes: Tensor) -> Tensor:
        """log p(k) of maps of integers [..., *rest], [...] nats."""

    @abstractmethod
    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Maps of integers, int64 [*sample_shape, *batch, *rest]."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            codes = self.sample_codes(sample_shape)
            lead = codes.shape[: codes.ndim - len(self.positions)]
            return self.codebook.embed(codes.reshape(-1, *self.positions)).reshape(*lead, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of the codes nearest to `value` [..., D, *rest], [...] nats."""
        lead = value.shape[: value.ndim - len(self.event_shape)]
        codes = self.codebook.nearest(value.reshape(-1, *self.event_shape))
        return self.log_prob_codes(codes.reshape(*lead, *self.positions))


def depth_of(codebook: Any) -> tuple[int, ...]:
    """The shape of what a codebook writes a vector as: () for an integer, (C,) for C integers."""
    depth = getattr(codebook, "depth", None)
    return () if depth is None else (depth,)


class UniformCodes(CodePrior):
    """Every map equally probable: log p(k) = -P log K for P positions and K codes."""

    def log_prob_codes(self, codes: Tensor) -> Tensor:
        weight = self.codebook.weight
        lead = codes.shape[: codes.ndim - len(self.positions)]
        return weight.new_full(lead, -self.positions.numel() * log(self.codebook.size))

    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, *self.positions)
        return torch.randint(self.codebook.size, shape, device=self.codebook.weight.device)


@register_kl(Quantised, CodePrior)
def _kl_codes(q: Quantised, p: CodePrior) -> Tensor:
    """-log p(k): the divergence of a law that holds one map."""
    return -p.log_prob_codes(q.codes)
