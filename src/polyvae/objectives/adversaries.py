"""Games over x: a discriminator that tells what is decoded from data, and a likelihood in its features.

Who moves whom, as in Larsen, Sønderby, Larochelle, Winther: Autoencoding beyond Pixels Using a Learned Similarity
Metric, 2016: the encoder learns from the KL and `FeatureLikelihood`, the decoder from `FeatureLikelihood` and
`Deceived`, the discriminator from `Judged` alone. Each term leaves all others without a gradient, and one backward pass
serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, log, pi
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.checks.names import one_of
from polyvae.model.draw import Draw, total
from polyvae.model.laws import repeat
from polyvae.objectives.decoded import (
    BOTH,
    Source,
    alike,
    beside_of,
    checked_sources,
    data_of,
    decoded,
    decoded_at,
    frozen,
    head_of,
    logits,
)


class Game(NamedTuple):
    """What logits cost: the discriminator at data, the discriminator at what is decoded, and the decoder there."""

    data: Callable[[Tensor], Tensor]
    made: Callable[[Tensor], Tensor]
    decoder: Callable[[Tensor], Tensor]


GAMES: dict[str, Game] = {
    "minimax": Game(lambda c: F.softplus(-c), F.softplus, lambda c: -F.softplus(c)),
    "non-saturating": Game(lambda c: F.softplus(-c), F.softplus, lambda c: F.softplus(-c)),
    "hinge": Game(lambda c: F.relu(1 - c), lambda c: F.relu(1 + c), lambda c: -c),
    "wasserstein": Game(lambda c: -c, lambda c: c, lambda c: -c),
}


class FeatureLikelihood(nn.Module):
    """-log N(f(x); f(x~), s^2 I) in nats, [K, B]: f the discriminator's features, x~ the mean decoded from z.

    It moves encoder and decoder, not the discriminator. `encoder`: the factor of its gradient for the encoder alone; of
    a term that weighs gamma, 1 / gamma leaves the encoder the likelihood as it is. `scale`: s, 1 in the paper, or None
    for the best one of each batch, which does not change with the scale of the features.

    Larsen, Sønderby, Larochelle, Winther: Autoencoding beyond Pixels Using a Learned Similarity Metric, 2016.
    """

    trains_prior = False

    def __init__(
        self, critic: nn.Module, given: Sequence[str] = (), encoder: float = 1.0, scale: float | None = 1.0
    ) -> None:
        super().__init__()
        self.critic = critic
        self.given = tuple(given)
        if not 0 < encoder < inf:
            raise ValueError(f"encoder is a positive factor of a gradient; got {encoder}")
        self.encoder = encoder
        self.scale = scale

    def forward(self, draw: Draw) -> Tensor:
        made = draw.heads[head_of(draw)].p.mean if self.encoder == 1 else decoded_at(draw, self._scaled(draw))
        with torch.no_grad():
            wanted, _ = frozen(self.critic, data_of(draw), beside_of(draw, self.given, 1))
        found, _ = frozen(self.critic, made, beside_of(draw, self.given, draw.samples))
        apart = found.unflatten(0, (draw.samples, -1)) - wanted
        square, count = apart.square().sum(-1), wanted.shape[1]
        variance = self._variance(square.mean() / count)
        return 0.5 * (square / variance + count * (log(2 * pi) + variance.log()))

    def _variance(self, best: Tensor) -> Tensor:
        return best.clamp(min=1e-6) if self.scale is None else torch.full_like(best, self.scale**2)

    def _scaled(self, draw: Draw) -> dict[str, Tensor]:
        """The draws, through which the gradient passes multiplied."""
        z = {name: draw.values[name] for name in draw.latents}
        return {name: each.detach() + self.encoder * (each - each.detach()) for name, each in z.items()}

    def extra_repr(self) -> str:
        return f"given={self.given}, encoder={self.encoder:g}, scale={self.scale}"


class Deceived(nn.Module):
    """The decoder's side of a `game`, [K, B], summed over what is decoded from each of `sources`.

    From the draws of the posterior, which it takes as they are, and from as many of the prior. It moves the decoder
    alone. "minimax": log(1 - D), D the discriminator's probability of data; "non-saturating": -log D, whose gradient
    does not vanish where the discriminator is sure; "hinge" and "wasserstein": minus the logit.

    Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio: Generative Adversarial Nets, 2014;
    Lim, Ye: Geometric GAN, 2017; Arjovsky, Chintala, Bottou: Wasserstein GAN, 2017.
    """

    trains_prior = False

    def __init__(
        self, critic: nn.Module, game: str = "minimax", sources: Sequence[Source] = BOTH, given: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.critic = critic
        self.game = one_of(GAMES, game, "game")
        self.sources, self.given = checked_sources(sources), tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        beside = beside_of(draw, self.given, draw.samples)
        logits = (frozen(self.critic, decoded(draw, source), beside)[1] for source in self.sources)
        return total(GAMES[self.game].decoder(each).mean(1) for each in logits).unflatten(0, (draw.samples, -1))

    def extra_repr(self) -> str:
        return f"{self.game!r}, sources={self.sources}, given={self.given}"


class Judged(nn.Module):
    """The discriminator's own cost in a `game`, [K, B], which moves the discriminator and nothing else.

    Of "minimax" and "non-saturating" -log D(x) - log(1 - D(x~)) - log(1 - D(x_p)), x~ and x_p what is decoded from
    draws of posterior and prior, as far as they are `sources`; the mean over patches where it judges patches.
    """

    trains_prior = trains_model = False

    def __init__(
        self, critic: nn.Module, game: str = "minimax", sources: Sequence[Source] = BOTH, given: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.critic = critic
        self.game = one_of(GAMES, game, "game")
        self.sources, self.given = checked_sources(sources), tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        game = GAMES[self.game]
        data, *made = logits(draw, self.critic, self.sources, self.given)
        return game.data(data).mean(-1) + total(game.made(each).mean(-1) for each in made)

    def extra_repr(self) -> str:
        return f"{self.game!r}, sources={self.sources}, given={self.given}"


class Slope(nn.Module):
    """What a discriminator c pays for being steep, which moves it alone, [B] or [K * B].

    "data": |dc / dx|^2 / 2 at the data (R1); "between": (|dc / dx| - 1)^2 at points between data and what is decoded
    from the prior, evenly drawn. Of patches c is the mean.

    Mescheder, Geiger, Nowozin: Which Training Methods for GANs Do Actually Converge?, 2018; Gulrajani, Ahmed, Arjovsky,
    Dumoulin, Courville: Improved Training of Wasserstein GANs, 2017.
    """

    trains_prior = trains_model = False
    compiles = False  # it differentiates as it goes

    def __init__(self, critic: nn.Module, at: Literal["data", "between"] = "data", given: Sequence[str] = ()) -> None:
        super().__init__()
        self.critic = critic
        self.at = one_of(("data", "between"), at, "at")
        self.given = tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        samples = 1 if self.at == "data" else draw.samples
        x = repeat(data_of(draw), samples)
        if self.at == "between":
            share = torch.rand(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
            x = torch.lerp(decoded(draw, "prior").detach(), x, share)
        # Validation keeps no graphs; of copies made outside its mode they can be kept.
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            beside = [each.detach().clone() for each in beside_of(draw, self.given, samples)]
            height = self.critic(x, *beside)[1].mean(1).sum()
            (slope,) = torch.autograd.grad(height, x, create_graph=True)
        square = slope.flatten(1).square().sum(1)
        # The root's gradient is infinite at 0.
        return 0.5 * square if self.at == "data" else ((square + 1e-12).sqrt() - 1).square()

    def extra_repr(self) -> str:
        return f"{self.at!r}, given={self.given}"


class MeanFeatures(nn.Module):
    """|E f(x) - E f(x_p)|^2 / 2 over the batch, [B]: data and what is decoded from the prior, in a network's features.

    It moves the decoder alone. With `given` both means are those of the rows whose values of these names are the same,
    such as those of one class. Means of B examples differ by chance, which adds their variance over B.

    Bao, Chen, Wen, Li, Hua: CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training, 2017, who average the
    features over past batches too.
    """

    trains_prior = False

    def __init__(self, critic: nn.Module, given: Sequence[str] = ()) -> None:
        super().__init__()
        self.critic = critic
        self.given = tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        with torch.no_grad():
            wanted, _ = frozen(self.critic, data_of(draw), [])
        found, _ = frozen(self.critic, decoded(draw, "prior"), [])
        apart = found.unflatten(0, (draw.samples, -1)).mean(0) - wanted
        same = alike(draw, self.given).to(apart)
        return 0.5 * (same / same.sum(1, keepdim=True) @ apart).square().sum(1)

    def extra_repr(self) -> str:
        return f"given={self.given}"


class ClassifierCost(nn.Module):
    """A classifier's own cost at the data, [B]: minus log its probability of the label y, or |y - c(x)|^2 / 2.

    The first of labels as vectors with a one, the second of any other vectors, `labels` False. It moves the classifier
    and nothing else.
    """

    trains_prior = trains_model = False

    def __init__(self, classifier: nn.Module, labels: bool = True, of: str = "y") -> None:
        super().__init__()
        self.classifier = classifier
        self.labels = labels
        self.of = of

    def forward(self, draw: Draw) -> Tensor:
        found, y = self.classifier(data_of(draw))[1], draw.values[self.of]
        if self.labels:
            return F.cross_entropy(found, y.to(found), reduction="none")
        return 0.5 * (found - y).square().sum(1)
