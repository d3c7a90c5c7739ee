"""What a method says of partly seen pictures, and how a trained run and each baseline come to say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from polyvae.completion.baselines import FittedAnalysers, FittedPCA, FittedSeparable, Limits
from polyvae.completion.completer import Completer
from polyvae.completion.gappy_pca import MOST, GappyPCA
from polyvae.completion.interpolation import interpolate
from polyvae.completion.kriging import Kriging
from polyvae.completion.masked import Masked
from polyvae.completion.normal import ConditionedNormal, best_ridge
from polyvae.observe.masks import sparse
from polyvae.recipes.without_z import Zero

LAW, MEANS = "law", "means"


@dataclass(frozen=True)
class Stated:
    """What a method says of pictures x [n, C, H, W]: its `mean`, and `draws` [S, n, C, H, W] by how it is read.

    "law": joint draws of the law that it states; "means": of a model with z, the expected pictures of single draws.
    """

    mean: Tensor
    draws: Mapping[str, Tensor] = field(default_factory=dict)


# Of pictures x and what is seen of them, by so many draws of torch's generator. Nothing else of x is read.
Complete = Callable[[Tensor, Tensor, int], Stated]
# The same chosen by held-out pictures, and what is seen of these.
At = Callable[[Tensor, Tensor], Complete]


def of_run(made: Masked, limits: Limits | None) -> Complete:
    """How a model that reads m completes, in evaluation mode and on its device; kept within the limits."""
    model, alone = made.model, all(isinstance(q, Zero) for q in made.model.posterior.values())

    def complete(x: Tensor, mask: Tensor, draws: int) -> Stated:
        completer = Completer(1 if alone else draws, of=made.of, name=made.name)
        seen = torch.where(mask != 0, x, 0.0)
        batch = {**made.observe({made.of: seen}), made.name: sparse(x, mask)}
        if alone:  # one law, of which all draws are made
            latents = completer.drawn(model, batch, 1)
            law, _ = next(completer.decoded(model, completer.head_of(model), batch, latents))
            return Stated(_cut(law.mean, limits), {LAW: _cut(law.sample(torch.Size([draws])), limits)})
        parts = list(completer.predict(model, batch))
        mean, drawn, means = torch.cat([p.mean for p in parts]), [p.draws for p in parts], [p.means for p in parts]
        told = {LAW: _cut(torch.cat(drawn, 1), limits), MEANS: _cut(torch.cat(means, 1), limits)}
        return Stated(_cut(mean, limits), told)

    return complete


def normal_law(x: Tensor, limits: Limits | None) -> At:
    """The normal law of the training part x, with the best ridge, cut off at the limits."""
    law = ConditionedNormal.fit(x)

    def at(held: Tensor, seen: Tensor) -> Complete:
        return partial(_drawn, best_ridge(law, held, seen), limits)

    return at


def normal_mixture(x: Tensor, limits: Limits | None) -> At:
    """A mixture of factor analysers of the training part x, at the best power, cut off at the limits."""
    fit = FittedAnalysers.fit(x)

    def at(held: Tensor, seen: Tensor) -> Complete:
        law = deepcopy(fit.law).choose_power(held.to(fit.law.mean), seen[:, :1])

        def complete(x: Tensor, mask: Tensor, draws: int) -> Stated:
            rows = x.to(law.mean)
            return Stated(_cut(law(rows, mask[:, :1])[0], limits), {LAW: _cut(law.draw(rows, mask, draws), limits)})

        return complete

    return at


def separable_normal(x: Tensor, limits: Limits | None) -> At:
    """A normal law of the training part x whose colours share one covariance in space, cut off at the limits."""
    fit = FittedSeparable.fit(x)

    def at(held: Tensor, seen: Tensor) -> Complete:
        law = fit.chosen({"x": held, "seen": seen})

        def complete(x: Tensor, mask: Tensor, draws: int) -> Stated:
            rows = x.to(law.mean)
            return Stated(_cut(law(rows, mask)[0], limits), {LAW: _cut(law.draw(rows, mask, draws), limits)})

        return complete

    return at


def kriging(x: Tensor, limits: Limits | None) -> At:
    """Kriging with a kernel fitted to the training part x, cut off at the limits."""
    law = Kriging.fit(x).joint()
    return lambda held, seen: partial(_drawn, law, limits)


def gappy_pca(x: Tensor, limits: Limits | None) -> At:
    """Gappy PCA at the best rank: a mean alone, kept within the limits."""
    fit = FittedPCA(GappyPCA(MOST).fit(x))

    def at(held: Tensor, seen: Tensor) -> Complete:
        found = fit.at({"x": held, "seen": seen})
        return lambda x, mask, draws: Stated(_cut(found.complete(x, mask).mean, limits))

    return at


def interpolated(method: str, x: Tensor, limits: Limits | None) -> At:
    """Interpolation between what is seen, and the mean of the training part where that is nothing: a mean alone."""
    empty = x.mean(0)

    def complete(x: Tensor, mask: Tensor, draws: int) -> Stated:
        return Stated(interpolate(x, mask, method, empty))

    return lambda held, seen: complete


def _drawn(law: ConditionedNormal, limits: Limits | None, x: Tensor, mask: Tensor, draws: int) -> Stated:
    mean, _ = law.complete(x, mask)
    drawn = law.draw(x, mask, draws, seed=int(torch.randint(2**62, ())))
    return Stated(_cut(mean, limits), {LAW: _cut(drawn, limits)})


def _cut(values: Tensor, limits: Limits | None) -> Tensor:
    return values if limits is None else values.clamp(*limits)


METHODS: dict[str, Callable[[Tensor, Limits | None], At]] = {
    "normal-law": normal_law,
    "separable-normal": separable_normal,
    "normal-mixture": normal_mixture,
    "kriging": kriging,
    "gappy-pca": gappy_pca,
    "linear": partial(interpolated, "linear"),
    "nearest": partial(interpolated, "nearest"),
}
