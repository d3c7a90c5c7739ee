"""Networks over counts whose total, the library size, is a value of its own: what it scales, and what guesses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polyvae.model.draw import Values
from polyvae.model.precision import full


class Shares(nn.Module):
    """A decoder's network that shares out a library size: log mu = log n + log softmax(raw + log start).

    `net` makes raw [B, S, *rest] of all inputs but the last, its first `features` the logits of shares that sum to one
    over the example, the rest left as they are; `log_size` makes log n [B, 1] of the last input. What comes out is
    (log mu - log start) / spread: the family has its start, `log_start` [features], and its `spread` by itself.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    log_start: Tensor
    spread: Tensor

    def __init__(
        self,
        net: nn.Module,
        features: int,
        log_size: nn.Module,
        log_start: Tensor | None = None,
        spread: Tensor | None = None,
    ) -> None:
        super().__init__()
        start = torch.zeros(features) if log_start is None else log_start.clone()
        self.register_buffer("log_start", start, persistent=False)
        self.register_buffer("spread", torch.ones(features) if spread is None else spread.clone(), persistent=False)
        self.net = net
        self.features = features
        self.log_size = log_size

    def forward(self, *tensors: Tensor) -> Tensor:
        *given, size = tensors
        raw = full(self.net(*given))
        start, spread = (values.view(-1, *[1] * (raw.ndim - 2)) for values in (self.log_start, self.spread))
        logits = raw[:, : self.features] + start
        shares = logits.flatten(1).log_softmax(1) + self.log_size(size)
        return torch.cat([(shares.view_as(logits) - start) / spread, raw[:, self.features :]], 1)

    def extra_repr(self) -> str:
        return f"features={self.features}"


class LogTotal(nn.Module):
    """The logarithm of an observed total; of an empty example that of 1."""

    def forward(self, total: Tensor) -> Tensor:
        return total.clamp(min=1).log()


class LogNormalSize(nn.Module):
    """log n = centre + scale l of a standardised latent l [B, 1]: with l standard normal, n is log-normal.

    `start` sets the two to the moments of the log totals of some examples.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, latent: Tensor) -> Tensor:
        return self.centre + self.scale * latent

    def standardised(self, x: Tensor) -> Tensor:
        """The latent at which n is the total of x, [B, ...] -> [B, 1]."""
        return (log_totals(x) - self.centre) / self.scale

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Sets centre and scale to mean and standard deviation of the log totals of x [N, ...]."""
        totals = log_totals(values["x"])
        self.centre.copy_(totals.mean())
        # Totals that are all alike would leave the latent nothing to say, and its encoder nothing to divide by.
        self.scale.copy_(totals.std(correction=0).clamp(min=0.01))


class SizeEncoder(nn.Module):
    """A posterior's network of the standardised latent: `net` reads x and the latent at its total, and adds to that."""

    def __init__(self, net: nn.Module, size: LogNormalSize) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        latent = self.size.standardised(x)
        raw = self.net(x, latent)
        return torch.cat([raw[:, :1] + latent, raw[:, 1:]], 1)


def log_totals(x: Tensor) -> Tensor:
    """log of the sum of each example, at least that of 1: [B, ...] -> [B, 1]."""
    return x.flatten(1).sum(1, keepdim=True).clamp(min=1).log()
