"""Decaying turbulence: its equations, its solver's order and balances, and runs that are held out whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from polyvae import data
from polyvae.data.sources import turbulence as source
from polyvae.data.sources.turbulence import APART, PEAK, SPIN_UP, VISCOSITY, WIDTH, Decay, turbulence
from polyvae.model.spec import Spec


def noise(width: int, runs: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((runs, width, width)))


def energy(flow: Decay, vorticity: torch.Tensor) -> torch.Tensor:
    u, v = flow.velocity(vorticity)
    return (u * u + v * v).mean((-2, -1)) / 2


def mean_square(flow: Decay, waves: torch.Tensor) -> torch.Tensor:
    return flow.field(waves).square().mean((-2, -1))


def test_a_lattice_of_vortices_decays_as_taylor_and_green_found() -> None:
    flow, side = Decay(32, 0.05), 2 * torch.pi * torch.arange(32).double() / 32
    x, y = side, side[:, None]
    lattice = 2 * x.cos() * y.cos()
    later = next(islice(flow.decaying(flow.waves(lattice[None]), 0.7, 2), 3, None))
    shrunk = np.exp(-2 * 0.05 * 2.1)
    torch.testing.assert_close(flow.field(later)[0], shrunk * lattice, atol=1e-13, rtol=0)
    u, v, p = flow.fields(later)[0]
    torch.testing.assert_close(u, -shrunk * x.cos() * y.sin(), atol=1e-13, rtol=0)
    torch.testing.assert_close(v, shrunk * x.sin() * y.cos(), atol=1e-13, rtol=0)
    torch.testing.assert_close(p, -(shrunk**2) * ((2 * x).cos() + (2 * y).cos()) / 4, atol=1e-13, rtol=0)


def test_what_is_carried_is_the_derivative_along_the_flow_and_keeps_energy_and_enstrophy() -> None:
    flow = Decay(48, 0.01)
    vorticity = flow.started(noise(48), PEAK)
    u, v = flow.velocity(vorticity)
    slope = flow.field(1j * flow.kx * vorticity), flow.field(1j * flow.ky * vorticity)
    expected = flow.kept * flow.waves(-u * slope[0] - v * slope[1])
    torch.testing.assert_close(flow.carried(vorticity), expected, atol=1e-10, rtol=0)
    carried, potential = flow.field(expected), flow.field(vorticity / flow.square.clamp(min=1))
    for kept in (potential, flow.field(vorticity)):
        assert (carried * kept).mean((-2, -1)).abs().max() < 1e-13 * (carried * kept).abs().mean()


def test_energy_and_enstrophy_fall_at_the_rate_of_viscous_dissipation() -> None:
    """dE/dt = -2 nu Z and dZ/dt = -2 nu P, Z = <omega^2> / 2, P = <|grad omega|^2> / 2, by Simpson's rule."""
    flow = Decay(32, 0.02)
    series = list(islice(flow.decaying(flow.started(noise(32), PEAK), 0.01, 1), 41))
    energies = torch.stack([energy(flow, each) for each in series])
    enstrophies = torch.stack([mean_square(flow, each) / 2 for each in series])
    root = flow.square.sqrt()
    palinstrophies = torch.stack([mean_square(flow, root * each) / 2 for each in series])
    weights = torch.tensor([1.0, *[4.0, 2.0] * 19, 4.0, 1.0]).double() * 0.01 / 3
    torch.testing.assert_close(energies[0], torch.full((2,), 0.5).double())
    for total, rate in ((energies, enstrophies), (enstrophies, palinstrophies)):
        assert (total[0] - total[-1]).min() > 0.1 * total[0].max()
        torch.testing.assert_close(total[-1] - total[0], -2 * 0.02 * (weights @ rate), rtol=1e-7, atol=0)


def test_the_error_falls_with_the_fourth_power_of_the_step() -> None:
    flow = Decay(32, 0.01)
    start = flow.started(noise(32), PEAK)
    found = {steps: next(islice(flow.decaying(start, 0.8, steps), 1, None)) for steps in (16, 32, 256)}
    errors = [float((flow.field(found[steps] - found[256])).square().mean().sqrt()) for steps in (16, 32)]
    assert 3.8 < np.log2(errors[0] / errors[1]) < 4.3


