"""What a run of several modalities is given: by name, in frames, with rows that lack some, and as other data."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import format_files
from polyvae import data
from polyvae.data.exchange.given import taken
from polyvae.data.exchange.several import several_taken
from polyvae.data.memory_maps import Rows
from polyvae.model.spec import Beside, Column, Modality, Spec

TOWN = Column("category", "town", ("a", "b", "c"))
SPEC = Spec(
    classes=2,
    labels=("no", "yes"),
    label="grown",
    levels=None,
    beside=(Beside("age", (1,)),),
    modalities=(
        Modality("photo", Spec((1, 4, 4))),
        Modality("flow", Spec((2,), levels=None, columns=(Column(name="u"), Column("positive", "cp")))),
        Modality("place", Spec((1,), levels=None, columns=(TOWN,))),
    ),
)
PHOTO = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
FLOW = np.array([[0.5, 1.0], [1.5, 2.0], [2.5, 3.0], [3.5, 4.0], [4.5, 5.0]])
FLAGS = ("photo_present", "flow_present", "place_present")


def flags(split):
    return [split.tensors[name].tolist() for name in FLAGS]


def test_modalities_by_name_get_the_form_of_the_data_and_all_flags():
    split = taken({"photo": PHOTO, "flow": FLOW, "place": pandas.DataFrame({"town": list("cabca")})}, SPEC)
    assert {name: tuple(value.shape) for name, value in split.tensors.items()} == {
        "photo": (5, 1, 4, 4), "flow": (5, 2), "place": (5, 1), **dict.fromkeys(FLAGS, (5,)),
    }  # fmt: skip
    assert flags(split) == [[True] * 5] * 3
    batch = split.batch(torch.tensor([3, 1]))
    np.testing.assert_allclose(batch["photo"][:, 0], PHOTO[[3, 1]] / 255, atol=1e-6)
    assert batch["place"].tolist() == [[2.0], [0.0]]


def test_what_is_left_away_is_there_in_no_row():
    split = taken({"flow": FLOW}, SPEC)
    assert flags(split) == [[False] * 5, [True] * 5, [False] * 5]
    batch = split.batch(torch.arange(5))
    assert batch["photo"].shape == (5, 1, 4, 4)
    assert not bool(batch["photo"].any())


def test_rows_lack_what_is_none_nan_masked_or_said_to_be_missing():
    flow = FLOW.copy()
    flow[2] = np.nan
    photo = np.ma.masked_array(PHOTO, np.broadcast_to(np.arange(5)[:, None, None] == 1, PHOTO.shape))
    split = taken({"photo": photo, "flow": flow, "flow_present": [1, 1, 1, 1, 0]}, SPEC)
    assert flags(split)[:2] == [[True, False, True, True, True], [True, True, False, True, False]]
    assert split.tensors["flow"][[2, 4]].tolist() == [[0, 0], [0, 0]]
    assert not bool(split.tensors["photo"][1].any())
    listed = taken({"photo": [None, *PHOTO[1:]], "flow": FLOW}, SPEC)
    assert flags(listed)[0] == [False, True, True, True, True]


def test_a_frame_gives_the_modalities_whose_columns_it_has_and_labels():
    frame = pandas.DataFrame({"cp": FLOW[:, 1], "u": FLOW[:, 0], "grown": ["yes", "no", "no", "yes", "no"]})
    split = taken(frame, SPEC)
    np.testing.assert_allclose(split.tensors["flow"], FLOW)
    assert split.tensors["y"].tolist() == [1, 0, 0, 1, 0]
    assert flags(split) == [[False] * 5, [True] * 5, [False] * 5]
    frame["town"] = ["a", None, "c", "b", "a"]
    assert flags(taken(frame, SPEC))[2] == [True, False, True, True, True]
    with pytest.raises(ValueError, match=r"flow: .*'cp'"):
        taken(frame[["u", "town"]], SPEC)


def test_labels_and_what_stands_beside_are_read_as_ever():
    split = taken({"flow": FLOW, "y": ["yes"] * 5, "age": np.arange(5.0)}, SPEC)
    assert split.tensors["y"].tolist() == [1] * 5
    assert split.tensors["age"].shape == (5, 1)
    assert taken({"flow": FLOW}, SPEC, y=["no"] * 5, given={"age": np.ones(5)}).tensors["y"].tolist() == [0] * 5


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (FLOW, "a mapping of modalities by name is wanted.*photo, flow, place"),
        ({"foto": PHOTO, "flow": FLOW}, "'foto' is no modality of this run; did you mean photo"),
        ({"y": np.zeros(5)}, "one at least"),
        ({"photo": PHOTO[:, :3]}, r"photo: examples of this run have the shape .*1, 4, 4.*got \[5, 3, 4\]"),
        ({"photo": PHOTO, "flow": FLOW[:4]}, "a value for each row"),
        ({"photo": PHOTO, "flow": [[1.0, np.nan]] * 5}, "row 0 has some of its values"),
        ({"photo": PHOTO, "flow": -FLOW}, "'cp' holds positive numbers"),
        ({"photo": PHOTO * 2.0}, r"photo: grey levels .* \[0, 1\]"),
        ({"photo": PHOTO, "photo_present": np.arange(5)}, "photo_present is True or False for each of 5 rows"),
        ({"place": pandas.DataFrame({"town": list("abcde")})}, "place: .*'d'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(x, message):
    with pytest.raises(ValueError, match=message):
        taken(x, SPEC)


patterns = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(patterns)
def test_any_pattern_of_missing_values_becomes_its_flags(rows):
    there = np.array(rows)
    random = np.random.default_rng(0)
    flow = np.where(there[:, 1:2], random.random((len(rows), 2)) + 0.5, np.nan)
    place = pandas.DataFrame({"town": ["b" if each else None for each in there[:, 2]]}, dtype=object)
    x = {"photo": random.random((len(rows), 4, 4)), "photo_present": there[:, 0], "flow": flow, "place": place}
    split = taken(x, SPEC)
    assert flags(split) == there.T.tolist()
    batch = split.batch(torch.arange(len(rows)))
    for name, flag in zip(("photo", "flow"), FLAGS, strict=False):
        assert torch.equal(batch[name].flatten(1).any(1), split.tensors[flag])
        assert bool(batch[name].isfinite().all())


def test_data_and_splits_keep_their_lazy_rows_and_get_their_flags(tmp_path):
    format_files.mnist(tmp_path / "data" / "mnist", 300, 50)
    format_files.svhn(tmp_path / "data" / "svhn", 120, 40)
    loaded = data.load("mnist-svhn", pairings=3, absent=0.4)
    split = taken(loaded.train, loaded.spec)
    assert isinstance(split.tensors, Rows)
    assert torch.equal(split.tensors["mnist_present"], loaded.train.tensors["mnist_present"])
    tested = taken(data.load("mnist-svhn"), loaded.spec)
    assert len(tested) == len(loaded.test)
    assert bool(tested.tensors["svhn_present"].all())
    alone = data.Split({"mnist": loaded.test.tensors["mnist"]})
    assert not bool(taken(alone, loaded.spec).tensors["svhn_present"].any())
    with pytest.raises(ValueError, match="mnist: examples of this run"):
        taken(data.load("mnist-svhn", size=16), loaded.spec)
    with pytest.raises(ValueError, match="there are mnist, svhn"):
        taken(data.load("digits"), loaded.spec)


def test_categories_and_labels_of_other_data_go_by_name():
    def made(towns, grown):
        frame = pandas.DataFrame({"u": np.arange(40.0), "town": (towns * 40)[:40], "grown": (grown * 40)[:40]})
        return data.wrap(frame, modalities="flow=u,place=town", label="grown", validation=0, test=20)

    ours, theirs = made(["a", "b", "c"], ["no", "yes"]), made(["b", "c"], ["yes", "no"])
    split = several_taken(theirs, ours.spec)
    names = dict(enumerate("abc"))
    rows = split.tensors["flow"][:, 0].long().tolist()
    assert [names[int(code)] for code in split.tensors["place"][:, 0]] == ["bc"[row % 2] for row in rows]
    assert split.tensors["y"].tolist() == [1 - row % 2 for row in rows]
