"""A variational autoencoder as conditional distributions over named values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from polyvae.model.draw import Draw, Latent, Observed, Values, check_law, first_heads, log_likelihood, repeat
from polyvae.model.precision import full, full_precision

__all__ = ["VAE", "Conditional", "Draw", "Family", "Head", "Latent", "Observed", "Values"]


class Family(nn.Module, ABC):
    """Turns an unconstrained tensor into a distribution over one event per row."""

    @abstractmethod
    def size(self, features: int) -> int:
        """How many numbers along dimension 1 the network must produce for `features` features."""

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """[B, size(F), *rest] -> a distribution with batch shape [B] and event shape [F, *rest]."""


class Conditional(nn.Module):
    """p(. | given): a network reads named values, a family reads the network.

    `net` is any module called with one tensor per name in `given`, in that order.
    """

    def __init__(self, net: nn.Module, family: Family, given: str | Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.family = family
        self.given = (given,) if isinstance(given, str) else tuple(given)

    def forward(self, values: Values) -> Distribution:
        raw = self.net(*[values[name] for name in self.given])
        # Under mixed precision the network ends in half precision; densities sum over many values and need float32.
        return self.family(full(raw))

    def extra_repr(self) -> str:
        return f"given={self.given}"


class Head(nn.Module):
    """One observed variable: its likelihood, what it explains, how it counts.

    `of` names the value it explains. `weight` multiplies its log-likelihood in training, never in a reported bound.
    `where` names a boolean [B] value; rows that are False are not scored.
    """

    def __init__(self, likelihood: nn.Module, of: str = "x", weight: float = 1.0, where: str | None = None) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.of = of
        self.weight = weight
        self.where = where

    def forward(self, values: Values) -> Distribution:
        return self.likelihood(values)

    def extra_repr(self) -> str:
        return f"of={self.of!r}, weight={self.weight}, where={self.where!r}"


class VAE(nn.Module):
    """A generative model p(z) p(x | z) with an inference model q(z | x).

    Each argument is one part, or an ordered mapping of parts by name. Posteriors stand in the order in which they are
    drawn, priors in the order in which they generate (top level first). A part is a module that maps values to a
    distribution and says in its attribute `given` what it reads. A bare latent is named "z", a bare likelihood is a
    head of "x". Of several heads of one value the first is the model's in every bound; the others are scored beside it.

    `inputs` are the names a batch must hold, `conditions` those that `generate` needs.
    """

    def __init__(
        self,
        posterior: nn.Module | Mapping[str, nn.Module],
        prior: nn.Module | Mapping[str, nn.Module],
        likelihood: nn.Module | Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.posterior = nn.ModuleDict(_named(posterior, "z"))
        self.prior = nn.ModuleDict(_named(prior, "z"))
        heads = _named(likelihood, "x")
        self.heads = nn.ModuleDict({n: h if isinstance(h, Head) else Head(h, of=n) for n, h in heads.items()})
        if set(self.posterior) != set(self.prior):
            raise ValueError(
                f"posteriors {list(self.posterior)} and priors {list(self.prior)} must name the same latents"
            )
        latents = set(self.prior)
        given = self._given_heads | _all_given(self.prior)
        scored = {n for _, h in self._heads() for n in (h.of, h.where) if n is not None}
        if clash := latents & (scored | set(self.heads)):
            raise ValueError(f"{sorted(clash)} name both a latent and an observed value; rename one of them")
        _check_order(self.posterior, "posterior")
        _check_order(self.prior, "prior")
        _check_statistics(self.posterior, self.prior)
        self.conditions = tuple(sorted(given - latents))
        self.inputs = tuple(sorted((given | scored | _all_given(self.posterior)) - latents))
        self._plan = self._order()
        folded = {n for name, (below, prior, _) in self._plan.items() for n in self._reads(name, below, prior)}
        self._repeated = tuple(sorted((folded | self._given_heads) - latents))

    def forward(self, batch: Values, samples: int = 1) -> Draw:
        """Draws K `samples` of every latent for each of B examples and scores every head.

        Raises KeyError where the batch lacks a value, ValueError below one sample and for laws of other shapes than one
        an example, by name.
        """
        self._require(batch, self.inputs)
        _check_count("samples", samples)
        rows, device = batch[self.inputs[0]].shape[0], batch[self.inputs[0]].device
        shape = torch.Size((samples, rows))
        values = {name: repeat(batch[name], samples) for name in self._repeated}
        latents: dict[str, Latent] = {}
        drawn: dict[str, tuple[Distribution, Tensor]] = {}
        for name, (below, _, _) in self._plan.items():
            q = self.posterior[name](values if below else batch)
            check_law(q, f"the posterior of {name!r}", [(samples * rows if below else rows,)], q.event_shape)
            with full_precision(device):
                z = q.rsample(() if below else (samples,))
            drawn[name] = q, z
            values[name] = z if below else z.flatten(0, 1)
        for name, (_, folded, separate) in self._plan.items():
            q, z = drawn[name]
            p = self.prior[name](values if folded else batch)
            check_law(p, f"the prior of {name!r}", [(), (rows,), (samples * rows,)], q.event_shape)
            latents[name] = Latent(q, p, values[name].unflatten(0, shape), z, separate, name)
        heads = {}
        for name, head in self._heads():
            p, x = head(values), batch[head.of]
            check_law(p, f"the likelihood of {name!r}", [(samples * rows,)], x.shape[1:])
            scored = None if head.where is None else batch[head.where]
            with full_precision(device):
                heads[name] = Observed(p, x, log_likelihood(p, x, samples, scored), head.weight, head.of)
        return Draw(samples, {**batch, **{n: values[n] for n in latents}}, latents, heads)

    def encode(self, batch: Values) -> dict[str, Distribution]:
        """Every posterior, lower ones given the means of those above. Deterministic."""
        values = dict(batch)
        posteriors: dict[str, Distribution] = {}
        for name, posterior in self.posterior.items():
            self._require(values, _given(posterior))
            posteriors[name] = posterior(values)
            values[name] = posteriors[name].mean
        return posteriors

    def decode(self, values: Values) -> dict[str, Distribution]:
        """Every head's distribution, given the latents and whatever else it reads; integer codes are embedded first."""
        self._require(values, self._given_heads)
        values = {name: self._embedded(name, value) for name, value in values.items()}
        return {name: head(values) for name, head in self.heads.items()}

    def reconstruct(self, batch: Values) -> dict[str, Distribution]:
        """Every head's distribution at the posterior means. Deterministic."""
        return self.decode({**batch, **{name: q.mean for name, q in self.encode(batch).items()}})

    def generate(self, given: Values | None = None, count: int = 1) -> dict[str, Distribution]:
        """Samples `count` latents from the prior for each row of `given` and returns every head's distribution.

        Rows come as [count * B]: all rows of `given` for the first sample, then for the second. Without `given`, B = 1.
        """
        return self.decode(self.sample_latents(given, count))

    def sample_latents(self, given: Values | None = None, count: int = 1) -> dict[str, Tensor]:
        """Samples `count` latents from the prior for each row of `given`; beside `given`, [count * B, ...].

        Raises ValueError below one sample.
        """
        given = given or {}
        _check_count("count", count)
        self._require(given, self.conditions)
        rows = next(iter(given.values())).shape[0] if given else 1
        values = {name: repeat(value, count) for name, value in given.items()}
        for name, prior in self.prior.items():
            p = prior(values)
            values[name] = p.sample() if p.batch_shape else p.sample((count * rows,))
        return values

    def _embedded(self, name: str, value: Tensor) -> Tensor:
        coded = name in self.posterior and not value.is_floating_point()
        return self.posterior[name].embed(value) if coded else value  # pyright: ignore[reportCallIssue]

    def _heads(self) -> Iterable[tuple[str, Head]]:
        return ((name, head) for name, head in self.heads.items() if isinstance(head, Head))

    @property
    def bounded_given(self) -> tuple[str, ...]:
        """What every bound is conditional on: what priors and the heads that enter it read beside the latents."""
        heads = {name for head in first_heads(self.heads) for name in _given(self.heads[head].likelihood)}  # pyright: ignore
        return tuple(sorted((heads | _all_given(self.prior)) - set(self.prior)))

    @property
    def _given_heads(self) -> set[str]:
        return {name for _, head in self._heads() for name in _given(head.likelihood)}

    def _order(self) -> dict[str, tuple[bool, bool, bool]]:
        """How each latent is drawn: one below each sample above it?, its prior read at folded values?, its KL separate?

        The closed form of KL(q(z | a) || p(z | b)) is a term of the bound only if b is drawn before z.
        """
        plan, drawn, latents = {}, set(), set(self.posterior)
        for name in self.posterior:
            prior = set(_given(self.prior[name])) & latents
            below = bool((prior | set(_given(self.posterior[name]))) & drawn)
            plan[name] = below, below or bool(prior), prior <= drawn
            drawn.add(name)
        return plan

    def _reads(self, name: str, posterior: bool, prior: bool) -> tuple[str, ...]:
        return (_given(self.posterior[name]) if posterior else ()) + (_given(self.prior[name]) if prior else ())

    @staticmethod
    def _require(values: Values, names: Iterable[str]) -> None:
        if missing := [name for name in names if name not in values]:
            raise KeyError(f"the model needs {missing}, the batch holds {sorted(values)}")


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name} counts draws of the latents, at least 1; got {count}")


