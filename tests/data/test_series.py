"""Series in time: held out and dealt to folds in blocks, known by neighbours that are alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.splits import runs
from polyvae import data
from polyvae.data.series import ALIKE, block_fold, in_blocks, likeness


def travelling(count: int = 120) -> np.ndarray:
    """Waves that travel, float32 [count, 2, 4, 6]."""
    time, across = np.arange(count)[:, None, None] / 8, np.linspace(0, 5, 24).reshape(4, 6)
    return np.stack([np.sin(time + across), 50 * np.cos(1.3 * time - across)], 1).astype(np.float32)


@given(st.integers(6, 300), st.data(), st.integers(0, 1000))
def test_blocks_share_out_all_examples_whole_and_seeds_only_shift_them(
    count: int, draw: st.DataObject, seed: int
) -> None:
    blocks = draw.draw(st.integers(5, count))
    parts = in_blocks(count, blocks, [0.2, 0.2], seed)
    assert torch.cat(parts).sort().values.equal(torch.arange(count))
    lengths = torch.tensor([len(run) for run in torch.tensor_split(torch.arange(count), blocks)])
    owner = torch.empty(count, dtype=torch.int64)
    for number, part in enumerate(parts):
        assert len(part)
        assert part.equal(part.sort().values)
        owner[part] = number
    for part in parts[1:]:
        assert all(len(run) >= lengths.min() for run in runs(part))
        assert len(part) == pytest.approx(0.2 * count, abs=int(lengths.max()))
    changes = (owner.diff() != 0).nonzero().flatten() + 1
    assert set(changes.tolist()) <= set(lengths.cumsum(0).tolist())
    again = in_blocks(count, blocks, [0.2, 0.2], seed + blocks)
    assert all(one.equal(other) for one, other in zip(parts, again, strict=True))


def test_held_out_blocks_lie_evenly_and_seeds_test_every_time_once() -> None:
    tested = torch.cat([in_blocks(150, 30, [0.2, 0.2], seed)[1] for seed in range(5)])
    assert tested.sort().values.equal(torch.arange(150))
    rest, test, validation = in_blocks(150, 30, [0.2, 0.2], 3)
    assert (len(rest), len(test), len(validation)) == (90, 30, 30)
    for part in (test, validation):
        starts = torch.tensor([run[0] for run in runs(part)])
        assert [len(run) for run in runs(part)] == [5] * 6
        assert set(starts.diff().tolist()) == {25}
    assert runs(in_blocks(100, 10, [0.2], 0)[1]) == [list(range(20, 30)), list(range(70, 80))]
    assert [len(part) for part in in_blocks(100, 10, [12, 0.01], 0)] == [80, 10, 10]  # the nearest number of blocks
    assert [len(part) for part in in_blocks(100, 10, [0, 26], 0)] == [70, 0, 30]


@given(st.integers(20, 300), st.integers(6, 15), st.integers(2, 4), st.integers(0, 7))
def test_folds_of_a_series_are_whole_blocks_and_share_them_out(count: int, blocks: int, folds: int, seed: int) -> None:
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


def test_folds_deal_out_the_blocks_that_are_left() -> None:
    rest, _ = in_blocks(100, 10, [0.2], 0)
    held = [block_fold(rest, 100, 10, 3, fold)[1] for fold in range(3)]
    assert [len(runs(part)) for part in held] == [3, 3, 2]
    assert [len(part) for part in held] == [30, 30, 20]


def test_blocks_and_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"blocks lies in 2\.\.7"):
        in_blocks(7, 8, [0.1], 0)
    with pytest.raises(ValueError, match=r"parts of \[5, 5\] blocks from 10"):
        in_blocks(100, 10, [0.5, 0.5], 0)
    with pytest.raises(ValueError, match="nothing remains"):
        in_blocks(10, 2, [0.5, 0.5], 0)
    rest, _ = in_blocks(100, 10, [0.2], 0)
    with pytest.raises(ValueError, match=r"fold lies in 0\.\.2; got 3"):
        block_fold(rest, 100, 10, 3, 3)
    with pytest.raises(ValueError, match="folds: 8 at most"):
        block_fold(rest, 100, 10, 9, 0)
    with pytest.raises(ValueError, match=r"folds: 9 at most, as many as blocks are left beside the test part; got 10"):
        data.load(travelling(), blocks=10, folds=10, fold=0)


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
