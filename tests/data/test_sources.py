"""Every data set of the catalogue: read from small files in the original formats, and from real ones where present."""

import io
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import format_files
from polyvae import data
from polyvae.data import DataError
from polyvae.data.sources import CATALOGUE, sprites, turbulence
from polyvae.data.sources.inverse import PROBLEMS
from polyvae.model.spec import Spec


def omniglot_zips(folder, alphabets=("Latin", "Greek"), each=10):
    """The two archives of the original: 105x105, black ink on white, some in each archive."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, alphabet in zip(("images_background", "images_evaluation"), alphabets, strict=True):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as packed:
            packed.writestr(f"{archive}/", b"")
            for number in range(each):
                picture = Image.new("1", (105, 105), 1)
                picture.paste(0, (0, 0, 15, 15))  # exactly 4x4 pixels of the 28x28
                body = io.BytesIO()
                picture.save(body, "PNG")
                packed.writestr(f"{archive}/{alphabet}/character01/{number:04}_01.png", body.getvalue())


WRITERS = {
    "mnist": format_files.mnist,
    "fashion_mnist": format_files.mnist,
    "kmnist": format_files.mnist,
    "binarized_mnist": format_files.binarized_mnist,
    "cifar10": format_files.cifar10,
    "svhn": format_files.svhn,
    "celeba": partial(format_files.celeba, count=12),
    "omniglot": omniglot_zips,
    "dsprites": lambda folder: format_files.dsprites(folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"),
    "frey_faces": lambda folder: format_files.frey_faces(folder / "frey_faces_u8.npz"),
    "polymnist": format_files.polymnist,
    "cylinder_flow": lambda folder: format_files.cylinder_flow(folder / "cylinder_re100_grid.npz"),
}


def whole(loaded, name):
    return torch.cat([part.tensors[name] for part in (loaded.train, loaded.validation, loaded.test)])


def rows(tensor):
    """The examples as sorted bytes, to compare sets whatever their order."""
    return sorted(row.tobytes() for row in np.ascontiguousarray(tensor).reshape(len(tensor), -1))


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_set_loads_with_the_spec_it_promises(name, tmp_path, monkeypatch):
    for part in CATALOGUE[name].parts:
        if part.name in WRITERS:
            WRITERS[part.name](tmp_path / "data" / part.name)
    monkeypatch.setattr(sprites, "grid", partial(sprites.grid, 2, 3, 4))
    monkeypatch.setattr(turbulence, "SPIN_UP", 1)
    many = ("shapes", "vortices", "turbulence", *PROBLEMS)
    loaded = data.load(name, download=False, limit=50 if name in many else None)
    assert loaded.name == name
    assert replace(loaded.spec, columns=()) == CATALOGUE[name].spec
    assert loaded.spec.modalities or loaded.spec.kinds == (() if loaded.spec.unit else ("real",))
    assert min(len(loaded.train), len(loaded.validation), len(loaded.test)) > 0
    batch = loaded.train.batch(torch.arange(2))
    for each, spec in loaded.spec.values.items():
        assert batch[each].dtype == torch.float32
        assert tuple(batch[each].shape[1:]) == spec.x
        assert not spec.unit or 0 <= batch[each].min() <= batch[each].max() <= 1
        if spec.levels is not None:
            levels = batch[each] * (spec.levels - 1)
            torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    if loaded.spec.classes is not None:
        assert batch["y"].dtype == torch.int64
        assert whole(loaded, "y").max() < loaded.spec.classes
    if loaded.spec.y is not None:
        assert batch["y"].dtype == torch.float32
        assert batch["y"].shape == (2, loaded.spec.y)
        assert name in PROBLEMS or set(whole(loaded, "y").unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "svhn"])
def test_official_parts_arrive_exactly_as_they_were_written(name, tmp_path):
    written = WRITERS[name](tmp_path / "data" / name)
    loaded = data.load(name)
    np.testing.assert_array_equal(loaded.test.tensors["x"].squeeze(1), written["test_x"])
    np.testing.assert_array_equal(loaded.test.tensors["y"], written["test_y"])
    pooled = torch.cat([loaded.train.tensors["x"], loaded.validation.tensors["x"]])
    assert rows(pooled) == rows(written["train_x"])
    labels = torch.cat([loaded.train.tensors["y"], loaded.validation.tensors["y"]])
    by_picture = {row.tobytes(): int(y) for row, y in zip(written["train_x"], written["train_y"], strict=True)}
    assert [by_picture[row.numpy().squeeze().tobytes()] for row in pooled] == labels.tolist()


def test_unpacked_idx_files_serve_as_well(tmp_path):
    import gzip

    folder = tmp_path / "data" / "mnist"
    written = format_files.mnist(folder)
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(data.load("mnist").test.tensors["x"][:, 0], written["test_x"])


def test_binarised_mnist_keeps_its_three_parts_and_is_binary(tmp_path):
    written = format_files.binarized_mnist(tmp_path / "data" / "binarized_mnist")
    loaded = data.load("binarized_mnist")
    for part, split in (("train", loaded.train), ("valid", loaded.validation), ("test", loaded.test)):
        np.testing.assert_array_equal(split.batch(torch.arange(len(split)))["x"].flatten(1), written[part])


def test_celeba_keeps_its_official_parts_and_cuts_a_selection_itself(tmp_path):
    written = format_files.celeba(tmp_path / "data" / "celeba", count=12)
    loaded = data.load("celeba")
    assert [len(loaded.train), len(loaded.validation), len(loaded.test)] == [4, 4, 4]
    np.testing.assert_array_equal(loaded.validation.tensors["y"], written["attributes"][4:8])
    assert data.load("celeba", size=32).spec == Spec((3, 32, 32), y=40)
    format_files.celeba(tmp_path / "part" / "celeba", count=20, listed=100)
    selection = data.load("celeba", data_dir=tmp_path / "part")
    assert [len(selection.train), len(selection.validation), len(selection.test)] == [16, 2, 2]


def test_celeba_is_unpacked_from_its_archive(tmp_path):
    folder = tmp_path / "data" / "celeba"
    format_files.celeba(folder, count=12)
    expected = data.load("celeba").test.tensors["x"]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as packed:
        for path in (folder / "img_align_celeba").iterdir():
            packed.write(path, f"img_align_celeba/{path.name}")
            path.unlink()
    (folder / "img_align_celeba").rmdir()
    torch.testing.assert_close(data.load("celeba").test.tensors["x"], expected)
    assert (folder / "img_align_celeba").is_dir()


def test_omniglot_archives_are_averaged_to_28_with_white_ink_and_labelled_by_alphabet(tmp_path):
    omniglot_zips(tmp_path / "data" / "omniglot")
    loaded = data.load("omniglot")
    x, y = whole(loaded, "x"), whole(loaded, "y")
    assert len(loaded.test) == 5  # a quarter of twenty
    assert sorted(y.tolist()) == [0] * 10 + [1] * 10
    assert (x[:, 0, :4, :4] == 255).all()
    assert int((x > 0).sum()) == 20 * 16


def test_omniglot_from_chardata_keeps_the_published_cut(tmp_path):
    written = format_files.omniglot_mat(tmp_path / "data" / "omniglot" / "chardata.mat")
    loaded = data.load("omniglot")
    test = written["split"] == 1
    np.testing.assert_array_equal(loaded.test.tensors["x"][:, 0], written["x"][test])
    np.testing.assert_array_equal(loaded.test.tensors["y"], written["alphabet"][test])


def test_a_damaged_picture_in_an_omniglot_archive_is_named(tmp_path):
    folder = tmp_path / "data" / "omniglot"
    omniglot_zips(folder)
    with zipfile.ZipFile(folder / "images_evaluation.zip", "a") as packed:
        packed.writestr("images_evaluation/Greek/character02/broken.png", b"no picture")
    with pytest.raises(DataError, match=r"images_evaluation\.zip: .*broken\.png"):
        data.load("omniglot")


def test_dsprites_carries_all_factors_and_its_shape_as_label(tmp_path):
    written = WRITERS["dsprites"](tmp_path / "data" / "dsprites")
    loaded = data.load("dsprites")
    factors, x = whole(loaded, "factors"), whole(loaded, "x")
    torch.testing.assert_close(whole(loaded, "y"), factors[:, 1])
    expected = dict(zip(map(tuple, written["latents_classes"]), written["imgs"] * 255, strict=True))
    assert len(expected) == len(x)
    for row, picture in zip(factors, x, strict=True):
        np.testing.assert_array_equal(picture[0], expected[tuple(row.tolist())])


def test_without_the_original_dsprites_generated_ones_are_taken_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sprites, "grid", partial(sprites.grid, 2, 3, 4))
    with pytest.warns(UserWarning, match=r"dsprites: expected its files in .*'sprites', which is generated"):
        loaded = data.load("dsprites", download=False)
    assert loaded.name == loaded.call["name"] == "sprites"  # a run says what it was trained on


def test_frey_faces_are_read_from_the_original_matrix(tmp_path):
    from scipy.io import savemat

    folder = tmp_path / "data" / "frey_faces"
    folder.mkdir(parents=True)
    images = format_files.pictures(30, 28, 20)
    savemat(folder / "frey_rawface.mat", {"ff": images.reshape(30, 560).T})
    assert rows(whole(data.load("frey_faces"), "x")) == rows(images)
    savemat(folder / "frey_rawface.mat", {"gg": images})
    with pytest.raises(DataError, match=r"frey_rawface\.mat"):
        data.load("frey_faces")


REAL = {
    "mnist": ((50_000, 10_000, 10_000), "official", 33.3184),
    "binarized_mnist": ((50_000, 10_000, 10_000), "official", None),
    "cifar10": ((45_000, 5_000, 10_000), "official", 120.7076),
    "svhn": ((6_241, 693, 2_003), "differs", None),
    "celeba": ((3_200, 400, 400), "differs", None),
    "omniglot": ((21_911, 2_434, 8_115), "unchecked", None),
    "frey_faces": ((1_573, 196, 196), "unchecked", None),
    "cylinder_flow": ((90, 30, 30), "unchecked", None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_their_counts_and_state(name, real_data, tmp_path):
    folder = real_data(name) if real_data(name) else tmp_path / "data" / name
    if folder.parent == tmp_path / "data":
        WRITERS[name](folder)
    counts, state, mean = REAL[name]
    loaded = data.load(name, data_dir=folder.parent)
    entry = next(entry for entry in data.catalogue(folder.parent) if entry.name == name)
    assert entry.where == folder
    if folder.parent != tmp_path / "data":
        assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == counts
        assert entry.state == state
        assert mean is None or abs(float(loaded.train.tensors["x"].float().mean()) - mean) < 0.3


def test_a_bad_file_is_named_and_nothing_of_it_is_cached(tmp_path):
    folder = tmp_path / "data" / "mnist"
    format_files.mnist(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
        data.load("mnist")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_labels_that_do_not_belong_to_the_pictures_are_named(tmp_path):
    folder = tmp_path / "data" / "mnist"
    format_files.mnist(folder)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: expected a label for each of 20 pictures"):
        data.load("mnist")
