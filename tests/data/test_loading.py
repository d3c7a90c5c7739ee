"""`load`: cuts, folds, subsets, binarisation, dequantisation, sizes, paths, and the call that repeats it all."""

import json
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import format_files
from helpers.splits import everything, keys, lengths
from polyvae import data
from polyvae.data.loading import _total
from polyvae.data.preprocessing import binarised, dequantised, resized
from polyvae.data.sources import CATALOGUE
from polyvae.model.spec import Spec


@pytest.fixture
def mnist(tmp_path):
    return format_files.mnist(tmp_path / "data" / "mnist", train=600, test=200)


def test_the_official_test_part_stays_and_validation_is_cut_by_seed(mnist):
    first, again, other = data.load("mnist"), data.load("mnist"), data.load("mnist", seed=1)
    assert lengths(first) == (500, 100, 200)  # 50,000, 10,000 and 10,000 of the whole MNIST
    for part in ("train", "validation", "test"):
        assert keys(getattr(first, part)) == keys(getattr(again, part))
    assert keys(first.test) == keys(other.test)
    assert set(keys(first.validation)) != set(keys(other.validation))
    assert not set(keys(first.train)) & set(keys(first.validation))
    assert set(keys(first.train)) | set(keys(first.validation)) == set(keys(other.train)) | set(keys(other.validation))


@pytest.mark.parametrize(("validation", "expected"), [(60, 60), (0.5, 300), (0, 0)])
def test_validation_is_a_number_or_a_share(mnist, validation, expected):
    assert lengths(data.load("mnist", validation=validation)) == (600 - expected, expected, 200)


def test_folds_share_out_training_and_validation_part_and_leave_the_test_part(mnist):
    folds = [data.load("mnist", fold=fold, folds=5, seed=3) for fold in range(5)]
    held = [keys(loaded.validation) for loaded in folds]
    assert [len(each) for each in held] == [120] * 5
    assert len(set().union(*held)) == 600
    for loaded in folds:
        assert not set(keys(loaded.train)) & set(keys(loaded.validation))
        assert keys(loaded.test) == keys(folds[0].test)


def test_an_official_validation_part_is_kept_unless_another_is_asked_for(tmp_path):
    written = format_files.binarized_mnist(tmp_path / "data" / "binarized_mnist")
    assert lengths(data.load("binarized_mnist")) == (30, 10, 10)
    pooled = data.load("binarized_mnist", fold=0, folds=4)
    assert lengths(pooled) == (30, 10, 10)
    assert set(keys(pooled.validation)) != {row.tobytes() for row in written["valid"] * 255}
    assert lengths(data.load("binarized_mnist", validation=0.25)) == (30, 10, 10)


def test_sets_without_official_parts_are_cut_in_three_by_seed():
    first, other = data.load("digits"), data.load("digits", seed=1)
    assert lengths(first) == (1437, 180, 180)
    assert keys(first.test) != keys(other.test)
    folds = [data.load("digits", fold=fold, folds=3) for fold in range(3)]
    assert [lengths(loaded) for loaded in folds] == [(1078, 539, 180)] * 3
    assert all(keys(loaded.test) == keys(first.test) for loaded in folds)


def test_limit_takes_a_stratified_part_of_each_split(mnist):
    loaded = data.load("mnist", limit=100)
    assert lengths(loaded) == (100, 20, 40)
    assert torch.bincount(loaded.test.tensors["y"]).tolist() == [4] * 10
    counts = torch.bincount(loaded.train.tensors["y"])
    assert counts.min() >= 8
    assert set(keys(loaded.train)) < set(keys(data.load("mnist").train))
    assert set(keys(loaded.train)) != set(keys(data.load("mnist", limit=100, seed=1).train))
    assert keys(loaded.test) == keys(data.load("mnist", limit=100, seed=1).test)
    few = data.load("mnist", limit=10)
    assert torch.bincount(few.test.tensors["y"]).tolist() == [1] * 10
    assert lengths(data.load("mnist", limit=10_000)) == (500, 100, 200)


