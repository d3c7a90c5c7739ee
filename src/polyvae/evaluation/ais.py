"""log p(x) by annealed importance sampling, and the bounds that enclose it on data drawn from the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import one_of
from polyvae.checks.ranges import Count, check
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Progress, each_block, joined, source_of
from polyvae.evaluation.bounds import in_parts
from polyvae.evaluation.hamiltonian import adapted, check_moved, first_step, moved, sloped
from polyvae.model.draw import first_heads, total
from polyvae.model.laws import log_likelihood, repeat
from polyvae.model.parts import given, observed, shapes
from polyvae.model.precision import full_precision, wide
from polyvae.model.vae import VAE, Values

METHOD = "annealed importance sampling"
WARM = 20  # transitions that find the first step


@dataclass(frozen=True)
class Annealing:
    """How chains go from an easy law to the posterior.

    temperatures: of the schedule, T. chains: of each example. leapfrogs: steps of each Hamiltonian proposal. start: of
    the chains, "prior" or "posterior", the encoder's.
    """

    temperatures: Count = 500
    chains: Count = 16
    leapfrogs: Count = 10
    start: Literal["prior", "posterior"] = "prior"

    def __post_init__(self) -> None:
        check(Annealing, vars(self))
        one_of(("prior", "posterior"), self.start, "start")

    @property
    def schedule(self) -> list[float]:
        """b_0 = 0 .. b_T = 1, a logistic curve from -4 to 4: dense where the law changes most."""
        curve = torch.linspace(-4, 4, self.temperatures + 1, dtype=torch.float64).sigmoid()
        return ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()


@dataclass(frozen=True)
class Annealed:
    """Per-example values in nats, float64 [N].

    `log_px`: the estimate of log p(x), in expectation a lower bound, which rises to it with temperatures and chains.
    `lower`, `upper`: of as many examples that the model drew itself, given the same conditions, of which a latent is
    known that follows their posterior exactly: log p(x) lies between both in expectation, so that their difference says
    how good such estimates are. `acceptance`: the share of proposals accepted.
    """

    log_px: Tensor
    lower: Tensor
    upper: Tensor
    acceptance: Tensor


def annealed(
    source: Any,
    split: Split,
    how: Annealing = Annealing(),
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Annealed:
    """log p(x) of every example by annealed importance sampling, with the bidirectional check on simulated data.

    z_0 ~ f_0, z_t ~ f_t-invariant move of z_t-1, log w = sum_t log f_t(z_t-1) / f_t-1(z_t-1), f_t = f_0^(1 - b_t)
    p(x, z)^b_t, and p(x) = E w. Moves are Hamiltonian, all examples and chains at once, by steps that a pilot run
    of a quarter of the chains finds for each example and temperature: they are fixed before the chains that count
    start, or the mean of w would be off. Backward from an exact draw of the posterior, E 1/w = 1/p(x).

    Raises ValueError, by the latent's name, for latents that are discrete or codes, which have no gradient, and by the
    head's for a model of the mask, whose unseen values are no latents. The result does not depend on a batch size.

    Neal: Annealed Importance Sampling, 2001; Wu, Burda, Salakhutdinov, Grosse: On the Quantitative Analysis of
    Decoder-Based Generative Models, 2017; Grosse, Ghahramani, Adams: Sandwiching the Marginal Likelihood Using
    Bidirectional Monte Carlo, 2015.
    """
    check_annealed(source_of(source, "posterior", "prior", "sample_latents", "decode", what=METHOD).model)

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        with torch.inference_mode(False), torch.no_grad():
            batch = {name: value.clone() for name, value in batch.items()}
            real = _Chains(model, batch, how)
            log_px, acceptance = real.forward(real.pilot())
            values = _prior_draws(model, batch, 1)
            laws = model.decode(values)
            drawn = {model.heads[name].of: laws[name].sample() for name in first_heads(model.heads)}
            simulated = _Chains(model, {**batch, **drawn}, how)  # pyright: ignore[reportArgumentType]
            steps = simulated.pilot()
            lower = simulated.forward(steps)[0]
            upper = simulated.backward(repeat(simulated.together(values), how.chains), steps)
        return {"log_px": log_px, "lower": lower, "upper": upper, "acceptance": acceptance}

    return Annealed(**joined(each_block(source, split, in_parts(measure, how.chains), seed, device, progress)))


def check_annealed(model: Any) -> None:
    """ValueError, by name, for a head that also reads what is observed, such as a model of a mask."""
    for name, head in getattr(model, "heads", {}).items():
        if read := observed(getattr(head, "likelihood", head)):
            raise ValueError(
                f"{METHOD} moves latents, and the head {name!r} reads {' and '.join(read)} too, of which what is "
                "unseen would have to be moved as well; leave out ais"
            )


class _Chains:
    """Chains of every example of a batch, C * B rows: all rows for the first chain, then for the second."""

    def __init__(self, model: VAE, batch: Values, how: Annealing, chains: int | None = None) -> None:
        self.model, self.how, self.rows = model, how, batch
        self.chains, self.count = chains or how.chains, len(batch[model.inputs[0]])
        self.batch = {name: repeat(value, self.chains) for name, value in batch.items()}
        self.device = self.batch[model.inputs[0]].device
        self.known: dict[int, Distribution] = {}  # laws that read no latent, made once
        self.first = self._first()
        self.schedule = how.schedule

    def pilot(self) -> Tensor:
        """The steps of every temperature and example [T, B], found on chains of their own."""
        chains = _Chains(self.model, self.rows, self.how, max(2, self.how.chains // 4))
        z, found = chains.first, []
        step = first_step(z, self.count)
        for beta in [self.schedule[1]] * WARM + self.schedule[1:-1]:
            z, accepted = chains.moved(z, beta, step)
            found.append(step)
            step = adapted(step, accepted)
        return torch.stack([*found, step])[WARM:]

    def forward(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """log 1/C sum_c w_c [B], and the share of proposals accepted [B]."""
        z, log_w, rates = self.first, torch.zeros(len(self.first), device=self.device), []
        log_w = wide(log_w)
        for t in range(1, len(self.schedule)):
            log_w = log_w + (self.schedule[t] - self.schedule[t - 1]) * wide(self.ratio(z))
            if t < len(self.schedule) - 1:
                z, accepted = self.moved(z, self.schedule[t], steps[t - 1])
                rates.append(accepted)
        log_w = log_w.unflatten(0, (self.chains, -1)).nan_to_num(float("-inf"))
        rate = torch.stack(rates).mean(0) if rates else torch.ones_like(log_w[0]).repeat(self.chains)
        return log_w.logsumexp(0) - log(self.chains), wide(rate).unflatten(0, (self.chains, -1)).mean(0)

    def backward(self, z: Tensor, steps: Tensor) -> Tensor:
        """-log 1/C sum_c 1/w_c [B], of chains that start at exact draws of the posterior and go back."""
        log_w = wide(torch.zeros(len(z), device=self.device))
        for t in range(len(self.schedule) - 1, 0, -1):
            log_w = log_w + (self.schedule[t] - self.schedule[t - 1]) * wide(self.ratio(z))
            if t > 1:
                z, _ = self.moved(z, self.schedule[t - 1], steps[t - 2])
        return log(self.chains) - (-log_w).unflatten(0, (self.chains, -1)).logsumexp(0)

    def moved(self, z: Tensor, beta: float, step: Tensor) -> tuple[Tensor, Tensor]:
        """z after one Hamiltonian proposal by steps [B] at this temperature, and the probability of its acceptance."""
        return moved(z, partial(self.tempered, beta=beta), step.repeat(self.chains), self.how.leapfrogs)

    def tempered(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """log f at this temperature and its gradient in z."""

        def density(z: Tensor) -> Tensor:
            start, joint = self.densities(z)
            return start + beta * (joint - start)

        return sloped(density, z)

    def ratio(self, z: Tensor) -> Tensor:
        """log p(x, z) - log f_0(z), [C * B]."""
        start, joint = self.densities(z)
        return joint - start

    def densities(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log f_0(z) and log p(x, z), [C * B]."""
        values = {**self.batch, **self.apart(z)}
        laws, heads = self.model.decode(values), self.model.heads
        with full_precision(self.device):
            scores = [
                log_likelihood(laws[name], self.batch[heads[name].of], 1, self._scored(heads[name].where))[0]  # pyright: ignore
                for name in first_heads(heads)
            ]
        prior = self._score(self.model.prior, values)
        start = prior if self.how.start == "prior" else self._score(self.model.posterior, values)
        return start, prior + total(scores)

    def apart(self, z: Tensor) -> dict[str, Tensor]:
        """Rows [C * B, D] as latents by name."""
        pieces = z.split([shape.numel() for shape in self.sizes.values()], 1)
        return {n: each.view(-1, *shape) for (n, shape), each in zip(self.sizes.items(), pieces, strict=True)}

    def together(self, values: Values) -> Tensor:
        """Latents by name as rows of one vector."""
        return torch.cat([values[name].flatten(1) for name in self.model.plan.latents], 1)

    def _first(self) -> Tensor:
        model, laws = self.model, _prior_draws(self.model, self.rows, self.chains)
        for name, part in model.prior.items():
            law = part(model.featured({**self.batch, **laws}, given(part)))
            check_moved(name, law, name in model.summed, METHOD, "leave out ais")
        values = laws if self.how.start == "prior" else model.infer(self.batch).values
        self.sizes = {name: values[name].shape[1:] for name in model.plan.latents}
        return self.together(values)

    def _score(self, parts: nn.ModuleDict, values: Values) -> Tensor:
        """log of the densities of parts at the latents among values, [C * B]."""
        return total(self._one(name, part, values) for name, part in parts.items())

    def _one(self, name: str, part: nn.Module, values: Values) -> Tensor:
        if not self.model.plan.reads(part) & set(self.sizes) and id(part) not in self.known:
            with torch.no_grad():
                self.known[id(part)] = part(self.model.featured(self.batch, given(part)))
        law, of = self.known.get(id(part)), shapes(part)
        law = part(self.model.featured(values, given(part))) if law is None else law
        z = torch.cat([values[each].flatten(1) for each in of], 1) if of else values[name]
        with full_precision(self.device):
            return law.log_prob(z)

    def _scored(self, where: str | None) -> Tensor | None:
        return None if where is None else self.batch[where]


def _prior_draws(model: VAE, batch: Values, count: int) -> dict[str, Tensor]:
    """Draws of the prior for each row of a batch, beside what it is conditional on."""
    conditions = {name: batch[name] for name in model.conditions}
    rows = len(batch[model.inputs[0]])
    return model.sample_latents(conditions, count) if conditions else model.sample_latents(count=count * rows)
