"""Posteriors of several modalities, of which any may be missing: experts, and what they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, Normal

from polyvae.model.distributions.experts import Joined, Located, Strata, product
from polyvae.model.presence import present
from polyvae.model.vae import Conditional, Values

Subsets = Sequence[Sequence[str]]


class Experts(nn.Module):
    """q(z | x_A) of those modalities A that a row has, a mixture of products of experts q(z | x_m).

    q(z | x_A) = mean over s of q_s, q_s proportional to prod_{m in s and A} q(z | x_m), times N(z; 0, I) where `prior`

    The mean is over those of the `subsets` s of modalities that have any in A. All modalities as the only subset, which
    is the default, make a product of experts (`Joined`); `each` of them alone a mixture of experts, `every` subset a
    mixture of products (`Strata`). Of a row without modalities it is N(0, I). A product is of normals; experts alone
    may follow a Laplace law. `joint`: a law given all modalities, in the place of the product in rows that have them.

    Wu, Goodman: Multimodal Generative Models for Scalable Weakly-Supervised Learning, 2018; Shi, Siddharth, Paige,
    Torr: Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models, 2019; Sutter, Daunhawer,
    Vogt: Generalized Multimodal ELBO, 2021; `joint`: Suzuki, Nakayama, Matsuo: Joint Multimodal Learning with Deep
    Generative Models, 2017.
    """

    members: Tensor

    def __init__(
        self,
        experts: Mapping[str, Conditional],
        subsets: Subsets | None = None,
        prior: bool = False,
        joint: Conditional | None = None,
    ) -> None:
        super().__init__()
        names = tuple(experts)
        subsets = (names,) if subsets is None else tuple(tuple(each) for each in subsets)
        if not subsets or any(not each or not set(each) <= set(names) for each in subsets):
            raise ValueError(f"subsets hold some of the modalities {list(names)} each; got {list(subsets)}")
        if joint is not None and len(subsets) > 1:
            raise ValueError("a joint law stands in the place of one product; leave the subsets away")
        self.experts = nn.ModuleDict(experts)
        self.joint = joint
        self.prior = prior
        members = torch.tensor([[name in each for name in names] for each in subsets])
        self.register_buffer("members", members, persistent=False)
        self.mixed = len(subsets) > 1
        self.single = bool((members.sum(1) == 1).all()) and not prior
        read = dict.fromkeys(chain.from_iterable(expert.given for expert in experts.values()))
        self.given = (*read, *(present(name) for name in names))

    def forward(self, values: Values) -> Distribution:
        laws, there = self.laws(values)
        if not self.mixed:
            return self._product(values, laws, there & self.members[0])
        found = there.unsqueeze(1) & self.members  # [B, S, M]
        some = found.any(2)
        weights = (some | ~some.any(1, keepdim=True)).to(laws.loc.dtype)
        return Strata(weights / weights.sum(1, keepdim=True), self._components(laws, found))

    def laws(self, values: Values) -> tuple[Located, Tensor]:
        """The experts' laws, batch shape [B, M, d], and which of them have something to read, [B, M].

        ValueError for a law that is no normal or Laplace law of independent values.
        """
        made = [_located(name, expert(values)) for name, expert in self.experts.items()]
        loc, scale = (torch.stack([getattr(each, of) for each in made], 1) for of in ("loc", "scale"))
        there = torch.stack([values[present(name)] for name in self.experts], 1)
        return type(made[0])(loc, scale, validate_args=False), there

    def _components(self, laws: Located, found: Tensor) -> Located:
        if not self.single:
            _check_normal(laws)
            return product(laws.loc.unsqueeze(1), laws.scale.unsqueeze(1), found, self.prior)
        of = self.members.to(torch.int64).argmax(1)  # the expert of each subset
        some = found.any(2).unsqueeze(-1)
        loc, scale = torch.where(some, laws.loc[:, of], 0.0), torch.where(some, laws.scale[:, of], 1.0)
        return type(laws)(loc, scale, validate_args=False)

    def _product(self, values: Values, laws: Located, there: Tensor) -> Joined:
        if isinstance(laws, Laplace):
            _check_normal(laws)
        made = product(laws.loc, laws.scale, there, self.prior)
        if self.joint is not None:
            own, whole = _located("joint", self.joint(values)), there.all(1, keepdim=True)
            loc, scale = (torch.where(whole, getattr(own, of), getattr(made, of)) for of in ("loc", "scale"))
            made = Normal(loc, scale, validate_args=False)
        return Joined(made, Independent(laws, 1, validate_args=False), there)

    def extra_repr(self) -> str:
        return f"{len(self.members)} subsets of {', '.join(self.experts)}" + (", with the prior" if self.prior else "")


def each(names: Sequence[str]) -> Subsets:
    """Every modality alone."""
    return [(name,) for name in names]


def every(names: Sequence[str]) -> Subsets:
    """Every subset of the modalities but the empty one."""
    return [found for size in range(1, len(names) + 1) for found in combinations(names, size)]


def _located(name: str, law: Distribution) -> Located:
    base = law.base_dist if isinstance(law, Independent) else law
    if not isinstance(base, (Normal, Laplace)) or len(law.event_shape) != 1:
        raise ValueError(
            f"the expert of {name!r} is a normal or a Laplace law of a vector of independent values; got {law}"
        )
    return base


def _check_normal(laws: Located) -> None:
    if not isinstance(laws, Normal):
        raise ValueError("a product of experts is one of normals; Laplace laws make a mixture of experts alone")
