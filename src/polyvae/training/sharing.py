"""A step and a validation shared out over several processes: who reads what, and what they sum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.model.protocol import TrainedOn


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


def tell_examples(module: nn.Module, examples: int) -> None:
    """Tells parts that stand for all of the data how many examples these are."""
    for part in module.modules():
        if isinstance(part, TrainedOn):
            part.trained_on(examples)


def summed(fabric: Any, tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    return fabric.all_reduce(tensor.to(fabric.device), reduce_op="sum")


def whole_batch(fabric: Any, values: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The values of the whole batch, in every process the same: then the state of the first holds all sums."""
    row = torch.stack([value.detach() for value in values.values()])
    row = row * share if share else torch.zeros_like(row)  # not 0 * inf
    return dict(zip(values, summed(fabric, row).unbind(), strict=True))


def share_buffers(*modules: nn.Module) -> None:
    """Gives every process the buffers of the first, as each step does before it, so that all validate one model."""
    for module in modules:  # in the same order in every process
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)
