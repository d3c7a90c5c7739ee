"""Pairs of pictures of one class: the classes agree, no picture stands in two parts, and pictures are kept once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import format_files
from polyvae import data
from polyvae.data.memory_maps import Rows
from polyvae.data.modalities.pairing import matched


@pytest.fixture
def written(tmp_path):
    """Small files of MNIST and SVHN: what stands in them, by set."""
    return {
        "mnist": format_files.mnist(tmp_path / "data" / "mnist", 300, 50),
        "svhn": format_files.svhn(tmp_path / "data" / "svhn", 120, 40),
    }


def pictures(split, name):
    """The bytes of every row's picture."""
    return [row.tobytes() for row in split.tensors[name].numpy()]


def labels_of(written, part):
    """The label of every picture in the files, by its bytes."""
    return {
        name: {
            x.tobytes(): int(y)
            for x, y in zip(arrays[f"{part}_x"].reshape(len(arrays[f"{part}_y"]), -1), arrays[f"{part}_y"], strict=True)
        }
        for name, arrays in written.items()
    }


@pytest.mark.parametrize("pairings", [1, 3])
def test_both_pictures_of_every_row_show_its_class(written, pairings):
    loaded = data.load("mnist-svhn", pairings=pairings)
    for part, split in loaded.parts.items():
        known = labels_of(written, "test" if part == "test" else "train")
        for name in ("mnist", "svhn"):
            assert [known[name][each] for each in pictures(split, name)] == split.tensors["y"].tolist()
    assert loaded.spec.shapes == {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "y": ()}
    assert (loaded.spec.x, loaded.spec.classes) == ((), 10)


@pytest.mark.parametrize("options", [{}, {"validation": 30}, {"fold": 1, "folds": 4}, {"pairings": 4, "seed": 3}])
def test_no_picture_stands_in_two_parts(written, options):
    loaded = data.load("mnist-svhn", **options)
    for name in ("mnist", "svhn"):
        train, validation, test = ({*pictures(split, name)} for split in loaded.parts.values())
        assert validation
        assert not train & validation
        assert not (train | validation) & test
    assert "by picture" in loaded.cut


def test_each_pairing_pairs_every_picture_of_the_shorter_side_once_and_anew(written):
    one, several = data.load("mnist-svhn"), data.load("mnist-svhn", pairings=5)
    count = len(one.train)
    assert count == 108  # a tenth of the twelve pictures of each class of SVHN is held out
    assert [len(split) for split in several.parts.values()] == [5 * count, len(one.validation), len(one.test)]
    svhn, mnist = pictures(several.train, "svhn"), pictures(several.train, "mnist")
    for start in range(0, 5 * count, count):
        assert len({*svhn[start : start + count]}) == len({*mnist[start : start + count]}) == count
    assert len({*zip(mnist, svhn, strict=True)}) > 4 * count  # hardly any pair comes twice
    assert svhn[:count] == pictures(one.train, "svhn")  # more pairings go on where fewer end


def test_seeds_decide_the_pairs_and_the_official_test_part_stays(written):
    first, again, other = (data.load("mnist-svhn", seed=seed) for seed in (0, 0, 1))
    assert pictures(first.train, "mnist") == pictures(again.train, "mnist")
    assert pictures(first.train, "mnist") != pictures(other.train, "mnist")
    assert {*pictures(first.validation, "svhn")} != {*pictures(other.validation, "svhn")}
    for name in ("mnist", "svhn"):
        assert pictures(first.test, name) == pictures(other.test, name)


def test_the_pictures_are_kept_once_in_how_many_pairs_ever_they_stand(written):
    few, many = (data.load("mnist-svhn", pairings=pairings).train for pairings in (2, 50))
    assert isinstance(many.tensors, Rows)
    for name in ("mnist", "svhn"):
        assert few.tensors._held[name].nbytes == many.tensors._held[name].nbytes
        assert many.tensors._held[name].dtype is torch.uint8
    pools = 270 * 784 + 108 * 3072  # what is left of the pictures for training
    assert many.tensors.nbytes == pools + 50 * 108 * 8  # and the labels
    assert isinstance(many.to("meta").tensors, Rows)  # on a device too
    assert many.to("meta").tensors._held["svhn"].device.type == "meta"


