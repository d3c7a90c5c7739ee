"""Series in time: blocks held out whole, vortices that obey their equations, a user's own fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polyvae import data
from polyvae.data.series import ALIKE, block_fold, in_blocks, likeness
from polyvae.data.sources.vortices import LENGTHS, vortices


@given(st.integers(20, 300), st.integers(6, 20), st.integers(0, 7))
def test_blocks_share_out_all_examples_and_only_their_ends_have_neighbours_elsewhere(count, blocks, seed) -> None:
    rest, *held = in_blocks(count, blocks, [0.2, 0.2], seed)
    assert torch.equal(torch.cat([rest, *held]).sort().values, torch.arange(count))
    lengths = {len(run) for run in torch.tensor_split(torch.arange(count), blocks)}
    for part in held:
        runs = torch.tensor_split(part, (part.diff() != 1).nonzero().flatten() + 1)
        assert all(len(run) >= min(lengths) for run in runs)
        assert len(part) == pytest.approx(0.2 * count, abs=max(lengths))


@given(st.integers(20, 300), st.integers(6, 15), st.integers(2, 4), st.integers(0, 7))
def test_folds_of_a_series_are_whole_blocks_and_share_them_out(count, blocks, folds, seed) -> None:
    rest, _ = in_blocks(count, blocks, [0.25], seed)
    owner = torch.cat(
        [torch.full((len(run),), n) for n, run in enumerate(torch.tensor_split(torch.arange(count), blocks))]
    )
    parts = [block_fold(rest, count, blocks, folds, fold) for fold in range(folds)]
    assert torch.equal(torch.cat([held for _, held in parts]).sort().values, rest)
    for kept, held in parts:
        assert torch.equal(torch.cat([kept, held]).sort().values, rest)
        assert not set(owner[kept].tolist()) & set(owner[held].tolist())
    sizes = [len(owner[held].unique()) for _, held in parts]
    assert max(sizes) - min(sizes) <= 1


def test_folds_of_a_series_that_are_too_many_are_refused() -> None:
    rest, _ = in_blocks(120, 12, [0.25], 0)
    with pytest.raises(ValueError, match=r"fold lies in 0\.\.2; got 3"):
        block_fold(rest, 120, 12, 3, 3)
    with pytest.raises(ValueError, match=r"folds: 9 at most, as many as blocks are left beside the test part; got 10"):
        data.load(travelling(), blocks=10, folds=10, fold=0)
    with pytest.raises(ValueError, match="nothing remains"):
        in_blocks(10, 2, [0.5, 0.5], 0)


def test_vortices_have_no_divergence_and_the_pressure_of_their_velocity() -> None:
    x, times, middles = vortices(3, 64, seed=2)
    assert (x.shape, times.shape, middles.shape) == ((3, 3, 32, 64), (3, 1), (3, 4, 2))
    u, v, p = (x[:, k].astype(float) for k in range(3))
    kx = 2j * np.pi * np.fft.fftfreq(64, LENGTHS[0] / 64)
    ky = 2j * np.pi * np.fft.fftfreq(32, LENGTHS[1] / 32)[:, None]

    def along(field: np.ndarray, wave: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(np.fft.fft2(field) * wave).real

    assert np.abs(along(u, kx) + along(v, ky)).max() < 1e-4 * np.abs(along(u, kx)).max()
    source = 2 * (along(u, kx) * along(v, ky) - along(u, ky) * along(v, kx))
    laplacian = along(along(p, kx), kx) + along(along(p, ky), ky)
    assert np.abs(laplacian - source + source.mean((1, 2), keepdims=True)).max() < 1e-2 * np.abs(source).max()


def test_vortices_are_the_same_by_seed_and_a_longer_series_begins_alike() -> None:
    short, longer, other = vortices(5, 16, 1), vortices(300, 16, 1), vortices(5, 16, 3)
    for a, b in zip(short, longer, strict=True):
        np.testing.assert_array_equal(a, b[:5])
    assert np.abs(short[0] - other[0]).max() > 0.1
    with pytest.raises(ValueError, match="an even width >= 16; got 5, 4, 15"):
        vortices(5, 15)


def test_a_users_own_fields_become_channels_and_are_held_out_in_blocks(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    u, v = stream.normal(size=(2, 40, 6, 9))
    fluid = stream.random((6, 9)) > 0.2
    path = tmp_path / "flow.npz"
    np.savez(path, u=u, v=v, fluid=fluid, t=np.arange(40.0))
    loaded = data.load(path, blocks=10)
    assert (loaded.spec.x, loaded.spec.levels) == ((2, 6, 9), None)
    parts = {part: getattr(loaded, part) for part in ("train", "validation", "test")}
    assert sum(len(part) for part in parts.values()) == 40
    for part in parts.values():
        batch = part.batch(torch.arange(len(part)))
        times = batch["t"].flatten().long()
        expected = torch.from_numpy(np.stack([u, v], 1).astype(np.float32) * fluid)[times]
        assert torch.equal(batch["x"], expected)
    times = parts["test"].tensors["t"].flatten()
    assert all(float(step) == 1 or float(step) > 4 for step in times.diff())


def test_fields_of_different_shapes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.npz"
    np.savez(path, u=np.zeros((8, 4, 4)) - 1.5, v=np.zeros((8, 4, 5)))
    with pytest.raises(data.DataError, match="of one shape"):
        data.load(path)


def travelling(count: int = 120) -> np.ndarray:
    """Waves that travel, float32 [count, 2, 4, 6]."""
    time, across = np.arange(count)[:, None, None] / 8, np.linspace(0, 5, 24).reshape(4, 6)
    return np.stack([np.sin(time + across), 50 * np.cos(1.3 * time - across)], 1).astype(np.float32)


def test_a_series_is_known_by_neighbours_that_are_alike() -> None:
    waves = torch.from_numpy(travelling())
    assert likeness(waves) < 0.05
    assert likeness(waves[::8]) == 1.0  # too few to tell
    assert likeness(waves[np.random.default_rng(0).permutation(120)]) > 0.7
    # the variances of white noise, where any two rows differ by as much as neighbours
    assert likeness(torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))) == pytest.approx(1, abs=0.15)
    # a number of the row is one column of several
    numbered = torch.cat([torch.arange(500.0)[:, None], torch.rand(500, 2)], 1)
    assert likeness(numbered) > ALIKE
    assert likeness(torch.ones(50, 3)) == 1.0
    seldom = (torch.rand(900, 400, generator=torch.Generator().manual_seed(0)) < 0.003).float()
    assert likeness(seldom) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("shape", [(120, 2, 4, 6), (120, 48)])
def test_an_array_in_time_that_is_cut_at_random_is_said_to_be(tmp_path: Path, shape: tuple[int, ...]) -> None:
    waves = travelling().reshape(shape)
    path, shuffled = tmp_path / "waves.npy", tmp_path / "shuffled.npy"
    np.save(path, waves)
    np.save(shuffled, waves[np.random.default_rng(1).permutation(120)])
    with pytest.warns(data.DataNote, match=r"waves.npy: consecutive examples are alike.*--blocks 15"):
        loaded = data.load(path)
    assert "x [2, 4, 6], 2 real\n" in repr(loaded) or "x [48], 48 real\n" in repr(loaded)
    assert "cut at random" in repr(loaded)
    with pytest.warns(data.DataNote, match="consecutive examples are alike"):
        data.wrap(waves)
    for source in (path, waves):
        blocks = data.load(source, blocks=15)
        assert "cut in 15 blocks of consecutive examples" in repr(blocks)
        assert any(np.array_equal(blocks.test.tensors["x"][:8], waves[start : start + 8]) for start in range(0, 120, 8))
    # Warnings are errors here: nothing is said of shuffled data, nor where random is meant, or nothing is cut.
    assert data.load(shuffled).cut == data.load(path, blocks=0).cut == "cut at random"
    data.wrap(waves, validation=waves[:5])


def test_blocks_are_runs_of_two_examples_and_enough_for_all_parts(tmp_path: Path) -> None:
    waves = travelling()
    with pytest.raises(
        ValueError, match=r"blocks are runs of at least two of the 120 examples.* at most 60; got 1,000"
    ):
        data.load(waves, blocks=1000)
    assert data.load(waves, blocks=60).cut == "cut in 60 blocks of consecutive examples"
    with pytest.raises(ValueError, match="blocks: 3 at least, one for each part that is cut; got 2"):
        data.load(waves, blocks=2)
    assert len(data.load(waves, blocks=2, validation=0).test) == 60
    np.save(tmp_path / "two.npy", waves[:2])
    with pytest.raises(data.DataError, match=r"found 2 \(cannot cut parts of \[1\] examples from 1"):
        data.load(tmp_path / "two.npy")


def test_blocks_of_a_short_series_with_times_are_runs_of_two(tmp_path: Path) -> None:
    u = travelling(21)[:, 0] * 10
    for count, blocks in ((21, 10), (6, 3)):
        np.savez(tmp_path / f"{count}.npz", u=u[:count], t=np.arange(float(count)))
        assert data.load(tmp_path / f"{count}.npz").cut == f"cut in {blocks} blocks of consecutive examples"


def test_blocks_of_parts_that_are_given_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "parts.npz"
    np.savez(path, **{f"x_{part}": travelling(40) for part in ("train", "validation", "test")})
    with pytest.raises(ValueError, match=r"blocks: nothing is cut of parts.npz, which has the parts train, validation"):
        data.load(path, blocks=5)
    assert data.load(path, blocks=5, validation=0.2).cut == "validation cut in 5 blocks of consecutive examples"


def test_a_few_of_many_examples_in_blocks_are_said_to_be_cut_in_blocks(tmp_path: Path) -> None:
    np.save(tmp_path / "waves.npy", travelling())
    assert data.load(tmp_path / "waves.npy", blocks=9, limit=5).cut == "cut in 9 blocks of consecutive examples"


def test_times_that_single_precision_rounds_are_noted(tmp_path: Path) -> None:
    np.savez(tmp_path / "flow.npz", u=travelling()[:, 0] * 10, t=1.7e9 + np.arange(120.0))
    with pytest.warns(data.DataNote, match=r"too coarse for 't' \(steps of 128"):
        data.load(tmp_path / "flow.npz")


def test_pictures_in_blocks_are_said_to_be_a_series_by_their_names(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number:02}.png")
    loaded = data.load(tmp_path, blocks=5)
    assert loaded.cut == "cut in 5 blocks of consecutive examples, pictures in the order of their names"
