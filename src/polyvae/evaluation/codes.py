"""What the latents carry: divergence of each dimension, active units, mutual information, the aggregate posterior."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from polyvae.checks.ranges import at_least
from polyvae.data.cuts import shuffled
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, source_of
from polyvae.evaluation.bounds import certain
from polyvae.evaluation.code_use import CodeUse, entropy_of, use_of
from polyvae.evaluation.moments import moments, moments_of, normal_entropy, pool
from polyvae.model.distributions.categorical_codes import CategoricalCodes
from polyvae.model.distributions.codes import CodeLaw, CodePrior, Quantised, depth_of
from polyvae.model.laws import centre
from polyvae.model.protocol import DrawsAndScores
from polyvae.model.vae import VAE, Draw, Latent, Values
from polyvae.objectives.terms import marginals

ACTIVE = 0.01  # variance of the posterior mean above which a unit counts as active
_DRAWS = 8  # of the latents for each example, where a divergence is sampled
_PAIRS = 2**22  # values in one chunk of log q(z_n | x_m)


@dataclass(frozen=True)
class Code:
    """One latent variable over N examples, d dimensions, on the CPU in float64; divergences in nats.

    `means`: posterior means [N, d], those above at their means too. `kl`: KL of every dimension's own posterior to its
    own prior, averaged over the examples, [d], or None where no marginal is known; it sums to the whole KL where both
    factorise. `analytic`: in closed form, not sampled. `information`: I(x; z) by q over a seeded `aggregate` of
    examples, at most log `aggregate`, or None where a finite aggregate cannot be had. `mean` [d], `covariance` [d, d]:
    of the aggregate posterior, `prior_mean` and `prior_covariance` of the aggregate prior; None where a moment is
    unknown. `words`: of a latent of codes, the likeliest where they are drawn; where they are not, its information is
    the entropy of its maps of codes. `entropy_most`: of a normal law with the covariance of the aggregate posterior,
    which no density of that covariance exceeds, or None. `one_prior`: whether the prior is one law for all examples.
    """

    means: Tensor
    kl: Tensor | None
    analytic: bool
    information: float | None
    aggregate: int
    moments: tuple[Tensor, Tensor] | None
    prior_moments: tuple[Tensor, Tensor] | None
    words: CodeUse | None = None
    entropy_most: float | None = None
    one_prior: bool = True

    @property
    def activity(self) -> Tensor:
        """Cov_x E_q[z_j | x], the variance of the posterior mean over the data, [d].

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
        """
        return self.means.var(0, correction=0)

    @property
    def active(self) -> Tensor:
        """Which dimensions are active units, boolean [d]."""
        return self.activity > ACTIVE


def describe_codes(
    source: Any, split: Split, seed: int = 0, device: torch.device | str | None = None, aggregate: int = 2000
) -> dict[str, Code]:
    """Every latent of a model over a split, by name in the order of generation.

    `aggregate`: how many examples, a seeded subset, stand for the aggregate posterior in the information, at least 1.
    """
    at_least("aggregate", aggregate, 1, "examples")
    source_of(source, "encode", "posterior", "prior", what="a description of its codes")
    keep = len(split) <= aggregate

    def measure(model: VAE, batch: Values) -> dict[str, _Part]:
        found = [(q, centre(q).reshape(len(next(iter(batch.values()))), -1)) for q in model.encode(batch).values()]
        means = {name: mean for name, (_, mean) in zip(model.posterior, found, strict=True)}
        draw = model.infer(batch, 1 if certain(model) else _DRAWS)
        # In the order of generation; a latent of several is one row of their values.
        names = [model.plan.unit_of_prior[name] for name in model.prior]
        return {
            unit.name: _part(draw, unit.name, torch.cat([means[name] for name in unit.posteriors], 1), keep)
            for unit in dict.fromkeys(names)
        }

    def again(model: VAE, batch: Values) -> dict[str, _Kept | None]:
        units = model.plan.units
        latents = model.infer(batch).latents
        return {name: None if units[name].below else _kept(latent) for name, latent in latents.items()}

    found = each_block(source, split, measure, seed, device)
    some: list[dict[str, _Kept | None]] = []
    if not keep:  # in a seeded order: a file may be sorted
        chosen = split.take(shuffled(len(split), seed)[:aggregate].sort().values)
        some = each_block(source, chosen, again, seed, device)
    return {name: _collect([p[name] for p in found], [k[name] for k in some]) for name in found[0]}


@torch.no_grad()  # a flow's law holds its networks
def mutual_information(posteriors: list[Distribution], z: Tensor) -> float:
    """I(x; z) = E log q(z | x) - E log 1/M sum_m q(z | x_m) in nats, M examples, at one draw z [M, d] of each.

    `posteriors` hold the M rows in order, each with batch shape [rows]. It is the information between z and the M
    examples themselves, hence at most log M, and biased low where log M is not far above it. Exact for a law that lists
    its values.

    Hoffman, Johnson: ELBO Surgery: Yet Another Way to Carve up the Variational Evidence Lower Bound, 2016.
    """
    if posteriors[0].has_enumerate_support:
        logs = torch.cat([q.log_prob(q.enumerate_support()) for q in posteriors], 1).cpu().double()  # [C, M]
        aggregate = logs.logsumexp(1, keepdim=True) - log(logs.shape[1])
        return float(torch.where(logs > -inf, logs.exp() * (logs - aggregate), 0.0).sum(0).mean())
    own, rows = [], 0
    for q in posteriors:
        own.append(q.log_prob(z[rows : rows + q.batch_shape[0]]))
        rows += q.batch_shape[0]
    size = max(1, z[0].numel())
    # A flow that scores what it draws is inverted for other values, in a pass for each dimension, and what its network
    # puts out in all of them stands in memory at once. Normal laws, whose moments are known, are not.
    flow = isinstance(posteriors[0], DrawsAndScores) and moments_of(posteriors[0]) is None
    passes = size if flow else 1
    chunk = max(1, _PAIRS // (posteriors[0].batch_shape[0] * size * passes))
    aggregate = torch.cat([_log_sum(posteriors, part) for part in z.split(chunk)])
    return float(torch.cat(own).cpu().double().mean() - aggregate.cpu().double().mean() + log(rows))


def _log_sum(posteriors: list[Distribution], z: Tensor) -> Tensor:
    """log sum_m q(z | x_m), [n]."""
    each = z[:, None]  # spread out, since flows do not broadcast
    logs = [q.log_prob(each.expand(-1, *q.batch_shape, *z.shape[1:])).logsumexp(1) for q in posteriors]
    return torch.stack(logs).logsumexp(0)


_Kept = tuple[Distribution, Tensor]  # a block's posterior and one draw of it


@dataclass(frozen=True)
class _Part:
    means: Tensor
    kl: Tensor | None
    analytic: bool
    moments: tuple[Tensor, Tensor] | None
    prior_moments: tuple[Tensor, Tensor] | None
    kept: _Kept | None
    coded: tuple[Tensor, int, int] | None = None  # codes [B, positions], words and number of each codebook
    drawn: bool = False
    one_prior: bool = True
    dense: bool = False


def _part(draw: Draw, name: str, means: Tensor, keep: bool) -> _Part:
    latent = draw.latents[name]
    kl, analytic = _per_dimension(latent, draw)
    kept = _kept(latent) if keep else None
    if isinstance(latent.q, CodeLaw):
        codes = latent.q.codes.flatten(1).cpu()
        words = latent.p.codebook if isinstance(latent.p, CodePrior) else None
        size, (codebooks,) = int(codes.max()) + 1 if words is None else words.size, depth_of(words) or (1,)
        drawn = not isinstance(latent.q, Quantised)
        coded = codes, size, codebooks
        one = not latent.p.batch_shape
        return _Part(means.flatten(1).cpu().double(), kl, analytic, None, None, kept, coded, drawn, one)
    # Below a latent that is summed over, the rows of a law do not count alike.
    alike = draw.log_share is None, (torch.Size(), latent.z.shape[1:2])
    known, prior = (moments(law) if alike[0] or law.batch_shape in alike[1] else None for law in (latent.q, latent.p))
    one, dense = not latent.p.batch_shape, latent.summed is None and not _lists(latent.q)
    return _Part(means.flatten(1).cpu().double(), kl, analytic, known, prior, kept, one_prior=one, dense=dense)


def _lists(law: Distribution) -> bool:
    """Whether a law lists its values, which have no density."""
    return _lists(law.base_dist) if isinstance(law, Independent) else law.has_enumerate_support


def _kept(latent: Latent) -> _Kept | None:
    """None where a posterior reads another latent's draw, which has no finite aggregate, or has no density."""
    alone = latent.q.batch_shape == latent.z.shape[1:2] and not isinstance(latent.q, Quantised)
    if alone and isinstance(latent.q, CategoricalCodes):  # integers compare faster than words
        return latent.q.over_codes, latent.q.codebook.nearest(latent.z[0])
    if not alone or (latent.summed is None and not bool(latent.log_q.isfinite().all())):
        return None
    return latent.q, latent.z[0] if latent.summed is None else latent.q.sample()


