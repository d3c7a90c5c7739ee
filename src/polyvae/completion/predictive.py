"""The predictive distribution of partly seen pictures, made of the laws of draws of the latents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.model.distributions.bernoulli import Bernoulli
from polyvae.model.distributions.columns import Categories, Product

EVEN = 30  # draws whose noise is as large as the errors of both estimates; of digits from 9 to 70, with 40 to 5 pixels


@dataclass(frozen=True)
class Predictive:
    """The predictive distribution of n examples, from S draws z_s.

    `mean` [n, ...]: E p(x | z), mu = 1/S sum_s mu_s; of a head whose law at z = 0 is trained to be that given m alone,
    between mu and what that expects, two estimates of one number whose errors differ, see `between`. `std` [n, ...]:
    of the mixture of likelihoods, by the law of total variance
    sqrt(1/S sum_s Var p(x | z_s) + 1/(S - 1) sum_s (mu_s - mu)^2); infinite where a square overflows, as of positive
    values over tens of powers of ten. `means` [S, n, ...]: the mu_s. `draws` [S, n, ...]: one x_s ~ p(x | z_s) each.
    `effective` [n]: the effective number of draws of z under their weights, S without weights. `codes`: the columns of
    categories, int64; their mean is the most probable code of the mixture. `chances`: for groups of categories and
    bits, their columns and the mixture's probability of every code, [n, columns, ..., codes].
    """

    mean: Tensor
    std: Tensor
    means: Tensor
    draws: Tensor
    effective: Tensor
    codes: Tensor
    chances: tuple[tuple[Tensor, Tensor], ...]


def predicted(
    laws: Iterable[Distribution], rows: int, noise: bool, effective: Tensor | None = None, stratified: bool = False
) -> Predictive:
    """The predictive distribution of n `rows` whose laws come by chunks of draws of the latents, batch shape [k n].

    `noise`: whether it includes the likelihood's own. `effective`: the effective number of draws, all by default.
    `stratified`: draws come evenly from the components of a mixture; their mean is then nearly exact in what lies
    between components, and the spread around it is divided by S, not by S - 1.
    """
    means, draws, within = [], [], 0.0
    sums: dict[int, Tensor] = {}
    coded: list[tuple[Tensor, Categories | Bernoulli]] = []
    for law in laws:
        coded = _coded(law)
        for number, (_, part) in enumerate(coded):
            sums[number] = _chances(part, rows) + sums.get(number, 0.0)
        mean = law.mean
        drawn = law.sample() if noise else mean
        if noise:
            within = within + _variance(law, mean, drawn).unflatten(0, (-1, rows)).sum(0)
        means.append(mean.unflatten(0, (-1, rows)))
        draws.append(drawn.unflatten(0, (-1, rows)))
    joined = torch.cat(means)
    count, centre = len(joined), joined.mean(0)
    between = (joined - centre).square().sum(0) / max(1, count - (not stratified))
    std = torch.where(centre.isinf(), torch.inf, (within / count + between).sqrt())  # not inf - inf
    whole = torch.cat(draws) if noise else joined
    chances = tuple((place, total / count) for (place, _), total in zip(coded, sums.values(), strict=True))
    codes = torch.arange(0, device=centre.device)
    for (place, part), (_, chance) in zip(coded, chances, strict=True):
        if isinstance(part, Categories):
            centre[:, place] = chance.argmax(-1).to(centre)  # codes have no mean
            codes = torch.cat([codes, place])
    effective = centre.new_full((rows,), count) if effective is None else effective
    return Predictive(centre, std, joined, whole, effective, codes, chances)


def between(drawn: Predictive, direct: Predictive) -> Predictive:
    """What S draws of the latents say, with a mean and chances between theirs and what is expected without them.

    Two estimates whose own errors are as large; the mean of draws also has noise, which falls as 1 / S. So it counts
    S / (2 (S + `EVEN`)), half where draws are many. The spread is that of the draws around this mean.
    """
    share = 0.5 * len(drawn.means) / (len(drawn.means) + EVEN)

    def mixed(theirs: Tensor, other: Tensor) -> Tensor:
        return share * theirs + (1 - share) * other  # not lerp, of which infinities are no numbers

    pairs = zip(drawn.chances, direct.chances, strict=True)
    chances = tuple((place, mixed(chance, other)) for (place, chance), (_, other) in pairs)
    mean = mixed(drawn.mean, direct.mean)
    std = torch.where(mean.isinf(), torch.inf, (drawn.std.square() + (drawn.mean - mean).square()).sqrt())
    for place, chance in chances:
        if bool(torch.isin(place, drawn.codes).all()):  # a category, whose codes have no mean
            mean[:, place] = chance.argmax(-1).to(mean)
    return replace(drawn, mean=mean, std=std, chances=chances)


def _coded(law: Distribution) -> list[tuple[Tensor, Categories | Bernoulli]]:
    """The laws of categories and of bits among those of columns, each with its columns."""
    if isinstance(law, Categories | Bernoulli):
        return [(torch.arange(law.event_shape[0], device=law.logits.device), law)]
    pairs = zip(law.places, law.parts, strict=True) if isinstance(law, Product) else ()
    return [(place, part) for place, part in pairs if isinstance(part, Categories | Bernoulli)]


def _chances(law: Categories | Bernoulli, rows: int) -> Tensor:
    """The probability of every code, summed over the draws of z, [rows, columns, ..., codes]."""

    def summed(values: Tensor) -> Tensor:
        return values.unflatten(0, (-1, rows)).sum(0)

    if isinstance(law, Categories):
        return summed(law.logits.exp())
    # 1 - mean would lose what is small.
    return torch.stack([summed((-law.logits).sigmoid()), summed(law.mean)], -1)


def _variance(law: Distribution, mean: Tensor, drawn: Tensor) -> Tensor:
    try:
        return law.variance
    except NotImplementedError:  # laws over grey levels: what one draw says of it is unbiased
        return (drawn - mean).square()
