"""What the model asks of any distribution: its shape, a draw with its score, a centre, a copy without gradients.

A law may offer more than `torch.distributions` asks for; `polyvae.model.protocol` lists what is then used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from copy import copy
from math import inf
from numbers import Number
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import (
    Categorical,
    Cauchy,
    ComposeTransform,
    Distribution,
    FisherSnedecor,
    HalfCauchy,
    Independent,
    InverseGamma,
    MultivariateNormal,
    Normal,
    Pareto,
    StudentT,
    Transform,
    TransformedDistribution,
)
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import _InverseTransform

from polyvae.checks.names import kind

INDEPENDENT = "torch.distributions.Independent(law, n) makes the law's last n batch dimensions part of its event"
MEANLESS = (Categorical, Cauchy, FisherSnedecor, HalfCauchy, InverseGamma, Pareto, StudentT)  # for some parameters
CENTRED = 256  # draws whose mean is the centre of a law that knows neither mean nor mode


def drawn(law: Distribution, shape: Sequence[int] = (), what: str = "this law") -> tuple[Tensor, Tensor | None]:
    """z [*shape, *batch, *event], and log q(z) where the law gives both at once, by `rsample_and_log_prob`.

    Scored apart, a flow that draws in one pass would be inverted one dimension after the other. ValueError for a law
    that has no gradient through its draws, while gradients are taken: what it is made of would not be trained.
    """
    both = getattr(law, "rsample_and_log_prob", None)
    if both is not None:
        return both(Size(shape))
    if law.has_rsample:
        return law.rsample(Size(shape)), None
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in _tensors(law)):
        raise ValueError(
            f"{what} ({type(law).__name__}) has no gradient through its draws, so that the reconstruction would not "
            "train it; sum over its values (VAE(..., summed=...)), give them (fixed=...), or take a relaxed or "
            "straight-through law"
        )
    return law.sample(Size(shape)), None


def centre(law: Distribution) -> Tensor:
    """The one value that stands for a law, [*batch, *event]: its mean, else its mode, else the mean of 256 draws.

    Flows have neither mean nor mode, laws over integers no mean. The draws are the same at every call: of a normal law
    under maps (torch's transforms, a flow of zuko) whatever rows stand beside it, of others at every call of as many.
    """
    for name in ("mean", "mode"):
        try:
            value = getattr(law, name)
        except (AttributeError, NotImplementedError):
            continue
        if not isinstance(_base(law), MEANLESS):
            return value
        if (exists := value.isfinite()).all():  # infinite or NaN is torch's word for a mean that does not exist
            return value
        with suppress(NotImplementedError):
            return torch.where(exists, value, law.mode)
    device = next((tensor.device for tensor in _tensors(law)), torch.device("cpu"))
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device.index or 0], device.type)
    with torch.no_grad(), torch.random.fork_rng(devices, device_type=kind):
        torch.manual_seed(0)
        alike = _alike(law, len(law.batch_shape))
        return (drawn(law, (CENTRED,))[0] if alike is None else alike).mean(0)


def _alike(law: Distribution, rows: int) -> Tensor | None:
    """Draws [256, *batch, *event] of a `Normal` or `MultivariateNormal`, or of one under maps, by noise that is the
    same in all rows, which are the first dimensions: a row's do not depend on the others in its batch. Each with its
    mirror image, so that an affine map's mean is exact. None for other laws."""
    if isinstance(law, Independent):
        return _alike(law.base_dist, rows)
    if isinstance(law, (Normal, MultivariateNormal)):
        own = law.loc.expand(law.batch_shape + law.event_shape)  # pyright: ignore[reportOperatorIssue]
        noise = torch.randn(CENTRED // 2, *[1] * rows, *own.shape[rows:], dtype=own.dtype, device=own.device)
        noise = torch.cat([noise, -noise])
        return own + (law.scale * noise if isinstance(law, Normal) else (law.scale_tril @ noise.unsqueeze(-1))[..., 0])
    if isinstance(law, TransformedDistribution):
        drawn, move = _alike(law.base_dist, rows), ComposeTransform(law.transforms)
    elif any(each.__module__.startswith("zuko.") and each.__name__ == "NormalizingFlow" for each in type(law).__mro__):
        drawn, move = _alike(law.base, rows), law.transform.inv  # pyright: ignore[reportAttributeAccessIssue]
    else:
        return None
    return None if drawn is None else move(drawn)


def _base(law: Distribution) -> Distribution:
    return _base(law.base_dist) if isinstance(law, Independent) else law


def detached(law: Distribution) -> Any:
    """The same law whose parameters take no gradient: log q(z) then depends on the encoder through z alone.

    A law with a method `detached` answers itself; of others the tensors are detached, also those of base laws and
    transforms. ValueError for a law that keeps a network to itself, out of whose reach no tensor is.
    """
    own = getattr(law, "detached", None)
    return own() if own is not None else _detached(law, type(law).__name__)


def _detached(value: Any, whose: str) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (list, tuple)) and not isinstance(value, Size):
        return type(value)(_detached(each, whose) for each in value)
    if isinstance(value, (Distribution, Transform)):
        if isinstance(value, _InverseTransform):
            return _detached(value.inv, whose).inv
        new = copy(value)
        vars(new).update({name: _detached(each, whose) for name, each in _held(value).items()})
        return new
    if value is None or isinstance(value, (Number, str, Size, Constraint, torch.dtype, torch.device)):
        return value
    raise ValueError(
        f"{whose} holds a {type(value).__name__}, whose parameters cannot be detached from outside; give the law a "
        "method `detached` that returns it without gradients"
    )


def _held(value: Distribution | Transform) -> dict[str, Any]:
    """What a law or a transform is made of, without what a transform remembers of its last value."""
    memory = {"_inv": None, "_cached_x_y": (None, None)} if isinstance(value, Transform) else {}
    return {**vars(value), **memory}


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors that a law, its base laws and its transforms hold."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, _InverseTransform):
        yield from _tensors(value.inv)
    elif isinstance(value, (Distribution, Transform)):
        for each in _held(value).values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def tempered(law: Distribution, temperature: float) -> Distribution:
    """The law whose draws are `temperature` times as far from its mean: N(mu, (t s)^2) in the place of N(mu, s^2).

    Another law has a method of this name; ValueError, by the temperature, for one that has none.
    """
    if not 0 <= temperature < inf:
        raise ValueError(f"temperature is at least 0 and finite; got {temperature}")
    if temperature == 1:
        return law
    own = getattr(law, "tempered", None)
    if own is not None:
        return own(temperature)
    if isinstance(law, Independent):
        inner = tempered(law.base_dist, temperature)
        return Independent(inner, law.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(law, Normal):
        return Normal(law.loc, temperature * law.scale, validate_args=False)
    if isinstance(law, MultivariateNormal):
        return MultivariateNormal(law.loc, scale_tril=temperature * law.scale_tril, validate_args=False)
    raise ValueError(f"temperature is for priors that are normal or draw codes from a PixelCNN; got {kind(law)}")


def check_law(
    law: Distribution, what: str, batches: Collection[Sequence[int]], event: Sequence[int] | None = None
) -> None:
    """TypeError unless a law is one; ValueError unless it has one of the batch shapes, and the event shape, that the
    model needs. Without `event` any will do."""
    if not isinstance(law, Distribution):
        raise TypeError(f"{what} returns a torch.distributions.Distribution; got {kind(law)}")
    event = law.event_shape if event is None else event
    if law.event_shape != event or law.batch_shape not in batches:
        expected = " or ".join(sorted({str(list(batch)) for batch in batches}))
        raise ValueError(
            f"{what} ({type(law).__name__}) has batch shape {list(law.batch_shape)} and event shape "
            f"{list(law.event_shape)}; the model needs batch shape {expected} and event shape {list(event)}"
            + (f"; {INDEPENDENT}" if len(law.batch_shape) > 1 or len(law.event_shape) < len(event) else "")
        )


def log_likelihood(p: Distribution, x: Tensor, samples: int, scored: Tensor | None = None) -> Tensor:
    """log p(x) for x [B, ...] under p with batch shape [K * B], as [K, B]; of `scored` values alone.

    `scored`: rows [B], where False log p is zero, or values, which broadcast to x: of each example those that are True.
    ValueError for a law that does not score values on their own.
    """
    if scored is not None and scored.ndim > 1:
        return _of_values(p, x, samples, scored.bool())
    if scored is not None:
        among = getattr(p, "among", None)
        p = p if among is None else among(scored)
        # What is not scored may be NaN, whose gradient a mask on the score alone would let through. One is a value of
        # every law, where zero is none of a positive one.
        known = torch.where(scored.view(-1, *[1] * (x.dim() - 1)), x, torch.ones_like(x))
        return torch.where(scored, log_likelihood(p, known, samples), 0.0)
    unfold = None if samples == 1 else getattr(p, "unfold", None)
    if unfold is not None:
        return unfold(samples).log_prob(x)
    return p.log_prob(repeat(x, samples)).view(samples, len(x))


def check_fixed_law(p: Distribution, whose: str) -> None:
    """ValueError for a law that fits itself to all rows alike, of which a latent that is summed over weighs each."""
    if getattr(p, "among", None) is not None:
        raise ValueError(
            f"{whose} fits its scale to every class of a latent that is summed over, likely or not: take a scale that "
            "is learned, normal-learned of the likelihoods"
        )


def _of_values(p: Distribution, x: Tensor, samples: int, scored: Tensor) -> Tensor:
    """The same of the `scored` values: the score of an example is the sum of theirs."""
    if getattr(p, "among", None) is not None:
        raise ValueError(f"a law that fits itself to what it scores has no score of single values; got {p}")
    known = torch.where(scored, x, torch.ones_like(x))
    unfold = getattr(p, "unfold", None)
    if unfold is not None:
        found = value_log_prob(unfold(samples), known.expand(samples, *known.shape))
    else:
        found = value_log_prob(p, repeat(known, samples)).unflatten(0, (samples, -1))
    return torch.where(scored, found, 0.0).flatten(2).sum(2)


def value_log_prob(law: Distribution, x: Tensor) -> Tensor:
    """log p of every value of x on its own, in the shape of x, by the law's method of that name or as `Independent`.

    Raises ValueError for a law that does not factorise.
    """
    own = getattr(law, "value_log_prob", None)
    if own is not None:
        return own(x)
    if isinstance(law, Independent) and not law.base_dist.event_shape:
        return law.base_dist.log_prob(x)
    raise ValueError(f"scores of single values need a likelihood of independent values; got {law}")


def repeat(value: Tensor, samples: int) -> Tensor:
    """[B, ...] -> [K * B, ...], all rows for the first sample, then for the second."""
    return value if samples == 1 else value.expand(samples, *value.shape).flatten(0, 1)


def sampled(law: Distribution, count: int, rows: int) -> Tensor:
    """`count` draws for each of so many rows, [count * rows, ...], of a law that is the same for all rows, or has one
    for each, or one for each draw of each."""
    if not law.batch_shape:
        return law.sample((count * rows,))
    return law.sample((count,)).flatten(0, 1) if law.batch_shape == (rows,) else law.sample()
