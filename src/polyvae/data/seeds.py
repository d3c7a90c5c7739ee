"""Seeds: several numbers mixed into one, and the generators of a single device seeded with it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

SHUFFLE, NOISE = range(2)  # streams of a run's seed that must not repeat each other
_MASK = 2**64 - 1


def mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers: unrelated for neighbouring numbers, the same on every machine.

    torch's CPU generator reads only the lower 32 bits, so plain sums and products of numbers would soon repeat.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014.
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_generators(device: torch.device, seed: int) -> None:
    """Seeds torch's generators of the CPU and of `device`.

    `torch.manual_seed` would also seed every other accelerator and format a stack trace for each that is not in use,
    which takes as long as a training step of a small model.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def generator_states(device: torch.device) -> list[Tensor]:
    """Where torch's generators of the CPU and of `device` are."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def forked(device: torch.device) -> AbstractContextManager[None]:
    """A block after which torch's generators of the CPU and of `device` are as they were before it."""
    if device.type == "mps":
        return torch.random.fork_rng([0], device_type="mps")
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
