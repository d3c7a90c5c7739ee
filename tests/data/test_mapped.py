"""Arrays larger than they should be in memory: mapped, cut by index, read by the batch; the same examples as ever."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from polyvae import data
from polyvae.data import DataError, wrap
from polyvae.data import memory_maps as mapped
from polyvae.data.memory_maps import Rows
from polyvae.data.split import Split

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
ARRAYS = {
    "bytes": BYTES,
    "no channels": BYTES[:, 0],
    "channels last": RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8),
    "floats": RNG.random((60, 1, 8, 8), np.float32),
    "doubles": RNG.random((60, 1, 8, 8)),
    "big-endian": RNG.random((60, 25)).astype(">f8"),
    "by columns": np.asfortranarray(RNG.standard_normal((60, 70)).astype(np.float32)),
    "whole numbers": RNG.integers(0, 99, (60, 40)),
}


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(mapped, "LARGE", 1000)
    monkeypatch.setattr(mapped, "PIECE", 700)


def parts(loaded):
    found = {}
    for part in ("train", "validation", "test"):
        split = getattr(loaded, part)
        found[part] = split.batch(torch.arange(len(split)).flip(0))["x"]
    return found


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("limit", [None, 20])
def test_a_mapped_file_gives_the_same_examples_and_stays_as_it_is(tmp_path, monkeypatch, array, limit):
    path = tmp_path / "a.npy"
    np.save(path, array)
    before = path.read_bytes()
    expected = data.load(path, limit=limit)
    monkeypatch.setattr(mapped, "LARGE", 1000)
    found = data.load(path, limit=limit)
    assert found.spec == expected.spec
    assert isinstance(found.train.tensors, Rows)
    for part, x in parts(found).items():
        assert torch.equal(x, parts(expected)[part])
    assert path.read_bytes() == before


def test_a_large_split_is_cut_by_index_and_gives_copies(large):
    tensors = {"x": torch.rand(40, 30), "y": torch.arange(40)}
    cut = Split(tensors).take([*range(30, 5, -1)])
    assert isinstance(cut.tensors, Rows)
    assert (len(cut), cut.device.type, list(cut.tensors)) == (25, "cpu", ["x", "y"])
    assert torch.equal(cut.tensors["x"], tensors["x"][5:31].flip(0)[:25])
    assert cut.tensors["y"].tolist() == [*range(30, 5, -1)]
    assert cut.tensors.keys() == {"x", "y"}
    twice = cut.take([3, 1, 1] * 4)
    assert twice.batch(torch.tensor([0, 1]))["y"].tolist() == [27, 29]
    assert not isinstance(cut.take([3]).tensors, Rows)
    assert cut.take([3]).tensors["x"].tolist() == tensors["x"][27:28].tolist()
    assert cut.to("cpu").tensors is cut.tensors
    assert {name: tensor.device.type for name, tensor in cut.to("meta").tensors.items()} == {"x": "meta", "y": "meta"}
    assert "25 examples" in repr(cut)


def test_a_users_own_large_array_is_not_copied_by_the_cut(large):
    x = torch.rand(60, 30)
    cut = wrap(x).train.tensors
    assert isinstance(cut, Rows)
    assert cut._held["x"].data_ptr() == x.data_ptr()


def test_what_is_not_finite_in_a_large_file_is_named(tmp_path, large):
    x = RNG.standard_normal((60, 30)).astype(np.float32)
    x[41, 3] = np.nan
    np.save(tmp_path / "a.npy", x)
    with pytest.raises(DataError, match=r"a\.npy.*NaN or infinity, first in example 41"):
        data.load(tmp_path / "a.npy")


LOADED = """
import gc, sys
from pathlib import Path
import torch
from polyvae import data

def resident(key):
    return int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0]) * 1024

data.load("digits")
gc.collect()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = resident("VmRSS")
loaded = data.load(sys.argv[1])
for index in torch.arange(len(loaded.train)).split(128):
    loaded.train.batch(index)
print(resident("VmHWM") - before)
"""


@pytest.mark.parametrize(("dtype", "shape"), [(np.uint8, (64, 512)), (np.float64, (4096,))])
def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path, dtype, shape):
    path, size = tmp_path / "a.npy", 300 * 2**20
    np.lib.format.open_memmap(path, "w+", dtype, (size // 32768, *shape))  # a file of holes
    # What is freed goes back to the system at once: else glibc keeps some of it, now more, now less.
    held = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**17)}
    found = subprocess.run([sys.executable, "-c", LOADED, path], env=held, capture_output=True, text=True, check=True)
    assert int(found.stdout) < size
