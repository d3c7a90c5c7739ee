"""Laws of columns in the user's units: affine maps and logarithms undone, codes of categories, several laws in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from polyvae.model.distributions.law import Law
from polyvae.model.laws import value_log_prob


class Standardised(Law):
    """The law of x = centre + scale y, y of law `base`, or of x = exp(centre + scale y) with `log`.

    log p(x) = log p_y((T(x) - centre) / scale) - sum log scale - [sum log x, with `log`],  T the identity or log

    `centre` and `scale` broadcast to an event. Mean and variance are exact; with `log` they are those of a normal base,
    exp(m + v / 2) and (exp v - 1) exp(2 m + v) for log x of mean m and variance v.
    """

    def __init__(self, base: Distribution, centre: Tensor, scale: Tensor, log: bool = False) -> None:
        self.base, self.centre, self.scale, self.log = base, centre, scale, log
        self.has_rsample = base.has_rsample
        super().__init__(base.batch_shape, base.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        values = constraints.positive if self.log else constraints.real
        return constraints.independent(values, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        centre = self.centre + self.scale * self.base.mean
        return (centre + self._spread / 2).exp() if self.log else centre

    @property
    def variance(self) -> Tensor:
        spread = self._spread
        if not self.log:
            return spread
        # As one exponential: a mean that vanishes times a factor that overflows would be no number.
        return (2 * (self.centre + self.scale * self.base.mean + spread) + (-(-spread).expm1()).log()).exp()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._mapped(self.base.sample(Size(sample_shape)))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._mapped(self.base.rsample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        plain = value.log() if self.log else value
        stretched = self.scale.log().expand(self.event_shape).sum()
        if self.log:
            stretched = stretched + plain.flatten(-len(self.event_shape)).sum(-1)
        return self.base.log_prob((plain - self.centre) / self.scale) - stretched

    def value_log_prob(self, x: Tensor) -> Tensor:
        plain = x.log() if self.log else x
        own = value_log_prob(self.base, (plain - self.centre) / self.scale) - self.scale.log()
        return own - plain if self.log else own

    @property
    def among(self) -> Callable[[Tensor], Standardised] | None:
        """Of a base that fits itself to what it scores: the same over the rows that are scored."""
        fitted = getattr(self.base, "among", None)
        if fitted is None:
            return None
        return lambda rows: Standardised(fitted(rows), self.centre, self.scale, self.log)

    @property
    def _spread(self) -> Tensor:
        """The variance of centre + scale y."""
        return self.scale.square() * self.base.variance

    def _mapped(self, y: Tensor) -> Tensor:
        x = self.centre + self.scale * y
        return x.exp() if self.log else x


class _Codes(constraints.Constraint):
    """Whole numbers from 0 to below `sizes`, which broadcasts to the event."""

    is_discrete = True
    event_dim = 1

    def __init__(self, sizes: Tensor) -> None:
        self.sizes = sizes

    def check(self, value: Tensor) -> Tensor:
        return ((value == value.floor()) & (value >= 0) & (value < self.sizes.to(value))).all(-1)


class Categories(Law):
    """Independent codes of n columns, column j one of 0..K_j - 1: logits [*batch, n, max K], -inf beyond K_j.

    log p(x) = sum_j logits_j[x_j] - logsumexp logits_j. `mean` is the most probable code: codes have no mean.
    """

    def __init__(self, logits: Tensor, sizes: Tensor) -> None:
        beyond = torch.arange(logits.shape[-1], device=logits.device) >= sizes[:, None]
        self.logits = F.log_softmax(logits.masked_fill(beyond, -torch.inf), -1)
        self.sizes = sizes
        super().__init__(logits.shape[:-2], logits.shape[-2:-1])

    @property
    def support(self) -> constraints.Constraint:
        return _Codes(self.sizes)

    @property
    def mean(self) -> Tensor:
        return self.logits.argmax(-1).to(self.logits.dtype)

    @property
    def variance(self) -> Tensor:
        """Of the codes as numbers about `mean`, which bands of codes need."""
        codes = torch.arange(self.logits.shape[-1], device=self.logits.device)
        return (self.logits.exp() * (codes - self.mean[..., None]).square()).sum(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            law = torch.distributions.Categorical(logits=self.logits, validate_args=False)
            return law.sample(Size(sample_shape)).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.value_log_prob(value).sum(-1)

    def value_log_prob(self, x: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(x.shape, self.logits.shape[:-1])
        logits = self.logits.expand(*shape, -1)
        codes = x.expand(shape).long().clamp(0, logits.shape[-1] - 1)  # of what is not scored anything may stand
        return logits.gather(-1, codes[..., None]).squeeze(-1)


class Product(Law):
    """Independent laws of groups of columns: part k, of event [d_k, *rest], is the law of the columns `places[k]`.

    log p(x) = sum_k log p_k(x[places_k])
    """

    def __init__(self, parts: Sequence[Distribution], places: Sequence[Tensor]) -> None:
        self.parts, self.places = tuple(parts), tuple(places)
        rest = parts[0].event_shape[1:]
        self.order = torch.cat(self.places).argsort()
        super().__init__(parts[0].batch_shape, Size((len(self.order), *rest)))

    @property
    def support(self) -> constraints.Constraint:
        dim = -len(self.event_shape)
        return _Parts([part.support for part in self.parts], self.places, dim)  # pyright: ignore[reportArgumentType]

    @property
    def mean(self) -> Tensor:
        return self._joined(lambda part: part.mean)

    @property
    def variance(self) -> Tensor:
        return self._joined(lambda part: part.variance)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._joined(lambda part: part.sample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.stack(list(self.log_probs(value))).sum(0)

    def log_probs(self, value: Tensor) -> list[Tensor]:
        """The score of every part, in their order."""
        dim = -len(self.event_shape)
        pairs = zip(self.parts, self.places, strict=True)
        return [part.log_prob(value.index_select(dim, place)) for part, place in pairs]

    def value_log_prob(self, x: Tensor) -> Tensor:
        dim = -len(self.event_shape)
        pairs = zip(self.parts, self.places, strict=True)
        return self.joined([value_log_prob(part, x.index_select(dim, place)) for part, place in pairs])

    def joined(self, values: Sequence[Tensor]) -> Tensor:
        """The columns of an event from those of every part, in their order."""
        dim = -len(self.event_shape)
        return torch.cat(list(values), dim).index_select(dim, self.order)

    def _joined(self, made: Callable[[Distribution], Tensor]) -> Tensor:
        return self.joined([made(part) for part in self.parts])


class _Parts(constraints.Constraint):
    """What each part of a `Product` allows of its columns."""

    def __init__(self, parts: Sequence[constraints.Constraint], places: Sequence[Tensor], dim: int) -> None:
        self.parts, self.places, self.dim = parts, places, dim
        self.is_discrete = all(part.is_discrete for part in parts)
        self.event_dim = -dim

    def check(self, value: Tensor) -> Tensor:
        pairs = zip(self.parts, self.places, strict=True)
        return torch.stack([part.check(value.index_select(self.dim, place)) for part, place in pairs]).all(0)
