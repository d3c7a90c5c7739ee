"""The posterior of a pairwise coupled prior: an expert for each modality, and the prior's couplings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.names import kind
from polyvae.model.distributions.pairwise import Gibbs, Pairwise
from polyvae.model.parts import given
from polyvae.model.priors.pairwise import EVALUATION, TRAINING, Coupling
from polyvae.model.vae import Values


class PairwisePosterior(nn.Module):
    """q(z_1 .. z_M | x) proportional to p(z_1 .. z_M) prod_i exp(nu_i(x_i)' T(z_i)), T(z) = [z, z^2].

    exp(nu_i' T(z_i)) is proportional to N(z_i; mu, diag s^2), the law that expert i makes of its modality: nu_i = [mu /
    s^2, -1 / (2 s^2)]. It is a product of experts whose prior is another expert. `experts`: by latent, in the order of
    the prior's, parts whose laws are normal with independent values. `known`: of a latent, the name of the rows,
    boolean [B], in which its expert is asked; in the others nu_i = 0, and with none asked q is the prior. `coupling`:
    the prior's own module. `training`, `evaluation`: how the law is drawn and normalised in either mode.

    `dropped`: in training mode, the share of rows in which the experts of only some of the known modalities are asked,
    at least one, how many and which drawn at random. What the others know has then to be told by the prior's
    couplings, and heads score all modalities as ever: it is still a posterior, of less, and the bound one on log p of
    all. As the mixture of experts is trained by Shi, Siddharth, Paige, Torr: Variational Mixture-of-Experts
    Autoencoders for Multi-Modal Deep Generative Models, 2019.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        coupling: Coupling,
        known: Mapping[str, str],
        dropped: float = 0.0,
        training: Gibbs = TRAINING,
        evaluation: Gibbs = EVALUATION,
    ) -> None:
        super().__init__()
        if unknown := set(known) - set(experts):
            raise ValueError(f"known says of {sorted(unknown)} where they are known; the experts are {list(experts)}")
        if len(experts) != len(coupling.sizes):
            raise ValueError(f"the couplings are between {len(coupling.sizes)} latents; got experts {list(experts)}")
        if not 0 <= dropped <= 1:
            raise ValueError(f"dropped is a share of the rows, from 0 to 1; got {dropped}")
        self.experts, self.coupling, self.known = nn.ModuleDict(experts), coupling, dict(known)
        self.dropped = dropped
        self.shapes = {name: (size,) for name, size in zip(experts, coupling.sizes, strict=True)}
        read = [name for expert in experts.values() for name in given(expert)]
        self.given = tuple(dict.fromkeys([*read, *known.values()]))
        self.how = {True: training, False: evaluation}

    def forward(self, values: Values) -> Pairwise:
        laws = {name: self._normal(name, expert(values)) for name, expert in self.experts.items()}
        rows = len(next(iter(laws.values())).loc)
        asked = torch.ones(rows, len(laws), dtype=torch.bool, device=self.coupling.factor.device)
        for place, name in enumerate(laws):
            if name in self.known:
                asked[:, place] = values[self.known[name]]
        asked = self._some(asked).unbind(1)
        found = [self._natural(law, there) for law, there in zip(laws.values(), asked, strict=True)]
        nu1, nu2 = (torch.cat(each, -1) for each in zip(*found, strict=True))
        return Pairwise(self.coupling(), self.how[self.training], (nu1, nu2))

    def _some(self, known: Tensor) -> Tensor:
        """Which of the known modalities [B, M] are asked: all, or in training mode only some in a share of the rows."""
        if not (self.training and self.dropped):
            return known
        order = (torch.rand(known.shape, device=known.device) + ~known).argsort(1).argsort(1)  # the known ones first
        most = (known.sum(1, keepdim=True) - 1).clamp(min=1)
        count = 1 + (torch.rand(len(known), 1, device=known.device) * most).floor()
        whole = torch.rand(len(known), 1, device=known.device) >= self.dropped
        return known & (whole | (order < count))

    def _normal(self, name: str, law: Distribution) -> Normal:
        normal = law.base_dist if isinstance(law, Independent) else None
        if not isinstance(normal, Normal) or law.event_shape != self.shapes[name]:
            raise ValueError(
                f"the expert of {name!r} makes normals with independent values of shape {list(self.shapes[name])}; got "
                f"{kind(law)} of shape {list(law.event_shape)}"
            )
        return normal

    @staticmethod
    def _natural(normal: Normal, asked: Tensor) -> tuple[Tensor, Tensor]:
        """nu of a modality, [B, d] and [B, d], where it is asked."""
        precision = normal.scale.square().reciprocal()
        rows = asked.unsqueeze(-1)
        return torch.where(rows, precision * normal.loc, 0.0), torch.where(rows, -0.5 * precision, 0.0)

    def extra_repr(self) -> str:
        return f"given={self.given}, dropped={self.dropped}"
