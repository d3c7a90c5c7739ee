"""A normal law of whole pictures whose colours share one covariance in space, conditioned on the pixels seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.conditioned import conditioned
from polyvae.model.kept import Kept

LARGEST = 4096  # pixels: their covariance is one matrix
READ = 2**21  # numbers in the rows of a covariance that are conditioned on, 8 MiB an example
NUMBERS = 2**22  # in the root of a covariance, 16 MiB
PIECE = 2**24  # numbers of an array at once, 64 MiB
RIDGES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of the mean variance, that are tried
NEAR = 7  # the side of what is around a pixel
TINY = 1e-6
GOLDEN, TIE = (5**0.5 - 1) / 2, 0.01


class SeparableNormal(nn.Module):
    """x ~ N(mu, A kron K), A [C, C] between colours, K = R'R + ridge I [P, P] between pixels, given the pixels s seen.

    E[x_c | y] = mu_c + K_:s K_ss^-1 (y_c - mu_c,s)
    Var[x_c | y] = A_cc (K - K_:s K_ss^-1 K_s:)

    of pictures of a `shape` (C, H, W), P = H W. All colours of a pixel are seen or none, so that A cancels from the
    mean. What is seen is [B, 1, H, W], or one for all, 1 or 0; of more than `READ` / P pixels those count that have
    most unseen ones around, spread evenly. Before `fit` mu = 0, A = I, K = I. Raises ValueError for more than `LARGEST`
    pixels.

    Dutilleul: The MLE algorithm for the matrix normal distribution, 1999.
    """

    mean: Tensor  # [C, H, W]
    colours: Tensor  # A
    root: Tensor  # R [r, P]
    ridge: Tensor
    tie: Tensor  # [P]

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = shape
        pixels = height * width
        if pixels > LARGEST:
            raise ValueError(f"a covariance in space is of {LARGEST:,} pixels at most; a picture here has {pixels:,}")
        self.register_buffer("mean", torch.zeros(channels, height, width))
        self.register_buffer("colours", torch.eye(channels))
        self.register_buffer("root", torch.zeros(min(pixels, NUMBERS // pixels), pixels))
        self.register_buffer("ridge", torch.ones(()))
        # Among pixels alike no part of the picture comes first: multiples of the golden ratio are spread evenly.
        tie = torch.arange(pixels, dtype=torch.float64) * GOLDEN % 1
        self.register_buffer("tie", (TIE * tie).float(), persistent=False)
        self.mirrored = False
        self._kept = Kept()

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | y] and the standard deviation of each value, like x [B, C, H, W]; of what is seen itself and 0."""
        where = _where(x, seen)
        mean, share = torch.empty_like(x).flatten(2), torch.empty_like(x[:, 0]).flatten(1)
        for rows, found, slopes in self._read(x - self.mean, where):
            mean[rows] = found
            share[rows] = self.kernel.diagonal() - slopes.square().sum(1)
        std = (share.clamp(min=0).unsqueeze(1) * self.colours.diagonal().view(-1, 1)).sqrt().view_as(x)
        return torch.where(where, x, mean.view_as(x) + self.mean), torch.where(where, 0.0, std)

    def draw(self, x: Tensor, seen: Tensor, draws: int) -> Tensor:
        """Joint draws of x given y, [S, B, C, H, W], by torch's global generator.

        A draw x', y' of the law, moved by what its readings lack: x' + K_:s K_ss^-1 (y - y').

        Matheron's rule; Wilson et al.: Efficiently Sampling Functions from Gaussian Process Posteriors, 2020.
        """
        where, (channels, height, width) = _where(x, seen), x.shape[1:]
        variances, axes = torch.linalg.eigh(self.colours)
        half = axes * variances.clamp(min=0).sqrt()  # half half' = A
        codes = torch.randn(draws, len(x), channels, len(self.root), dtype=x.dtype, device=x.device)
        own = torch.randn(draws, len(x), channels, height * width, dtype=x.dtype, device=x.device)
        made = half @ (codes @ self.root + self.ridge.sqrt() * own)
        lacks = (x - self.mean - made.view(draws, *x.shape)).movedim(0, 1).flatten(1, 2)
        for rows, found, _ in self._read(lacks, where):
            made[:, rows] += found.unflatten(1, (draws, channels)).movedim(1, 0)
        return torch.where(where, x, made.view(draws, *x.shape) + self.mean)

    @property
    def kernel(self) -> Tensor:
        """K, [P, P], kept until what it is made of changes."""
        return self._kept.once("kernel", (self.root, self.ridge), self._made)

    @torch.no_grad()
    def fit(self, x: Tensor, mirrored: bool = False) -> SeparableNormal:
        """Moments of whole pictures x [N, C, H, W]: A their mean over pixels, K given A; returns itself.

        `mirrored`: also of their mirror images, left and right exchanged, which are photographs as well.
        Raises ValueError for fewer than two pictures.
        """
        x, self.mirrored = torch.cat([x, x.flip(3)]) if mirrored else x, mirrored
        if len(x) < 2:
            raise ValueError(f"a covariance needs at least two pictures; got {len(x)}")
        x = x.to(self.mean)
        self.mean.copy_(x.mean(0))
        rest = (x - self.mean).flatten(2)
        pairs = torch.einsum("ncp,ndp->cd", rest, rest) / (len(rest) * rest.shape[2])
        variances, axes = torch.linalg.eigh(pairs.double())
        varies = variances > TINY * variances.amax()  # of colours that say the same, one counts
        inverse = (axes[:, varies] / variances[varies].sqrt()).to(x)
        rows = (inverse.T @ rest).flatten(0, 1) / max(1, int(varies.sum()) * len(rest)) ** 0.5
        self.colours.copy_(pairs)
        self.root.copy_(_root(rows, len(self.root)))
        return self

    @torch.no_grad()
    def errors(self, x: Tensor, seen: Tensor) -> dict[float, float]:
        """By ridge, `RIDGES` times the mean variance, the squared error of E[x | y] beside what is `seen`, in sum."""
        unit = self.root.square().sum(0).mean()
        unit = float(torch.where(unit > 0, unit, 1.0))
        errors, before = {}, self.ridge.clone()
        for ridge in RIDGES:
            self.ridge.fill_(ridge * unit)
            errors[ridge * unit] = float((self(x, seen)[0] - x).square().sum())
        self.ridge.copy_(before)
        return errors

    def _read(self, rest: Tensor, where: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """K_:s K_ss^-1 r_s of rows [B, n, H, W] or [B, n, P], and T with Cov = K - T'T, for some examples at a time."""
        rest, within = rest.flatten(2), where.flatten(1)
        order = self._rank(where).argsort(dim=1, descending=True, stable=True)
        for rows, count in self._groups(within):
            index = order[rows, :count]
            valid = within[rows].gather(1, index)
            slopes, read, _ = conditioned(lambda index: self.kernel[index], rest[rows], index, valid, 0.0)
            yield rows, read.mT @ slopes, slopes

    def _made(self) -> Tensor:
        made = self.root.T @ self.root
        made.diagonal().add_(self.ridge)
        return made

    def _rank(self, where: Tensor) -> Tensor:
        """Which pixels are to be read first, [B, P]: what is seen, and of that what has most unseen ones around."""
        if where.shape[2:].numel() <= _most(where.shape[2:].numel()):
            return where.flatten(1).byte()
        near = F.avg_pool2d(1.0 - where.to(self.mean), NEAR, 1, NEAR // 2, count_include_pad=False)
        return torch.where(where, 1 + near, 0.0).flatten(1) + self.tie

    def _groups(self, within: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Pictures of which about as many pixels are seen, and how many are read of each.

        On an accelerator, which would have to be waited for, and in a compiled graph all together: the most that may be
        read of any.
        """
        count, pixels = len(within), within.shape[1]
        most = _most(pixels)
        if within.device.type != "cpu" or torch.compiler.is_compiling():
            for rows in torch.arange(count, device=within.device).split(max(1, 16 * PIECE // (most * pixels))):
                yield rows, most
            return
        counts, order = within.sum(1).clamp(1, most).sort()
        start = 0
        while start < count:
            size = int(torch.searchsorted(counts[start:], 2 * counts[start], right=True))
            size = min(size, max(1, PIECE // (2 * int(counts[start]) * pixels)))
            yield order[start : start + size], int(counts[start + size - 1])
            start += size


def _where(x: Tensor, seen: Tensor) -> Tensor:
    """What is seen of every picture, booleans [B, 1, H, W]."""
    return (seen[:, :1] != 0).expand(len(x), 1, *x.shape[2:])


def nearest(laws: Sequence[SeparableNormal], x: Tensor, seen: Tensor) -> SeparableNormal:
    """A copy of the law, at the ridge, whose E[x | y] is nearest to held-out x [N, C, H, W] beside what is `seen`."""
    tried = [(error, ridge, law) for law in laws for ridge, error in law.errors(x, seen).items()]
    _, ridge, law = min(tried, key=lambda each: each[0])
    found = deepcopy(law)
    found.ridge.fill_(ridge)
    return found


def _most(pixels: int) -> int:
    """How many pixels at most are read."""
    return min(pixels, max(1, READ // pixels))


def _root(rows: Tensor, most: int) -> Tensor:
    """R [r, P] with R'R = rows' rows, or its best approximation of that rank."""
    pixels = rows.shape[1]
    if most < min(rows.shape):
        values, axes = torch.linalg.eigh(rows.T @ rows)
        found = (axes[:, -most:] * values[-most:].clamp(min=0).sqrt()).T
    else:
        found = torch.linalg.qr(rows, mode="r").R if len(rows) > pixels else rows
    return torch.cat([found, found.new_zeros(most - len(found), pixels)])