def _collect(parts: list[_Part], some: list[_Kept | None]) -> Code:
    rows = torch.tensor([len(part.means) for part in parts], dtype=torch.float64)
    share = rows / rows.sum()
    kl = None
    if all(part.kl is not None for part in parts):
        kl = sum(float(weight) * part.kl for weight, part in zip(share, parts, strict=True) if part.kl is not None)
    kept = [part for part in (some or [part.kept for part in parts]) if part is not None]
    information, aggregate, words = None, 0, None
    coded = [part.coded for part in parts if part.coded is not None]
    if coded:
        codes = torch.cat([codes for codes, _, _ in coded])
        words = use_of(codes, max(size for _, size, _ in coded), coded[0][2])
        if not parts[0].drawn:
            aggregate, information = len(codes), entropy_of(codes)
    if kept:
        aggregate = sum(len(z) for _, z in kept)
        information = mutual_information([q for q, _ in kept], torch.cat([z for _, z in kept]))
    pooled = pool([part.moments for part in parts], share)
    means = torch.cat([part.means for part in parts])
    return Code(
        means,
        kl if isinstance(kl, Tensor) else None,
        parts[0].analytic,
        information,
        aggregate,
        pooled,
        pool([part.prior_moments for part in parts], share),
        words,
        normal_entropy(pooled[1], means) if pooled is not None and parts[0].dense else None,
        parts[0].one_prior,
    )


