"""A training pass of a quantiser, costs and gradient included, beside that of vector-quantize-pytorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.interleave import Result, compare
from polyvae.model.posteriors import Codebook, FiniteScalar, Grouped, LookupFree, Residual
from polyvae.objectives.code_terms import EntropyPenalty

BATCH, PLACES, DIM, WORDS = 64, 64, 16, 256  # an 8 x 8 map of 256 words


def quantisers(device: torch.device, rounds: int) -> Iterator[Result]:
    """Codebooks kept by moving averages on both sides; the lattices have nothing to learn."""
    import vector_quantize_pytorch as peer

    def words(dim: int = DIM) -> Codebook:
        return Codebook(WORDS, dim, average=True, revive=0.0)

    ema = {"codebook_size": WORDS, "rotation_trick": False}
    entropy = EntropyPenalty()
    pairs: dict[str, tuple[nn.Module, nn.Module, int, Callable[[Any], Tensor]]] = {
        "nearest": (words(), peer.VectorQuantize(dim=DIM, **ema), DIM, _nothing),
        "residual, 2": (
            Residual([words(), words()]),
            peer.ResidualVQ(dim=DIM, num_quantizers=2, **ema),
            DIM,
            _nothing,
        ),
        "grouped, 2": (
            Grouped([words(DIM // 2), words(DIM // 2)]),
            peer.GroupedResidualVQ(dim=DIM, num_quantizers=1, groups=2, **ema),
            DIM,
            _nothing,
        ),
        "finite-scalar, 8 6 5": (FiniteScalar((8, 6, 5)), peer.FSQ([8, 6, 5]), 3, _nothing),
        "lookup-free, 8 bits": (LookupFree(8), peer.LFQ(dim=8, codebook_size=WORDS), 8, partial(_entropy, entropy)),
    }
    for name, (ours, theirs, dim, cost) in pairs.items():
        torch.manual_seed(0)
        encoded = torch.randn(BATCH, dim, 8, 8, device=device, requires_grad=True)
        rows = encoded.detach().flatten(2).movedim(1, 2).contiguous().requires_grad_()
        yield compare(
            f"quantiser, {name}",
            partial(_ours, ours.to(device).train(), encoded, cost),
            "vector-quantize-pytorch",
            partial(_theirs, theirs.to(device).train(), rows),
            bar=1,
            items=20 * BATCH * PLACES,
            unit="vectors/s",
            rounds=rounds,
        )


def _ours(words: Any, encoded: Tensor, cost: Callable[[Any], Tensor]) -> None:
    for _ in range(20):
        law = words.quantise(encoded)
        commitment = (law.encoded - law.vectors.detach()).square().mean()
        (law.mean.mean() + commitment + cost(law)).backward()


def _theirs(words: Any, rows: Tensor) -> None:
    for _ in range(20):
        z, _, *costs = words(rows)
        (z.mean() + sum(cost.sum() for cost in costs if isinstance(cost, Tensor))).backward()


def _nothing(law: Any) -> Tensor:
    return law.encoded.new_zeros(())


def _entropy(term: EntropyPenalty, law: Any) -> Tensor:
    return term(SimpleNamespace(latents={"z": SimpleNamespace(q=law)}))  # pyright: ignore[reportArgumentType]
