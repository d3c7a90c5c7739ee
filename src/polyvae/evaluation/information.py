"""What a model's codes tell, and what they cost, in the words of information theory and of statistical physics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, log, nan
from typing import Any

import torch
from torch import Tensor

from polyvae.data.split import Split
from polyvae.evaluation.blocks import source_of
from polyvae.evaluation.bounds import Bounds, both_bounds
from polyvae.evaluation.codes import Code, describe_codes
from polyvae.model.draw import first_heads

NEAR = 0.7  # nats below log M, from which on an estimate of the information says little but M


@dataclass(frozen=True)
class Carried:
    """What one latent carries, nats an example; None of what is not known.

    `rate`: R = E_x KL(q(z | x) || p(z)) >= I(x; z). `entropy`: E_x H[q(z | x)]. `information`: I(x; z) by q over M
    examples, whose posteriors stand for q(z): at most `limit` = log M, and below the information over all x on average,
    cut off at 0 and `information_most`.
    `information_most`: the least of what is known to lie above it, the rate and the entropy of a normal law of q(z)'s
    covariance, estimated, less `entropy`. `marginal_kl`: KL(q(z) || p(z)) = R - I, as much too large as the information
    is too small; `marginal_kl_least`: R - `information_most`, below it. `correlation`: the total correlation of a
    normal law of q(z)'s covariance.

    Hoffman, Johnson: ELBO Surgery, 2016; Alemi et al.: Fixing a Broken ELBO, 2018.
    """

    rate: float
    entropy: float
    information: float | None = None
    limit: float | None = None
    information_most: float | None = None
    marginal_kl: float | None = None
    marginal_kl_least: float | None = None
    correlation: float | None = None

    @property
    def at_limit(self) -> bool:
        """Whether the estimate of the information stands at its ceiling."""
        return None not in (self.information, self.limit) and self.information > self.limit - NEAR  # pyright: ignore


@dataclass(frozen=True)
class Information:
    """A model's parts by two readings of one bound, nats an example, on average over the examples.

    F = U - H = D + R, with the free energy F, minus the plain bound; the `energy` U = E_q[-log p(x, z)]; the `entropy`
    H = E_q[-log q(z | x)] of all latents; the `distortion` D = E_q[-log p(x | z)]; the `rate` R = KL(q(z | x) || p(z)).
    F >= -log p(x), with equality where q is the posterior. A point has neither entropy nor rate.
    """

    distortion: float
    latents: Mapping[str, Carried]

    @property
    def rate(self) -> float:
        """R of all latents."""
        return sum(latent.rate for latent in self.latents.values())

    @property
    def entropy(self) -> float:
        """H of all latents."""
        return sum(latent.entropy for latent in self.latents.values())

    @property
    def free_energy(self) -> float:
        """F = D + R."""
        return self.distortion + self.rate

    @property
    def energy(self) -> float:
        """U = F + H; not a number where both are infinite."""
        return self.free_energy + self.entropy if isfinite(self.entropy) else nan

    def as_dict(self) -> dict[str, Any]:
        """In nats and, under names that end in _bits, in bits; None of what is not finite."""
        names = ("free_energy", "energy", "entropy", "distortion", "rate")
        found: dict[str, Any] = _both({name: getattr(self, name) for name in names})
        return {**found, "latents": {name: _both(vars(latent)) for name, latent in self.latents.items()}}


def information(
    source: Any,
    split: Split,
    samples: int = 16,
    seed: int = 0,
    device: torch.device | str | None = None,
    aggregate: int = 2000,
) -> Information:
    """Energy, entropy, rate, distortion and what the latents carry, of a model over a split.

    `source`: a recipe, a run or a VAE. `samples`: draws of the latents for each example where there is no closed form.
    `aggregate`: M, how many examples, a seeded subset, stand for q(z).
    """
    found = both_bounds(source, split, samples, seed, device)
    return informed(
        found, describe_codes(source, split, seed, device, aggregate), first_heads(source_of(source).model.heads)
    )


def informed(found: Bounds, codes: Mapping[str, Code], heads: list[str]) -> Information:
    """The same of what has been measured; `heads`: those that enter the bound."""
    distortion = -sum(float(found.heads[name].mean()) for name in heads)
    return Information(distortion, {name: _carried(name, found, codes.get(name)) for name in found.kl})


def _carried(name: str, found: Bounds, code: Code | None) -> Carried:
    rate, entropy = float(found.kl[name].mean()), float(found.entropy[name].mean())
    if code is None:
        return Carried(rate, entropy)
    above = [rate] if code.one_prior else []
    above += [code.entropy_most - entropy] if code.entropy_most is not None else []
    most = min((max(0.0, each) for each in above if isfinite(each)), default=None)
    correlation = of_covariance(code.moments[1]) if code.entropy_most is not None and code.moments else None
    if code.information is None:
        return Carried(rate, entropy, information_most=most, correlation=correlation)
    # An estimate of few examples, or near 0, strays beyond what it is known to lie between.
    told = max(0.0, min(code.information, inf if most is None else most))
    marginal, least = (rate - told, None if most is None else rate - most) if code.one_prior else (None, None)
    return Carried(rate, entropy, told, log(code.aggregate), most, marginal, least, correlation)


def of_covariance(covariance: Tensor) -> float:
    """The total correlation of a normal law of this covariance [d, d], nats."""
    varying = covariance.diagonal() > 0
    kept = covariance[varying][:, varying].cpu().double()
    scale = kept.diagonal().sqrt()
    found = torch.linalg.slogdet(kept / scale[:, None] / scale)
    return float(-0.5 * found.logabsdet) if found.sign > 0 else inf


def _both(values: Mapping[str, float | None]) -> dict[str, float | None]:
    kept = {name: value if value is not None and isfinite(value) else None for name, value in values.items()}
    bits = {f"{name}_bits": None if value is None else value / log(2) for name, value in kept.items()}
    return {**kept, **bits}