@given(st.integers(1, 5000))
@settings(max_examples=200, deadline=None)
def test_enough_is_generated_to_leave_the_limit_to_train_on(limit):
    total = _total(limit)
    assert limit <= total - 2 * max(1, round(0.1 * total)) <= limit + 1


def test_generated_shapes_take_any_size_count_and_seed():
    loaded = data.load("shapes", limit=37, size=16, seed=5)
    assert len(loaded.train) == 37
    assert loaded.spec == Spec((1, 16, 16), classes=3)
    assert keys(loaded.train) == keys(data.load("shapes", limit=37, size=16, seed=5).train)
    assert keys(loaded.train) != keys(data.load("shapes", limit=37, size=16, seed=6).train)
    assert loaded.train.tensors["factors"].shape == (37, 5)


def test_threshold_binarises_every_part_the_same_way(mnist):
    plain, loaded = data.load("mnist"), data.load("mnist", binarise="threshold")
    assert loaded.spec.levels == 2
    for part in ("train", "validation", "test"):
        torch.testing.assert_close(everything(getattr(loaded, part)), (everything(getattr(plain, part)) > 0.5).float())


def test_fixed_binarisation_is_one_draw_whatever_is_cut(mnist):
    first, again = data.load("mnist", binarise="fixed"), data.load("mnist", binarise="fixed", seed=9)
    assert first.spec.levels == 2
    assert set(everything(first.train).unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(everything(first.test), everything(again.test))
    assert set(keys(first.train)) | set(keys(first.validation)) == set(keys(again.train)) | set(keys(again.validation))


def test_dynamic_binarisation_is_fresh_in_training_only(mnist):
    loaded = data.load("mnist", binarise="dynamic")
    assert not torch.equal(everything(loaded.train), everything(loaded.train))
    for part in (loaded.validation, loaded.test):
        assert set(everything(part).unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(everything(part), everything(part))
    index = torch.zeros(4000, dtype=torch.int64)
    mean = loaded.train.batch(index)["x"].mean(0)
    chance = data.load("mnist").train.batch(index[:1])["x"][0]
    spread = (chance * (1 - chance) / 4000).sqrt()
    assert ((mean - chance).abs() <= 5.5 * spread + 1e-9).all()


@pytest.mark.parametrize("mode", ["dynamic", "fixed", "threshold"])
def test_pictures_that_are_kept_as_numbers_become_bits_too(mode):
    """Their training part stays in numbers, the others are bytes: they are no fields of two scales."""
    loaded = data.load("digits", binarise=mode)
    assert (loaded.spec.levels, loaded.spec.columns) == (2, ())
    for part in loaded.parts.values():
        assert set(everything(part).unique().tolist()) == {0.0, 1.0}


def test_what_is_binary_already_is_left_alone(tmp_path):
    format_files.binarized_mnist(tmp_path / "data" / "binarized_mnist")
    loaded = data.load("binarized_mnist", binarise="dynamic")
    torch.testing.assert_close(everything(loaded.train), everything(data.load("binarized_mnist").train))
    assert loaded.train.transform is None


def test_one_draw_has_the_probabilities_of_the_grey_levels():
    x = torch.arange(256, dtype=torch.uint8).repeat(20_000, 1)
    drawn = binarised(x, 0)
    assert set(drawn.unique().tolist()) == {0, 255}
    mean, chance = (drawn == 255).double().mean(0), torch.arange(256).double() / 255
    assert mean[0] == 0
    assert mean[255] == 1
    assert ((mean - chance).abs() <= 5 * (chance * (1 - chance) / 20_000).sqrt() + 1e-12).all()
    floats = binarised(chance.float().repeat(20_000, 1), 0)
    assert (floats == drawn).double().mean() > 0.9999
    assert not torch.equal(binarised(x, 1), drawn)


def test_dequantisation_fills_each_grey_level_and_is_fresh_in_training_only(mnist):
    plain, loaded = data.load("mnist"), data.load("mnist", dequantise=True)
    assert (plain.spec.levels, plain.spec.dequantised) == (256, None)
    assert (loaded.spec.levels, loaded.spec.dequantised) == (None, 256)
    assert loaded.spec.levels is None
    for part in ("train", "validation", "test"):
        noisy, levels = everything(getattr(loaded, part)), everything(getattr(plain, part)) * 255
        assert noisy.min() >= 0
        assert noisy.max() < 1
        torch.testing.assert_close((noisy * 256).floor(), levels.round())
    assert not torch.equal(everything(loaded.train), everything(loaded.train))
    torch.testing.assert_close(everything(loaded.test), everything(data.load("mnist", dequantise=True).test))


def test_loading_leaves_the_global_generator_alone(mnist):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    data.load("mnist", dequantise=True)
    data.load("mnist", binarise="fixed")
    torch.testing.assert_close(torch.rand(3), expected)
    x = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(dequantised(x, 256, 3), dequantised(x, 256, 3))


def test_digits_keep_their_seventeen_levels_through_dequantisation():
    plain, noisy = everything(data.load("digits").test), everything(data.load("digits", dequantise=True).test)
    torch.testing.assert_close((noisy * 17).floor(), (plain * 16).round())


def test_pictures_are_resized_once_with_their_means_kept(mnist, tmp_path):
    plain, loaded = data.load("mnist"), data.load("mnist", size=14)
    assert loaded.spec == Spec((1, 14, 14), classes=10)
    assert abs(everything(plain.test).mean() - everything(loaded.test).mean()) < 1e-2
    assert data.load("mnist", size=28).spec == plain.spec
    assert data.load("digits", size=16).spec.levels is None  # levels in between have come up
    format_files.binarized_mnist(tmp_path / "data" / "binarized_mnist")
    assert data.load("binarized_mnist", size=32).spec.levels == 256
    assert data.load("binarized_mnist").spec.levels == 2


def test_resizing_keeps_constants_cuts_the_middle_or_squeezes():
    x = np.zeros((2, 1, 28, 20), np.uint8)
    x[:, :, 4:24] = 200  # the middle square
    np.testing.assert_array_equal(resized(x, 10, centre=True), np.full((2, 1, 10, 10), 200, np.uint8))
    squeezed = resized(x, 20, centre=False)
    assert squeezed[0, 0, 0].max() == 0
    assert squeezed[0, 0, 10].min() == 200
    assert resized(x.astype(np.float32) / 255, 10, centre=True).dtype == np.float32


def test_a_second_load_reads_the_cache_and_not_the_files(mnist, monkeypatch):
    first = data.load("mnist")
    monkeypatch.setattr("polyvae.data.sources.mnist.idx", lambda path: pytest.fail("decoded again"))
    assert keys(data.load("mnist").train) == keys(first.train)


def test_real_or_small_mnist_loads_from_the_cache_in_well_under_a_second(mnist, real_data):
    root = real_data("mnist").parent if real_data("mnist") else None
    data.load("mnist", root)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        data.load("mnist", root)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 50, "binarise": "fixed", "size": 14, "centre": False, "seed": 4},
        {"fold": 1, "folds": 3, "dequantise": True},
        {"validation": 0.2},
    ],
)
def test_the_call_is_json_and_loads_the_same_again(mnist, tmp_path, options):
    loaded = data.load("mnist", tmp_path / "data", **options)
    call = json.loads(json.dumps(dict(loaded.call)))
    assert call == {"name": "mnist", "data_dir": str(tmp_path / "data"), **options}
    again = data.load(**call)
    assert again.spec == loaded.spec
    for part in ("train", "validation", "test"):
        assert keys(getattr(again, part)) == keys(getattr(loaded, part))


def test_every_name_of_the_catalogue_can_be_asked_for():
    assert data.names() == list(CATALOGUE)


@pytest.mark.parametrize("name", ["digits", "mnist", np.zeros((9, 2))])
def test_options_are_not_taken_for_a_folder(name):
    with pytest.raises(TypeError, match=r"options are given by name, .*; got Options"):
        data.load(name, data.Options(limit=100))


def test_an_option_that_is_not_known_is_named_with_the_nearest():
    with pytest.raises(TypeError, match="no setting is named 'binarize'; did you mean binarise"):
        data.load("digits", binarize="threshold")
    assert data.load("digits", limit=20, validation=0).call == {"name": "digits", "limit": 20, "validation": 0}
