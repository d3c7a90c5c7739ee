"""Balancing: factors for the terms of an objective, found from how the terms have moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor, nn

from polyvae.checks.names import one_of
from polyvae.checks.ranges import at_least


def forward_difference(window: int) -> list[float]:
    """Weights of the derivative at the oldest of `window` evenly spaced values, exact up to degree window - 1.

    c_0 = -sum_k 1/k, c_k = (-1)^(k + 1) binomial(n, k) / k for k = 1..n, n = window - 1.
    """
    order = window - 1
    later = [(-1) ** (k + 1) * comb(order, k) / k for k in range(1, window)]
    return [-sum(1 / k for k in range(1, window)), *later]


def backward_difference(window: int) -> list[float]:
    """Weights of the derivative at the newest of `window` evenly spaced values, exact up to degree window - 1."""
    return [-weight for weight in reversed(forward_difference(window))]


def least_squares(window: int) -> list[float]:
    """Weights of the slope of the straight line nearest to `window` evenly spaced values."""
    centred = [place - (window - 1) / 2 for place in range(window)]
    return [place / sum(each**2 for each in centred) for place in centred]


@dataclass(frozen=True)
class Mode:
    """How slopes are taken, oldest value first, by what they are divided where normalised, and what the sum is given.

    `longest` is the longest window: differences of a high order multiply the noise of their values.
    """

    slope: Callable[[int], list[float]]
    size: Callable[[Tensor], Tensor]
    epsilon: float
    longest: int | None


def _signed(slopes: Tensor) -> Tensor:
    return slopes.sum() + 1e-8


def _absolute(slopes: Tensor) -> Tensor:
    return slopes.abs().sum().clamp(min=torch.finfo(slopes.dtype).tiny)


MODES = {
    "least-squares": Mode(least_squares, _absolute, 0.0, None),
    "backward": Mode(backward_difference, _absolute, 0.0, 6),
    "authors": Mode(forward_difference, _signed, 1e-8, 6),
}


def _loss_weighted(slopes: Tensor, losses: Tensor, beta: float, mode: Mode) -> Tensor:
    # f exp(beta s) as exp(beta s + log f); a loss that is not positive has no share, unless none is positive.
    return beta * slopes + losses.clamp(min=torch.finfo(losses.dtype).tiny).log()


VARIANTS: dict[str, Callable[[Tensor, Tensor, float, Mode], Tensor]] = {
    "original": lambda slopes, losses, beta, mode: beta * slopes,
    "normalised": lambda slopes, losses, beta, mode: beta * slopes / mode.size(slopes),
    "loss-weighted": _loss_weighted,
}


class SoftAdapt(nn.Module):
    """Factors that sum to one and favour the terms that fall most slowly: a softmax of the slopes of recent values.

    a_i = exp(beta s_i) / sum_j exp(beta s_j), s_i the slope of term i over the last `window` steps, in units of the
    term a step. `variant`: "original"; "normalised", where s_i / sum_j |s_j| takes the place of s_i; "loss-weighted",
    where each exponential is multiplied by the window's mean of its term (which then has to be positive). A negative
    `beta` favours what falls fastest.

    `mode`: "least-squares", the slope of the line through the window, least moved by noise; "backward", the
    finite difference of order window - 1 at the newest value; "authors", as the method's authors coded it: the
    difference at the *oldest* value, a normaliser that sums with signs, which turns the ranking round when terms fall,
    and 1e-8 added to sums.

    Called with the terms' values by name, scalars; returns the factor of each. In training mode every call is a step of
    the history, the factors are computed anew every `frequency` steps, held in between, and equal until the window is
    full; in evaluation mode the current ones are returned. Over several processes the history holds the means over all
    their examples, of which each stands for `counted`. History and factors are buffers, so a resumed run continues
    them. ValueError for an unknown variant or mode, a window below 2 (above 6 for differences), a frequency below 1,
    fewer than two names.

    Heydari, Thompson, Mehmood: SoftAdapt: Techniques for Adaptive Loss Weighting of Neural Networks with Multi-Part
    Loss Functions, 2019.
    """

    counted = 1

    history: Tensor
    factors: Tensor
    steps: Tensor
    slope: Tensor

    def __init__(
        self,
        names: Sequence[str],
        variant: str = "original",
        beta: float = 0.1,
        window: int = 5,
        frequency: int = 1,
        mode: str = "least-squares",
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.beta, self.window, self.frequency = beta, window, frequency
        if len(set(self.names)) < max(2, len(self.names)):
            raise ValueError(f"names are those of two or more terms, each once; got {list(self.names)}")
        self.variant, self.mode = one_of(VARIANTS, variant, "variant"), one_of(MODES, mode, "mode")
        longest = MODES[mode].longest
        if window < 2 or (longest is not None and window > longest):
            limit = f"from 2 to {longest}" if longest is not None else "at least 2"
            raise ValueError(f"window counts the steps that make a slope, {limit} for mode {mode!r}; got {window}")
        at_least("frequency", frequency, 1, "the steps between new factors")
        count = len(self.names)
        self.register_buffer("history", torch.zeros(count, window))
        self.register_buffer("factors", torch.full((count,), 1 / count))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("slope", torch.tensor(MODES[mode].slope(window)), persistent=False)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            with torch.no_grad():
                self._step(torch.stack([losses[name] for name in self.names]).to(self.history))
        # A copy: the loss remembers its factors until it is differentiated, and the next step overwrites these.
        return dict(zip(self.names, self.factors.clone().unbind(), strict=True))

    def computed(self, history: Tensor) -> Tensor:
        """The factors [n] that a full history [n, window], oldest first, asks for."""
        mode = MODES[self.mode]
        scores = VARIANTS[self.variant](history @ self.slope.to(history), history.mean(1), self.beta, mode)
        shares = (scores - scores.max()).exp()
        return shares / (shares.sum() + mode.epsilon)

    def epoch_values(self) -> dict[str, float]:
        """The factors as they stand, by name."""
        return {f"factor_{name}": factor for name, factor in zip(self.names, self.factors.tolist(), strict=True)}

    def _step(self, losses: Tensor) -> None:
        losses = _of_all(losses, self.counted)
        self.history.copy_(torch.cat([self.history[:, 1:], losses[:, None]], 1))
        self.steps += 1
        over = self.steps - self.window
        # On the device: to look at the counter from here would wait for it at every step.
        due = (over >= 0) & (over % self.frequency == 0)
        self.factors.copy_(torch.where(due, self.computed(self.history), self.factors))

    def extra_repr(self) -> str:
        return (
            f"{list(self.names)}, {self.variant!r}, beta={self.beta}, window={self.window}, "
            f"frequency={self.frequency}, mode={self.mode!r}"
        )


class GroupBalance(nn.Module):
    """Factors of the divergences of groups of latents, 1 in the mean: what tells more is pressed harder.

    gamma_l = s_l KL_l / mean_k s_k KL_k over the first `steps` training steps, 1 after them

    so that while the weight of all rises, none is given up. `sizes`: s_l by name of the term, how many values the
    latent has. KL_l is that of the batch, over several processes the mean over all their examples, of which each
    stands for `counted`. The count of steps is a buffer, so that a resumed run continues it; in evaluation mode it
    stands still. ValueError for no step or a size that is not positive.

    Vahdat, Kautz: NVAE: A Deep Hierarchical Variational Autoencoder, 2020, appendix A.
    """

    counted = 1

    sizes: Tensor
    taken: Tensor

    def __init__(self, sizes: Mapping[str, float], steps: int) -> None:
        super().__init__()
        self.names, self.steps = tuple(sizes), at_least("steps", steps, 1, "training steps")
        if min(sizes.values()) <= 0:
            raise ValueError(f"sizes are how many values a latent has, positive; got {dict(sizes)}")
        self.register_buffer("sizes", torch.tensor([float(size) for size in sizes.values()]), persistent=False)
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        told = _of_all(torch.stack([losses[name] for name in self.names]).detach(), self.counted)
        # A KL that is estimated may be negative, and one of 0 still counts a little.
        weighed = self.sizes * told.clamp(min=torch.finfo(told.dtype).eps)
        factors = torch.where(self.taken < self.steps, weighed / weighed.mean(), torch.ones_like(weighed))
        if self.training:
            self.taken += 1
        return dict(zip(self.names, factors.unbind(), strict=True))

    def extra_repr(self) -> str:
        return f"{dict(zip(self.names, self.sizes.tolist(), strict=True))}, steps={self.steps}"


def _of_all(losses: Tensor, counted: int) -> Tensor:
    """The mean over the examples of all processes, of which this one stands for so many."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return losses
    sums = torch.cat([losses, losses.new_ones(1)]) * counted
    torch.distributed.all_reduce(sums)
    return sums[:-1] / sums[-1]
