"""One training step: the observed batch through model and objective, whole or one process's share of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from polyvae.model.precision import as_here, full_precision
from polyvae.model.vae import Values
from polyvae.recipes import Recipe


class Step(nn.Module):
    """What one training step computes: the observed batch through model and objective.

    In a region of half precision the model's networks run in it; terms, their sum and their balance do not.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = recipe.model
        self.objective = recipe.objective
        self.observe = recipe.observe

    def forward(self, batch: Values, step: int | Tensor) -> dict[str, Tensor]:
        observed = self.observe(batch)
        device = next(iter(observed.values())).device
        model = as_here(self.model, device)
        with full_precision(device):
            return self.objective(model, observed, step)


@contextmanager
def counting(module: nn.Module, share: int) -> Iterator[None]:
    """Tells parts that sum over processes, those with a `counted`, for how many examples this process stands."""
    parts = [part for part in module.modules() if hasattr(part, "counted")]
    for part in parts:
        part.counted = share  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        for part in parts:
            part.counted = 1  # pyright: ignore[reportArgumentType]


def share_of(index: Tensor, rank: int, processes: int) -> tuple[Tensor, int]:
    """What one of several processes reads of a batch, and for how many of the batch's examples it then stands.

    A batch of fewer than two examples a process is not shared: a single one has no statistics of a batch and no
    distance to another. Every process reads it whole, so that all take part in what is summed, and the first stands
    for it.
    """
    if len(index) < 2 * processes:
        return index, 0 if rank else len(index)
    mine = index[rank::processes]
    return mine, len(mine)
