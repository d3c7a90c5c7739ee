"""What trains models of several modalities: divergences of what experts make together, and bounds of subsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.experts import Joined, Strata
from polyvae.model.draw import Latent, total
from polyvae.model.presence import present
from polyvae.model.vae import Draw, Values
from polyvae.objectives.schedules import Step


class ExpertKL(nn.Module):
    """sum_m KL(q(z | x_A) || q(z | x_m)) over the experts of the modalities A that a row has, nats [K, B].

    It teaches each expert to say of z what all say together, and holds these to what each can tell.

    Suzuki, Nakayama, Matsuo: Joint Multimodal Learning with Deep Generative Models, 2017; Hwang, Kim, Hong, Kim:
    Multi-View Representation Learning via Total Correlation Objective, 2021.
    """

    divergence = True
    trains_prior = False

    def __init__(self, latent: str = "z") -> None:
        super().__init__()
        self.latent = latent

    def forward(self, draw: Draw) -> Tensor:
        latent = draw.latents[self.latent]
        q = latent.q
        if not isinstance(q, Joined):
            raise ValueError(f"ExpertKL needs experts that make one law of {self.latent!r} together; got {q}")
        own = type(q.base_dist)(q.base_dist.loc.unsqueeze(1), q.base_dist.scale.unsqueeze(1), validate_args=False)
        found = kl_divergence(own, q.experts.base_dist).sum(-1)
        return latent.per_draw((found * q.there).sum(1), "the divergence")


class ComponentKL(nn.Module):
    """sum_s w_s KL(q_s || p) over the components of a mixture, nats [K, B]: no less than the mixture's own divergence.

    Other latents count with their divergence as `KL` has it.

    Sutter, Daunhawer, Vogt: Generalized Multimodal ELBO, 2021.
    """

    divergence = True

    def forward(self, draw: Draw) -> Tensor:
        return total(self._of(latent) for latent in draw.latents.values())

    @staticmethod
    def _of(latent: Latent) -> Tensor:
        q = latent.q
        if not isinstance(q, Strata):
            return latent.kl
        parts = kl_divergence(q.component_distribution, latent.p.expand(q.component_distribution.batch_shape))
        return latent.per_draw((q.mixture_distribution.probs * parts).sum(-1), "the divergence")


class SubsetBounds(nn.Module):
    """An objective summed over subsets of the modalities: all that a row has, each alone, some drawn at random.

    In a subset's turn the others are missing: its cost is minus the objective's bound on log p(x_s). So every expert
    learns to speak alone, as it will have to. `names`: the modalities. `drawn`: how many subsets are drawn for each
    row, each modality in them or not at even chances; of two modalities there is none left to draw, and 0 is usual.
    What is reported beside the loss is of all modalities.

    Wu, Goodman: Multimodal Generative Models for Scalable Weakly-Supervised Learning, 2018, section 2.2.
    """

    def __init__(self, objective: nn.Module, names: Sequence[str], drawn: int = 0) -> None:
        super().__init__()
        self.objective = objective
        self.names = tuple(names)
        self.drawn = at_least("drawn", drawn, 0, "subsets of the modalities")

    @property
    def samples(self) -> int:
        """The draws for each example."""
        return self.objective.samples  # pyright: ignore[reportReturnType]

    def forward(self, model: Callable[..., Draw], batch: Values, step: Step = 0) -> dict[str, Tensor]:
        """The loss to minimise, and every term and the plain bound of all modalities; scalars."""
        found = self.objective(model, batch, step)
        costs = [found["loss"]]
        there = batch[present(self.names[0])]
        for name in self.names:
            only = {present(other): batch[present(other)] & (other == name) for other in self.names}
            costs.append(self.objective(model, {**batch, **only}, step)["loss"])
        for _ in range(self.drawn):
            chosen = torch.rand(len(self.names), len(there), device=there.device) < 0.5
            some = {present(n): batch[present(n)] & mine for n, mine in zip(self.names, chosen, strict=True)}
            costs.append(self.objective(model, {**batch, **some}, step)["loss"])
        return {**found, "loss": total(costs)}

    def extra_repr(self) -> str:
        return f"{', '.join(self.names)}, drawn={self.drawn}"
