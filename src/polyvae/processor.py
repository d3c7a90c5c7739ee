"""What a CPU needs to train at its speed: freed memory kept for the next step, and no denormal numbers."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Numbers of glibc's <malloc.h>; the second values are where its own adaptive thresholds end up beside large blocks.
TRIM, MMAP = -1, -3
KEPT, USUAL_TRIM, USUAL_MMAP = 2**31 - 1, 64 * 2**20, 32 * 2**20


@contextmanager
def full_speed(device: torch.device) -> Iterator[None]:
    """Both of the following where `device` is a CPU, nothing elsewhere."""
    if device.type != "cpu":
        yield
        return
    with kept_heap(), flushed_denormals():
        yield


@contextmanager
def kept_heap() -> Iterator[None]:
    """Within it glibc does not give freed memory back to the system, which else happens at every step on a CPU.

    The activations of a convolutional network are tens of megabytes; given back and asked for again they cost thousands
    of page faults a step. Elsewhere than on glibc, or where the user has set malloc's variables, nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(MMAP, USUAL_MMAP)
    libc.mallopt(TRIM, KEPT)
    try:
        yield
    finally:
        libc.mallopt(TRIM, USUAL_TRIM)
        libc.malloc_trim(0)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within it numbers below 1.2e-38 are zero.

    Adam's first moment of a weight that gets no gradient any more (a dead unit's) shrinks to such a number within a
    thousand steps, and arithmetic with them makes the optimiser's step several times slower.
    """
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes() -> bool:
    return float(torch.tensor(1e-40) * 1) == 0


def _glibc() -> ctypes.CDLL | None:
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