def _check_statistics(posteriors: nn.ModuleDict, priors: nn.ModuleDict) -> None:
    """ValueError where a prior is made of a posterior's layers that hold statistics of a batch.

    Such a layer would see the data and the prior's pseudo-inputs by turns: its running statistics are those of
    neither, so that the prior in evaluation is not the one that was trained.
    """
    mine = {id(layer) for layer in posteriors.modules() if _has_statistics(layer)}
    for name, prior in priors.items():
        if shared := [type(layer).__name__ for layer in prior.modules() if id(layer) in mine]:
            raise ValueError(
                f"the prior of {name!r} ({type(prior).__name__}) reads the posterior's network, which holds "
                f"{len(shared)} layers of batch statistics ({', '.join(sorted(set(shared)))}), so that it would not be "
                "the same in training and evaluation; take a network without, as conv or residual with norm='group'"
            )


def _has_statistics(layer: nn.Module) -> bool:
    return isinstance(layer, _NormBase) and (isinstance(layer, _BatchNorm) or layer.track_running_stats)


def _named(part: nn.Module | Mapping[str, nn.Module], name: str) -> dict[str, nn.Module]:
    if isinstance(part, nn.ModuleDict):
        return dict(part.items())
    return dict(part) if isinstance(part, Mapping) else {name: part}


def _given(part: nn.Module) -> tuple[str, ...]:
    return tuple(getattr(part, "given", ()))


def _all_given(parts: nn.ModuleDict) -> set[str]:
    return {name for part in parts.values() for name in _given(part)}


def _check_order(parts: nn.ModuleDict, kind: str) -> None:
    names = list(parts)
    for place, name in enumerate(names):
        if late := [n for n in _given(parts[name]) if n in names[place:]]:
            raise ValueError(f"the {kind} of {name!r} is given {late}, not drawn before it; the order is {names}")
