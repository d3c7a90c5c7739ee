"""A CPU at its speed: freed memory kept between steps, denormal numbers flushed, and both as before afterwards."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from polyvae.processor import _flushes, _glibc, flushed_denormals, full_speed, kept_heap

FAULTS = """
import resource
import torch
from torch import nn
from polyvae.processor import kept_heap

layers = [nn.Conv2d(8, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 8, 3, padding=1)]
net, x = nn.Sequential(*layers), torch.randn(16, 8, 48, 48)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        net(x).square().mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
with kept_heap():
    faults()
    print(usual, faults())
"""


def test_what_a_step_frees_is_not_faulted_in_again() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment)
    usual, kept = map(int, done.stdout.split())
    if platform.libc_ver()[0] == "glibc":
        assert usual > 1000
        assert kept < usual / 10


def test_a_users_own_malloc_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert _glibc() is None
    with kept_heap():
        pass


def test_denormals_are_zero_within_and_what_they_were_after() -> None:
    tiny = torch.full((1000,), 1e-40)
    assert not _flushes()
    with flushed_denormals():
        assert (tiny * 0.5 == 0).all()
        with flushed_denormals():
            pass
        assert _flushes()
    assert not _flushes()
    with full_speed(torch.device("meta")):
        assert not _flushes()
    with full_speed(torch.device("cpu")):
        assert _flushes()
