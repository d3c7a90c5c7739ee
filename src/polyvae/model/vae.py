"""A variational autoencoder as conditional distributions over named values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType, NoneType
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import kind
from polyvae.checks.ranges import at_least
from polyvae.model.draw import Draw, Latent, Observed, Values, first_heads
from polyvae.model.guidance import law_of
from polyvae.model.laws import centre, check_fixed_law, check_law, log_likelihood, repeat, sampled, tempered
from polyvae.model.networks.prepared import centring
from polyvae.model.parts import (
    Conditional,
    Family,
    Feature,
    Head,
    apart,
    by_name,
    evaluation_mode,
    given,
    home,
    observed,
)
from polyvae.model.plan import FEATURE, POSTERIOR, Plan
from polyvae.model.precision import as_here, full_precision
from polyvae.model.protocol import Embeds, Starts, check_part, check_statistics, check_values
from polyvae.model.walk import Fixed, Walk, check_fixed, given_or, in_rows

__all__ = ["VAE", "Conditional", "Draw", "Family", "Feature", "Head", "Latent", "Observed", "Values"]

Part = nn.Module | Mapping[str, nn.Module]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class VAE(nn.Module):
    """A generative model p(z) p(x | z) with an inference model q(z | x).

    Each argument is one part, or an ordered mapping of parts by name. Posteriors stand in the order in which they are
    drawn, priors in the order in which they generate (top level first). A part is a module that maps values to a
    distribution and says in its attribute `given` what it reads. A bare latent is named "z", a bare likelihood is a
    head of "x". Of several heads of one value the first is the model's in every bound; the others are scored beside it.

    A part with an attribute `shapes`, latents by name, is one law of all of them in a row, where the other side has a
    law of each. `features` map values to a tensor that other parts read by its name; each is computed once, as soon as
    what it reads is known. Latents in `summed` are discrete: they are not drawn, expectations run over their values.

    `inputs` are the names a batch must hold, `conditions` those that `generate` needs. `trained` is set by `fit` and by
    `Run.load`: what has learned is not started from data again. `polyvae.model.protocol` has all that parts may offer.
    """

    def __init__(
        self,
        posterior: Part,
        prior: Part,
        likelihood: Part,
        features: Mapping[str, nn.Module] | None = None,
        summed: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.trained = False
        if not isinstance(features, (Mapping, nn.ModuleDict, NoneType)):
            raise TypeError(f"features go by name, as {{'h': polyvae.Feature(network, given)}}; got {kind(features)}")
        q, p, heads = by_name(posterior, "z"), by_name(prior, "z"), by_name(likelihood, "x")
        for role, named in {"posterior": q, "prior": p, "likelihood": heads, "feature": features or {}}.items():
            for name, part in named.items():
                check_part(role, name, part)
        self.posterior, self.prior = nn.ModuleDict(q), nn.ModuleDict(p)
        self.heads = nn.ModuleDict({n: h if isinstance(h, Head) else Head(h, of=n) for n, h in heads.items()})
        self.features = nn.ModuleDict(features or {})
        self.plan = Plan(self.posterior, self.prior, self.features, self._given_heads)
        aside = {n for _, h in self._heads() for n in observed(h.likelihood)}
        scored = {n for _, h in self._heads() for n in (h.of, h.where) if n is not None} | aside
        if clash := set(self.plan.latents) & (scored | set(self.heads)):
            raise ValueError(f"{sorted(clash)} name both a latent and an observed value; rename one of them")
        self.summed = frozenset((summed,) if isinstance(summed, str) else summed)
        self._check_single("summed", self.summed)
        self._weighed = {name for name, head in self._heads() if self.summed & self.plan.reads(head.likelihood)}
        check_statistics(self.posterior, self.prior)
        generated = {name for part in self.prior.values() for name in given(part)}
        read = generated | {name for part in self.posterior.values() for name in given(part)}
        self.conditions = tuple(sorted(self.plan.known(self._given_heads | generated)))
        self.inputs = tuple(sorted(self.plan.known(self._given_heads | read) | scored))

    def forward(self, batch: Values, samples: int = 1, fixed: Fixed = NOTHING) -> Draw:
        """Draws K `samples` of every latent for each of B examples and scores every head.

        `fixed`: latents that are given, not drawn, each a value [B, ...] or a pair of it and of the rows, boolean [B],
        in which it is given; in other rows it may be anything.

        Raises KeyError where the batch lacks a value, ValueError below one sample and for laws of other shapes than one
        an example, by name.
        """
        walk = self._walked(batch, samples, fixed)
        heads = {}
        for name, head in self._heads():
            values, samples = walk.scored(head.likelihood)
            p, x = head(values), batch[head.of]
            check_law(p, f"the likelihood of {name!r}", [(samples * walk.count,)], x.shape[1:])
            scored = None if head.where is None else batch[head.where]
            if name in self._weighed:
                check_fixed_law(p, f"the likelihood of {name!r}")
            with full_precision(walk.device):
                log_p = log_likelihood(p, x, samples, scored).repeat(walk.samples // samples, 1)
            heads[name] = Observed(p, x, log_p, head.weight, head.of, scored)
        return self._left(walk, batch, heads)

    def infer(self, batch: Values, samples: int = 1, fixed: Fixed = NOTHING) -> Draw:
        """The same draws of the latents without any head: what they carry is known without decoding."""
        return self._left(self._walked(batch, samples, fixed), batch, {})

    def _walked(self, batch: Values, samples: int, fixed: Fixed) -> Walk:
        self._require(batch, self.inputs)
        at_least("samples", samples, 1, "draws of the latents")
        if fixed:
            self._check_single("fixed", fixed)
        walk = Walk(batch, samples, self.inputs[0], fixed)
        for node in self.plan.nodes:
            if node.kind == FEATURE:
                walk.feature(node, self.features[node.name])
            elif node.kind == POSTERIOR:
                walk.posterior(node, self.posterior[node.name], node.name in self.summed)
            else:
                walk.prior(node, self.prior[node.name], self.plan.unit_of_prior[node.name])
        return walk

    def _left(self, walk: Walk, batch: Values, heads: dict[str, Observed]) -> Draw:
        """What a pass leaves behind."""
        latents = {name: walk.latent(unit) for name, unit in self.plan.units.items()}
        kept = {name: walk.folded[name] for name in self.plan.latents}
        decode, encode = as_here(self.decode, walk.device), as_here(self.encode, walk.device)
        return Draw(walk.samples, {**batch, **kept}, latents, heads, decode, encode, walk.paths)

    def encode(self, batch: Values) -> dict[str, Distribution]:
        """Every posterior, lower ones given the centres of those above. Deterministic."""
        return self._encode(self._bare(batch))

    def decode(self, values: Values, guidance: float = 1.0) -> dict[str, Distribution]:
        """Every head's distribution, given the latents and whatever else it reads; integer codes are embedded first.

        Without heads that also read what is observed, which a pass alone holds. `guidance`: see `generate`.
        """
        check_values(values, self.plan.latents)
        known = {name: self._embedded(name, value) for name, value in self._bare(values).items()}
        self._compute(known, self._given_heads)
        self._require(known, self._given_heads)
        heads = {name: head for name, head in self._heads() if not observed(head.likelihood)}
        return {name: law_of(self, head.likelihood, known, guidance) for name, head in heads.items()}

    def centres(self, batch: Values) -> dict[str, Tensor]:
        """Every latent at its posterior's centre: its mean, or where it has none, its mode. Deterministic."""
        values = self._bare(batch)
        self._encode(values)
        return {name: values[name] for name in self.plan.latents}

    def reconstruct(self, batch: Values) -> dict[str, Distribution]:
        """Every head's distribution at the posteriors' centres: their means, or where they have none, their modes.
        Deterministic."""
        values = self._bare(batch)
        self._encode(values)
        return self.decode(values)

    def generate(
        self,
        given: Values | None = None,
        count: int = 1,
        fixed: Fixed = NOTHING,
        guidance: float = 1.0,
        temperature: float = 1.0,
    ) -> dict[str, Distribution]:
        """Samples `count` latents from the prior for each row of `given` and returns every head's distribution.

        Rows come as [count * B]: all rows of `given` for the first sample, then for the second. Without `given`, B = 1.
        `fixed`: latents that are given, not sampled, as in a pass. `guidance`: w, of every law that reads a condition y
        which may be hidden: proportional to p(. | y)^w p(.)^(1 - w), see `polyvae.model.guidance`. `temperature`: as of
        `sample_latents`.
        """
        return self.decode(self.sample_latents(given, count, fixed, guidance, temperature), guidance)

    def sample_latents(
        self,
        given: Values | None = None,
        count: int = 1,
        fixed: Fixed = NOTHING,
        guidance: float = 1.0,
        temperature: float = 1.0,
    ) -> dict[str, Tensor]:
        """Samples `count` latents from the prior for each row of `given`; beside `given`, [count * B, ...].

        `temperature`: what the deviation of each normal prior is multiplied by, one latent after the other, or how
        boldly a PixelCNN draws. Raises ValueError below one sample, and for a temperature that a prior does not know.
        """
        given = {} if given is None else given
        at_least("count", count, 1, "draws of the latents")
        self._require(given, self.conditions)
        self._check_single("fixed", fixed)
        if latents := [name for name in self.plan.latents if name in given]:
            raise ValueError(f"{latents} are latents, which are drawn; one that is given is given as fixed=")
        first = (value[0] if isinstance(value, tuple) else value for value in fixed.values())
        rows = next((len(value) for value in (*given.values(), *first)), 1)
        known = in_rows(fixed, rows)
        once = self._bare(given)
        values = {name: repeat(value, count) for name, value in once.items()}
        for name, prior in self.prior.items():
            read = values if self.plan.reads(prior) & set(self.plan.latents) else once
            self._compute(read, self.plan.reads(prior))
            p = tempered(law_of(self, prior, read, guidance), temperature)
            z = sampled(p, count, rows)
            if name in known:
                check_fixed(name, known[name], p.event_shape)
            values.update(apart(prior, name, given_or(z, known.get(name), count)))
        return self._bare(values)

    @property
    def starts(self) -> bool:
        """Whether anything starts from data, and `start` has something to do."""
        parts = (*self.posterior.values(), *self.prior.values())
        heads = any(head.starts for _, head in self._heads())
        return heads or any(isinstance(part, Starts) for part in parts) or bool(centring(self))

    def start(self, batch: Values) -> None:
        """Shows examples to all that starts from data: what networks read through, posteriors, priors, heads."""
        with evaluation_mode(self):
            values = {name: value.to(home(self)) for name, value in self._bare(batch).items()}
            for layer in centring(self):
                layer.start(values)
            self._encode(values, starting=True)
            for prior in self.prior.values():
                if isinstance(prior, Starts):
                    self._compute(values, self.plan.reads(prior))
                    prior.start(values)
            for _, head in self._heads():
                head.start(values)

    @property
    def bounded_given(self) -> tuple[str, ...]:
        """What every bound is conditional on: what priors and the heads that enter it read beside the latents."""
        heads = {name for head in first_heads(self.heads) for name in given(self.heads[head].likelihood)}  # pyright: ignore
        return tuple(sorted(self.plan.known(heads | {name for part in self.prior.values() for name in given(part)})))

    def _encode(self, values: dict[str, Tensor], starting: bool = False) -> dict[str, Distribution]:
        """Every posterior at the centres of those above, which `values` takes up with the features that are read."""
        posteriors: dict[str, Distribution] = {}
        for name, posterior in self.posterior.items():
            self._compute(values, given(posterior))
            self._require(values, given(posterior))
            if starting and isinstance(posterior, Starts):
                posterior.start(values)
            posteriors[name] = posterior(values)
            values.update(apart(posterior, name, centre(posteriors[name])))
        return posteriors

    def featured(self, values: Values, names: Iterable[str], told: Iterable[str] = ()) -> dict[str, Tensor]:
        """The values, and the features among these names and those behind them, computed anew but for those `told`."""
        known = {**self._bare(values), **{name: values[name] for name in told if name in values}}
        self._compute(known, names)
        return known

    def _bare(self, values: Values) -> dict[str, Tensor]:
        """The values without features, which are those of other values as soon as one of them changes."""
        check_values(values, self.inputs)
        return {name: value for name, value in values.items() if name not in self.plan.features}

    def _compute(self, values: dict[str, Tensor], names: Iterable[str]) -> None:
        for name in names:
            if name in self.plan.features and name not in values:
                part = self.features[name]
                self._compute(values, given(part))
                self._require(values, given(part))
                values[name] = part(values)

    def _embedded(self, name: str, value: Tensor) -> Tensor:
        coded = name in self.posterior and not value.is_floating_point()
        part = self.posterior[name] if coded else None
        return part.embed(value) if isinstance(part, Embeds) else value

    def _check_single(self, how: str, names: Iterable[str]) -> None:
        single = [name for name, unit in self.plan.units.items() if unit.posteriors == unit.priors == (name,)]
        if unknown := [name for name in names if name not in single]:
            raise ValueError(f"{how} holds {unknown}; it may hold latents with a law of their own, {single}")

    def _heads(self) -> Iterable[tuple[str, Head]]:
        return ((name, head) for name, head in self.heads.items() if isinstance(head, Head))

    @property
    def _given_heads(self) -> set[str]:
        return {name for _, head in self._heads() for name in given(head.likelihood)}

    @staticmethod
    def _require(values: Values, names: Iterable[str]) -> None:
        check_values(values, names)
        if missing := [name for name in names if name not in values]:
            raise KeyError(f"the model needs {missing}, the batch holds {sorted(values)}")
