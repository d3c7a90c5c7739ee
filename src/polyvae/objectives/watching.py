"""Terms that tell how a training goes, and cost nothing: what is reported alone, and the signs of a collapse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from polyvae.model.draw import Draw
from polyvae.objectives.decoded import BOTH, Source, alike, checked_sources, data_of, decoded, logits
from polyvae.objectives.terms import _distances

FLAT, SURE = 0.05, 0.99


class Told(nn.Module):
    """A term that is reported, moves nobody and costs no pass back."""

    trains_prior = trains_model = False

    def __init__(self, term: Callable[[Draw], Tensor]) -> None:
        super().__init__()
        self.term = term

    @torch.no_grad()
    def forward(self, draw: Draw) -> Tensor:
        return self.term(draw)


class Spread(nn.Module):
    """How different what is decoded from the prior is, as a share of how different the data are, scalar; no gradient.

    The mean squared distance of two decoded means over that of two examples of the batch. Near 0 all draws look alike;
    means lack the likelihood's noise, so that a good model has less than 1. With `given` both are distances within rows
    of the same values of these names, as far as there are such rows: a decoder that is deaf to z cannot hide behind y.
    """

    trains_prior = trains_model = False

    def __init__(self, given: Sequence[str] = ()) -> None:
        super().__init__()
        self.given = tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        pairs = alike(draw, self.given).float().fill_diagonal_(0)
        pairs = torch.where(pairs.any(), pairs, torch.ones_like(pairs).fill_diagonal_(0))
        x, made = data_of(draw), decoded(draw, "prior").detach()[: len(pairs)]
        apart = [(_distances(*[each.flatten(1)] * 2) * pairs.to(each)).sum() for each in (made, x)]
        # Of examples that are all alike nothing can be apart.
        return torch.where(apart[1] > 0, apart[0] / apart[1].clamp(min=1e-12), torch.ones_like(apart[0]))

    def wrong(self, means: Sequence[float]) -> str | None:
        """What the means of the epochs so far say of a collapse: two such epochs after a better one, or ten."""
        # A decoder that has learned nothing yet is no collapse.
        patience = 2 if max(means, default=0.0) >= FLAT else 10
        if len(means) < patience or max(means[-patience:]) >= FLAT:
            return None
        return (
            f"what is decoded from the prior differs {100 * means[-1]:.1f} % as much as the data do: the decoder has "
            "collapsed to a few examples; a smaller critic_rate, spectral or a larger r1 may help"
        )


class Certainty(nn.Module):
    """The discriminator's mean probability of the truth, scalar: 1/2 where it is fooled, 1 where it is sure."""

    trains_prior = trains_model = False

    def __init__(self, critic: nn.Module, sources: Sequence[Source] = BOTH, given: Sequence[str] = ()) -> None:
        super().__init__()
        self.critic = critic
        self.sources, self.given = checked_sources(sources), tuple(given)

    def forward(self, draw: Draw) -> Tensor:
        data, *made = (each.detach() for each in logits(draw, self.critic, self.sources, self.given))
        return (data.sigmoid().mean() + torch.stack([(-each).sigmoid().mean() for each in made]).mean()) / 2

    def wrong(self, means: Sequence[float]) -> str | None:
        """What the means of the epochs so far say of a critic that has won, after two such epochs."""
        if len(means) < 2 or min(means[-2:]) <= SURE:
            return None
        return (
            f"the critic is right with a probability of {means[-1]:.4f} and teaches the decoder little: a smaller "
            "critic_rate, spectral or a larger r1 may help"
        )
