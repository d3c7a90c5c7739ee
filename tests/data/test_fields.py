"""Physical fields: the cylinder wake, a user's own .npz, generated vortices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import format_files
from helpers.splits import runs
from polyvae import data
from polyvae.data import DataError
from polyvae.data.sources.vortices import LENGTHS, STEP, vortices
from polyvae.model.spec import Beside, Spec

# The cylinder


def test_the_wake_arrives_as_it_is_zero_inside_the_cylinder_and_cut_in_blocks(tmp_path):
    written = format_files.cylinder_flow(tmp_path / "data" / "cylinder_flow" / "cylinder_re100_grid.npz")
    loaded = data.load("cylinder_flow")
    assert replace(loaded.spec, columns=()) == Spec((3, 64, 128), levels=None)
    assert loaded.spec.kinds == ("real",)
    parts = [loaded.train, loaded.validation, loaded.test]
    times = torch.cat([part.tensors["t"][:, 0] for part in parts])
    order = times.argsort()
    np.testing.assert_array_equal(times[order], written["t"])
    x = torch.cat([part.tensors["x"] for part in parts])[order]
    for channel, name in enumerate(("u", "v", "cp")):
        np.testing.assert_array_equal(x[:, channel], written[name] * written["fluid"])
    numbers = [((part.tensors["t"][:, 0] - 85) / 0.1).round().long() for part in parts]
    assert [sorted({len(run) % 5 for run in runs(part)}) for part in numbers] == [[0]] * 3
    shuffled = data.load("cylinder_flow", blocks=0)
    assert {len(run) % 5 for run in runs(((shuffled.test.tensors["t"][:, 0] - 85) / 0.1).round().long())} != {0}
    assert shuffled.call == {"name": "cylinder_flow", "blocks": 0}


def test_another_number_of_blocks_or_of_folds_can_be_asked_for(tmp_path):
    format_files.cylinder_flow(tmp_path / "data" / "cylinder_flow" / "cylinder_re100_grid.npz")
    loaded = data.load("cylinder_flow", blocks=10, validation=0.1, seed=2)
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [105, 15, 30]
    folds = [data.load("cylinder_flow", folds=5, fold=fold) for fold in range(5)]
    held = torch.cat([fold.validation.tensors["t"] for fold in folds])
    assert len(held.unique()) == len(held) == 120
    assert all(fold.test.tensors["t"].equal(folds[0].test.tensors["t"]) for fold in folds)
    with pytest.raises(ValueError, match="blocks counts runs of a series"):
        data.load("cylinder_flow", blocks=1)


def test_a_wake_of_other_shapes_is_refused(tmp_path):
    path = tmp_path / "data" / "cylinder_flow" / "cylinder_re100_grid.npz"
    written = dict(format_files.cylinder_flow(path))
    np.savez(path, **{**written, "u": written["u"][:10]})  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=r"cylinder_re100_grid\.npz: expected u, v and cp \[150, 64, 128\]"):
        data.load("cylinder_flow")


def test_two_modes_hold_nearly_all_of_the_real_wake(real_data, tmp_path):
    folder = real_data("cylinder_flow")
    if folder is None:
        folder = tmp_path / "data" / "cylinder_flow"
        format_files.cylinder_flow(folder / "cylinder_re100_grid.npz")
    loaded = data.load("cylinder_flow", data_dir=folder.parent)
    x = torch.cat([part.tensors["x"] for part in (loaded.train, loaded.validation, loaded.test)]).double()
    energy = torch.linalg.svdvals((x - x.mean(0)).flatten(1)).square()
    assert float(energy[:2].sum() / energy.sum()) > 0.95


# A user's own fields


def test_named_arrays_become_channels_without_a_range(tmp_path):
    stream = np.random.default_rng(0)
    u, temperature = 300 * stream.normal(size=(40, 6, 10)), stream.normal(size=(40, 6, 10)).astype(np.float32)
    fluid = stream.random((6, 10)) > 0.3
    x, y, time = np.linspace(0, 1, 10), np.linspace(0, 1, 6), np.arange(40) / 8
    path = tmp_path / "flow.npz"
    np.savez(path, u=u, temperature=temperature, fluid=fluid, x=x, y=y, time=time)
    loaded = data.load(path)
    assert replace(loaded.spec, columns=()) == Spec((2, 6, 10), levels=None)
    assert loaded.spec.kinds == ("real",)
    parts = [loaded.train, loaded.validation, loaded.test]
    times = torch.cat([part.tensors["t"][:, 0] for part in parts])
    values = torch.cat([part.tensors["x"] for part in parts])[times.argsort()]
    np.testing.assert_allclose(values[:, 0], (u * fluid).astype(np.float32))
    np.testing.assert_array_equal(values[:, 1], temperature * fluid)
    assert values.min() < -100
    # Fifteen blocks of two or three times each.
    assert all(len(run) > 1 for part in parts for run in runs((8 * part.tensors["t"][:, 0]).round().long()))
    assert data.load(path, size=6).spec.x == (2, 6, 6)
    blocks = data.load(path, blocks=10)
    parts = [blocks.train, blocks.validation, blocks.test]
    assert sum(len(part) for part in parts) == 40
    for part in parts:
        batch = part.batch(torch.arange(len(part)))
        assert torch.equal(batch["x"], values[(8 * batch["t"].flatten()).long()])
    steps = (8 * blocks.test.tensors["t"].flatten()).diff()
    assert all(float(step) == 1 or float(step) > 4 for step in steps)


def test_fields_without_times_are_cut_at_random_and_one_field_may_stand_alone(tmp_path):
    stream = np.random.default_rng(0)
    np.savez(tmp_path / "one.npz", pressure=stream.normal(size=(50, 4, 5)))
    loaded = data.load(tmp_path / "one.npz")
    assert replace(loaded.spec, columns=()) == Spec((1, 4, 5), levels=None)
    assert loaded.spec.kinds == ("real",)
    assert set(loaded.train.tensors) == {"x"}
    series = data.load(tmp_path / "one.npz", blocks=10)
    assert [len(part) for part in (series.train, series.validation, series.test)] == [40, 5, 5]


def test_pictures_stay_pictures_and_tables_tables(tmp_path):
    stream = np.random.default_rng(0)
    grey = stream.random((30, 4, 5)).astype(np.float32)
    np.savez(tmp_path / "pictures.npz", pictures=grey)
    np.savez(tmp_path / "labelled.npz", x=grey, y=np.arange(30) % 3, other=grey - 0.5)
    np.savez(tmp_path / "bytes.npz", images=(255 * grey).astype(np.uint8), labels=np.arange(30) % 3)
    np.savez(tmp_path / "parts.npz", x_train=grey, x_test=grey)
    assert data.load(tmp_path / "pictures.npz").spec == Spec((1, 4, 5), levels=None)
    assert data.load(tmp_path / "bytes.npz").spec.classes == 3
    assert len(data.load(tmp_path / "parts.npz").test) == 30
    labelled = data.load(tmp_path / "labelled.npz")
    assert labelled.spec == Spec((1, 4, 5), classes=3, levels=None, beside=(Beside("other", (1, 4, 5)),))
    assert float(labelled.train.tensors["other"].min()) < 0


def test_fields_that_do_not_fit_together_are_refused(tmp_path):
    u = np.zeros((20, 4, 5)) - 1
    bad = u.copy()
    bad[3, 1, 1] = np.nan
    np.savez(tmp_path / "gaps.npz", u=u, v=bad)
    np.savez(tmp_path / "large.npz", u=u, v=1e300 * u)
    for other in (u[:, :3], u[:, :, :4]):
        np.savez(tmp_path / "shapes.npz", u=u, v=other)
        with pytest.raises(DataError, match=r"shapes\.npz: expected fields \[T, H, W\] of one shape"):
            data.load(tmp_path / "shapes.npz")
    with pytest.raises(DataError, match=r"gaps\.npz\['v'\]: expected finite numbers"):
        data.load(tmp_path / "gaps.npz")
    with pytest.raises(DataError, match=r"large\.npz: expected numbers that fit float32"):
        data.load(tmp_path / "large.npz")
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"broken\.npz"):
        data.load(tmp_path / "broken.npz")


# Vortices


def derivative(field, axis):
    """Of periodic fields [..., H, W] along x (axis 0) or y (axis 1), by Fourier series."""
    side = field.shape[-1 - axis]
    waves = 2j * np.pi / LENGTHS[axis] * np.fft.fftfreq(side, 1 / side)
    shape = (-1,) if axis == 0 else (-1, 1)
    return np.fft.ifft(np.fft.fft(field, axis=-1 - axis) * waves.reshape(shape), axis=-1 - axis).real


@pytest.mark.parametrize(("seed", "number"), [(4, 3), (2, 4)])
def test_vortices_are_a_flow_of_known_vorticity_without_divergence_under_its_own_pressure(seed, number):
    x, times, middles = vortices(3, 64, seed, number)
    assert (x.shape, times.shape, middles.shape) == ((3, 3, 32, 64), (3, 1), (3, number, 2))
    np.testing.assert_allclose(times[:, 0], STEP * np.arange(3), rtol=1e-6)
    u, v, p = x.astype(np.float64).swapaxes(0, 1)
    ux, uy, vx, vy = derivative(u, 0), derivative(u, 1), derivative(v, 0), derivative(v, 1)
    np.testing.assert_allclose(ux + vy, 0, atol=min(2e-4, 1e-4 * np.abs(ux).max()))
    laplacian = derivative(derivative(p, 0), 0) + derivative(derivative(p, 1), 1)
    source = 2 * (ux * vy - uy * vx)
    within = min(0.02, 1e-2 * np.abs(source).max())
    np.testing.assert_allclose(laplacian, source - source.mean((1, 2), keepdims=True), atol=within)
    # The vorticity is that of the shear and of Gaussians around the middles, summed over the periods.
    stream = np.random.default_rng(seed)
    lines = (np.arange(number) + 0.5 + stream.uniform(-0.2, 0.2, number)) / number
    stream.uniform(0, LENGTHS[0], number)
    circulations = stream.uniform(0.7, 1.3, number) * np.array([1, -1, 1, -1])[:number]
    cores = stream.uniform(0.1, 0.16, number)
    np.testing.assert_allclose(middles[:, :, 1], np.broadcast_to(lines, (3, number)), rtol=1e-6)
    gx, gy = (np.arange(64) + 0.5) / 32, (np.arange(32)[:, None] + 0.5) / 32
    expected = np.pi * np.sin(2 * np.pi * gy - np.pi / (2 * number)) * np.ones_like(gx)
    for place, circulation, core in zip(middles[1].astype(np.float64), circulations, cores, strict=True):
        for shift in np.ndindex(5, 5):
            square = (gx - place[0] - 2 * (shift[0] - 2)) ** 2 + (gy - place[1] - (shift[1] - 2)) ** 2
            expected = expected + circulation / (np.pi * core**2) * np.exp(-square / core**2)
    found = (vx - uy)[1]
    np.testing.assert_allclose(found, expected - circulations.sum() / 2, atol=0.02)


def test_each_vortex_travels_at_the_speed_of_its_line():
    _, times, middles = vortices(50, 16, seed=1, number=4)
    moved = np.unwrap(middles[..., 0].astype(np.float64), axis=0, period=LENGTHS[0])
    speed = 1 + np.cos(2 * np.pi * middles[0, :, 1] - np.pi / 8) / 2
    np.testing.assert_allclose(moved - moved[0], times * speed, atol=1e-4)
    assert np.diff(np.sort(speed)).min() > 0.1
    # One vortex alone is carried unchanged: after so many steps the picture has moved by whole cells.
    x, _, middles = vortices(400, 32, seed=0, number=1)
    cells = np.unwrap(middles[:, 0, 0].astype(np.float64), period=LENGTHS[0]) * 16
    whole = int(np.argmin(np.abs((cells - cells[0])[1:] - np.rint((cells - cells[0])[1:])))) + 1
    shift = round(cells[whole] - cells[0])
    np.testing.assert_allclose(np.roll(x[0], shift, -1), x[whole], atol=0.05)


def test_vortices_repeat_themselves_and_a_longer_series_begins_alike():
    series = vortices(10, 16, seed=3)
    for one, again, shorter, longer in zip(
        series, vortices(10, 16, seed=3), vortices(4, 16, seed=3), vortices(300, 16, seed=3), strict=True
    ):
        np.testing.assert_array_equal(one, again)
        np.testing.assert_array_equal(one[:4], shorter)
        np.testing.assert_array_equal(one, longer[:10])
    assert np.abs(series[0] - vortices(10, 16, seed=2)[0]).max() > 0.1
    assert vortices(1, 16)[2].shape == (1, 4, 2)
    for wrong in ({"count": 0}, {"width": 15}, {"width": 8}, {"number": 0}):
        with pytest.raises(ValueError, match="vortices wants"):
            vortices(**{"count": 1, "width": 16, **wrong})
    with pytest.raises(ValueError, match="an even width >= 16; got 5, 4, 15"):
        vortices(5, 15)


def test_vortices_load_by_name_in_blocks_and_have_many_modes():
    loaded = data.load("vortices", limit=240, size=32, seed=1)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (240, 30, 30)
    assert replace(loaded.spec, columns=()) == Spec((3, 16, 32), levels=None)
    assert loaded.spec.kinds == ("real",)
    assert loaded.call == {"name": "vortices", "limit": 240, "size": 32, "seed": 1}
    assert all(len(run) > 1 for run in runs((loaded.test.tensors["t"][:, 0] / STEP).round().long()))
    x = loaded.train.tensors["x"].double()
    x = (x - x.mean(0)) / x.std((0, 2, 3), keepdim=True)
    energy = torch.linalg.svdvals(x.flatten(1)).square()
    assert float(energy[:2].sum() / energy.sum()) < 0.5
    assert float(energy[:20].sum() / energy.sum()) < 0.95
