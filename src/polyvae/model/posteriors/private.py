"""A posterior of a latent that modalities share and of one that each has to itself, as a mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.distributions import Distribution

from polyvae.model.distributions.experts import Located, Strata
from polyvae.model.families.real import FLOOR, positive
from polyvae.model.posteriors.experts import Experts, each
from polyvae.model.vae import Conditional, Values


class SharedAndPrivate(nn.Module):
    """q(z, w_1 .. w_M | x_A), a mixture over the modalities m in A that a row has.

    q_m = q(z, w_m | x_m) prod_{n in A, not m} r_n(w_n) prod_{n not in A} p(w_n)

    z is shared, w_m belongs to modality m. Where another modality's expert speaks of z, w_n is drawn from a learned
    r_n, N(0, s_n^2) or a Laplace law of such a scale, which knows nothing of x_n: what the modalities have in common
    can come through z alone. p(w_n), of scale 1, stands for a modality that is missing.

    `experts` are laws of z and w_m, one after the other, z of `shared` dimensions and w_m of `private`. The paper mixes
    the experts of z alone in its density; this is the density of the mixture of all, whose bound is no looser.

    Palumbo, Daunhawer, Vogt: MMVAE+: Enhancing the Generative Quality of Multimodal VAEs without Compromises, 2023.
    """

    def __init__(self, experts: Mapping[str, Conditional], shared: int, private: int) -> None:
        super().__init__()
        self.mixture = Experts(experts, each(tuple(experts)))
        self.given = self.mixture.given
        self.sizes = (shared, private)
        self.shapes = {"z": (shared,), **{f"w_{name}": (private,) for name in experts}}
        self.raw_scales = nn.Parameter(torch.zeros(len(experts), private))  # of r: it starts as the prior

    def forward(self, values: Values) -> Distribution:
        laws, there = self.mixture.laws(values)
        rows, modalities = there.shape
        some = there.any(1, keepdim=True)
        weights = (there | ~some).to(laws.loc.dtype)
        own = torch.eye(modalities, dtype=torch.bool, device=there.device)
        speaks = (own & there.unsqueeze(1)).unsqueeze(-1)  # [B, m, n, 1]: n = m, and has something to say
        others = torch.where(there.unsqueeze(-1), positive(self.raw_scales, FLOOR), 1.0)  # [B, n, private]
        parts = []
        for value, unread in ((laws.loc, torch.zeros_like(others)), (laws.scale, others)):
            shared, private = value.split(self.sizes, 2)
            shared = torch.where(there.unsqueeze(-1), shared, 0.0 if value is laws.loc else 1.0)
            private = torch.where(speaks, private.unsqueeze(1), unread.unsqueeze(1)).view(rows, modalities, -1)
            parts.append(torch.cat([shared, private], 2))
        law: Located = type(laws)(*parts, validate_args=False)
        return Strata(weights / weights.sum(1, keepdim=True), law)
