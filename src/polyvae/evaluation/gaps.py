"""How far a bound is from log p(x), and why: one encoder for all examples, or too narrow a family of laws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyvae.data.cuts import shuffled
from polyvae.data.split import Split
from polyvae.evaluation.ais import Annealing, annealed
from polyvae.evaluation.blocks import BLOCK, Blocks, each_block, joined, source_of
from polyvae.evaluation.bounds import Bounds
from polyvae.evaluation.refine import refinement
from polyvae.model.vae import Values


def gaps(
    source: Any,
    split: Split,
    found: Bounds,
    refine: int,
    ais: tuple[int, int],
    seed: int,
    device: torch.device | str | None,
) -> dict[str, Any]:
    """What a report says of posteriors refined by so many steps and of annealed importance sampling, where asked for.

    `found`: the bounds of the split at this seed, whose bits, noise and masks are those of all that is told. `ais`:
    temperatures, 0 for none, and of how many examples, a seeded subset. With both, log p(x) less the plain bound falls
    into what one encoder for all examples loses (amortisation) and what the best law of its family loses
    (approximation).

    Cremer, Li, Duvenaud: Inference Suboptimality in Variational Autoencoders, 2018.
    """
    report: dict[str, Any] = {}
    better = refinement(source, split, refine, seed, device) if refine else None
    if better is not None:
        values = {"bound": better.bound, "gain": better.gain}
        report["refined"] = {"steps": refine, **_means(values), "gain_error": _error(better.gain)}
    temperatures, count = ais
    if temperatures:
        chosen = shuffled(len(split), seed)[:count].sort().values
        how = Annealing(temperatures)
        seen = _observed(source, split, chosen, seed, device)
        chains = annealed(source_of(source).model, seen, how, seed, device)
        plain = found.plain[chosen]
        values = {"log_px": chains.log_px, "bound": plain, "importance_bound": found.importance[chosen]}
        inference = {"inference_gap": chains.log_px - plain}
        if better is not None:
            inference["amortisation_gap"] = better.bound[chosen] - plain
            inference["approximation_gap"] = chains.log_px - better.bound[chosen]
        report["ais"] = {
            "temperatures": temperatures,
            "chains": how.chains,
            "examples": len(chosen),
            **_means({**values, **inference}),
            "log_px_error": _error(chains.log_px),
            "acceptance": float(chains.acceptance.mean()),
            "simulated": _means({"lower": chains.lower, "upper": chains.upper, "gap": chains.upper - chains.lower}),
        }
    return report


def _observed(source: Any, split: Split, chosen: Tensor, seed: int, device: torch.device | str | None) -> Split:
    """The chosen examples, in ascending order, as every measure of the whole split sees them at this seed."""
    numbers, counts = (chosen // BLOCK).unique(return_counts=True)
    rows = iter((chosen % BLOCK).split(counts.tolist()))

    def kept(_: Any, batch: Values) -> dict[str, Tensor]:
        here = next(rows)
        return {name: value[here.to(value.device)] for name, value in batch.items()}

    return Split(joined(each_block(source, split, kept, seed, device, blocks=Blocks(only=numbers.tolist()))))


def _means(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.mean()) for name, value in values.items()}


def _error(values: Tensor) -> float | None:
    return float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None