def _per_dimension(latent: Latent, draw: Draw) -> tuple[Tensor | None, bool]:
    """KL of every dimension, averaged over draws and examples, float64 [d] on the CPU, and whether in closed form."""
    q, p = marginals(latent.q), marginals(latent.p)
    if q is None or p is None:
        return None, False
    try:
        closed = kl_divergence(q, p) if latent.separate else None
    except NotImplementedError:
        closed = None
    if closed is not None:
        closed = closed.expand(torch.broadcast_shapes(closed.shape, q.batch_shape)).flatten(1)
        if len(closed) != latent.z.shape[1]:
            closed = draw.expect(draw.spread(closed))
        return closed.cpu().double().mean(0), True
    ratio = _at_draws(q, latent.z) - _at_draws(p, latent.z)
    return draw.weighed(ratio).flatten(2).cpu().double().mean((0, 1)), False


def _at_draws(law: Distribution, z: Tensor) -> Tensor:
    """log p(z_j) of every coordinate of z [K, B, ...] under marginals with batch [...], [B, ...] or [K * B, ...]."""
    samples, rows = z.shape[:2]
    if len(law.batch_shape) == z.ndim - 1 and law.batch_shape[0] != rows:
        count = law.batch_shape[0] // rows  # what the samples were before a later latent was summed over
        found = law.log_prob(z[:count].flatten(0, 1)).unflatten(0, (count, rows))
        return found.repeat(samples // count, *[1] * (found.ndim - 1))
    return law.log_prob(z)
