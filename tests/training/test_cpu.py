"""A CPU at its speed: freed memory kept between steps, and no denormal moments."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from polyvae.training.cpu import _glibc, clear_small, kept_heap

FAULTS = """
import resource
import torch
from torch import nn
from polyvae.training.cpu import kept_heap

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


def test_small_moments_are_cleared_and_nothing_else() -> None:
    moment = torch.tensor([1e-3, -2.0, 1e-31, -1e-40, 0.0, 1e-29])
    counter = torch.tensor(0.0)
    clear_small([moment, counter])
    assert moment.tolist() == torch.tensor([1e-3, -2.0, 0.0, 0.0, 0.0, 1e-29]).tolist()


def test_clearing_in_time_leaves_adam_where_it_goes_and_nothing_denormal() -> None:
    torch.manual_seed(0)
    start = torch.randn(40, 30)
    ends = []
    for clears in (False, True):
        weight = start.clone().requires_grad_()
        optimiser = torch.optim.AdamW([weight], 1e-2, fused=True)
        for step in range(1200):
            weight.grad = torch.randn(40, 30, generator=torch.Generator().manual_seed(step)) * (1 if step < 5 else 0)
            weight.grad[:10] += 1.0
            optimiser.step()
            if clears and step % 100 == 99:
                clear_small(optimiser.state[weight].values())
                moments = optimiser.state[weight]["exp_avg"]
                assert ((moments == 0) | (moments.abs() > 1.2e-38)).all()
        ends.append(weight.detach())
    assert torch.equal(*ends)
