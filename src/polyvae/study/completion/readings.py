"""How what a method says is read as draws of a law, and which reading is best of pictures that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polyvae.evaluation.blocks import BLOCK
from polyvae.evaluation.calibration import central_band, coverage, crps, energy_score, mean_where, sorted_draws
from polyvae.evaluation.classifier import grey
from polyvae.study.completion.stated import LAW, MEANS, Stated

POINT, ALIKE = "point", "alike"
# What people read of them.
READINGS = {LAW: "draws of its law", MEANS: "means of its draws of z", POINT: "its mean alone", ALIKE: "alike means"}
WINDOW = 0.01  # the share of the held-out values that a value is drawn from
LEVEL = 0.95
CHOSEN_BY = ("crps", "energy", "class_loss")  # each chooses the reading that it is told of


@dataclass(frozen=True)
class Alike:
    """The law of a value that was predicted to be mu: the held-out values whose predictions were nearest to mu.

    `means`, sorted, and `values`, both [M]. A value is drawn from a hundredth of them, half below and half above but at
    the ends, and from all that were predicted to be mu itself where these are more; one value knows nothing of the
    others.

    In the manner of Walz, Henzi, Ziegel, Gneiting: Easy Uncertainty Quantification (EasyUQ): Generating Predictive
    Distributions from Single-Valued Model Output, 2024, with neighbours in the place of isotonic regression.
    """

    means: Tensor
    values: Tensor

    @classmethod
    def of(cls, mean: Tensor, x: Tensor, unseen: Tensor) -> Alike:
        """Of held-out pictures x [N, ...] and their predictions, where they are not seen."""
        where = unseen.bool().expand_as(x)
        means, values = mean[where], x[where]
        apart = torch.randperm(len(means))  # of equal predictions any may stand for the others, not one picture's
        means, order = means[apart].sort(stable=True)
        return cls(means.contiguous(), values[apart][order])

    def draw(self, mean: Tensor, count: int) -> Tensor:
        """So many draws for each value that was predicted, [count, *mean]."""
        low, high = (torch.searchsorted(self.means, mean.contiguous(), right=right) for right in (False, True))
        every = len(self.means)
        reach = min(max(1, int(WINDOW * every) // 2), every // 2)
        centre = ((low + high) // 2).clamp(reach, every - reach)
        first, end = torch.minimum(low, centre - reach), torch.maximum(high, centre + max(1, reach))
        far = (torch.rand(count, *mean.shape, dtype=torch.float64) * (end - first)).long()
        return self.values[(first + far).clamp(max=every - 1)]


def readings(stated: Stated, alike: Alike | None, count: int) -> dict[str, Tensor]:
    """Draws [S, n, ...] for every way to read what is stated; of the mean alone two that are one."""
    found = dict(stated.draws)
    found[POINT] = stated.mean.expand(2, *stated.mean.shape)
    if alike is not None:
        found[ALIKE] = alike.draw(stated.mean, count)
    return found


@dataclass(frozen=True)
class Judge:
    """What draws are judged by: values that `vary` [...], and a `classifier` of pictures, if there is one."""

    vary: Tensor
    classifier: nn.Module | None = None

    def squared(self, mean: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """The squared error of each picture over its unseen values, [n]."""
        return mean_where((mean - x).square(), mask == 0)

    def scores(self, draws: Tensor, x: Tensor, mask: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """CRPS, energy score, class loss and coverage of each picture over its unseen values, [n] each."""
        unseen = mask == 0
        ordered = sorted_draws(draws)
        found = {"crps": mean_where(crps(ordered, x, ordered=True), unseen), "energy": energy_score(draws, x, unseen)}
        band = central_band(ordered, LEVEL)
        found["coverage"] = coverage(x, *band, unseen)
        found["varying"] = coverage(x, *band, unseen & self.vary)
        if self.classifier is not None and y is not None:
            found["class_loss"] = class_loss(self.classifier, torch.where(unseen, draws, x), y)
        return found


def class_loss(classifier: nn.Module, draws: Tensor, y: Tensor) -> Tensor:
    """-log of the probability that a classifier gives the true class, averaged over the draws [S, n, ...], [n] nats."""
    log = torch.cat([classifier(grey(some)).log_softmax(1) for some in draws.flatten(0, 1).split(BLOCK)])
    log = log.unflatten(0, draws.shape[:2]).gather(-1, y.expand(len(draws), -1)[..., None])[..., 0]
    return torch.tensor(float(len(log))).log() - log.logsumexp(0)


def best(held: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """The reading with the least mean of each score on held-out pictures, by score; `held`: by reading, by score."""
    scores = dict.fromkeys(name for found in held.values() for name in found if name in CHOSEN_BY)
    return {name: min(held, key=lambda reading: held[reading][name]) for name in scores}
