"""The normal law of whole examples, conditioned on what is seen of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal

from polyvae.completion.gappy_pca import rows_of
from polyvae.evaluation.calibration import mean_where, normal_crps
from polyvae.model.conditioned import conditioned

WHOLE = 4096  # values of an example, up to which their covariance is held as one matrix
PIECE = 2**24  # numbers of an array at once, 128 MiB
RIDGES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)  # of the mean variance of a channel, that are tried
JUDGES = 64  # held-out examples that choose among them, or a few more


class Given(NamedTuple):
    """The law given readings, in g groups of n examples with one mask each.

    `mean` [g, n, D]; `slopes` T [g, s, D], with Cov[x | y] = C - T'T; `log_prob` log p(y) [g, n], nats.
    """

    mean: Tensor
    slopes: Tensor
    log_prob: Tensor


@dataclass(frozen=True, eq=False)
class ConditionedNormal:
    """x ~ N(mean, C), C = R'R + diag(d), given readings y = x_s + e, e ~ N(0, noise), of the seen values s.

    E[x | y] = mean + C_:s (C_ss + noise)^-1 (y - mean_s)
    Cov[x | y] = C - C_:s (C_ss + noise)^-1 C_s:

    `mean` [D], `root` R [r, D] and `diagonal` d [D], float64 on the CPU, of D values in the `shape` of an example.
    `noise`: the variance of a reading, one number or one for each value [D]; without it what is seen is known exactly.
    Masks [N, 1, H, W] or [N, d] broadcast against x [N, ...], which may be NaN where it is not seen. Beyond `WHOLE`
    values, as in fields, no matrix [D, D] is made.

    Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, appendix A.2.
    """

    mean: Tensor
    root: Tensor
    diagonal: Tensor
    shape: tuple[int, ...]
    noise: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor, noise: float | Tensor = 0.0) -> ConditionedNormal:
        """The law of a mean [D] and a covariance [D, D]. Raises ValueError where that is not positive definite."""
        root, wrong = torch.linalg.cholesky_ex(covariance.double(), upper=True)
        if bool(wrong):
            raise ValueError(f"a covariance is positive definite; its leading {int(wrong)} rows and columns are not")
        made = cls(mean.double(), root, torch.zeros(len(root), dtype=torch.float64), tuple(mean.shape))
        return made.measured(noise)

    @classmethod
    def fit(cls, x: Tensor, ridge: float = 0.0, noise: float | Tensor = 0.0) -> ConditionedNormal:
        """Mean and covariance of whole examples x [N, ...], with `ridge` times a channel's mean variance as d.

        Raises ValueError for fewer than two examples, for NaN and for a ridge or noise below 0.
        """
        if len(x) < 2:
            raise ValueError(f"a covariance needs at least two examples; got {len(x)}")
        rows = x.detach().flatten(1).cpu().double()
        if not bool(rows.isfinite().all()):
            raise ValueError("a covariance needs whole examples; x holds NaN or infinite values")
        mean = rows.mean(0)
        rest = (rows - mean) / len(rows) ** 0.5
        root = torch.linalg.qr(rest, mode="r").R if len(rest) > rest.shape[1] else rest
        made = cls(mean, root, torch.zeros_like(mean), tuple(x.shape[1:]))
        return made.ridged(ridge).measured(noise)

    def ridged(self, ridge: float) -> ConditionedNormal:
        """The same law with `ridge` times the mean variance of each channel, or column, of R'R as d."""
        if not 0 <= ridge < inf:
            raise ValueError(f"ridge is a finite number of at least 0; got {ridge}")
        made = replace(self, diagonal=ridge * levels(self.root.square().sum(0), self.shape))
        if "covariance" in self.__dict__:
            made.__dict__["covariance"] = self.covariance  # of R alone, and dear
        return made

    def measured(self, noise: float | Tensor) -> ConditionedNormal:
        """The same law with readings of this noise. Raises ValueError below 0 and for another number of values."""
        found = torch.as_tensor(noise, dtype=torch.float64).reshape(-1)
        if not bool((found >= 0).all()) or not bool(found.isfinite().all()):
            raise ValueError(f"the variance of readings is a number of at least 0, or one for each value; got {noise}")
        if len(found) not in (1, len(self.mean)):
            raise ValueError(f"an example has {len(self.mean)} values; got {len(found)} variances of readings")
        return replace(self, noise=found)

    @cached_property
    def covariance(self) -> Tensor:
        """R'R, [D, D]."""
        return self.root.T @ self.root

    @cached_property
    def variance(self) -> Tensor:
        """The diagonal of C, [D]."""
        return self.root.square().sum(0) + self.diagonal

    def complete(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | y] and the standard deviation of each value, like x [N, ...]; of what is known exactly itself and 0."""
        values, seen = self.rows(x, mask)
        mean, std = torch.empty_like(values), torch.empty_like(values)
        for members, found in self.given(values, seen):
            mean[members] = found.mean
            std[members] = (self.variance - found.slopes.square().sum(1)).clamp(min=0).sqrt().unsqueeze(1)
        exact = seen & (self.noise == 0)
        mean, std = torch.where(exact, values, mean), torch.where(exact, 0.0, std)
        return mean.view(x.shape).to(x), std.view(x.shape).to(x)

    def log_seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p(y) of the readings of each example, float64 [N], nats; 0 where nothing is seen."""
        values, seen = self.rows(x, mask)
        score = values.new_empty(len(values))
        for members, found in self.given(values, seen):
            score[members] = found.log_prob
        return score

    def log_unseen(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p(x_u | y) of all that is not seen of each example x [N, ...] jointly, float64 [N], nats.

        The difference of log p(x_u, y) and log p(y).
        """
        values, seen = self.rows(x, mask, whole=True)
        noise = torch.where(seen, self.noise, 0.0)
        return self._log_prob(values, torch.ones_like(seen), noise) - self.log_seen(x, mask)

    def draw(self, x: Tensor, mask: Tensor, draws: int, seed: int = 0) -> Tensor:
        """Joint draws of x given y, [S, N, ...].

        A draw x', y' of the law, moved by what its readings lack: x' + C_:s (C_ss + noise)^-1 (y - y').

        Matheron's rule; Wilson et al.: Efficiently Sampling Functions from Gaussian Process Posteriors, 2020.
        """
        values, seen = self.rows(x, mask)
        generator = torch.Generator().manual_seed(seed)
        codes, own, errors = (
            torch.randn(draws, len(values), size, dtype=torch.float64, generator=generator)
            for size in (len(self.root), len(self.mean), len(self.mean))
        )
        made = codes @ self.root + own * self.diagonal.sqrt()  # less the mean
        rest = values - made - errors * self.noise.sqrt()
        for members, some in self._groups(seen):
            found = self._given(rest[:, members].movedim(0, 1).flatten(1, 2), some).mean
            made[:, members] += found.unflatten(1, (draws, -1)).movedim(1, 0)
        return torch.where(seen & (self.noise == 0), values, made).view(draws, *x.shape).to(x)

    def rows(self, x: Tensor, mask: Tensor, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Values and what is seen of them, [N, D] each. Raises ValueError for another shape and for readings of NaN."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"an example here has shape {list(self.shape)}; got {list(x.shape[1:])}")
        seen = rows_of(mask, x).to(x.device).bool().expand_as(x).flatten(1).cpu()
        values = x.detach().flatten(1).cpu().double()
        if not bool((values.isfinite() | (~seen & (not whole))).all()):
            raise ValueError(
                "what is seen, or scored, of an example is a finite number; x holds NaN or infinite values"
            )
        return torch.where(seen, values, values if whole else 0.0), seen

    def given(self, values: Tensor, seen: Tensor) -> Iterator[tuple[Tensor, Given]]:
        """Examples [g, n] that share a mask, and the law given what is seen of `values` [N, D]."""
        for members, some in self._groups(seen):
            yield members, self._given(values[members], some)

    def _groups(self, seen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Examples [g, n] whose masks are one in each of g groups, and these masks [g, D]."""
        masks, group = seen.unique(dim=0, return_inverse=True)
        if 2 * len(masks) <= len(seen):
            for number, mask in enumerate(masks):
                yield (group == number).nonzero().T, mask.unsqueeze(0)
            return
        size = max(1, PIECE // max(1, int(seen.sum(1).max()) * len(self.mean)))
        for members in torch.arange(len(seen)).unsqueeze(1).split(size):
            yield members, seen[members[:, 0]]

    def _given(self, values: Tensor, seen: Tensor) -> Given:
        """The law given values [g, n, D] of which `seen` [g, D] are read."""
        count = int(seen.sum(1).max())
        index = seen.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
        valid = seen.gather(1, index)
        noise = self.noise.expand_as(self.mean)[index]
        slopes, read, lower = conditioned(self._across, values - self.mean, index, valid, noise)
        constant = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1) + log(2 * pi) * valid.double().sum(1)
        return Given(self.mean + read.mT @ slopes, slopes, -0.5 * (read.square().sum(1) + constant.unsqueeze(1)))

    def _across(self, index: Tensor) -> Tensor:
        """The rows C_s: of the covariance, [g, s, D]."""
        whole = len(self.mean) <= WHOLE
        rows = self.covariance[index] if whole else self.root.T[index] @ self.root
        return rows.scatter_add(2, index.unsqueeze(-1), self.diagonal[index].unsqueeze(-1))

    def _log_prob(self, values: Tensor, where: Tensor, noise: Tensor) -> Tensor:
        """log N(values; mean, C + noise) of the values in `where`, one example at a time where these differ, [N]."""
        found = values.new_zeros(len(values))
        keys, group = torch.cat([where.double(), noise], 1).unique(dim=0, return_inverse=True)
        for number, key in enumerate(keys):
            members = group == number
            place = key[: len(self.mean)].bool()
            if bool(place.any()):
                spread = self.diagonal[place] + key[len(self.mean) :][place]
                found[members] = self._law(place, spread).log_prob(values[members][:, place])
        return found

    def _law(self, place: Tensor, spread: Tensor) -> MultivariateNormal | LowRankMultivariateNormal:
        """The law of some of the values, each with so much variance of its own."""
        root = self.root[:, place]
        if root.shape[1] > WHOLE and len(root) < root.shape[1] and bool((spread > 0).all()):
            return LowRankMultivariateNormal(self.mean[place], root.T, spread)
        return MultivariateNormal(self.mean[place], root.T @ root + spread.diag())


def levels(variance: Tensor, shape: Sequence[int]) -> Tensor:
    """The mean variance of its channel, or column, for every value, [D]; the mean of all, or 1, where that is 0."""
    channels = variance.view(shape[0], -1).mean(1, keepdim=True)
    whole = channels.mean() if bool((channels > 0).any()) else 1.0
    return torch.where(channels > 0, channels, whole).expand(-1, len(variance) // shape[0]).flatten()


def best_ridge(law: ConditionedNormal, validation: Tensor, masks: Tensor) -> ConditionedNormal:
    """The law with the ridge, of `RIDGES`, whose ranked probability score over unseen held-out values is least.

    Scores that are no numbers are passed over; where all is seen it is the smallest ridge. `JUDGES` of the examples,
    evenly spaced, judge.
    """
    step = max(1, len(validation) // JUDGES)
    x, seen = validation[::step], rows_of(masks, validation)[::step]
    unseen, scores = seen == 0, {}
    for ridge in RIDGES:
        mean, std = law.ridged(ridge).complete(x, seen)
        scores[ridge] = float(mean_where(normal_crps(x, mean, std), unseen).nanmean())
    return law.ridged(min(RIDGES, key=lambda ridge: scores[ridge] if isfinite(scores[ridge]) else inf))
