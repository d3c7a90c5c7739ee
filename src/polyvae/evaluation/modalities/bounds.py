"""How likely a model holds modalities: all together, each alone, and some given others, in nats and without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.finite import NonFiniteError
from polyvae.checks.ranges import at_least
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Progress, each_block, joined
from polyvae.evaluation.bounds import LogMeanExp, both_bounds, draws_of
from polyvae.evaluation.modalities.given import having, only
from polyvae.model.draw import first_heads
from polyvae.model.laws import log_likelihood
from polyvae.model.spec import Spec
from polyvae.model.vae import Values
from polyvae.observe.modalities import Present, Without


@dataclass(frozen=True)
class Mean:
    """The mean over N examples of a value in nats, and its standard error, None of one example."""

    value: float
    error: float | None
    examples: int

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """Of values [N]; NonFiniteError where one is not a number, an infinite one may be right."""
        if count := int(values.isnan().sum()):
            raise NonFiniteError(f"the bound of {count} of {len(values)} examples is not a number")
        error = float(values.std()) / sqrt(len(values)) if len(values) > 1 else None
        return cls(float(values.mean()), error, len(values))


@dataclass(frozen=True)
class SubsetBound:
    """Both bounds on log p(x_A) of the modalities `given`, see `subset_bounds`."""

    given: tuple[str, ...]
    bound: Mean
    importance: Mean


@dataclass(frozen=True)
class Predictive:
    """log p(x_B | x_A) under the law that a model predicts x_B by, B the `targets` and A what is `given`."""

    given: tuple[str, ...]
    targets: tuple[str, ...]
    log_density: Mean


def subset_bounds(
    source: Any,
    split: Split,
    specs: Mapping[str, Spec],
    subsets: Sequence[Sequence[str]] | None = None,
    samples: int = 100,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[SubsetBound]:
    """The plain and the importance-weighted bound on log p(x_A), nats, for each of the `subsets` A of modalities.

    By default each modality alone and all together. z is drawn from q(z | x_A), where nothing else is shown, and heads
    of other modalities are not scored; no weight of a head enters. Over the rows that have all of A.
    """
    found = []
    for names in [*((name,) for name in specs), tuple(specs)] if subsets is None else subsets:
        shown = only(source, specs, names)
        both = both_bounds(shown, having(split, names), samples, seed, device, progress)
        found.append(SubsetBound(tuple(names), Mean.of(both.plain), Mean.of(both.importance)))
    return found


def predictive_densities(
    source: Any,
    split: Split,
    specs: Mapping[str, Spec],
    given: Sequence[str],
    samples: int = 100,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> list[Predictive]:
    """log E_{q(z | x_A)} p(x_B | z), nats, of each modality B that is not given, and of all of these together.

    The mean over `samples` draws, K, is a density of x_B: that of the law which the model predicts x_B by. It is
    log p(x_B | x_A) of the model only where q(z | x_A) is its posterior. Its logarithm lies below the true one in
    expectation, the less the larger K. Over the rows that have all modalities; nothing where all are given.
    """
    at_least("samples", samples, 1, "draws of the latents")
    others = [name for name in specs if name not in given]
    if not others:
        return []
    source = only(source, specs, tuple(specs))
    flags = Present.of(specs)

    def measure(model: Any, batch: Values) -> dict[str, Tensor]:
        means = {name: LogMeanExp() for name in (*others, "")}
        for draw in draws_of(model, flags(Without(others)(batch)), samples):
            heads = {draw.heads[name].of: draw.heads[name].p for name in first_heads(draw.heads)}
            log_p = {name: log_likelihood(heads[name], batch[name], draw.samples) for name in others}
            log_p[""] = torch.stack(list(log_p.values())).sum(0)
            for name, each in log_p.items():
                means[name].add(each if draw.log_share is None else each + draw.log_share)
        return {name: each.value for name, each in means.items()}

    found = joined(each_block(source, having(split, tuple(specs)), measure, seed, device))
    targets = [*((name,) for name in others), *([tuple(others)] if len(others) > 1 else [])]
    values = {names: found[names[0] if len(names) == 1 else ""] for names in targets}
    return [Predictive(tuple(given), names, Mean.of(value)) for names, value in values.items()]
