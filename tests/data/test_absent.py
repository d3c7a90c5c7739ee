"""Modalities hidden in training: how often, one always left, zeros in their place, and the other parts whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import format_files
from polyvae import data
from polyvae.data.memory_maps import Rows
from polyvae.data.modalities.absent import flagged, hidden
from polyvae.data.split import Split

NAMES = ("mnist", "svhn")


@pytest.fixture(autouse=True)
def written(tmp_path):
    format_files.mnist(tmp_path / "data" / "mnist", 300, 50)
    format_files.svhn(tmp_path / "data" / "svhn", 120, 40)


there_before = st.integers(2, 4).flatmap(
    lambda count: st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=1, max_size=40)
)


@settings(max_examples=80, deadline=None)
@given(there_before, st.floats(0, 0.99), st.integers(0, 2**62))
def test_what_is_left_was_there_and_no_row_loses_all(rows, share, seed):
    there = torch.tensor(rows).T
    left = hidden(there, share, seed)
    assert not bool((left & ~there).any())
    assert torch.equal(left.any(0), there.any(0))
    assert torch.equal(left, hidden(there, share, seed))


@pytest.mark.parametrize(("count", "share"), [(2, 0.4), (3, 0.6), (5, 0.8)])
def test_so_many_are_hidden_as_the_chance_says_less_what_is_left_of_rows_that_would_lose_all(count, share):
    left = hidden(torch.ones(count, 40_000, dtype=torch.bool), share, 0)
    expected = share - share**count / count
    assert abs(1 - left.double().mean() - expected) < 4 * (expected / left.numel()) ** 0.5
    alone = left[:, left.sum(0) == 1].double().mean(1)
    assert (alone - 1 / count).abs().max() < 0.02  # the one that is left is any, as likely


@pytest.mark.parametrize("pairings", [1, 6])
def test_training_rows_lose_modalities_and_the_other_parts_none(pairings):
    whole, loaded = (data.load("mnist-svhn", pairings=pairings, absent=absent) for absent in (None, 0.4))
    assert loaded.call["absent"] == 0.4
    there = torch.stack([loaded.train.tensors[f"{name}_present"] for name in NAMES])
    assert there.dtype is torch.bool
    assert {tuple(row) for row in there.T.tolist()} == {(True, True), (True, False), (False, True)}
    batch = loaded.train.batch(torch.arange(len(loaded.train)))
    for name, rows in zip(NAMES, there, strict=True):
        assert torch.equal(loaded.train.tensors[name][rows], whole.train.tensors[name][rows])
        assert not bool(loaded.train.tensors[name][~rows].any())
        assert torch.equal(batch[name].flatten(1).any(1), rows)
        for part in (loaded.validation, loaded.test):
            assert bool(part.tensors[f"{name}_present"].all())
    assert torch.equal(loaded.train.tensors["y"], whole.train.tensors["y"])
    if pairings > 1:
        assert isinstance(loaded.train.tensors, Rows)
        held = loaded.train.tensors._held["svhn"]
        assert len(held) == 108 + 1  # all pictures, and the one that stands where there is none


def test_seeds_decide_what_is_hidden():
    first, again, other = (data.load("mnist-svhn", absent=0.5, seed=seed).train for seed in (0, 0, 1))
    assert torch.equal(first.tensors["mnist_present"], again.tensors["mnist_present"])
    assert not torch.equal(first.tensors["mnist_present"], other.tensors["mnist_present"])


def test_data_say_what_their_rows_lack():
    loaded = data.load("mnist-svhn", absent=0.5)
    shares = {name: 1 - float(loaded.train.tensors[f"{name}_present"].float().mean()) for name in NAMES}
    assert loaded.train.absent == pytest.approx(shares)
    assert f"mnist missing in {shares['mnist']:.0%}" in repr(loaded)
    assert data.load("mnist-svhn").train.absent == {}
    assert "missing" not in repr(data.load("mnist-svhn"))


def test_rows_without_anything_and_modalities_without_a_row_are_named():
    values = {"a": torch.ones(3, 2), "b": torch.ones(3, 2), "y": torch.zeros(3, dtype=torch.int64)}
    split = Split({**values, "a_present": torch.tensor([True, False, True])})
    assert flagged({"train": split}, ["a", "b"], None, 0)["train"].tensors["b_present"].all()
    bare = Split({**split.tensors, "b_present": torch.tensor([True, False, False])})
    with pytest.raises(data.DataError, match="none in row 1 of the train part"):
        flagged({"train": bare}, ["a", "b"], None, 0)
    never = Split({**values, "a_present": torch.zeros(3, dtype=torch.bool)})
    with pytest.raises(data.DataError, match="leave a away"):
        flagged({"train": never}, ["a", "b"], None, 0)


def test_what_is_of_one_modality_lacks_none():
    with pytest.raises(ValueError, match="absent is for data of several modalities; got digits"):
        data.load("digits", absent=0.2)
    with pytest.raises(ValueError, match="absent"):
        data.load("mnist-svhn", absent=1.0)


def test_pictures_of_one_channel_are_binarised_and_grey_levels_of_all_dequantised():
    loaded = data.load("mnist-svhn", binarise="dynamic", absent=0.3)
    assert {name: spec.levels for name, spec in loaded.spec.values.items()} == {"mnist": 2, "svhn": 256}
    for split in loaded.parts.values():
        batch = split.batch(torch.arange(len(split)))
        assert np.unique(batch["mnist"]).tolist() == [0, 1]
        assert len(batch["svhn"].unique()) > 2
    noisy = data.load("mnist-svhn", dequantise=True)
    assert {name: (spec.levels, spec.dequantised) for name, spec in noisy.spec.values.items()} == {
        "mnist": (None, 256),
        "svhn": (None, 256),
    }
    for split in noisy.parts.values():
        batch = split.batch(torch.arange(10))
        assert all(len(batch[name].unique()) > 256 for name in NAMES)
    small = data.load("mnist-svhn", size=16)
    assert small.spec.shapes == {"mnist": (1, 16, 16), "svhn": (3, 16, 16), "y": ()}
    assert small.train.batch(torch.arange(2))["svhn"].shape == (2, 3, 16, 16)
    with pytest.raises(data.DataError, match="kind"):
        data.load("mnist-svhn", kind="real")
