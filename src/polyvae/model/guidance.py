"""Guidance: a law given a condition and one without it, mixed in the logarithm."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from polyvae.model import distributions
from polyvae.model.conditions import Shown, hidden
from polyvae.model.draw import Values
from polyvae.model.parts import given as read_by

if TYPE_CHECKING:
    from polyvae.model.vae import VAE


def law_of(model: VAE, part: nn.Module, values: Values, w: float) -> Distribution:
    """A part's law of these values, mixed by w with that of the same values whose conditions are hidden.

    As it is where the part reads no condition that may be hidden; ValueError where w is not 1 and the model has none.
    """
    if w == 1:
        return part(values)
    flags = {each.given[1] for each in model.features.values() if isinstance(each, Shown)}
    if not flags:
        raise ValueError(
            f"guidance = {w:g} needs a model that has learned to do without its conditions: train it with dropped, "
            "such as dropped=0.1"
        )
    if not flags & model.plan.reads(part):
        return part(values)
    return guided(part(values), part(model.featured(hidden(values, model.features), read_by(part))), w)


def guided(given: Distribution, free: Distribution, w: float) -> Distribution:
    """p_w(x) proportional to p(x | y)^w p(x)^(1 - w): w = 1 is `given`, w = 0 is `free`, above 1 exaggerates y.

    Exact for bits, categories, continuous Bernoulli values, Poisson counts and normals, whose precisions
    w / s^2 + (1 - w) / s0^2 are to be positive. ValueError, by name, for other laws and where they are not.

    Ho, Salimans: Classifier-Free Diffusion Guidance, 2022, there for the score of a diffusion.
    """
    if w == 1:
        return given
    if w == 0:
        return free
    if type(given) is not type(free):
        raise _refused(given)
    return _guided(given, free, w)


@singledispatch
def _guided(given: Any, free: Any, w: float) -> Any:
    raise _refused(given)


def _refused(law: Distribution) -> ValueError:
    return ValueError(
        f"guidance mixes bits, categories, counts of a Poisson law and normals with independent values; got "
        f"{type(law).__name__}: sample with guidance = 1, or take such a likelihood and prior"
    )


def _between(given: Tensor, free: Tensor, w: float) -> Tensor:
    return w * given + (1 - w) * free


@_guided.register
def _independent(given: Independent, free: Independent, w: float) -> Independent:
    base = guided(given.base_dist, free.base_dist, w)
    return Independent(base, given.reinterpreted_batch_ndims, validate_args=False)


def _precise(given: tuple[Tensor, Tensor], free: tuple[Tensor, Tensor], w: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of the product of two normals, of means and variances, raised to w and 1 - w."""
    precisions = w / given[1], (1 - w) / free[1]
    total = precisions[0] + precisions[1]
    if not bool((total > 0).all()):
        raise ValueError(
            f"guidance = {w:g} makes no density of these normals: w / s^2 + (1 - w) / s0^2 is positive only where the "
            "law with the condition is not too wide; take a smaller one, or a likelihood of one scale"
        )
    return (precisions[0] * given[0] + precisions[1] * free[0]) / total, 1 / total


@_guided.register
def _normal(given: Normal, free: Normal, w: float) -> Normal:
    loc, variance = _precise((given.loc, given.variance), (free.loc, free.variance), w)
    return Normal(loc, variance.sqrt(), validate_args=False)


@_guided.register(distributions.SharedNormal)
def _shared(given: Any, free: Any, w: float) -> Distribution:
    loc, variance = _precise((given.loc, given.scale.square()), (free.loc, free.scale.square()), w)
    return distributions.SharedNormal(loc, variance.sqrt(), len(given.event_shape))


@_guided.register(distributions.Bernoulli)
@_guided.register(distributions.ContinuousBernoulli)
def _odds(given: Any, free: Any, w: float) -> Distribution:
    return type(given)(_between(given.logits, free.logits, w), len(given.event_shape))


@_guided.register(distributions.GridCategorical)
def _grid(given: Any, free: Any, w: float) -> Distribution:
    return distributions.GridCategorical(_between(given.logits, free.logits, w))


@_guided.register(distributions.PiecewiseLinear)
def _linear(given: Any, free: Any, w: float) -> Distribution:
    return distributions.PiecewiseLinear(_between(given.logits, free.logits, w), given.hats)


@_guided.register
def _classes(given: Categorical, free: Categorical, w: float) -> Categorical:
    return Categorical(logits=_between(given.logits, free.logits, w), validate_args=False)


@_guided.register(distributions.Categories)
def _categories(given: Any, free: Any, w: float) -> Distribution:
    return distributions.Categories(_between(given.logits, free.logits, w), given.sizes)


@_guided.register(distributions.Poisson)
def _poisson(given: Any, free: Any, w: float) -> Distribution:
    return distributions.Poisson(_between(given.parameters[0], free.parameters[0], w))


@_guided.register(distributions.Standardised)
def _standardised(given: Any, free: Any, w: float) -> Distribution:
    return distributions.Standardised(guided(given.base, free.base, w), given.centre, given.scale, given.log)


@_guided.register(distributions.Product)
def _product(given: Any, free: Any, w: float) -> Distribution:
    pairs = zip(given.parts, free.parts, strict=True)
    return distributions.Product([guided(*pair, w) for pair in pairs], given.places)
