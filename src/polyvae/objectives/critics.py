"""Critics: networks that tell draws of the posterior from a reference, trained beside the model in the same step.

The model's side and the critic's are two terms of one objective, each with the other's gradients out of reach: see
`Fooled` and `Ratio`, and `Discrimination`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from polyvae.model.draw import Draw, Latent
from polyvae.model.groups import Group

USUAL = Group(betas=(0.5, 0.9))
Reference = Callable[[list[Latent]], Tensor]


class Critic(nn.Module):
    """The logit of z [..., d] being a draw of the posterior and not of the reference, [...].

    At its best it is log q(z) / r(z), r the reference. A perceptron of these `widths` with leaky rectifiers, whose
    parameters are a group of the optimiser with the rate, betas and clip of `optimizer`.
    """

    def __init__(self, features: int, widths: Sequence[int] = (256, 256, 256), optimizer: Group = USUAL) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((features, *widths)):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear((features, *widths)[-1], 1))
        self.optimizer = optimizer

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).squeeze(-1)


class Ratio(nn.Module):
    """The critic's log ratio at the draws, [K, B] nats, which moves the model and not the critic.

    With `permuted` for the reference its mean is an estimate of the total correlation of the named `latents` together.

    Kim, Mnih: Disentangling by Factorising, 2018.
    """

    trains_prior = False

    def __init__(self, critic: nn.Module, latents: tuple[str, ...] = ("z",)) -> None:
        super().__init__()
        self.critic = critic
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        return _judged(self.critic, joined(drawn_latents(draw, self.latents)))


class Fooled(nn.Module):
    """-log of the critic's probability of the reference at the draws, [K, B], which moves the model and not the critic.

    The encoder's side of the game, in the form whose gradient does not vanish where the critic is sure.

    Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio: Generative Adversarial Nets, 2014;
    Makhzani, Shlens, Jaitly, Goodfellow, Frey: Adversarial Autoencoders, 2015.
    """

    trains_prior = False

    def __init__(self, critic: nn.Module, latents: tuple[str, ...] = ("z",)) -> None:
        super().__init__()
        self.critic = critic
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        return F.softplus(_judged(self.critic, joined(drawn_latents(draw, self.latents))))


class Discrimination(nn.Module):
    """The critic's own cost, [K, B] nats, which moves the critic and not the model.

    1/2 [-log s(c(z)) - log s(-c(r))], s the logistic function, c the critic's logit, z the draws and r as many of the
    `reference`: `permuted`, or `from_prior`. log 2 where both look alike. Over several processes each has a reference
    from its own share of the batch. ValueError for a batch of one example.
    """

    trains_prior = trains_model = False

    def __init__(self, critic: nn.Module, reference: Reference, latents: tuple[str, ...] = ("z",)) -> None:
        super().__init__()
        self.critic = critic
        self.reference = reference
        self.latents = latents

    def forward(self, draw: Draw) -> Tensor:
        latents = drawn_latents(draw, self.latents)
        with torch.no_grad():
            z, other = joined(latents).detach(), self.reference(latents)
        return (F.softplus(-self.critic(z)) + F.softplus(self.critic(other))) / 2

    def extra_repr(self) -> str:
        return f"reference={self.reference.__name__}, latents={self.latents}"


def permuted(latents: list[Latent]) -> Tensor:
    """Draws of prod_j q(z_j): each dimension of the draws [K, B, d] permuted across the batch by itself."""
    z = joined(latents)
    if z.shape[1] < 2:
        raise ValueError("a critic of permuted draws needs a batch of at least 2 examples; got 1")
    return z.gather(1, torch.rand_like(z).argsort(1))


def from_prior(latents: list[Latent]) -> Tensor:
    """As many draws of the prior, [K, B, d]."""
    drawn = []
    for latent in latents:
        shape = latent.z.shape[:2]
        made = latent.p.sample((shape.numel() // latent.p.batch_shape.numel(),))
        drawn.append(made.reshape(*shape, -1))
    return torch.cat(drawn, -1)


def drawn_latents(draw: Draw, names: tuple[str, ...]) -> list[Latent]:
    """The latents of these names; ValueError for one that is not drawn."""
    found = [draw.latents[name] for name in names]
    for latent in found:
        if latent.summed is not None or latent.given is not False:
            raise ValueError(f"a critic looks at draws, and {latent.name!r} is given or summed over")
    return found


def joined(latents: list[Latent]) -> Tensor:
    """The draws of latents side by side, [K, B, d]."""
    return torch.cat([latent.z.flatten(2) for latent in latents], -1)


def _judged(critic: nn.Module, z: Tensor) -> Tensor:
    """The critic's logit with parameters that take no gradient."""
    return functional_call(critic, {name: value.detach() for name, value in critic.named_parameters()}, (z,))
