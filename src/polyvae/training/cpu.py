"""What lets a CPU train at its speed: freed memory kept for the next step, and moments that do not become denormal."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

# Numbers of glibc's <malloc.h>; the second values are where its own adaptive thresholds end up beside large blocks.
TRIM, MMAP = -1, -3
KEPT, USUAL_TRIM, USUAL_MMAP = 2**31 - 1, 64 * 2**20, 32 * 2**20


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


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


def give_back() -> None:
    """Gives freed memory back to the system, so that what a process holds is what it uses; on glibc alone."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def clear_small(moments: Iterable[Tensor], least: float = 1e-30) -> None:
    """Sets to zero what is smaller than `least` in Adam's moments, long before it can become a denormal number.

    The first moment of a weight that gets no gradient any more (a dead unit's, or a pixel's that is hardly ever lit)
    shrinks by a tenth a step and is denormal within a thousand, which makes the optimiser's step several times slower.
    A moment of 1e-30 moves no weight: Adam adds 1e-8 to what it divides by. `torch.set_flush_denormal` does not reach
    the threads that are already running.
    """
    for moment in moments:
        if moment.ndim and moment.is_floating_point():
            moment.masked_fill_(moment.abs() < least, 0.0)


def _glibc() -> ctypes.CDLL | None:
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
