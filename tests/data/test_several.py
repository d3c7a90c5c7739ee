"""Sets of three and more modalities: text, turned pictures, and five backgrounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import format_files
from polyvae import data
from polyvae.data.sources.paired import DIGITS, LETTERS, letters
from polyvae.model.spec import Column


@pytest.fixture
def written(tmp_path):
    for name in ("mnist", "fashion_mnist"):
        format_files.mnist(tmp_path / "data" / name, 300, 50)
    return format_files.svhn(tmp_path / "data" / "svhn", 120, 40)


def test_the_text_spells_the_digit_of_its_row(written):
    loaded = data.load("mnist-svhn-text", pairings=2)
    assert [*loaded.spec.values] == ["mnist", "svhn", "text"]
    for split in loaded.parts.values():
        words = ["".join(LETTERS[int(code)] for code in row).rstrip("_") for row in split.tensors["text"]]
        assert words == [DIGITS[y] for y in split.tensors["y"]]
    assert loaded.train.tensors._held["text"].shape == (10, 5)  # once for each class
    spec = loaded.spec.values["text"]
    assert (spec.x, spec.levels) == ((5,), None)
    assert spec.columns[2] == Column("category", "letter3", tuple("_abcdefghijklmnopqrstuvwxyz"))
    assert letters().shape == (10, 5)
    assert len(np.unique(letters(), axis=0)) == 10


def test_a_turned_view_is_of_another_picture_of_the_class_and_of_the_same_part(written):
    loaded = data.load("mnist-rotated", pairings=3)
    back = {part: torch.rot90(split.tensors["rotated"], -1, (2, 3)).flatten(1) for part, split in loaded.parts.items()}
    seen = {}
    for part, split in loaded.parts.items():
        upright = {
            row.numpy().tobytes(): int(y) for row, y in zip(split.tensors["mnist"], split.tensors["y"], strict=True)
        }
        assert [upright[row.numpy().tobytes()] for row in back[part]] == split.tensors["y"].tolist()
        seen[part] = {*upright}
    assert not seen["train"] & seen["validation"]
    same = (back["train"] == loaded.train.tensors["mnist"].flatten(1)).all(1)
    assert same.float().mean() < 0.2  # by chance, one in the 27 of a class


def test_fashion_goes_by_its_number_and_is_refused_where_it_is_missing(written, tmp_path):
    loaded = data.load("mnist-fashion-rotated")
    assert [*loaded.spec.values] == ["mnist", "fashion", "rotated"]
    assert len(loaded.train) == 270
    other = tmp_path / "other"
    format_files.mnist(other / "mnist", 300, 50)
    (tmp_path / "data").rename(tmp_path / "gone")
    with pytest.raises(data.DataError, match=r"fashion_mnist: expected its files in .*fetch fashion_mnist"):
        data.load("mnist-fashion-rotated", other, download=False)


def test_polymnist_keeps_the_five_pictures_of_a_row_together(tmp_path):
    written = format_files.polymnist(tmp_path / "data" / "polymnist")
    loaded = data.load("polymnist")
    assert [len(split) for split in loaded.parts.values()] == [36, 4, 20]
    for number in range(5):
        np.testing.assert_array_equal(loaded.test.tensors[f"m{number}"], written[f"test_m{number}"])
    assert loaded.test.tensors["y"].tolist() == [row % 10 for row in range(20)]
    rows = {row.tobytes(): place for place, row in enumerate(written["train_m0"])}
    order = [rows[row.numpy().tobytes()] for row in loaded.train.tensors["m0"]]
    for number in range(1, 5):
        np.testing.assert_array_equal(loaded.train.tensors[f"m{number}"], written[f"train_m{number}"][order])
    assert loaded.train.tensors["y"].tolist() == [place % 10 for place in order]
    assert data.load("polymnist", size=14).spec.values["m3"].x == (3, 14, 14)
    assert data.load("polymnist", absent=0.5, limit=20).train.absent.keys() == {f"m{n}" for n in range(5)}


def test_a_picture_of_polymnist_that_is_missing_or_of_another_label_is_named(tmp_path):
    folder = tmp_path / "data" / "polymnist"
    format_files.polymnist(folder)
    (folder / "train" / "m3" / "7.7.png").rename(folder / "train" / "m3" / "7.8.png")
    with pytest.raises(data.DataError, match=r"m3: expected pictures of the numbers and labels of m0"):
        data.load("polymnist")
    (folder / "train" / "m3" / "7.8.png").unlink()
    with pytest.raises(data.DataError, match=r"m3: expected numbers from 0 to 38"):
        data.load("polymnist")
