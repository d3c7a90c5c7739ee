"""Bits per dimension: what a bound in nats means in bits for each value that was scored."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log2
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from polyvae.data.cuts import shuffled
from polyvae.data.split import Split
from polyvae.evaluation.blocks import BLOCK, each_block, joined
from polyvae.model.distributions.columns import Product
from polyvae.model.draw import first_heads
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Observed, Values

_NEAR = 1e-3  # of a grey level: what rounding in single precision may have moved


@dataclass(frozen=True)
class Bits:
    """How nats an example become bits per dimension: -nats / (D log 2) + `offset`; `offset` None where they do not.

    `discrete`: whether the laws of all columns are probabilities, not densities; None where some are. D, `dimensions`,
    is the mean number of values scored in an example: rows that a head's `where` leaves out have none. Of several
    modalities `offset` is the mean over all values, None where one has none. `offset`: 0 for
    probabilities. For a density p of grey levels of width h it is -log2 h, since p h stands for a level's probability:
    h = 1 / (levels - 1) on the levels themselves, an approximation; h = 1 / levels where noise has filled each level
    (dequantised data), a bound on the probability (Theis, van den Oord, Bethge: A note on the evaluation of generative
    models, 2016). A density of bits stands for none.
    """

    dimensions: float
    offset: float | None
    discrete: bool | None = None

    def of(self, nats: float) -> float | None:
        """Bits per dimension of a mean in nats an example."""
        if self.offset is None or not self.dimensions:
            return None
        return -nats / (self.dimensions * log(2)) + self.offset


def bits_of(
    source: Any, split: Split, spec: Spec, seed: int, device: torch.device | str | None, notes: list[str]
) -> Bits:
    """How a model's bounds on a split become bits per dimension; what is approximate or missing joins the notes."""

    def scored_heads(model: Any, batch: Values) -> dict[str, Observed]:
        found = model(batch).heads
        return {name: found[name] for name in first_heads(found)}

    def scored(model: Any, batch: Values) -> dict[str, Tensor]:
        if isinstance(model, VAE):  # which says so without a pass
            return {name: _share(batch[str(model.heads[name].where)]) for name in masks}
        found = model(batch).heads
        return {name: _share(found[name].scored) for name in masks}

    some = split.take(shuffled(len(split), seed)[:BLOCK].sort().values)
    seen = each_block(source, some, scored_heads, seed, device)[0]
    masks = [name for name, head in seen.items() if head.scored is not None]
    share = joined(each_block(source, split, scored, seed, device)) if masks else {}
    dimensions = {
        name: head.p.event_shape.numel() * (float(share[name].mean()) if name in share else 1.0)
        for name, head in seen.items()
    }
    total = sum(dimensions.values())
    if not spec.modalities:
        named = "x" if "x" in split.tensors else next(iter(split.tensors))
        return Bits(total, *_scale(list(seen.values()), spec, named, split, notes))
    offset: float | None = 0.0
    kinds: set[bool | None] = set()
    for of, mine in spec.values.items():
        names = [name for name, head in seen.items() if head.of == of and dimensions[name]]
        if not names:
            continue
        said: list[str] = []
        found, discrete = _scale([seen[name] for name in names], mine, of, split, said)
        notes += [f"{of}: {each}" for each in said]
        kinds.add(discrete)
        weight = sum(dimensions[name] for name in names) / total
        offset = None if offset is None or found is None else offset + weight * found
    return Bits(total, offset, kinds.pop() if len(kinds) == 1 else None)


def _scale(
    seen: list[Observed], spec: Spec, named: str, split: Split, notes: list[str]
) -> tuple[float | None, bool | None]:
    """`offset` and `discrete` of heads of one x, which split and spec call `named`."""
    laws = [head.p for head in seen]
    pieces = [part for law in laws for part in (law.parts if isinstance(law, Product) else (law,))]
    each = {bool(part.support.is_discrete) for part in pieces}  # pyright: ignore
    shown = [(head.p, head.x if head.scored is None else head.x[head.scored.bool()]) for head in seen]
    offset = _offset(shown, each, spec, all(head.of == named for head in seen), split, notes)
    return offset, each.pop() if len(each) == 1 else None


def _share(scored: Tensor) -> Tensor:
    """The share of every example that is scored, of rows [B] or of values."""
    return scored.double().reshape(len(scored), -1).mean(1)


def _offset(
    seen: list[tuple[Distribution, Tensor]],
    discrete: set[bool],
    spec: Spec,
    grey: bool,
    split: Split,
    notes: list[str],
) -> float | None:
    if len(discrete) > 1:
        notes.append("no bits per dimension: some values have probabilities, others densities")
        return None
    if discrete == {True}:
        if any(_binary(law) and not bool(((x == 0) | (x == 1)).all()) for law, x in seen):
            notes.append("grey data under a Bernoulli likelihood: nats and bits are cross-entropies, not probabilities")
        return 0.0
    levels = spec.dequantised or spec.levels
    if levels is None or not grey:
        notes.append("no bits per dimension: the data are continuous, a density has no code length")
        return None
    if all(_on_levels(x, levels) for _, x in seen):
        if levels == 2:
            notes.append("no bits per dimension: the data are bits, and a density at 0 and 1 is no probability of them")
            return None
        notes.append(
            f"bits per dimension take the density at a grey value times 1 / {levels - 1} for its probability: an "
            "approximation, a bound only on dequantised data"
        )
        return log2(levels - 1)
    if spec.dequantised is None and split.transform is None:
        notes.append(f"bits per dimension take the values for {levels} grey levels, each filled by noise")
    return log2(levels)


def _on_levels(x: Tensor, levels: int) -> bool:
    steps = x * (levels - 1)
    return bool(((steps.round() - steps).abs() < _NEAR).all())


def _binary(law: Distribution) -> bool:
    support = law.support
    return getattr(support, "base_constraint", support) is constraints.boolean
