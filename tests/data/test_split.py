"""Splits and seeded cuts: every example once, the same for the same seed, and classes in their shares."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.data import load
from polyvae.data.cuts import cut, kfold, part_size, permutation, stratified, subset
from polyvae.data.errors import DataError
from polyvae.data.loading import wrap
from polyvae.data.split import Data, Split
from polyvae.model.spec import Spec
from polyvae.observe.transforms import Binarise


def bytes_split(count=6, transform=None):
    x = torch.arange(count * 4, dtype=torch.uint8).reshape(count, 1, 2, 2)
    return Split({"x": x, "y": torch.arange(count)}, transform)


def test_a_batch_holds_bytes_as_floats_and_the_rest_as_it_is():
    split = bytes_split()
    batch = split.batch(torch.tensor([4, 0, 4]))
    assert torch.equal(batch["x"], split.tensors["x"][[4, 0, 4]].float() / 255)
    assert batch["y"].tolist() == [4, 0, 4]
    floats = Split({"x": torch.rand(3, 2)}).batch(torch.tensor([2]))
    assert floats["x"].dtype == torch.float32
    assert len(split.batch(torch.empty(0, dtype=torch.int64))["x"]) == 0


def test_a_batch_goes_through_the_transform_and_leaves_the_data_alone():
    split = bytes_split(64, Binarise("threshold"))
    before = split.tensors["x"].clone()
    assert set(split.batch(torch.arange(64))["x"].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(split.tensors["x"], before)


def test_a_batch_of_floats_can_be_changed_without_changing_the_data():
    split = Split({"x": torch.zeros(3, 2)})
    split.batch(torch.arange(3))["x"].add_(1)
    assert split.tensors["x"].sum() == 0


def test_take_keeps_order_transform_and_shares_a_run():
    split = bytes_split(transform=Binarise())
    taken = split.take([3, 1])
    assert taken.tensors["y"].tolist() == [3, 1]
    assert taken.transform == split.transform
    run = split.take(torch.arange(2, 5))
    assert run.tensors["y"].tolist() == [2, 3, 4]
    assert run.tensors["x"].data_ptr() == split.tensors["x"][2:].data_ptr()
    assert len(split.take([])) == 0


def test_a_memory_mapped_tensor_is_batched_where_it_lies(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (5, 3))
    array[:] = np.arange(15).reshape(5, 3)
    split = Split({"x": torch.from_numpy(array)})
    assert split.batch(torch.tensor([4]))["x"].tolist() == [[12.0, 13.0, 14.0]]  # a table's, not grey levels


def test_to_moves_every_tensor():
    split = bytes_split().to("meta")
    assert split.device.type == "meta"
    assert len(split) == 6
    data = Data("d", bytes_split(), bytes_split(), bytes_split(), Spec((1, 2, 2))).to("meta")
    assert {data.train.device.type, data.validation.device.type, data.test.device.type} == {"meta"}


def test_a_split_without_tensors_or_of_uneven_lengths_is_refused():
    with pytest.raises(DataError, match="at least one named tensor"):
        Split({})
    with pytest.raises(DataError, match=r"'x': 3, 'y': 2"):
        Split({"x": torch.zeros(3, 1), "y": torch.zeros(2)})


def test_a_permutation_is_fixed_by_its_seed_for_ever():
    # The words of PCG64 never change, so neither may these splits.
    assert permutation(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert not torch.equal(permutation(1000, 0), permutation(1000, 1))
    assert permutation(1000, 0).sort().values.tolist() == list(range(1000))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_rows_drawn_with_the_seed_of_the_cut_are_cut_at_random_too(tmp_path: Path, seed: int):
    # Trap: a seed shared where it must differ. The first column was the order of the cut: the smallest were held out.
    x = np.random.default_rng(seed).random(2000)
    np.save(tmp_path / "x.npy", np.stack([x, x], 1))
    made = [wrap(np.stack([x, x], 1), seed=seed), load(tmp_path / "x.npy", seed=seed)]
    made.append(load(tmp_path / "x.npy", seed=seed, folds=5, fold=0))
    made.append(load(tmp_path / "x.npy", seed=seed, limit=300))
    for data in made:
        for part in (data.train, data.validation, data.test):
            assert float(part.tensors["x"].mean()) == pytest.approx(0.5, abs=5 * (12 * len(part)) ** -0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_drawn_with_the_seed_of_a_subset_are_chosen_at_random_too(tmp_path: Path, seed: int):
    x = np.random.default_rng(seed).random((1000, 1))
    part = wrap(x, validation=x).validation
    labelled = Split({**part.tensors, "y": torch.arange(1000) % 2})
    np.savez(tmp_path / "x.npz", x_train=x, x_test=x if seed == 0 else x[::-1])
    limited = load(tmp_path / "x.npz", limit=400, seed=seed)
    parts = [subset(part, 200, seed), subset(labelled, 200, seed), limited.train, limited.test]
    for chosen in parts:
        assert float(chosen.tensors["x"].mean()) == pytest.approx(0.5, abs=5 * (12 * len(chosen)) ** -0.5)


def test_permutations_are_uniform():
    counts = torch.zeros(4, 4)
    for seed in range(2000):
        counts[torch.arange(4), permutation(4, seed)] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 27.9  # 0.1 % of a chi-square of 9 degrees lies above


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 300), st.floats(0, 0.4), st.integers(0, 1), st.integers(0, 9))
def test_a_cut_shares_out_every_example_once(count, share, number, seed):
    pieces = cut(count, [share, number], seed)
    assert torch.cat(pieces).sort().values.tolist() == list(range(count))
    assert [len(piece) for piece in pieces[1:]] == [part_size(count, share), number]
    assert all(torch.equal(piece, piece.sort().values) for piece in pieces)
    assert all(torch.equal(a, b) for a, b in zip(pieces, cut(count, [share, number], seed), strict=True))


def test_the_test_part_is_cut_by_seed_alone():
    # Trap: a test split cut at random without a seed. The global generators must not matter.
    torch.manual_seed(1)
    first = cut(100, [0.1, 0.1], seed=3)
    torch.manual_seed(2)
    np.random.seed(5)  # noqa: NPY002
    assert all(torch.equal(a, b) for a, b in zip(first, cut(100, [0.1, 0.1], seed=3), strict=True))


@pytest.mark.parametrize(
    ("count", "parts"), [(10, [10]), (10, [0.5, 0.5]), (2, [0.1, 0.1]), (5, [1.0]), (5, [-1]), (5, [-0.1])]
)
def test_an_impossible_cut_is_refused(count, parts):
    with pytest.raises(ValueError, match=r"nothing remains|lies in \[0, 1\)|at least 0"):
        cut(count, parts, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 60), st.integers(0, 5))
def test_folds_share_out_every_example(folds, extra, seed):
    count = folds + extra
    held = []
    for fold in range(folds):
        rest, piece = kfold(count, folds, fold, seed)
        assert torch.cat([rest, piece]).sort().values.tolist() == list(range(count))
        assert abs(len(piece) - count / folds) < 1
        held.append(piece)
    assert torch.cat(held).sort().values.tolist() == list(range(count))


def test_an_impossible_fold_is_refused():
    for folds, fold in ((1, 0), (11, 0)):
        with pytest.raises(ValueError, match=r"folds lies in 2\.\.10"):
            kfold(10, folds, fold, 0)
    with pytest.raises(ValueError, match=r"fold lies in 0\.\.4; got 5"):
        kfold(10, 5, 5, 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=120), st.floats(0, 1), st.integers(0, 5))
def test_a_stratified_subset_keeps_shares_and_every_class(labels, share, seed):
    y = torch.tensor(labels)
    count = round(share * len(y))
    index = stratified(y, count, seed)
    assert len(index) == count
    assert len(set(index.tolist())) == count
    assert torch.equal(index, stratified(y, count, seed))
    classes = set(labels)
    chosen = y[index]
    if count >= len(classes):
        assert set(chosen.tolist()) == classes
    if all(labels.count(c) * count / len(y) >= 1 for c in classes):
        for c in classes:  # largest remainder: within one of the exact share
            assert abs((chosen == c).sum().item() - labels.count(c) * count / len(y)) < 1


def test_a_stratified_subset_of_one_class_and_of_rare_ones():
    assert len(stratified(torch.zeros(50, dtype=torch.int64), 7, 0)) == 7
    y = torch.tensor([5] * 990 + [2] * 9 + [900])
    assert torch.bincount(y[stratified(y, 10, 0)]).nonzero().flatten().tolist() == [2, 5, 900]
    assert y[stratified(y, 2, 0)].tolist() == [5, 5]
    many = torch.cat([torch.zeros(1000, dtype=torch.int64), torch.arange(1, 21)])
    assert torch.bincount(many[stratified(many, 22, 0)]).tolist() == [2] + [1] * 20
    with pytest.raises(ValueError, match=r"0\.\.3 of them; got 4"):
        stratified(torch.tensor([0, 1, 2]), 4, 0)


def test_stratified_choice_inside_a_class_is_random():
    y = torch.arange(2).repeat_interleave(50)
    seen = torch.cat([stratified(y, 20, seed) for seed in range(200)])
    counts = torch.bincount(seen, minlength=100).double()
    assert counts.mean() == 40
    assert ((counts - 40) ** 2 / (200 * 0.2 * 0.8)).sum() < 149  # about 0.1 % of a chi-square of 100 degrees


def test_subsets_are_stratified_where_there_are_labels():
    labelled = Split({"x": torch.rand(100, 2), "y": torch.tensor([0] * 90 + [1] * 10)})
    assert torch.bincount(subset(labelled, 20, 0).tensors["y"]).tolist() == [18, 2]
    conditioned = Split({"x": torch.rand(100, 2), "y": torch.rand(100, 3)})
    assert len(subset(conditioned, 20, 0)) == 20
    assert subset(labelled, 100, 0) is labelled
    assert not torch.equal(subset(conditioned, 20, 0).tensors["x"], subset(conditioned, 20, 1).tensors["x"])


def test_data_can_be_pickled_for_worker_processes():
    data = Data("d", bytes_split(transform=Binarise()), bytes_split(), bytes_split(), Spec((1, 2, 2), classes=6))
    assert pickle.loads(pickle.dumps(data)).spec == data.spec