def test_a_batch_and_parts_of_it_hold_the_same_rows(written):
    """As several processes read it: every one a part of the index, without a loop."""
    train = data.load("mnist-svhn", pairings=7).train
    index = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:64]
    batch = train.batch(index)
    for rank in range(2):
        for name, value in train.batch(index[rank::2]).items():
            assert torch.equal(value, batch[name][rank::2])
    assert batch["svhn"].dtype == torch.float32
    assert batch["svhn"].max() <= 1
    taken = train.take(index)
    assert torch.equal(taken.tensors["svhn"], train.tensors["svhn"][index])
    again = train.take([*range(len(train) - 1, -1, -1)])
    assert isinstance(again.tensors, Rows)
    assert torch.equal(again.tensors["mnist"].flip(0), train.tensors["mnist"])


def test_a_limit_takes_some_pairs_of_every_class(written):
    loaded = data.load("mnist-svhn", pairings=3, limit=40)
    assert len(loaded.train) == 40
    assert loaded.train.tensors["y"].bincount().tolist() == [4] * 10
    assert not isinstance(loaded.train.tensors, Rows)  # a copy of so few takes less than all pictures


def test_the_call_loads_the_same_data_again(written):
    loaded = data.load("mnist-svhn", pairings=2, seed=5)
    assert loaded.call == {"name": "mnist-svhn", "pairings": 2, "seed": 5}
    again = data.load(**loaded.call)
    for part, split in loaded.parts.items():
        for name, values in split.tensors.items():
            assert torch.equal(values, again.parts[part].tensors[name])


def test_what_pairs_cannot_do_is_refused(written):
    with pytest.raises(ValueError, match="pairings is for data that pair pictures by their class; got mnist"):
        data.load("mnist", pairings=2)
    with pytest.raises(ValueError, match="pairs are no series"):
        data.load("mnist-svhn", blocks=3)
    with pytest.raises(ValueError, match="validation leaves nothing to train on of 120; got 120"):
        data.load("mnist-svhn", validation=120)


def test_missing_files_are_named_with_the_set_that_they_belong_to(tmp_path):
    format_files.mnist(tmp_path / "data" / "mnist")
    with pytest.raises(data.DataError, match=r"svhn: expected its files in .*polyvae datasets fetch svhn"):
        data.load("mnist-svhn", download=False)
    entry = next(each for each in data.catalogue() if each.name == "mnist-svhn")
    assert (entry.present, entry.state, entry.fetchable) == (False, "absent", True)
    assert entry.size == 182_040_794 + 64_275_384
    assert "fetch svhn" in entry.how


def test_the_listing_shows_the_folder_that_both_have_in_common(written, tmp_path):
    entry = next(each for each in data.catalogue() if each.name == "mnist-svhn")
    assert (entry.where, entry.state) == (tmp_path / "data", "differs")
    assert entry.shapes == {"mnist": (1, 28, 28), "svhn": (3, 32, 32)}
    assert data.fetch("mnist-svhn") == tmp_path / "data"


labels = st.lists(st.integers(0, 4), min_size=1, max_size=30).map(torch.tensor)


@settings(max_examples=60, deadline=None)
@given(st.lists(labels, min_size=2, max_size=4), st.integers(1, 3), st.integers(0, 2**40))
def test_matched_items_are_of_one_class_and_as_many_as_the_least_of_each(labels, pairings, seed):
    index = matched(labels, pairings, seed)
    classes = torch.stack([y[rows] for y, rows in zip(labels, index, strict=True)])
    assert bool((classes == classes[:1]).all())
    least = torch.stack([torch.bincount(y, minlength=5) for y in labels]).amin(0)
    assert torch.equal(torch.bincount(classes[0], minlength=5), pairings * least)
    for rows in index:
        for block in rows.chunk(pairings):
            assert len(block.unique()) == len(block)


def test_real_pairs_have_their_counts(real_data):
    if not (real_data("mnist") and real_data("svhn")):
        pytest.skip("POLYVAE_DATA holds no MNIST and SVHN")
    loaded = data.load("mnist-svhn", data_dir=real_data("svhn").parent, pairings=2)
    # Of this many pictures SVHN has fewer than MNIST in each class; its official files have 73,257 and 26,032.
    y = loaded.train.tensors["y"]
    assert len(loaded.validation) < len(loaded.train) // 10
    assert len(loaded.train) % 2 == 0
    assert np.ptp(y.bincount(minlength=10).numpy()) > 0
