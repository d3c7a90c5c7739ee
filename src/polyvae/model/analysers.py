"""A mixture of factor analysers of whole examples, conditioned on what is seen of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log, pi, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.model.clusters import k_means
from polyvae.model.kept import Kept
from polyvae.model.sized import Sized

LEAST = 0.01  # of the mean variance of a channel's values: the least that a value has of its own
TINY = 1e-12
UNUSED = -1e4  # the logarithm of a weight that stands for none, and is a finite number
POWERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
PART = 64  # examples at once


class Products(NamedTuple):
    """What the parameters alone make, of D values of which n are seen or not, channels together.

    `centre` [D], the mean of all, and `mean` [K, D] beside it: squares of large values would leave no digits. `read`
    [K r, D]: R D^-1. `inside` [K r (r + 1) / 2, n]: R_i R_j / d; `toward` [K r, n]: R mu / d; `constant` [K, n]:
    mu^2 / d + log 2 pi d, each summed over channels.
    """

    centre: Tensor
    mean: Tensor
    precise: Tensor
    read: Tensor
    inside: Tensor
    toward: Tensor
    constant: Tensor


class Given(NamedTuple):
    """What K analysers say of the seen values y of B examples.

    `log_joint` log w_k p_k(y) [B, K], nats; the factors' posterior given y: `mean` [B, K, r], `covariance` its lower
    triangle row by row, [B, K, r (r + 1) / 2].
    """

    log_joint: Tensor
    mean: Tensor
    covariance: Tensor


class Analysers(Sized):
    """x ~ sum_k w_k N(mu_k, R_k' R_k + diag d_k), given the values y that are seen of each example.

    p(c | y, k) = N(S_k R_k D_k^-1 (y - mu_k), S_k), S_k = (I + R_k D_k^-1 R_k')^-1, over the seen values alone
    E[x | y] = sum_k r_k (mu_k + R_k' E[c | y, k]), r_k proportional to (w_k p_k(y))^power

    of `count` analysers, K, of so many `factors`, r, of examples of a `shape` of D values. A power below 1 makes up for
    what the law of each is too sure of: values that it takes to be independent given the factors say much the same.
    What is seen is [B, 1, H, W] for pictures and [B, D] for tables, 1 or 0. Before `fit` mu = 0, R = 0 and d = 1.

    Ghahramani, Hinton: The EM Algorithm for Mixtures of Factor Analyzers, 1996.
    """

    log_weights: Tensor  # [K]
    mean: Tensor  # [K, D]
    root: Tensor  # [K, r, D]
    variance: Tensor  # [K, D]
    power: Tensor
    row: Tensor
    column: Tensor

    def __init__(self, shape: Sequence[int], count: int, factors: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        size = prod(self.shape)
        at_least("count", count, 1, "analysers")
        at_least("factors", factors, 1, "factors of each")
        self.register_buffer("log_weights", torch.full((count,), -log(count)))
        self.register_buffer("mean", torch.zeros(count, size))
        self.register_buffer("root", torch.zeros(count, factors, size))
        self.register_buffer("variance", torch.ones(count, size))
        self.register_buffer("power", torch.ones(()))
        row, column = torch.tril_indices(factors, factors)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("column", column, persistent=False)
        self._kept = Kept()

    def resize(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """As many analysers of as many factors as what is to be loaded has."""
        super().resize(shapes)
        factors = self.root.shape[1]
        self.row, self.column = torch.tril_indices(factors, factors, device=self.root.device)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | y] and the standard deviation of each value, like x [B, ...]; of what is seen itself and 0."""
        told = self.given(x, seen)
        shares = self.shares(told)
        products = self.products
        coded, mean = self._expected(shares, told)
        # E x^2 = sum_k r_k (mu^2 + d + 2 mu R'c + R'(S + c c')R), each a product of matrices, of x beside the centre
        second = self._lower(told.mean.unsqueeze(3) * told.mean.unsqueeze(2)) + told.covariance
        square = shares @ (products.mean.square() + self.variance)
        square = square + 2 * coded @ (self.root * products.mean.unsqueeze(1)).flatten(0, 1)
        square = square + (shares.unsqueeze(2) * second).flatten(1) @ self._once("twice", self._twice)
        # No less than what a value has of its own, which what cancels may fall below.
        std = torch.maximum(square - mean.square(), self.variance.amin(0)).sqrt()
        known = (seen != 0).expand_as(x)
        return torch.where(known, x, (mean + products.centre).view_as(x)), torch.where(known, 0.0, std.view_as(x))

    def shares(self, told: Given) -> Tensor:
        """r_k of every example, [B, K]."""
        return (self.power * told.log_joint).softmax(1)

    def given(self, x: Tensor, seen: Tensor) -> Given:
        """What each analyser says of the factors, given x [B, ...] where it is `seen`."""
        made = self.products
        where = (seen != 0).to(x)
        y = torch.where(where != 0, x - made.centre.view(x.shape[1:]), 0.0).flatten(1)
        where = where.flatten(1)
        count, factors, _ = self.root.shape
        inside = (where @ made.inside.T).unflatten(1, (count, -1))
        matrix = self._square(inside) + torch.eye(factors, dtype=x.dtype, device=x.device)
        lower, _ = torch.linalg.cholesky_ex(matrix)  # which is I and more: a check would have to be waited for
        inverse = torch.cholesky_inverse(lower)
        toward = (y @ made.read.T - where @ made.toward.T).unflatten(1, (count, -1))
        codes = (inverse @ toward.unsqueeze(3)).squeeze(3)
        # log N(y; mu, R'R + D) by the matrix determinant lemma and Woodbury's identity
        far = y.square() @ made.precise.T - 2 * y @ (made.precise * made.mean).T + where @ made.constant.T
        apart = far - (toward * codes).sum(2) + 2 * lower.diagonal(dim1=2, dim2=3).log().sum(2)
        return Given(self.log_weights - 0.5 * apart, codes, self._lower(inverse))

    def log_prob(self, x: Tensor, seen: Tensor) -> Tensor:
        """log p(y), nats, [B]."""
        return self.given(x, seen).log_joint.logsumexp(1)

    def draw(self, x: Tensor, seen: Tensor, draws: int) -> Tensor:
        """Joint draws of x given y, [S, B, ...], by torch's global generator."""
        told = self.given(x, seen)
        chosen = torch.multinomial(self.shares(told), draws, replacement=True)  # [B, S]
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        lower = torch.linalg.cholesky(self._square(told.covariance))[rows, chosen]
        codes = told.mean[rows, chosen] + (lower @ torch.randn_like(told.mean[rows, chosen]).unsqueeze(3)).squeeze(3)
        made = x.new_empty(draws, len(x), self.mean.shape[1])
        for number in range(draws):  # [B, S, r, D] at once would be far larger than what is drawn
            own = chosen[:, number]
            factors = torch.einsum("br,brd->bd", codes[:, number], self.root[own])
            made[number] = self.mean[own] + factors + self.variance[own].sqrt() * torch.randn_like(made[number])
        return torch.where((seen != 0).expand_as(x), x, made.view(draws, *x.shape))

    @torch.no_grad()
    def choose_power(self, x: Tensor, seen: Tensor) -> Analysers:
        """Takes the power of `POWERS` whose E[x | y] is nearest to held-out x beside what is `seen`; returns itself."""
        centre = self.products.centre
        errors = dict.fromkeys(POWERS, 0.0)
        for some, here in zip(x.split(PART), seen.split(PART), strict=True):
            told, unseen = self.given(some, here), (here == 0).expand_as(some).flatten(1)
            rest = some.flatten(1) - centre
            for power in POWERS:
                self.power.fill_(power)
                _, mean = self._expected(self.shares(told), told)
                errors[power] += float(torch.where(unseen, mean - rest, 0.0).square().sum())
        self.power.fill_(min(errors, key=lambda power: errors[power]))
        return self

    @torch.no_grad()
    def fit(self, x: Tensor, rounds: int = 20, least: float = LEAST, seed: int = 0) -> Analysers:
        """Maximum likelihood by EM from whole examples x [N, ...]; returns itself.

        It starts at clusters by k-means and their principal axes. No value has less variance of its own than `least` of
        the mean variance of its channel. Where there are few examples, fewer analysers than K have a weight.
        Raises ValueError for fewer than two examples.
        """
        if len(x) < 2:
            raise ValueError(f"analysers are fitted to examples, at least two; got {len(x)}")
        rows = x.flatten(1).to(self.mean)
        channels = rows.var(0, correction=0).view(self.shape[0], -1).mean(1, keepdim=True)
        smallest = TINY * (float(channels.max()) or 1.0)  # of a channel that does not vary
        floor = (least * channels).clamp(min=smallest).expand(-1, prod(self.shape[1:])).reshape(-1)
        self._begin(rows, floor, seed)
        for _ in range(rounds):
            self._round(rows.view(len(rows), *self.shape), floor)
        return self

    def _begin(self, rows: Tensor, floor: Tensor, seed: int) -> None:
        count, most = len(self.mean), self.root.shape[1]
        clusters = max(1, min(count, len(rows) // (2 * most)))
        labels = torch.from_numpy(k_means(rows.cpu().numpy(), clusters, seed).labels_).to(rows.device)
        self.log_weights.fill_(UNUSED)
        self.mean.copy_(rows.mean(0).expand_as(self.mean))
        self.root.zero_()
        self.variance.copy_(rows.var(0, correction=0).clamp(min=floor).expand_as(self.variance))
        for number in range(clusters):
            mine = rows[labels == number]
            if not len(mine):
                continue
            mean = mine.mean(0)
            rest = (mine - mean) / len(mine) ** 0.5
            _, values, axes = torch.linalg.svd(rest, full_matrices=False)
            rank = min(most, len(values))
            self.log_weights[number] = log(len(mine) / len(rows))
            self.mean[number] = mean
            self.root[number, :rank] = values[:rank, None] * axes[:rank]
            own = rest.square().sum(0) - self.root[number].square().sum(0)
            self.variance[number] = torch.maximum(own, floor)

    def _round(self, x: Tensor, floor: Tensor) -> None:
        """One round: the posterior of analyser and factors of every example, then weights, means, roots, variances."""
        count, factors, size = self.root.shape
        total = x.new_zeros(count)
        codes = x.new_zeros(count, factors + 1, factors + 1)  # sum_n r_n E[c c'], c with a one at its end
        across = x.new_zeros(count, factors + 1, size)
        squares = x.new_zeros(count, size)
        seen = torch.ones_like(x[:1, :1]) if x.ndim == 4 else torch.ones_like(x[:1])  # one row, for all
        centre = self.products.centre
        for some in x.split(512):
            told = self.given(some, seen)
            shares = told.log_joint.softmax(1)
            full = torch.cat([told.mean, torch.ones_like(told.mean[..., :1])], 2)
            weighed = shares.unsqueeze(2) * full
            rows = some.flatten(1) - centre
            total += shares.sum(0)
            codes += torch.einsum("bkr,bks->krs", weighed, full)
            codes[:, :-1, :-1] += self._square((shares.unsqueeze(2) * told.covariance).sum(0))
            across += (weighed.flatten(1).T @ rows).view_as(across)
            squares += shares.T @ rows.square()
        kept = total > 1e-3 * len(x) / count
        safe = total.clamp(min=TINY)
        ridge = TINY * codes.diagonal(dim1=1, dim2=2).mean(1).clamp(min=TINY).view(-1, 1, 1)
        eye = torch.eye(factors + 1, dtype=x.dtype, device=x.device)
        solved = torch.linalg.solve(codes + ridge * eye, across)
        variance = (squares - (solved * across).sum(1)) / safe.unsqueeze(1)
        self.log_weights.copy_(torch.where(kept, (total / len(x)).log(), UNUSED))
        self.log_weights.sub_(self.log_weights.logsumexp(0))
        wide = kept.view(-1, 1)
        self.mean.copy_(torch.where(wide, solved[:, -1] + centre, self.mean))
        self.root.copy_(torch.where(wide.unsqueeze(2), solved[:, :-1], self.root))
        self.variance.copy_(torch.where(wide, torch.maximum(variance, floor), self.variance))

    def _expected(self, shares: Tensor, told: Given) -> tuple[Tensor, Tensor]:
        """What each analyser adds by its factors, r_k E[c | y, k] [B, K r], and E[x | y] beside the centre [B, D]."""
        coded = (shares.unsqueeze(2) * told.mean).flatten(1)
        return coded, shares @ self.products.mean + coded @ self.root.flatten(0, 1)

    @property
    def products(self) -> Products:
        """What the parameters alone make, kept until one of them changes."""
        return self._once("products", self._products)

    def _products(self) -> Products:
        centre = self.log_weights.softmax(0) @ self.mean
        mean, precise = self.mean - centre, 1 / self.variance
        read = self.root * precise.unsqueeze(1)
        inside = self.root[:, self.row] * read[:, self.column]
        constant = precise * mean.square() + self.variance.log() + log(2 * pi)
        together = [self._together(each) for each in (inside, read * mean.unsqueeze(1), constant.unsqueeze(1))]
        return Products(centre, mean, precise, read.flatten(0, 1), *together)

    def _together(self, values: Tensor) -> Tensor:
        """Values [K, n, D] of which all channels are seen or none, summed over channels, [K n, D]."""
        rows = values.flatten(0, 1)
        return rows.unflatten(1, self.shape).sum(1).flatten(1) if len(self.shape) == 3 else rows

    def _twice(self) -> Tensor:
        """R_i R_j, twice where i is not j: what a symmetric matrix of factors adds up to, [K r (r + 1) / 2, D]."""
        twice = torch.where(self.row == self.column, 1.0, 2.0).to(self.root).unsqueeze(1)
        return (self.root[:, self.row] * self.root[:, self.column] * twice).flatten(0, 1)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes of the parameters, kept until one of them changes."""
        return self._kept.once(name, (self.log_weights, self.mean, self.root, self.variance), make)

    def _lower(self, matrix: Tensor) -> Tensor:
        return matrix[..., self.row, self.column]

    def _square(self, lower: Tensor) -> Tensor:
        made = lower.new_empty(*lower.shape[:-1], self.root.shape[1], self.root.shape[1])
        made[..., self.row, self.column] = lower
        made[..., self.column, self.row] = lower
        return made


def few_factors(shape: Sequence[int], count: int, most: int, pairs: int) -> int:
    """The largest number of factors, up to `most`, whose products of pairs are at most so many numbers."""
    factors = most
    while factors > 1 and count * factors * (factors + 1) // 2 * prod(shape) > pairs:
        factors -= 1
    return factors
