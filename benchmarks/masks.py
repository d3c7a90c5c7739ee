"""Masks of 28 x 28 pictures a second: beside the number asked for, and beside torch.multinomial without replacement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.interleave import Result, compare
from polyvae.observe.masks import Constant, Counts, Gaussian, PowerLaw, SparsePixels, Uniform

ASKED = 50_000  # masks a second, on two CPU cores
SIDE = 28
NUMBER = 39  # a twentieth of the pixels
WHERE = {"uniform": Uniform(), "Gaussian": Gaussian()}
COUNTS: dict[str, Counts] = {
    f"{NUMBER} pixels": Constant(NUMBER),
    "exponent 20": PowerLaw(20),
    "exponent 40": PowerLaw(40),
}


def masks(device: torch.device, rounds: int) -> Iterator[Result]:
    """Every kind of random mask, constant and random counts, in batches of 128 and of 1024."""
    with _threads(2):
        for where in WHERE:
            for count in COUNTS:
                for batch in (128, 1024):
                    yield _speed(where, count, batch, device, rounds)
            yield _beside_multinomial(where, device, rounds)


def _speed(where: str, count: str, batch: int, device: torch.device, rounds: int) -> Result:
    name = f"{where} masks, {count}, batch {batch}"
    ours = _ours(SparsePixels(WHERE[where], COUNTS[count]), batch, device)
    result = compare(name, ours, "", lambda: None, bar=1, items=_times(batch) * batch, unit="masks/s", rounds=rounds)
    asked = [result.items / ASKED] * len(result.ours)
    return Result(name, "masks asked for", 1, result.items, "masks/s", result.ours, asked)


def _beside_multinomial(where: str, device: torch.device, rounds: int, batch: int = 1024) -> Result:
    # A single pixel's frequency is the weight, whatever our own code calls it.
    axis = ((torch.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 6)).square() / -2
    weights = {"uniform": torch.ones(SIDE**2), "Gaussian": (axis[:, None] + axis).exp().flatten()}[where]
    rows = weights.to(device).expand(batch, -1).contiguous()

    def theirs() -> None:
        for _ in range(_times(batch)):
            torch.zeros_like(rows).scatter_(1, torch.multinomial(rows, NUMBER), 1.0).view(batch, 1, SIDE, SIDE)

    return compare(
        f"{where} masks, {NUMBER} pixels, batch {batch}",
        _ours(SparsePixels(WHERE[where], Constant(NUMBER)), batch, device),
        "torch.multinomial",
        theirs,
        bar=1,
        items=_times(batch) * batch,
        unit="masks/s",
        rounds=rounds,
    )


def _ours(transform: SparsePixels, batch: int, device: torch.device) -> Callable[[], None]:
    x: Tensor = torch.zeros(batch, 1, SIDE, SIDE, device=device)

    def run() -> None:
        for _ in range(_times(batch)):
            transform.mask(x)

    return run


def _times(batch: int) -> int:
    return 20_480 // batch


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)
