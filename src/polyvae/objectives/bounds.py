"""Bounds on log p(x) as objectives: functions of the log-weights log p(x, z_k) - log q(z_k | x) of K draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from math import inf, isnan, log
from numbers import Real

import torch
from torch import Tensor, nn

from polyvae.checks.ranges import at_least
from polyvae.model.draw import first_heads
from polyvae.model.vae import Draw, Values
from polyvae.objectives.objective import report
from polyvae.objectives.schedules import Step


class Bound(nn.Module, ABC):
    """Minus a bound on log p(x) or an estimate of it, in nats, averaged over the batch; `groups` of `samples` draws.

    It is the bound itself, so every head counts once: ValueError for one with another weight than 1, or a second head
    of one value, which no bound holds and which it would not train; also for a latent that is summed over. With the
    attribute `weighted` log p of each head is multiplied by its weight in what is minimised, which then bounds nothing;
    what is reported is without, and so is the loss in evaluation mode, by which the best epoch is chosen.

    The attribute `samples` counts all draws. `called` is what errors say of it. `compiles` is False where gradients
    are moved by hooks, which a compiled step would leave out. `plain` says that it estimates the plain bound: any other
    chooses the best epoch itself.
    """

    called = "the importance-weighted bound"
    compiles = True
    plain = False
    weighted = False

    def __init__(self, samples: int, groups: int = 1) -> None:
        super().__init__()
        at_least("samples", samples, 1, "draws of the latents")
        self.groups = at_least("groups", groups, 1, "groups of draws")
        self.samples = samples * groups

    def forward(self, model: Callable[..., Draw], batch: Values, step: Step = 0) -> dict[str, Tensor]:
        """The loss to minimise, reconstruction and divergence, and the plain bound; scalars."""
        draw = model(batch, self.samples)
        self._check(draw)
        terms = {"reconstruction": -draw.weighed(draw.log_px).mean(), "kl": draw.weighed(draw.kl).mean()}
        return report(-self.estimate(_weighted(draw) if self.weighted and self.training else draw).mean(), terms, draw)

    @abstractmethod
    def estimate(self, draw: Draw) -> Tensor:
        """The bound at M * K draws [B], with the gradient that trains."""

    def _check(self, draw: Draw) -> None:
        for name, latent in draw.latents.items():
            if latent.summed is not None:
                raise ValueError(
                    f"{self.called} sums over {name!r} whatever its posterior says, which would not be trained; take "
                    "an Objective"
                )
        first = first_heads(draw.heads)
        for name, head in draw.heads.items():
            if name not in first:
                raise ValueError(
                    f"{self.called} holds one head a value: {name!r} is a second one of {head.of!r} and would not be "
                    "trained; take an Objective with Reconstruction"
                )
            if head.weight != 1 and not self.weighted:
                raise ValueError(
                    f"{self.called} has no weights: the head {name!r} has {head.weight}; take weight 1, "
                    "weighted=True where there is one, or an Objective with Reconstruction"
                )

    def extra_repr(self) -> str:
        return f"samples={self.samples // self.groups}" + ("" if self.groups == 1 else f", groups={self.groups}")


class ImportanceWeighted(Bound):
    """-log 1/K sum_k p(x, z_k) / q(z_k | x), averaged over M `groups` of K `samples` and over the batch, in nats.

    With K = 1 it is the plain bound at M draws, its divergence estimated; with M = 1 the importance-weighted bound.
    More groups make the encoder's gradient less noisy, more samples the bound tighter. Of a mixture of M experts, whose
    draws come expert by expert, each group is one expert's. `weighted`: whether the heads' weights count, see `Bound`.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016; of several groups Rainforth, Kosiorek, Le,
    Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018 (MIWAE).
    """

    def __init__(self, samples: int = 5, groups: int = 1, weighted: bool = False) -> None:
        super().__init__(samples, groups)
        self.weighted = weighted

    def estimate(self, draw: Draw) -> Tensor:
        return grouped(draw.log_weight, self.groups).mean(0)


class Combined(Bound):
    """-beta times the plain bound - (1 - beta) log 1/K sum_k p(x, z_k) / q(z_k | x), in nats.

    The first keeps a signal for the encoder where that of the second drowns in noise. The plain bound is that of
    `Draw.elbo`, its divergence in closed form where one is known. ValueError for a beta outside [0, 1].

    Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018
    (CIWAE).
    """

    def __init__(self, samples: int = 5, beta: float = 0.5) -> None:
        super().__init__(samples)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is the share of the plain bound, from 0 to 1; got {beta}")
        self.beta = beta

    def estimate(self, draw: Draw) -> Tensor:
        return self.beta * draw.elbo + (1 - self.beta) * draw.importance_bound

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta}"


class Renyi(Bound):
    """-1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha), w_k = p(x, z_k) / q(z_k | x), in nats.

    It falls as alpha rises: the largest log w_k at alpha = -inf, the importance-weighted bound at 0, the plain bound at
    1, its limit, the smallest log w_k at inf. Below 0 it is no bound: its expectation may exceed log p(x). ValueError
    where alpha is not a number.

    Li, Turner: Renyi Divergence Variational Inference, 2016.
    """

    called = "the Renyi bound"

    def __init__(self, samples: int = 5, alpha: float = 0.5) -> None:
        super().__init__(samples)
        if not isinstance(alpha, Real) or isnan(alpha):
            raise ValueError(f"alpha is a number, or minus or plus infinity; got {alpha!r}")
        self.alpha = alpha

    def estimate(self, draw: Draw) -> Tensor:
        if self.alpha == 1:
            return draw.log_weight.mean(0)
        if self.alpha in (-inf, inf):
            return draw.log_weight.amax(0) if self.alpha < 0 else draw.log_weight.amin(0)
        # Near alpha = 1 the sum is near 1, and its logarithm is divided by next to nothing: of what is left of log w
        # beside its mean, and without the 1, no digit is lost.
        power, middle = 1 - self.alpha, draw.log_weight.detach().mean(0)
        middle = torch.where(middle.isfinite(), middle, 0.0)
        parts = power * (draw.log_weight - middle)
        near = parts.clamp(-1, 1).expm1().mean(0).log1p()
        far = that_count(parts, 0).logsumexp(0) - log(draw.samples)
        return middle + torch.where(parts.abs().amax(0) < 1, near, far) / power

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, alpha={self.alpha}"


def _weighted(draw: Draw) -> Draw:
    """The draw with each head's score multiplied by its weight."""
    heads = {name: replace(head, log_p=head.weight * head.log_p, weight=1.0) for name, head in draw.heads.items()}
    return replace(draw, heads=heads)


def grouped(log_weight: Tensor, groups: int) -> Tensor:
    """The importance-weighted bound of each of M groups of draws, [M * K, B] -> [M, B]."""
    each = log_weight.unflatten(0, (groups, -1))
    return that_count(each, 1).logsumexp(1) - log(each.shape[1])


def that_count(log_weight: Tensor, dim: int) -> Tensor:
    """Log-weights, -inf of those whose share along `dim` lies below the square of the rounding: it changes no sum.

    What comes back to such a draw would be denormal numbers, with which a CPU computes several times slower; where x
    has thousands of values most draws are hundreds of nats behind the best.
    """
    least = log_weight.detach().amax(dim, keepdim=True) + 2 * log(torch.finfo(log_weight.dtype).eps)
    return torch.where(log_weight < least, -inf, log_weight)
