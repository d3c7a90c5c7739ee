"""Other gradients of the bounds: the same value, or one near it, whose estimate trains the encoder with less noise.

The gradient has three parts: of what generates at fixed draws, along the path of the draws (through what scores them),
and of log q at fixed draws. Each estimator weighs these in its own way, in one pass forward and one backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.model.draw import Draw, total
from polyvae.objectives.bounds import Bound, grouped, that_count


class StickingTheLanding(Bound):
    """The plain bound at K draws, less noisy: the gradient of log q goes along the path of the draws alone.

    What is left out, the score of q, is 0 in expectation. At the exact posterior the gradient of the encoder is 0 at
    every draw. The bound's divergence is estimated at the draws.

    Roeder, Wu, Duvenaud: Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference,
    2017.
    """

    called = "sticking the landing"
    compiles = False
    plain = True

    def __init__(self, samples: int = 1) -> None:
        super().__init__(samples)

    def estimate(self, draw: Draw) -> Tensor:
        return (log_joint(draw) - path_log_q(draw)).mean(0)


class DoublyReparametrised(Bound):
    """The importance-weighted bound, its gradient for the encoder reparametrised twice.

    sum_k w_k^2 d log (p(x, z_k) / q(z_k | x)) / dz_k dz_k / dphi for the encoder's phi, sum_k w_k d log p(x, z_k) for
    what generates, w the weights, normalised

    The expectation is that of `ImportanceWeighted` where every draw has a gradient; bits, categories and counts that
    are missing not at random are drawn without one, and with them the two differ a little. The noise falls as K grows,
    where that of the latter rises beside its signal. What a prior takes from the encoder, as a VampPrior does, counts
    as generating.

    Of M `groups` it is the mean of their bounds. Of a mixture of experts whose draws come expert by expert each group
    is one expert's, with the mixture's density in its weights. What is left out, the score of q, is then 0 in
    expectation where K = 1, and where experts are alike or far apart; where they overlap in part the gradient for the
    experts is biased, by tens of per cent in small examples, as in the authors' own code. `weighted`: whether the
    heads' weights count, see `Bound`.

    Tucker, Lawson, Gu, Maddison: Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2019.
    """

    called = "the doubly reparametrised bound"
    compiles = False
    weighs_paths = True

    def __init__(self, samples: int = 5, groups: int = 1, weighted: bool = False) -> None:
        super().__init__(samples, groups)
        self.weighted = weighted

    def estimate(self, draw: Draw) -> Tensor:
        log_p, log_q = log_joint(draw), path_log_q(draw)
        log_w = (log_p - log_q).detach()
        share = _shares(log_w, self.groups)
        _weigh_paths(draw, share)
        gradient = _product(share, log_p) - _product(share.square(), log_q)
        return _carried(grouped(log_w, self.groups).mean(0), gradient / self.groups)


class PartiallyImportanceWeighted(Bound):
    """The importance-weighted bound of all M K draws for what generates, the mean of M bounds of K for the encoder.

    Its value is the former, which is the tighter. The encoder's gradient is that of `ImportanceWeighted(K, M)`, whose
    noise is less.

    Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh: Tighter Variational Bounds are Not Necessarily Better, 2018
    (PIWAE).
    """

    called = "the partially importance-weighted bound"
    compiles = False
    weighs_paths = True

    def __init__(self, samples: int = 5, groups: int = 5) -> None:
        super().__init__(samples, groups)

    def estimate(self, draw: Draw) -> Tensor:
        log_p, log_q = log_joint(draw), total(latent.log_q for latent in draw.latents.values())
        log_w = (log_p - log_q).detach()
        generating, encoding = _shares(log_w, 1), _shares(log_w, self.groups)
        encoding = encoding / self.groups
        # A group far behind the best has no share in the first. One below the rounding of their sum changes no gradient
        # and leaves something to be weighed anew.
        numbers = torch.finfo(log_w.dtype)
        generating = generating.maximum(numbers.eps * encoding)
        _weigh_paths(draw, encoding / generating.clamp(min=numbers.tiny))
        return _carried(grouped(log_w, 1)[0], _product(generating, log_p) - _product(encoding, log_q))


class Thermodynamic(Bound):
    """sum_j (b_j+1 - b_j) E_j[log p(x, z) / q(z | x)], b_0 = 0 to b_J = 1, E_j over p(x, z)^b_j q(z | x)^(1 - b_j).

    A left sum of the integral that is log p(x), so below it but for the bias of the expectations, which are those of K
    draws weighed anew; with one part the plain bound. The J `partitions` end at `first` and at even steps of the
    logarithm from there to 1. The gradient needs no path through the draws:

    d E[f] = E[df] + Cov[f, d log p(x, z)^b q(z | x)^(1 - b)]

    ValueError below two samples, which a covariance needs, and for a `first` outside (0, 1).

    Masrani, Le, Wood: The Thermodynamic Variational Objective, 2019.
    """

    called = "the thermodynamic bound"
    compiles = False

    betas: Tensor
    widths: Tensor

    def __init__(self, samples: int = 10, partitions: int = 5, first: float = 0.1) -> None:
        super().__init__(at_least("samples", samples, 2, "draws of the latents"))
        at_least("partitions", partitions, 1, "parts of the interval from 0 to 1")
        if not 0 < first < 1:
            raise ValueError(f"first is where the first part ends, between 0 and 1; got {first}")
        self.partitions, self.first = partitions, first
        ends = [first ** (1 - j / (partitions - 1)) for j in range(partitions)] if partitions > 1 else [1.0]
        points = torch.tensor([0.0, *ends])[:, None, None]
        self.register_buffer("betas", points[:-1], persistent=False)
        self.register_buffer("widths", points.diff(dim=0), persistent=False)

    def estimate(self, draw: Draw) -> Tensor:
        for path in _trained(draw.paths.values()):
            path.register_hook(torch.zeros_like)
        fixed = (replace(each, drawn=each.drawn.detach(), drawn_log_q=None) for each in draw.latents.values())
        log_p, log_q = log_joint(draw), total(latent.log_q for latent in fixed)
        log_w = log_p - log_q
        share = (self.betas * log_w.detach()).softmax(1)
        value = (self.widths * share * log_w.detach()).sum((0, 1))
        apart = log_w.detach() - (share * log_w.detach()).sum(1, keepdim=True)
        between = self.betas * log_p + (1 - self.betas) * log_q
        unbiased = self.samples / (self.samples - 1)  # of a covariance at equal shares
        gradient = self.widths * share * (log_w + unbiased * apart * between)
        return _carried(value, gradient)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, partitions={self.partitions}, first={self.first}"


def log_joint(draw: Draw) -> Tensor:
    """log p(x, z), [K, B] nats."""
    return draw.log_px + total(latent.log_p for latent in draw.latents.values())


def path_log_q(draw: Draw) -> Tensor:
    """log q(z | x), [K, B] nats, with a gradient for the draws alone: what parameters say of log q is left out.

    Where a law is of draws before, as q(z1 | z2, x), it is for these too.
    """
    paths, found = _trained(draw.paths.values()), []
    for latent in draw.latents.values():
        leaf = latent.drawn.detach().requires_grad_(latent.drawn.requires_grad)
        log_q = replace(latent, drawn=leaf, drawn_log_q=None).log_q
        value = log_q.detach()
        if leaf.requires_grad and log_q.requires_grad:
            sources, wanted = [latent.drawn, *paths], [leaf, *paths]
            gradients = torch.autograd.grad(log_q.sum(), wanted, retain_graph=True, allow_unused=True)
            gradients = gradients[0], *_direct(paths, gradients[1:])
            for source, gradient in zip(sources, gradients, strict=True):
                if gradient is not None:
                    moved = gradient * (source - source.detach())
                    value = value + moved.reshape(*value.shape, -1).sum(-1)
        found.append(value)
    return total(found)


def _direct(paths: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """What comes to each path, in the order in which they were drawn, by none of the later ones, which carry it on."""
    found = list(gradients)
    for n in range(len(paths) - 1, 0, -1):
        if found[n] is None or paths[n].grad_fn is None:
            continue
        carried = torch.autograd.grad(paths[n], paths[:n], found[n], retain_graph=True, allow_unused=True)
        for m, by in enumerate(carried):
            own = found[m]
            found[m] = own if own is None or by is None else own - by
    return found


def _shares(log_w: Tensor, groups: int) -> Tensor:
    """What each draw counts in its group, [M * K, B], which sums to 1 there."""
    return that_count(log_w.unflatten(0, (groups, -1)), 1).softmax(1).flatten(0, 1)


def _product(share: Tensor, log: Tensor) -> Tensor:
    """share log, 0 where the share is 0 whatever the logarithm, which is -inf outside a support."""
    return torch.where(share > 0, share * log, 0.0)


def _weigh_paths(draw: Draw, factor: Tensor) -> None:
    """Multiplies by [K, B] what comes back to the draws from what scores them, and not from posteriors drawn later.

    ValueError where a posterior reads a feature of draws, on which both come back together.
    """
    scored = {name: draw.values[name] for name in draw.paths if draw.values[name].requires_grad}
    if len(scored) > 1:
        for name, latent in draw.latents.items():
            if latent.log_q.requires_grad:
                inputs = list(scored.values())
                found = torch.autograd.grad(latent.log_q.sum(), inputs, retain_graph=True, allow_unused=True)
                if any(each is not None for each in found):
                    raise ValueError(
                        f"the posterior of {name!r} reads a feature of other latents, through which this bound cannot "
                        "weigh draws and scores apart; let it read the latents themselves, or take ImportanceWeighted"
                    )
    for z in scored.values():
        z.register_hook(lambda gradient: gradient * factor.view(-1, *[1] * (gradient.ndim - 1)))


def _trained(values: Iterable[Tensor]) -> list[Tensor]:
    return [value for value in values if value.requires_grad]


def _carried(value: Tensor, parts: Tensor) -> Tensor:
    """A value [B] with the gradient of parts [..., B], summed."""
    gradient = parts.sum(tuple(range(parts.ndim - 1)))
    return value.detach() + (gradient - gradient.detach())
