"""Posteriors under which the codes of a map are drawn, each place on its own, and their relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Size, Tensor
from torch.distributions import Categorical, Independent, constraints, register_kl

from polyvae.model.distributions.codes import CodeLaw, UniformCodes, Words, word_maps


class CategoricalCodes(CodeLaw):
    """q(z) = prod_i q_i(k_i), z_i the word of k_i, q_i = softmax of the `logits` [B, K, *rest] at place i.

    Its mode are the words of the likeliest codes; it has no mean, which would be no map of words. Draws carry no
    gradient to the logits.
    """

    def __init__(self, logits: Tensor, codebook: Words) -> None:
        self.logits = logits.log_softmax(1)
        self.codebook = codebook
        self.codes = logits.detach().argmax(1)
        super().__init__(logits.shape[:1], Size((codebook.dim, *logits.shape[2:])))

    @property
    def over_codes(self) -> Independent:
        """The same law over maps of integers [B, *rest]."""
        law = Categorical(logits=self.logits.movedim(1, -1), validate_args=False)
        return Independent(law, len(self.event_shape) - 1, validate_args=False)

    @property
    def mode(self) -> Tensor:
        return self.codebook.embed(self.codes)

    @property
    def support(self) -> constraints.Constraint:
        return word_maps(len(self.event_shape))

    def entropy(self) -> Tensor:
        return -(self.logits.exp() * self.logits).flatten(1).sum(1)

    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.over_codes.sample(Size(sample_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._words(self.sample_codes(sample_shape))

    def rsample_and_log_prob(self, shape: Size) -> tuple[Tensor, Tensor | None]:
        """Words [*shape, B, D, *rest] and their log q, [*shape, B]."""
        codes = self.sample_codes(shape)
        return self._words(codes), self.over_codes.log_prob(codes)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q of the codes nearest to `value` [..., B, D, *rest], [..., B] nats."""
        lead = value.shape[: value.ndim - len(self.event_shape)]
        codes = self.codebook.nearest(value.reshape(-1, *self.event_shape))
        return self.over_codes.log_prob(codes.reshape(*lead, *self.event_shape[1:]))

    def detached(self) -> CategoricalCodes:
        """The law whose logits take no gradient."""
        return CategoricalCodes(self.logits.detach(), self.codebook)

    def _words(self, codes: Tensor) -> Tensor:
        lead = codes.shape[: codes.ndim - len(self.event_shape) + 1]
        return self.codebook.embed(codes.flatten(0, len(lead) - 1)).reshape(*lead, *self.event_shape)


class RelaxedCodes(CategoricalCodes):
    """The same law drawn with a gradient: words mixed by softmax((log q + g) / t), g Gumbel noise, t `temperature`.

    As t falls to 0 the weights become the one-hot argmax of log q + g, an exact draw. `hard` draws are those words,
    with the gradient of the mixture. KL to uniform codes is that of the categorical law, in closed form; a mixture
    itself has no probability, and ValueError tells who asks for it.
    """

    has_rsample = True

    def __init__(self, logits: Tensor, codebook: Words, temperature: Tensor | float, hard: bool = False) -> None:
        self.temperature = temperature
        self.hard = hard
        super().__init__(logits, codebook)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        noise = -torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_().log()
        along = len(sample_shape) + 1
        weights = ((logits + noise) / self.temperature).softmax(along)
        if self.hard:
            chosen = torch.zeros_like(weights).scatter_(along, weights.argmax(along, keepdim=True), 1.0)
            weights = chosen + (weights - weights.detach())
        return (weights.movedim(along, -1) @ self.codebook.weight.to(weights)).movedim(-1, along)

    def rsample_and_log_prob(self, shape: Size) -> tuple[Tensor, Tensor | None]:
        """Mixtures of words [*shape, B, D, *rest], without a density."""
        return self.rsample(shape), None

    def log_prob(self, value: Tensor) -> Tensor:
        raise ValueError(
            "mixtures of code words, which stand for codes in training, have no log-probability: train by the plain "
            "bound, whose KL to uniform codes is exact"
        )

    def detached(self) -> RelaxedCodes:
        """The law whose logits take no gradient."""
        return RelaxedCodes(self.logits.detach(), self.codebook, self.temperature, self.hard)


@register_kl(CategoricalCodes, UniformCodes)
def _kl_uniform(q: CategoricalCodes, p: UniformCodes) -> Tensor:
    """P log K - H(q), [B] nats."""
    return p.positions.numel() * log(p.codebook.size) - q.entropy()
