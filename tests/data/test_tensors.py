"""A user's own data: every container gives the same named tensors, and what cannot be used is named."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from polyvae.data.errors import DataError
from polyvae.data.loading import wrap
from polyvae.data.readers.arrays import spec_of, tensors_of
from polyvae.data.split import Data
from polyvae.model.spec import Spec

X = torch.rand(20, 1, 6, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3


class Items(Dataset):
    """A map-style data set of given items."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    """Items that cannot be indexed."""

    def __iter__(self):
        return iter(zip(X, Y, strict=True))


PAIRS = {
    "pair": (X, Y),
    "arrays": (X.numpy(), Y.numpy()),
    "mapping": {"x": X, "y": Y},
    "lists": (list(X), Y.tolist()),
    "tensor data set": TensorDataset(X, Y),
    "data set of pairs": Items(list(zip(X, Y.tolist(), strict=True))),
    "data set of mappings": Items([{"x": x.numpy(), "y": int(y)} for x, y in zip(X, Y, strict=True)]),
    "subset": Subset(TensorDataset(X, Y), range(20)),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True),
    "loader of items": DataLoader(Items(list(zip(X, Y, strict=True))), batch_size=7),
    "loader of a list": DataLoader(list(zip(X, Y, strict=True)), batch_size=7),  # type: ignore
    "loader of a stream": DataLoader(Stream(), batch_size=7),
    "stream": Stream(),
    "bunch": SimpleNamespace(data=X.numpy(), target=Y.numpy()),
}


@pytest.mark.parametrize("given", PAIRS.values(), ids=PAIRS)
def test_every_container_gives_the_same_tensors(given):
    found = tensors_of(given, "train")
    assert list(found) == ["x", "y"]
    torch.testing.assert_close(found["x"], X, rtol=0, atol=0)
    assert torch.equal(found["y"], Y)
    assert spec_of(found) == Spec((1, 6, 5), classes=3, levels=None)


ALONE = {
    "tensor": X,
    "array": X.numpy(),
    "list": list(X),
    "double": X.double(),
    "data set": Items(list(X)),
    "tensor data set": TensorDataset(X),
    "loader": DataLoader(Items(list(X)), batch_size=4),
    "no channels": X[:, 0],
    "gradient": X.clone().requires_grad_(),
}


@pytest.mark.parametrize("given", ALONE.values(), ids=ALONE)
def test_pictures_alone(given):
    found = tensors_of(given, "train")
    assert list(found) == ["x"]
    assert found["x"].dtype == torch.float32
    assert not found["x"].requires_grad
    torch.testing.assert_close(found["x"], X, rtol=0, atol=0)


def test_names_are_kept_for_several_modalities():
    given = {"image": X, "text": np.ones((20, 4)), "y": Y, "image_present": Y > 0}
    found = tensors_of(given, "train")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "image": (20, 1, 6, 5), "text": (20, 4), "y": (20,), "image_present": (20, 1),
    }  # fmt: skip
    assert spec_of(found).x == (1, 6, 5)
    assert set(wrap(given).train.batch(torch.arange(3))) == set(given)


@pytest.mark.parametrize(
    ("given", "shape", "dtype", "levels"),
    [
        (np.full((4, 6, 5, 3), 9, np.uint8), (3, 6, 5), torch.uint8, 256),
        (np.full((4, 3, 6, 5), 9, np.uint8), (3, 6, 5), torch.uint8, 256),
        (np.full((4, 6, 5), 9, np.int64), (1, 6, 5), torch.uint8, 256),
        (np.full((4, 6, 5), True), (1, 6, 5), torch.float32, 2),
        (np.full((4, 1, 6, 5), 255, np.uint8), (1, 6, 5), torch.uint8, 2),
        (np.full((4, 1, 6, 5), 7 / 255), (1, 6, 5), torch.float32, 256),
        (np.full((4, 1, 6, 5), 0.3333), (1, 6, 5), torch.float32, None),
        (np.full((4, 7), -3.5), (7,), torch.float32, None),
        (np.full((4, 7), 12), (7,), torch.float32, None),
        (np.arange(4.0), (1,), torch.float32, None),
        (torch.full((4, 7), 2.5, dtype=torch.bfloat16), (7,), torch.float32, None),
    ],
)
def test_shapes_types_and_grey_levels(given, shape, dtype, levels):
    found = tensors_of(given, "train")
    assert found["x"].dtype == dtype
    assert spec_of(found) == Spec(shape, levels=levels)


def test_channels_last_keeps_the_picture():
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(tensors_of(x, "train")["x"].numpy(), x.transpose(0, 3, 1, 2))


def test_vectors_are_conditions():
    found = tensors_of((X, np.ones((20, 4))), "train")
    assert found["y"].dtype == torch.float32
    assert spec_of(found) == Spec((1, 6, 5), y=4, levels=None)


BAD = {
    "nothing": ({}, "at least one example"),
    "empty": (torch.zeros(0, 3), "at least one example"),
    "empty loader": (DataLoader(Items([])), "at least one example"),
    "empty list": ([], "at least one example"),
    "no values": (torch.zeros(3, 0), "[3, 0]"),
    "scalar": (np.float32(3), "shape []"),
    "five dimensions": (torch.zeros(2, 3, 4, 4, 4), "[2, 3, 4, 4, 4]"),
    "nan": ({"x": torch.tensor([[0.0], [float("nan")]])}, "train['x']: expected finite numbers (float32), found NaN"),
    "infinity": (np.array([[1.0], [2.0], [np.inf]]), "example 2"),
    "overflow": (np.array([[1e300]]), "rescale what overflows"),
    "objects": (np.array([{}, []], dtype=object), "dtype object"),
    "complex numbers": (np.ones((4, 2), complex), "x.real, x.imag"),
    "numbers as objects": (np.ones((4, 2), object), "x.astype(float)"),
    "a generator": ((x for x in X), "found a generator"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "days since the first"),
    "names": (np.array(["a", "b"]), "numpy.unique"),
    "mixed sizes": ([torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)], "[1, 5, 4] at example 1"),
    "mixed items": (Items([torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)]), "[1, 5, 4] at example 1"),
    "mixed names": (Items([{"x": X[0]}, {"z": X[0]}]), "['z'] in item 1"),
    "uneven": ((X, Y[:5]), "'y': 5"),
    "triple": ((X, Y, Y), "a tuple of 3"),
    "missing labels": ((X, np.where(Y == 0, np.nan, Y)), "7 missing labels"),
    "fractional labels": ((X, Y / 2), "dtype float32"),
    "negative labels": ((X, Y - 1), "-1 at example 0"),
    "labels in a cube": ((X, torch.zeros(20, 2, 2, 2, 2)), "[20, 2, 2, 2, 2]"),
}


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_named(given, words):
    with pytest.raises(DataError) as error:
        tensors_of(given, "train")
    assert "train" in str(error.value)
    assert words in str(error.value)


def test_wrap_cuts_seeded_parts():
    data = wrap((X, Y))
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 2, 2)
    assert data.cut == "cut at random"
    again, other = wrap((X, Y)), wrap((X, Y), seed=1)
    assert torch.equal(data.validation.tensors["x"], again.validation.tensors["x"])
    assert not torch.equal(data.validation.tensors["x"], other.validation.tensors["x"])
    parts = [part.tensors["x"] for part in (data.train, data.validation, data.test)]
    every = torch.cat(parts).flatten(1).sum(1).sort().values
    torch.testing.assert_close(every, X.flatten(1).sum(1).sort().values)


def test_wrap_takes_parts_of_its_own():
    data = wrap((X, Y), validation=(X[:4], Y[:4] + 2), test=0.25)
    assert (len(data.train), len(data.validation), len(data.test)) == (15, 4, 5)
    assert data.spec.classes == 5
    whole = wrap(X, validation=X[:3], test=X[:2])
    assert [len(part) for part in (whole.train, whole.validation, whole.test)] == [20, 3, 2]
    assert whole.cut == ""
    assert len(wrap(X, validation=X[:3]).train) == 20
    assert wrap(X, validation=6, test=0).validation.tensors["x"].shape == (6, 1, 6, 5)


def test_wrap_returns_data_unchanged():
    data = wrap(X)
    assert isinstance(data, Data)
    assert wrap(data) is data
    assert data.call == {}


def test_wrap_refuses_parts_that_differ_and_too_few_examples():
    with pytest.raises(DataError, match=r"validation: expected examples as in train.*\(1, 5, 6\)"):
        wrap(X, validation=X.mT)
    with pytest.raises(DataError, match=r"validation.*classes"):
        wrap((X, Y), validation=X)
    with pytest.raises(DataError, match="nothing remains to train on"):
        wrap(X[:1])


def test_one_class_only_is_data_like_any_other():
    data = wrap((X, torch.zeros(20, dtype=torch.int64)))
    assert data.spec.classes == 1


def test_a_scikit_learn_bunch_is_a_table_with_labels():
    data = wrap(load_digits())
    assert replace(data.spec, columns=()) == Spec((64,), classes=10, levels=None)
    assert data.spec.kinds == ("counts",)
    assert len(data.train) == 1437
