"""A mixture of normal laws, fitted to rows with or without gaps, and conditioned on what is seen of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.completion.normal import ConditionedNormal, levels

COUNTS = (1, 2, 3, 4, 6)  # of components, that are tried
RIDGES = (1e-6, 1e-3, 1e-2, 1e-1)  # of a column's variance
CLOSE = 1e-4  # nats a row, by which a round of EM gains less at its end
TRIES = 50  # rounds of EM at most, where several mixtures are tried


@dataclass(frozen=True, eq=False)
class ConditionedMixture:
    """p(x) = sum_k w_k N(x; mean_k, C_k) given the seen values y of each example.

    p(x_u | y) = sum_k r_k p_k(x_u | y), r_k = w_k p_k(y) / sum_l w_l p_l(y)

    `log_weights` [K] and the K `parts`. Masks broadcast against x [N, ...] as those of `ConditionedNormal`.
    """

    log_weights: Tensor
    parts: tuple[ConditionedNormal, ...]

    @classmethod
    def fit(
        cls, x: Tensor, count: int, ridge: float = 1e-6, seen: Tensor | None = None, seed: int = 0, rounds: int = 100
    ) -> ConditionedMixture:
        """Maximum likelihood by EM from what is `seen` of rows x [N, d], all by default; each covariance with a ridge.

        r_nk = w_k p_k(y_n) / p(y_n),  C_k = sum_n r_nk (d_nk d_nk' + Cov_k[x_n | y_n]) / sum_n r_nk + ridge diag(Var x)

        with d_nk = E_k[x_n | y_n] - mean_k. It starts at clusters by k-means of rows that the normal law, fitted
        likewise, has completed, and ends after `rounds` or where a round gains less than `CLOSE` nats a row. Raises
        ValueError for fewer rows than components, for a column of which fewer than two values are seen and for a ridge
        below 0.

        Dempster, Laird, Rubin: Maximum Likelihood from Incomplete Data via the EM Algorithm, 1977; Ghahramani, Jordan:
        Supervised Learning from Incomplete Data via an EM Approach, 1994.
        """
        at_least("count", count, 1, "components")
        seen = torch.ones_like(x, dtype=torch.bool) if seen is None else seen.bool()
        if x.ndim != 2 or len(x) < max(2, count):
            raise ValueError(
                f"a mixture of {count} is fitted to as many rows [N, d], at least two; got {list(x.shape)}"
            )
        if not 0 <= ridge < inf:
            raise ValueError(f"ridge is a finite number of at least 0; got {ridge}")
        if int(seen.sum(0).min()) < 2:
            raise ValueError(f"column {int(seen.sum(0).argmin())} has fewer than two values that are seen")
        values = torch.where(seen, x.detach().cpu().double(), torch.nan)
        mean = values.nanmean(0)
        spread = (values - mean).square().nanmean(0)
        fitting = _Fitting(values.nan_to_num(0.0), seen, ridge * levels(spread, x.shape[1:]), rounds)
        first = ConditionedNormal.of(mean, (spread + fitting.level).diag())
        one = fitting.ended(cls(torch.zeros(1, dtype=torch.float64), (first,)))
        if count == 1:
            return one
        told = fitting.expected(one.parts[0])
        shares = _clusters(told.filled / one.parts[0].variance.sqrt(), count, seed)
        return fitting.ended(fitting.maximised([told] * count, shares))

    def log_shares(self, x: Tensor, mask: Tensor) -> Tensor:
        """log r_k of every example, [N, K]."""
        return self._log_joint(x, mask).log_softmax(1)

    def log_seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p(y) of what is seen of each example, float64 [N], nats; 0 where nothing is seen."""
        return self._log_joint(x, mask).logsumexp(1)

    def log_unseen(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p(x_u | y) of all that is not seen of each example jointly, float64 [N], nats."""
        joint = [part.log_unseen(x, mask) for part in self.parts]
        return (self.log_shares(x, mask) + torch.stack(joint, 1)).logsumexp(1)

    def log_values(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p(x_j | y) of every unseen value on its own, float64 like x [N, ...], nats; NaN where it is seen."""
        shares, seen = self.log_shares(x, mask), self.parts[0].rows(x, mask)[1].view(x.shape)
        scores = []
        for part in self.parts:
            mean, std = part.complete(x.double(), mask)
            std = torch.where(seen, 1.0, std)
            scores.append(-0.5 * ((x - mean) / std).square() - std.log() - 0.5 * log(2 * pi))
        found = (torch.stack(scores, -1) + shares.view(len(x), *[1] * (x.ndim - 1), -1)).logsumexp(-1)
        return found.masked_fill(seen, torch.nan)

    def complete(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | y] and the standard deviation of each value, like x [N, ...]; of what is seen itself and 0."""
        shares = self.log_shares(x, mask).exp().T.reshape(-1, len(x), *[1] * (x.ndim - 1))
        found = [part.complete(x.double(), mask) for part in self.parts]
        mean, std = (torch.stack(each) for each in zip(*found, strict=True))
        centre = (shares * mean).sum(0)
        variance = (shares * (std.square() + (mean - centre).square())).sum(0)
        return centre.to(x), variance.sqrt().to(x)

    def draw(self, x: Tensor, mask: Tensor, draws: int, seed: int = 0) -> Tensor:
        """Joint draws of x given y, [S, N, ...]."""
        generator = torch.Generator().manual_seed(seed)
        shares = self.log_shares(x, mask).exp()
        chosen = torch.multinomial(shares, draws, replacement=True, generator=generator).T
        found = x.new_empty(draws, *x.shape)
        for number, part in enumerate(self.parts):
            drawn = part.draw(x, mask, draws, seed + number + 1)
            found = torch.where((chosen == number).view(draws, len(x), *[1] * (x.ndim - 1)).to(x.device), drawn, found)
        return found

    def _log_joint(self, x: Tensor, mask: Tensor) -> Tensor:
        """log w_k p_k(y), [N, K]."""
        return self.log_weights + torch.stack([part.log_seen(x, mask) for part in self.parts], 1)


class _Told(NamedTuple):
    """Of one law and every row: E[x | y] [N, d], log p(y) [N], and the pieces `slopes` that Cov[x | y] is made of."""

    law: ConditionedNormal
    filled: Tensor
    log_prob: Tensor
    pieces: tuple[tuple[Tensor, Tensor], ...]

    def spread(self, shares: Tensor) -> Tensor:
        """sum_n r_n Cov[x_n | y_n], [d, d]."""
        found = shares.sum() * self.law.covariance
        for members, slopes in self.pieces:
            rows = (slopes * shares[members].sum(1).sqrt().view(-1, 1, 1)).flatten(0, 1)
            found = found - rows.T @ rows
        return found


@dataclass(frozen=True)
class _Fitting:
    """EM on `values` [N, d] of which some are `seen`; `level` [d] is added to every variance."""

    values: Tensor
    seen: Tensor
    level: Tensor
    rounds: int

    def expected(self, law: ConditionedNormal) -> _Told:
        filled, score, pieces = torch.empty_like(self.values), self.values.new_empty(len(self.values)), []
        for members, found in law.given(self.values, self.seen):
            filled[members], score[members] = found.mean, found.log_prob
            pieces.append((members, found.slopes))
        return _Told(law, torch.where(self.seen, self.values, filled), score, tuple(pieces))

    def maximised(self, told: Sequence[_Told], shares: Tensor) -> ConditionedMixture:
        """The mixture of the largest expected likelihood at shares r [N, K]."""
        parts, sizes = [], shares.sum(0).clamp(min=torch.finfo(shares.dtype).tiny)
        for each, own, size in zip(told, shares.T, sizes, strict=True):
            mean = own @ each.filled / size
            rest = each.filled - mean
            covariance = ((rest * own.unsqueeze(1)).T @ rest + each.spread(own)) / size + self.level.diag()
            parts.append(ConditionedNormal.of(mean, covariance))
        return ConditionedMixture((sizes / sizes.sum()).log(), tuple(parts))

    def ended(self, mixture: ConditionedMixture) -> ConditionedMixture:
        """EM from a mixture until it hardly gains."""
        before = -inf
        for _ in range(self.rounds):
            told = [self.expected(part) for part in mixture.parts]
            joint = mixture.log_weights + torch.stack([each.log_prob for each in told], 1)
            now = float(joint.logsumexp(1).mean())
            if now - before < CLOSE:
                break
            mixture, before = self.maximised(told, joint.softmax(1)), now
        return mixture


def best_mixture(train: Tensor, validation: Tensor, seed: int = 0) -> ConditionedMixture:
    """The mixture fitted to whole rows, of the number of components and the ridge that held-out rows are likeliest at.

    `COUNTS` are tried in their order at the second of `RIDGES` until one is no better than the last, then the others.
    """
    whole, judged = torch.ones_like(validation), {}

    def score(count: int, ridge: float) -> float:
        judged[count, ridge] = made = ConditionedMixture.fit(train, count, ridge, seed=seed, rounds=TRIES)
        return float(made.log_seen(validation, whole).mean())

    best, most = 1, -inf
    for count in COUNTS:
        if count > len(train) or (now := score(count, RIDGES[1])) <= most:
            break
        best, most = count, now
    ridge = max(RIDGES, key=lambda ridge: most if ridge == RIDGES[1] else score(best, ridge))
    return judged[best, ridge]


def _clusters(rows: Tensor, count: int, seed: int) -> Tensor:
    """Shares of 0 and 1 by k-means, [N, K]."""
    from sklearn.cluster import KMeans

    labels = KMeans(count, n_init="auto", random_state=seed).fit(rows.numpy()).labels_
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), count).double()