def test_the_spectrum_starts_at_its_peak_and_what_is_stored_is_resolved() -> None:
    flow = Decay(WIDTH, VISCOSITY)
    shells = flow.square.sqrt().round().long().flatten()

    def enstrophy(waves: torch.Tensor) -> torch.Tensor:
        twice = torch.where((flow.kx == 0) | (flow.kx == WIDTH // 2), 1.0, 2.0)
        return torch.zeros(50).double().scatter_add(0, shells, (twice * waves.abs().square().mean(0)).flatten())

    # Waves of length k, about 2 pi k of them, share the enstrophy k^2 E(k).
    start, wave = flow.started(noise(WIDTH, 64), PEAK), flow.square.sqrt()
    each = wave**2 * wave**7 * (-7 * wave**2 / (2 * PEAK**2)).exp() / wave.clamp(min=1)
    expected = enstrophy(each.sqrt()[None])
    torch.testing.assert_close(enstrophy(start) / enstrophy(start).sum(), expected / expected.sum(), atol=0.02, rtol=0)
    assert int(enstrophy(start).argmax()) in (3, 4)
    x, _, _ = turbulence(3, WIDTH, seed=1, runs=3)
    u, v = (flow.waves(torch.from_numpy(x[:, channel]).double()) for channel in range(2))
    assert (flow.kx * u + flow.ky * v).abs().max() < 1e-6 * (flow.kx * u).abs().max()
    found = enstrophy(flow.kx * v - flow.ky * u)
    assert found[21] < found.max() / 200
    assert 2 < (shells.unique() * found[: len(shells.unique())]).sum() / found.sum() < 6


def test_fields_follow_from_one_another_by_the_equations_in_runs_of_their_own() -> None:
    x, t, run = turbulence(7, 32, seed=4, runs=3)
    assert (x.shape, x.dtype, t.shape, t.dtype, run.shape) == ((7, 3, 32, 32), np.float32, (7, 1), np.float32, (7, 1))
    assert run[:, 0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(t[:, 0], APART * (SPIN_UP + np.array([0, 1, 2, 0, 1, 0, 1])), rtol=1e-6)
    flow = Decay(32, 4 * VISCOSITY)
    start = flow.started(noise(32, 3, seed=4), PEAK)
    later = list(islice(flow.decaying(start, APART, 18), SPIN_UP, SPIN_UP + 3))
    for row, (of, at) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1))):
        expected = flow.fields(later[at])[of].float()
        np.testing.assert_allclose(x[row], expected, atol=2e-3 * float(expected.abs().max()))
    assert np.abs(x[0] - x[3]).max() > 0.1


def test_turbulence_repeats_itself_and_more_fields_make_longer_runs() -> None:
    x, t, run = turbulence(6, 32, seed=3, runs=2)
    again = turbulence(6, 32, seed=3, runs=2)
    np.testing.assert_array_equal(x, again[0])
    shorter = turbulence(3, 32, seed=3, runs=2)
    for long, short in zip((x, t, run), shorter, strict=True):
        np.testing.assert_array_equal(long[[0, 1, 3]], short)
    assert np.abs(x - turbulence(6, 32, seed=2, runs=2)[0]).max() > 0.1
    assert turbulence(2, 32, runs=5)[2][:, 0].tolist() == [0, 1]
    for wrong in ({"count": 0}, {"runs": 0}, {"width": 30}, {"width": 33}):
        with pytest.raises(ValueError, match="turbulence wants count, runs >= 1 and an even width >= 32"):
            turbulence(**{"count": 1, "width": 32, **wrong})


def test_whole_runs_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SPIN_UP", 1)
    loaded = data.load("turbulence", limit=128, size=32, seed=1)
    parts = loaded.train, loaded.validation, loaded.test
    assert [len(part) for part in parts] == [128, 16, 16]
    assert replace(loaded.spec, columns=()) == Spec((3, 32, 32), levels=None)
    held = [set(part.tensors["run"].flatten().tolist()) for part in parts]
    assert [len(runs) for runs in held] == [64, 8, 8]
    assert not held[0] & held[1]
    assert not (held[0] | held[1]) & held[2]
    odd = data.load("turbulence", limit=97, size=32, seed=1)
    held = [set(part.tensors["run"].flatten().tolist()) for part in (odd.train, odd.validation, odd.test)]
    assert sum(map(len, held)) == 80
